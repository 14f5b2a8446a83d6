"""Events in: exactly once, good ones beside bad ones, users on the way where that is wanted."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from django.db import IntegrityError, connection, transaction

from rewards.activity.models import ActivityEvent
from rewards.activity.services import Outcome, record_events
from rewards.users.models import User
from tests.rewards.activity.conftest import NOON, counters, event, instant, total

pytestmark = pytest.mark.django_db


def test_votes_of_alice_and_bob_are_written_and_counted(people):
    outcome = record_events([event("alice", "2.5"), event("alice", "0.000001"), event("bob", 7)], at=NOON)

    assert outcome == Outcome(accepted=3)
    assert counters() == {
        ("alice", "cc_vote", ""): Decimal("2.500001"),
        ("alice", "cc_vote", "2026-03"): Decimal("2.500001"),
        ("bob", "cc_vote", ""): 7,
        ("bob", "cc_vote", "2026-03"): 7,
    }


def test_an_event_is_stored_as_it_was_sent(people):
    berlin_summer = timezone(timedelta(hours=2))
    sent = event(
        "carol",
        Decimal("12.340000"),
        event_id='ü"\\{},NULL',
        metric="tests completed",
        occurred_at=datetime(2025, 7, 1, 1, 30, 0, 123456, tzinfo=berlin_summer),
        attributes={"vote_type": 'a"b\\u0000\\', "π": [1, 2.5, None, True, {"deep": "\n"}]},
    )

    record_events([sent], at=NOON)

    stored = ActivityEvent.objects.get()
    assert stored.event_id == 'ü"\\{},NULL'
    assert (stored.user.username, stored.metric, stored.quantity) == ("carol", "tests completed", Decimal("12.34"))
    assert stored.occurred_at == datetime(2025, 6, 30, 23, 30, 0, 123456, tzinfo=NOON.tzinfo)
    assert stored.attributes == sent.attributes
    assert (stored.counted_month, stored.late, stored.recorded_at) == ("2025-06", False, NOON)


def test_sending_the_same_event_again_changes_nothing(people):
    vote = event("alice", "3")
    record_events([vote], at=NOON)

    again = record_events([vote, vote._replace(quantity="500", user="bob")], at=NOON)

    assert again == Outcome(duplicates=2)
    assert total("alice") == 3
    assert ("bob", "cc_vote", "") not in counters()


def test_of_several_events_with_one_id_in_a_call_the_first_counts(people):
    first = event("alice", "3")

    outcome = record_events([first, first._replace(quantity="4"), first._replace(user="bob")], at=NOON)

    assert outcome == Outcome(accepted=1, duplicates=2)
    assert total("alice") == 3


def test_a_refused_event_does_not_use_up_its_id(people):
    bad = event("alice", "-3")

    outcome = record_events([bad, bad._replace(quantity="3")], at=NOON)

    assert (outcome.accepted, outcome.duplicates, len(outcome.rejected)) == (1, 0, 1)


def test_unknown_users_are_rejected_by_their_place_in_the_call(people):
    outcome = record_events([event("zoe"), event("alice"), event("Alice"), event("bob", "x")], at=NOON)

    assert outcome.accepted == 1
    assert [index for index, _ in outcome.rejected] == [0, 2, 3]
    assert outcome.rejected[0][1] == "there is no user of this name"


def test_unknown_users_are_created_where_that_is_wanted(alice):
    outcome = record_events([event("zoe"), event("alice"), event("zoe"), event("yan")], create_users=True, at=NOON)

    assert (outcome.accepted, outcome.users_created) == (4, 2)
    zoe = User.objects.get(username="zoe")
    assert not zoe.has_usable_password()
    assert (zoe.is_active, zoe.is_staff, zoe.date_joined) == (True, False, NOON)


def test_a_bad_event_creates_no_user(db):
    outcome = record_events([event("zoe", "0")], create_users=True, at=NOON)

    assert len(outcome.rejected) == 1
    assert not User.objects.exists()


def test_no_events_are_no_trouble(db):
    assert record_events([], at=NOON) == Outcome()


def test_ten_thousand_events_in_one_call(people):
    events = [event(["alice", "bob", "carol"][number % 3], "0.5") for number in range(10_000)]

    assert record_events(events, at=NOON) == Outcome(accepted=10_000)
    assert (total("alice"), total("bob"), total("carol")) == (1667, Decimal("1666.5"), Decimal("1666.5"))


def test_a_handful_takes_few_statements_however_many_events(people, django_assert_max_num_queries):
    with django_assert_max_num_queries(8):
        record_events([event("alice", metric=f"metric-{number}") for number in range(500)], at=NOON)


@pytest.mark.postgresql
def test_the_database_is_told_of_many_new_users(people):
    """It would go through all users for each event: its plan is from when there were three."""
    record_events([event(f"user-{number}") for number in range(500)], create_users=True, at=NOON)

    with connection.cursor() as cursor:
        cursor.execute("SELECT reltuples FROM pg_class WHERE oid = 'rewards_user'::regclass")
        assert cursor.fetchone()[0] == 503


def test_if_the_caller_fails_afterwards_neither_events_nor_counters_stay(people):
    def record_and_fail() -> None:
        with transaction.atomic():
            record_events([event("alice"), event("zoe")], create_users=True, at=NOON)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        record_and_fail()

    assert not ActivityEvent.objects.exists()
    assert counters() == {}
    assert not User.objects.filter(username="zoe").exists()


def test_events_are_append_only(people):
    record_events([event("alice")], at=NOON)

    for change in ("UPDATE rewards_activityevent SET quantity = 5", "DELETE FROM rewards_activityevent"):
        with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(change)


def test_months_are_those_of_the_product_s_zone(people, settings):
    settings.REWARDS_TIME_ZONE = ZoneInfo("Europe/Berlin")
    events = [
        event("alice", "1", "2026-02-28T22:59:59.999999"),  # the last microsecond of February in Berlin
        event("alice", "2", "2026-02-28T23:00"),
        event("alice", "4", "2026-03-31T21:59:59"),  # summer time: two hours ahead
        event("alice", "8", "2026-03-31T22:00"),
        event("alice", "16", "2025-12-31T23:00"),
    ]

    record_events(events, at=instant("2026-04-01T12:00"))

    assert counters() == {
        ("alice", "cc_vote", ""): 31,
        ("alice", "cc_vote", "2026-01"): 16,
        ("alice", "cc_vote", "2026-02"): 1,
        ("alice", "cc_vote", "2026-03"): 6,
        ("alice", "cc_vote", "2026-04"): 8,
    }


def test_a_month_may_begin_at_a_half_hour_and_lie_decades_back(people, settings):
    settings.REWARDS_TIME_ZONE = ZoneInfo("Asia/Kolkata")

    record_events([event("bob", "1", "1999-12-31T18:29"), event("bob", "2", "1999-12-31T18:30")], at=NOON)
    record_events([event("bob", "4", "1970-01-01T00:00"), event("bob", "8", "2026-03-14T11:00")], at=NOON)

    months = {month: quantity for (_, _, month), quantity in counters().items()}
    assert months == {"": 15, "1999-12": 1, "2000-01": 2, "1970-01": 4, "2026-03": 8}
