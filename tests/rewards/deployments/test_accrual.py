"""The maths of what accrues: exact, floored to minor units, and no hour paid twice or lost."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest

from rewards.common.amounts import MAX_MINOR
from rewards.deployments.accrual import MICROSECOND, MICROSECONDS_PER_HOUR, Rate, exact, staking_per_hour

START = datetime(2026, 11, 21, 7, tzinfo=UTC)
RUNTIME = Rate(exact(10), exact("0.01"), 2)


def staking(staked: int, decimals: int = 2) -> Rate:
    return Rate(staking_per_hour(Fraction(staked), exact(0.05)), exact("0.001"), decimals)


def after(**passed: float) -> datetime:
    return START + timedelta(**passed)


@pytest.mark.parametrize(
    ("rate", "at", "payable"),
    [
        (RUNTIME, after(hours=1), 1000),
        (RUNTIME, after(hours=2, minutes=30), 2500),
        (RUNTIME, after(seconds=3.6), 0),  # 0.01 units, and it has to be more
        (RUNTIME, after(seconds=3.6, microseconds=1), 1),
        (RUNTIME, START, 0),
        (RUNTIME, after(hours=-1), 0),
        (Rate(exact(10), exact("0.01"), 0), after(minutes=5, seconds=59), 0),  # under a whole unit
        (Rate(exact(10), exact("0.01"), 0), after(minutes=6), 1),
        (Rate(exact(10), exact(5), 0), after(minutes=30), 0),
        (Rate(exact(10), exact(5), 0), after(minutes=36), 6),
        (Rate(exact(0), exact(0), 0), after(days=9), 0),
        (staking(1000), after(days=365), 5000),
        (staking(1000), after(hours=24), 13),  # 0.1369…
        (staking(1000, decimals=8), after(hours=1), 570776),  # 1000 × 0.05 ÷ 8760 = 0.00570776…
        (staking(876, decimals=3), after(minutes=12), 0),  # 0.001 units
        (staking(876, decimals=3), after(minutes=12, microseconds=1), 1),
        (staking(MAX_MINOR), after(days=36500), MAX_MINOR),
    ],
)
def test_what_is_payable(rate: Rate, at: datetime, payable: int) -> None:
    assert rate.payable(START, at) == payable


def test_a_rate_is_what_is_written() -> None:
    assert exact(0.1) == exact("0.1") == Fraction(1, 10)
    assert exact(1e-7) == Fraction(1, 10**7)
    assert exact(10) == 10


def test_hours_are_those_that_passed_and_not_those_the_clock_shows() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    evening, morning = datetime(2026, 10, 24, 12, tzinfo=berlin), datetime(2026, 10, 25, 12, tzinfo=berlin)

    assert RUNTIME.payable(evening, morning) == 25 * 1000  # the night in which an hour comes twice


@pytest.mark.parametrize(("amount", "microseconds"), [(1, 3_600_000), (1000, 3_600_000_000), (7, 25_200_000)])
def test_the_instant_moves_as_far_as_the_units_paid_for(amount: int, microseconds: int) -> None:
    assert RUNTIME.paid_until(START, amount) == START + microseconds * MICROSECOND


def test_between_two_microseconds_it_moves_to_the_later() -> None:
    third = Rate(exact(3), exact(0), 0)  # a unit each 20 minutes, 7 units an hour: each 514.285714… seconds
    seventh = Rate(exact(7), exact(0), 0)

    assert third.paid_until(START, 1) == after(minutes=20)
    assert seventh.paid_until(START, 1) == after(seconds=514, microseconds=285_715)


@pytest.mark.parametrize("seed", range(40))
def test_however_often_it_is_paid_it_is_never_too_much_and_never_a_whole_unit_less(seed: int) -> None:
    chance = random.Random(seed)
    decimals = chance.choice([0, 0, 2, 8])
    rates = [staking(chance.randint(1, 10**9), decimals), Rate(exact(chance.randint(1, 99)), exact("0.01"), decimals)]
    rate = chance.choice(rates)
    a_microsecond = rate.units_per_hour * 10**decimals / MICROSECONDS_PER_HOUR  # minor units
    start = at = START + timedelta(microseconds=chance.randint(0, 10**9))
    until, paid, payments = start, 0, 0
    for _ in range(60):
        at += timedelta(microseconds=chance.choice([1, 999, 10**6, 3 * 10**9, chance.randint(1, 10**12)]))
        amount = rate.payable(until, at)
        if amount and chance.random() < 0.3:
            amount = chance.randint(1, amount)  # less than could be
        if amount:
            moved = rate.paid_until(until, amount)
            assert until < moved <= at
            until, paid, payments = moved, paid + amount, payments + 1

        exact_total = rate.units_per_hour * 10**decimals * ((at - start) // MICROSECOND) / MICROSECONDS_PER_HOUR
        owed = paid + rate.accrued(until, at)
        assert paid <= owed <= exact_total
        # Each payment may round up to a microsecond, and what is under a unit goes on accruing.
        assert exact_total - owed < 1 + payments * a_microsecond
    assert payments > 5 or rate.accrued(start, at) < 10


def test_what_does_not_fit_an_amount_accrues_on() -> None:
    vast = staking(MAX_MINOR, decimals=8)
    century = START + timedelta(days=36_500)
    first = vast.payable(START, century)
    until = vast.paid_until(START, first)

    assert first == MAX_MINOR
    assert START < until < century
    assert vast.payable(until, century) == MAX_MINOR
