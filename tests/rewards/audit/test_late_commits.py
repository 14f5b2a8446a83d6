"""Ids are handed out before a transaction commits: an event with a lower id may appear after one with a higher id."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from django.db import connection, transaction

from rewards.audit.models import AuditEvent, AuditSeal
from rewards.audit.queries import seal_lag, verify_chain
from rewards.audit.services import SealedMeanwhile, _append_seal, record, seal_events

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]


@contextmanager
def open_transaction(event_type: str) -> Iterator[None]:
    """Another connection has written an event and commits it when the block ends."""
    written, may_commit = threading.Event(), threading.Event()

    def write() -> None:
        with transaction.atomic():
            record(event_type)
            written.set()
            may_commit.wait(timeout=30)
        connection.close()

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(write)
        written.wait(timeout=30)
        try:
            yield
        finally:
            may_commit.set()
        other.result()


def seal_all(expected: int) -> None:
    """Seal until that many events are sealed: they are settled once the server has ended every older transaction."""
    deadline = time.monotonic() + 60
    while expected > 0:
        assert time.monotonic() < deadline, "the events are still not settled"
        sealed = seal_events()
        expected -= sealed
        if not sealed:
            time.sleep(0.05)
    assert expected == 0


def test_an_event_that_commits_late_is_sealed_later() -> None:
    record("early")
    seal_all(1)
    with open_transaction("lower id"):
        record("higher id")
        assert seal_events() == 0  # the higher one is committed, and waits: the other may come before it
        assert seal_lag()[0] == 1
        assert verify_chain().intact

    seal_all(2)
    assert verify_chain().intact
    types = dict(AuditEvent.objects.values_list("id", "event_type"))
    sealed = [types[row] for seal in AuditSeal.objects.order_by("id") for row, _ in seal.entries]
    assert sealed == ["early", "lower id", "higher id"]


def test_a_lower_id_that_commits_after_a_higher_one_was_sealed() -> None:
    """Its transaction began to write only after taking its id, so its number is the higher one: it is not too late."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval(pg_get_serial_sequence('rewards_auditevent', 'id'))")
        (lower,) = cursor.fetchone()
    higher = record("higher id")
    seal_all(1)

    AuditEvent.objects.create(pk=lower, event_type="lower id")
    seal_all(1)

    assert lower < higher.pk
    assert verify_chain().intact


def test_of_two_sealers_at_once_one_wins_and_the_other_says_so() -> None:
    def seal(start: threading.Barrier) -> int | None:
        try:
            start.wait(timeout=30)
            return seal_events(limit=5)
        except SealedMeanwhile:
            return None
        finally:
            connection.close()

    for number in range(50):
        record(f"event {number}")
    outcomes, deadline = [], time.monotonic() + 60
    while seal_lag()[0]:
        assert time.monotonic() < deadline, "the events are still not settled"
        start = threading.Barrier(2)
        with ThreadPoolExecutor(2) as pool:
            outcomes += [future.result() for future in [pool.submit(seal, start), pool.submit(seal, start)]]

    assert sum(outcome or 0 for outcome in outcomes) == 50
    assert verify_chain().intact
    assert verify_chain().sealed_events == 50


def test_a_second_successor_of_a_seal_is_refused() -> None:
    record("first")
    seal_all(1)
    stale_head = AuditSeal.objects.latest("id")
    record("second")
    seal_all(1)

    facts = {"first_event": 1, "last_event": 1, "last_transaction_number": 1, "base_event": 0}
    with pytest.raises(SealedMeanwhile):
        _append_seal(stale_head, entries=[[1, "0" * 64]], **facts)

    assert verify_chain().intact


def test_a_long_transaction_in_another_database_holds_nothing_up() -> None:
    other = connection.copy("other")
    other.settings_dict = {**connection.settings_dict, "NAME": "postgres"}
    try:
        with other.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("SELECT pg_current_xact_id()")
            record("after it")
            seal_all(1)
            cursor.execute("ROLLBACK")
    finally:
        other.close()
