"""The programmes of the pools, as the engine asks for them: how much there is, who takes part, what to report."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from django.db.models import QuerySet

from rewards.allocation.rules import Measure
from rewards.common.errors import RewardsError
from rewards.distributions.errors import NotYet
from rewards.distributions.models import Distribution, Reward
from rewards.distributions.programmes import Draft, LateChange, NoPreview, Programme, Snapshot, register
from rewards.distributions.services import open_distribution
from rewards.ledger.models import TREASURY
from rewards.ledger.services import system_account
from rewards.pools.accrual import accrue
from rewards.pools.forecast import carried_into, drafted
from rewards.pools.inputs import MEASURES
from rewards.pools.late import payout_with_late_votes
from rewards.pools.models import CarryOver, Pool
from rewards.pools.periods import PoolPeriod
from rewards.pools.queries import (
    NoPools,
    accrued_to,
    calendar_of,
    earlier_one_missing,
    periods_not_opened,
    rate_before,
    stretch_of,
    topped_up,
    untaken_carries,
    votes_between,
)
from rewards.pools.ranking import measures_named, ranking
from rewards.pools.reports import report_payout, write_partner_transfers

CC_MARKET = "cc_market"
BONUS_RULE: dict[str, Any] = {"rule": "fixed"}


class DayNotPaid(RewardsError):
    """The market bonus follows the daily payout: that one is not paid."""

    code = "day_not_paid"


class PoolProgramme(Programme):
    """A period of a pool pays what accrued to it in the period, and what earlier ones could not pay."""

    def __init__(self, slug: str) -> None:
        self.slug = slug

    def amount(self, distribution: Distribution) -> int:
        """Accrues what is not yet, then adds up. Raises `NotYet` while the period before is not allocated."""
        pool = Pool.objects.get(slug=self.slug)
        period = calendar_of(pool).parse(distribution.period_key)
        before = earlier_one_missing(pool, period)
        if before is not None:
            raise NotYet(f"{pool.programme} {period.key} waits: {before.key} is not allocated yet.")
        starts_at, ends_at = stretch_of(distribution)
        accrue(starts_at, ends_at, distribution.opened_at)
        # From here on nobody tops up this period, and no other one takes what this one takes.
        Pool.objects.select_for_update(no_key=True).get(pk=pool.pk)
        accrued = accrued_to(pool, starts_at, ends_at, distribution.currency_id)
        return accrued + topped_up(pool, period.key, distribution.currency_id) + take_carries(distribution)

    def snapshot(self, distribution: Distribution) -> Snapshot:
        return ranking(votes_between(*stretch_of(distribution)), measures_named(distribution.rule))

    def due_periods(self, at: datetime) -> list[PoolPeriod]:
        """None of a pool that is switched off: no run begins them."""
        pool = Pool.objects.filter(slug=self.slug, active=True).first()
        return periods_not_opened(pool, at) if pool else []

    def paid(self, distribution: Distribution) -> None:
        report_payout(distribution, self.slug)
        if self.slug == Pool.Slug.HOURLY:
            write_partner_transfers(distribution)
        else:
            open_market_bonus(distribution)

    def draft(self, name: str, period_key: str, at: datetime) -> Draft:
        """With every measure that a rule may ask for. A period that is not over: what it has come to so far."""
        pool = Pool.objects.select_related("currency").filter(slug=self.slug).first()
        if pool is None:
            raise NoPools
        try:
            period = calendar_of(pool).parse(period_key)
        except ValueError as error:
            raise NoPreview(f"{name} has no period {period_key!r}: {error}") from error
        if period.start > at:
            raise NoPreview(f"{name} {period_key} has not begun yet.")
        return drafted(pool, period, carried_into(pool, period, at), set(MEASURES))

    def late_changes(self, distribution: Distribution) -> list[LateChange]:
        return payout_with_late_votes(distribution)


class MarketBonus(Programme):
    """What partners in the CC market get on top of a paid day: the floor of their reward times the bonus rate."""

    def amount(self, distribution: Distribution) -> int:
        return sum(row.bonus for row in bonus_rows(_day_of(distribution)))

    def snapshot(self, distribution: Distribution) -> Snapshot:
        day = _day_of(distribution)
        return _snapshot(day, bonus_rows(day))

    def due_periods(self, at: datetime) -> list[PoolPeriod]:
        return []  # a bonus is opened with the day that it follows

    def paid(self, distribution: Distribution) -> None:
        report_payout(distribution, CC_MARKET)

    def draft(self, name: str, period_key: str, at: datetime) -> Draft:
        """Of a day that is allocated, paid or not yet."""
        days = Distribution.objects.select_related("currency").exclude(allocated_at=None)
        standing = days.exclude(status__in=[Distribution.Status.CANCELLED, Distribution.Status.REVERSED])
        day = standing.filter(programme="pool_daily", period_key=period_key).first()
        if day is None:
            raise NoPreview(f"{name} follows the daily payout: pool_daily {period_key} is not allocated.")
        rows = bonus_rows(day)
        return Draft(day.currency, sum(row.bonus for row in rows), _snapshot(day, rows), BONUS_RULE)


def register_all() -> None:
    register("pool_hourly", PoolProgramme(Pool.Slug.HOURLY))
    register("pool_daily", PoolProgramme(Pool.Slug.DAILY))
    register(CC_MARKET, MarketBonus())


# ------------------------------------------------------------------------------------------------------------ carrying


def take_carries(distribution: Distribution) -> int:
    """Take up what earlier periods could not pay, and record from which; returns minor units.

    The caller holds the pool's row, so no other period takes the same.
    """
    starts_at, _ = stretch_of(distribution)
    carries = untaken_carries(distribution.programme, starts_at, distribution.currency_id)
    CarryOver.objects.bulk_create(
        CarryOver(source_id=source, target=distribution, amount=amount) for source, amount in carries
    )
    return sum(amount for _, amount in carries)


# -------------------------------------------------------------------------------------------------------- market bonus


class BonusRow(NamedTuple):
    """A rewarded partner in the CC market: what the day paid him, and the bonus on it, in minor units."""

    user_id: int
    username: str
    reward: int
    bonus: int


def bonus_rate(day: Distribution) -> Decimal:
    """The bonus rate in force at the day's end."""
    rate = rate_before(stretch_of(day)[1])
    return rate.bonus_rate if rate is not None else Decimal(0)


