"""Writers, closers and rebuilders at once, on PostgreSQL with a connection each: nothing is lost, nothing is twice."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event

import pytest
from django.db import connection, transaction
from django.db.models import Sum

from rewards.activity.models import ActivityEvent, Counter
from rewards.activity.services import NewEvent, Outcome, close_stretch, rebuild_counters, record_events
from rewards.users.models import User
from tests.rewards.activity.conftest import NOON, event, instant, late_ids

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]

SEVEN, EIGHT = instant("2026-03-14T07:00"), instant("2026-03-14T08:00")
PATIENCE_SECONDS = 60


@contextmanager
def threads() -> Iterator[Callable[..., Future]]:
    """`start(work, …)` runs work in a thread with a connection of its own."""

    def in_thread(work: Callable[..., object], *arguments: object) -> object:
        try:
            return work(*arguments)
        finally:
            connection.close()

    with ThreadPoolExecutor(16) as executor:
        yield lambda work, *arguments: executor.submit(in_thread, work, *arguments)


def wait_until_waiting(count: int) -> None:
    """Return once that many transactions wait for a gate."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    with connection.cursor() as cursor:
        while time.monotonic() < deadline:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
            if cursor.fetchone()[0] == count:
                return
            time.sleep(0.01)
    raise TimeoutError(f"There were never {count} waiting for a gate.")


def write_and_hold(events: list[NewEvent], written: Event, let_go: Event) -> Outcome:
    with transaction.atomic():
        outcome = record_events(events, at=NOON)
        written.set()
        let_go.wait(PATIENCE_SECONDS)
    return outcome


def close_and_count() -> int:
    """Close the hour from seven to eight as an accrual does; the votes that it counts."""
    with transaction.atomic():
        close_stretch("cc_vote", SEVEN, EIGHT)
        votes = ActivityEvent.objects.filter(metric="cc_vote", occurred_at__gte=SEVEN, occurred_at__lt=EIGHT)
        return votes.filter(late=False).count()


def test_a_closer_waits_for_the_writer_under_way_and_counts_what_he_wrote(people):
    written, let_go = Event(), Event()
    with threads() as start:
        writer = start(write_and_hold, [event("alice"), event("bob")], written, let_go)
        written.wait(PATIENCE_SECONDS)
        closer = start(close_and_count)
        wait_until_waiting(1)
        assert not closer.done()
        let_go.set()

        assert writer.result().late == 0
        assert closer.result() == 2


def test_a_writer_waits_for_the_closer_and_then_knows_that_he_is_late(people):
    with threads() as start:
        with transaction.atomic():
            close_stretch("cc_vote", SEVEN, EIGHT)
            writer = start(lambda: record_events([event("alice"), event("alice", when="2026-03-14T08:00")], at=NOON))
            wait_until_waiting(1)
            assert not ActivityEvent.objects.exists()

        assert (writer.result().accepted, writer.result().late) == (2, 1)


def test_writers_who_come_after_a_closer_queue_behind_him(people):
    """Else a closer beside writers who never pause would wait for ever."""
    written, let_go = Event(), Event()
    with threads() as start:
        start(write_and_hold, [event("alice")], written, let_go)
        written.wait(PATIENCE_SECONDS)
        closer = start(close_and_count)
        wait_until_waiting(1)
        second_writer = start(lambda: record_events([event("bob")], at=NOON))
        wait_until_waiting(2)
        let_go.set()

        assert closer.result() == 1
        assert second_writer.result().late == 1


def test_writers_of_other_metrics_do_not_wait_for_a_closer(people):
    with threads() as start, transaction.atomic():
        close_stretch("cc_vote", SEVEN, EIGHT)
        outcome = start(lambda: record_events([event("alice", metric="logins")], at=NOON)).result(PATIENCE_SECONDS)

    assert outcome.accepted == 1


def test_in_a_crowd_every_vote_is_either_counted_or_late(people):
    def keep_voting(user: str) -> None:
        for _ in range(30):
            record_events([event(user), event(user)], at=NOON)

    with threads() as start:
        writers = [start(keep_voting, user) for user in ("alice", "bob", "carol", "alice")]
        wait_for_votes(40)
        counted = start(close_and_count).result(PATIENCE_SECONDS)
        for writer in writers:
            writer.result(PATIENCE_SECONDS)

    assert counted >= 40
    assert counted + len(late_ids()) == ActivityEvent.objects.count() == 240


def wait_for_votes(count: int) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while ActivityEvent.objects.count() < count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"There were never {count} votes.")


def test_writers_with_the_same_events_and_unknown_users_write_each_once(db):
    """Shuffled and cut differently for each writer: the order of writing must not let two wait for each other."""
    events = [event(f"user-{number % 40}", f"{number + 1}", event_id=f"e{number:04}") for number in range(800)]

    def import_in_an_order_of_its_own(seed: int) -> Outcome:
        chance = random.Random(seed)
        mine = chance.sample(events, len(events))
        size = chance.randrange(50, 200)
        outcomes = [
            record_events(mine[first : first + size], create_users=True, at=NOON) for first in range(0, len(mine), size)
        ]
        return Outcome(
            accepted=sum(outcome.accepted for outcome in outcomes),
            duplicates=sum(outcome.duplicates for outcome in outcomes),
            users_created=sum(outcome.users_created for outcome in outcomes),
        )

    with threads() as start:
        outcomes = [future.result() for future in [start(import_in_an_order_of_its_own, seed) for seed in range(6)]]

    assert sum(outcome.accepted for outcome in outcomes) == ActivityEvent.objects.count() == 800
    assert sum(outcome.duplicates for outcome in outcomes) == 5 * 800
    assert sum(outcome.users_created for outcome in outcomes) == User.objects.count() == 40
    assert_counters_are_the_sums_of_events()


def test_writers_with_different_events_of_the_same_users_do_not_deadlock(db):
    """Each has the users in an order of his own."""

    def vote_for_everybody(seed: int) -> None:
        chance = random.Random(seed)
        for call in range(8):
            users = chance.sample(range(300), 200)
            events = [
                event(f"user-{user}", "0.5", event_id=f"{seed}:{call}:{place:03}") for place, user in enumerate(users)
            ]
            record_events(events, create_users=True, at=NOON)

    with threads() as start:
        for future in [start(vote_for_everybody, seed) for seed in range(5)]:
            future.result()

    assert ActivityEvent.objects.count() == 5 * 8 * 200
    assert_counters_are_the_sums_of_events()


def test_counters_rebuilt_amid_writing_are_right(people):
    def keep_voting(user: str) -> None:
        for _ in range(25):
            record_events([event(user, "0.5"), event("carol", "0.25", metric="logins")], at=NOON)

    def keep_rebuilding() -> int:
        return sum(rebuild_counters() for _ in range(25))

    with threads() as start:
        futures = [start(keep_voting, user) for user in ("alice", "bob", "carol")] + [start(keep_rebuilding)]
        *_, corrected = [future.result() for future in futures]

    assert corrected == 0
    assert_counters_are_the_sums_of_events()


def assert_counters_are_the_sums_of_events() -> None:
    sums = ActivityEvent.objects.values_list("user_id", "metric").annotate(Sum("quantity"))
    expected = {(user_id, metric): quantity for user_id, metric, quantity in sums}
    for month in ("", "2026-03"):
        totals = Counter.objects.filter(month=month).values_list("user_id", "metric", "quantity")
        assert {(user_id, metric): quantity for user_id, metric, quantity in totals} == expected
