"""Closing a stretch of time: what comes later is late; neighbours become one."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import transaction

from rewards.activity.models import ActivityEvent, ClosedStretch
from rewards.activity.services import MONTHS, close_stretch, closed_stretches, record_events
from rewards.common.errors import InvariantBroken
from tests.rewards.activity.conftest import NOON, counters, event, instant, late_ids

pytestmark = pytest.mark.django_db

SEVEN, EIGHT, NINE, TEN = (instant(f"2026-03-14T{hour:02}:00") for hour in (7, 8, 9, 10))
ONE_MICROSECOND = timedelta(microseconds=1)


def test_a_vote_for_a_closed_hour_is_late_and_counts_in_the_totals_all_the_same(people):
    close_stretch("cc_vote", SEVEN, EIGHT)

    outcome = record_events([event("alice", "2", "2026-03-14T07:10")], at=NOON)

    assert (outcome.accepted, outcome.late) == (1, 1)
    assert counters() == {("alice", "cc_vote", ""): 2, ("alice", "cc_vote", "2026-03"): 2}


def test_the_stretch_holds_its_start_and_not_its_end(people):
    close_stretch("cc_vote", SEVEN, EIGHT)
    instants = {
        "before": SEVEN - ONE_MICROSECOND,
        "start": SEVEN,
        "last": EIGHT - ONE_MICROSECOND,
        "end": EIGHT,
    }

    record_events([event(event_id=name, occurred_at=when) for name, when in instants.items()], at=NOON)

    assert late_ids() == {"start", "last"}


def test_what_was_written_before_is_not_late_and_another_metric_never(people):
    record_events([event(event_id="before")], at=NOON)
    close_stretch("cc_vote", SEVEN, EIGHT)

    record_events([event(event_id="after"), event(event_id="other", metric="logins")], at=NOON)

    assert late_ids() == {"after"}


def test_hours_closed_in_any_order_become_one_stretch(db):
    for start, end in ((NINE, TEN), (SEVEN, EIGHT), (EIGHT, NINE)):
        close_stretch("cc_vote", start, end)

    assert closed_stretches("cc_vote") == [(SEVEN, TEN)]


def test_a_gap_stays_open(people):
    close_stretch("cc_vote", SEVEN, EIGHT)
    close_stretch("cc_vote", NINE, TEN)
    close_stretch("logins", EIGHT, NINE)

    record_events(
        [event(event_id=str(hour), when=f"2026-03-14T{hour:02}:30") for hour in range(6, 12)],
        at=NOON,
    )

    assert closed_stretches("cc_vote") == [(SEVEN, EIGHT), (NINE, TEN)]
    assert late_ids() == {"7", "9"}


def test_closing_what_is_closed_changes_nothing_and_overlaps_are_merged(db):
    close_stretch("cc_vote", SEVEN, TEN)
    standing = ClosedStretch.objects.get().pk

    close_stretch("cc_vote", EIGHT, NINE)
    assert ClosedStretch.objects.get().pk == standing

    close_stretch("cc_vote", NINE, NOON)
    assert closed_stretches("cc_vote") == [(SEVEN, NOON)]


def test_a_stretch_must_end_after_it_starts(db):
    with pytest.raises(InvariantBroken):
        close_stretch("cc_vote", EIGHT, EIGHT)


@pytest.mark.django_db(transaction=True)
def test_closing_needs_the_transaction_of_what_is_counted():
    with pytest.raises(InvariantBroken):
        close_stretch("cc_vote", SEVEN, EIGHT)


@pytest.mark.django_db(transaction=True)
def test_if_the_count_fails_the_hour_is_open_again():
    def close_and_fail() -> None:
        with transaction.atomic():
            close_stretch("cc_vote", SEVEN, EIGHT)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        close_and_fail()

    assert closed_stretches("cc_vote") == []


def test_an_event_for_a_closed_month_counts_in_the_total_only(people):
    record_events([event("alice", "1", "2026-02-10T12:00")], at=NOON)
    close_stretch(MONTHS, instant("2026-02-01T00:00"), instant("2026-03-01T00:00"))

    outcome = record_events(
        [event("alice", "2", "2026-02-28T23:59", event_id="february"), event("alice", "4", "2026-03-01T00:00")],
        at=NOON,
    )

    assert (outcome.accepted, outcome.late) == (2, 0)
    assert ActivityEvent.objects.get(event_id="february").counted_month is None
    assert counters() == {
        ("alice", "cc_vote", ""): 7,
        ("alice", "cc_vote", "2026-02"): 1,
        ("alice", "cc_vote", "2026-03"): 4,
    }