def bonus_rows(day: Distribution) -> list[BonusRow]:
    """In the day's order."""
    rate = Fraction(bonus_rate(day))
    rewarded = _rewarded_in_market(day).order_by("position").values_list("user_id", "user__username", "amount")
    return [
        BonusRow(user_id, username, amount, amount * rate.numerator // rate.denominator)
        for user_id, username, amount in rewarded.iterator(chunk_size=10_000)
    ]


def open_market_bonus(day: Distribution) -> None:
    """Decide, with the day's last payment, whether it has a market bonus; the bonus itself is paid on its own."""
    if not any(row.bonus for row in bonus_rows(day)):
        return
    starts_at, ends_at = stretch_of(day)
    open_distribution(
        CC_MARKET,
        day.period_key,
        starts_at=starts_at,
        ends_at=ends_at,
        currency=day.currency,
        source_account=system_account(TREASURY, day.currency),
        rule=BONUS_RULE,
        at=ends_at,
    )


def _snapshot(day: Distribution, rows: Sequence[BonusRow]) -> Snapshot:
    rate, places = _scaled(bonus_rate(day))
    return Snapshot(
        user_ids=np.fromiter((row.user_id for row in rows), dtype=np.int64, count=len(rows)),
        usernames=[row.username for row in rows],
        scores=Measure([row.reward for row in rows], day.currency.decimals),
        measures={"bonus_rate": Measure([rate] * len(rows), places)},
        amounts=[row.bonus for row in rows],
    )


def _rewarded_in_market(day: Distribution) -> QuerySet[Reward]:
    return Reward.objects.filter(distribution=day, amount__gt=0, user__has_cc_market=True)


def _day_of(bonus: Distribution) -> Distribution:
    day = Distribution.objects.select_related("currency").get(programme="pool_daily", period_key=bonus.period_key)
    if day.status != Distribution.Status.PAID:
        raise DayNotPaid(f"{day} is {day.status}: its market bonus is not paid.")
    return day


# ------------------------------------------------------------------------------------------------------------- helpers


def _scaled(number: Decimal) -> tuple[int, int]:
    places = max(0, -int(number.as_tuple().exponent))
    return int(Fraction(number) * 10**places), places
