"""Rules are taken from a file while somebody changes one of them by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from threading import Event

import pytest
from django.db import transaction

from rewards.exchange.services import import_rules
from rewards.ledger.models import Currency
from tests.concurrency.racing import PATIENCE_SECONDS, threads, wait_until_somebody_waits

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]

AT = datetime(2026, 11, 21, tzinfo=UTC)


def test_what_somebody_saves_meanwhile_is_not_overwritten_by_what_the_file_leaves_out(points) -> None:
    file = {"currencies": {points.code: {"symbol": "P"}}}
    renamed, go_on = Event(), Event()

    def rename() -> None:
        with transaction.atomic():
            Currency.objects.filter(pk=points.pk).update(name="Points of Alice")
            renamed.set()
            assert go_on.wait(PATIENCE_SECONDS)

    with threads(2) as start:
        renaming = start(rename)
        assert renamed.wait(PATIENCE_SECONDS)
        taking = start(lambda: import_rules(file, actor=None, reason="As agreed", at=AT))
        wait_until_somebody_waits()
        go_on.set()
    renaming.result(), taking.result()
    points.refresh_from_db()
    assert (points.name, points.symbol) == ("Points of Alice", "P")
