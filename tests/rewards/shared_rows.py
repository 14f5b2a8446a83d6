"""Rows that are made once for a module."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import transaction
from pytest_django import DjangoDbBlocker


@contextmanager
def rows_for_all_tests(django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """What a fixture of a module writes in here stands for all its tests: what a test changes is taken back to it."""
    with django_db_blocker.unblock(), transaction.atomic():
        yield
        transaction.set_rollback(True)
