"""The shipped game economy: its currencies and recipes, with the default of each parameter."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_django import DjangoDbBlocker

from rewards.claims.setup import create_default_claim_types
from rewards.management.commands.setup_defaults import create_missing_currencies
from tests.rewards.shared_rows import rows_for_all_tests


@pytest.fixture(scope="module")
def game(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    with rows_for_all_tests(django_db_blocker):
        create_missing_currencies()
        create_default_claim_types()
        yield
