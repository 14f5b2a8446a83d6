"""Several processes at once: every period once, every amount as if one had done it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.db import connection

from rewards.common.periods import Hour
from rewards.distributions.models import Distribution
from rewards.ledger.models import Journal
from rewards.pools.models import Accrual, CarryOver
from rewards.pools.services import PeriodFrozen, accrue, accrue_hour, run_daily, run_hourly, top_up
from tests.rewards.pools.conftest import amounts, holds, instant, payout, record_votes
from tests.rewards.pools.test_catch_up import cast_votes_over_four_days, outcome_of

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]

NOON = instant("2026-03-14T12:00")


def at_once(*works: Callable[[], object]) -> list[object]:
    """Run each in a thread with a connection of its own, all starting together; what they returned."""
    barrier = Barrier(len(works))

    def work_in_thread(work: Callable[[], object]) -> object:
        try:
            barrier.wait(timeout=30)
            return work()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(works)) as executor:
        return [future.result(timeout=120) for future in [executor.submit(work_in_thread, work) for work in works]]


def test_an_hour_that_many_accrue_is_accrued_once(pools, vote):
    vote("alice", "3", "2026-03-10T07:10")
    hour = Hour.parse("2026-03-10T07")

    accruals = at_once(*[lambda: accrue_hour(hour, NOON)] * 6)

    assert len({accrual.pk for accrual in accruals}) == 1
    assert Journal.objects.count() == 1
    assert holds("issuance") == -300


def test_hours_and_whole_days_accrued_at_once_do_not_deadlock(pools, vote):
    for hour in range(24):
        vote("alice", "1", f"2026-03-10T{hour:02}:10")
    day = instant("2026-03-10T00:00"), instant("2026-03-11T00:00")

    at_once(
        lambda: accrue(*day, NOON),
        lambda: [accrue_hour(Hour.parse(f"2026-03-10T{hour:02}"), NOON) for hour in range(24)],
        lambda: [accrue_hour(Hour.parse(f"2026-03-10T{hour:02}"), NOON) for hour in reversed(range(24))],
        lambda: accrue(*day, NOON),
    )

    assert Accrual.objects.filter(intake=100).count() == 24
    assert holds("issuance") == -2400


def test_two_hourly_and_two_daily_runs_at_once_pay_what_one_would(pools, vote):
    cast_votes_over_four_days(vote)
    alone = outcome_of(lambda: run_hourly(NOON), lambda: run_daily(NOON))

    results = at_once(*[lambda: run_hourly(NOON)] * 2, *[lambda: run_daily(NOON)] * 2)

    assert [result.failures for result in results] == [[], [], [], []]
    together = amounts() | {code: holds(code) for code in ("pool:hourly", "pool:daily", "issuance")}
    assert together == alone
    assert set(Distribution.objects.values_list("status", flat=True)) == {"paid"}


def test_votes_that_come_while_their_hour_closes_are_counted_or_late_but_never_lost(pools, vote):
    vote("alice", "1", "2026-03-10T07:00")
    hour = Hour.parse("2026-03-10T07")

    def keep_voting() -> int:
        return sum(record_votes("bob", "1", "2026-03-10T07:30") for _ in range(40))

    late_here, late_there, accrual = at_once(keep_voting, keep_voting, lambda: accrue_hour(hour, NOON))

    accrual.refresh_from_db()
    assert accrual.votes + late_here + late_there == 81
    assert holds("issuance") == -100 * accrual.votes


def test_a_top_up_gets_into_the_period_or_is_refused(pools, vote, alice):
    hourly, _ = pools
    vote("alice", "1", "2026-03-10T07:10")

    def keep_topping_up() -> int:
        done = 0
        for number in range(50):
            try:
                top_up(hourly, 1, "2026-03-10T07", f"{number}", "a unit", alice, at=NOON)
            except PeriodFrozen:
                break
            done += 1
        return done

    topped_up, _ = at_once(keep_topping_up, lambda: run_hourly(instant("2026-03-10T08:30")))

    assert payout("pool_hourly", "2026-03-10T07").amount == 25 + topped_up
    assert holds("pool:hourly") == 0
    assert not CarryOver.objects.exists()
