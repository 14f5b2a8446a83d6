"""What a run would pay, worked out without writing or locking anything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction

from rewards.allocation.rules import Allocation, allocate
from rewards.distributions.models import Distribution
from rewards.distributions.programmes import Draft, Snapshot
from rewards.distributions.rows import participants_of
from rewards.pools.accrual import hours_with_votes
from rewards.pools.models import Accrual, Pool
from rewards.pools.periods import PoolPeriod
from rewards.pools.queries import (
    next_vote_at,
    periods_left,
    rate_before,
    topped_up,
    untaken_carries,
    votes_between,
)
from rewards.pools.ranking import measures_named, ranking
from rewards.users.models import User

Status = Distribution.Status


@dataclass(frozen=True)
class Forecast:
    """What one period would come to; minor units."""

    period_key: str
    amount: int
    participants: int
    recipients: int
    paid: int
    carried: int
    bonus: int = 0


def forecast(pool: Pool, at: datetime, before: datetime | None = None) -> Iterator[Forecast]:
    """Every period that a run at `at` would settle, oldest first; quiet ones without anything to pay included.

    With `before` only those that begin before that instant.
    What was allocated earlier is shown as it stands. Raises what the run would fail with (`NoRate`, a rule's error).
    """
    carried: int | None = None
    left = [period for period in periods_left(pool, at) if before is None or period.start < before]
    standing = _standing(pool) if left else {}
    for period in left:
        if period.key in standing:
            line = _of_distribution(standing[period.key])
        else:
            if carried is None:
                carried = _carried(pool, period)
            line = _of_period(pool, period, carried)
        carried = line.carried
        yield line


def drafted(pool: Pool, period: PoolPeriod, carried: int, measures: set[str]) -> Draft:
    """What the period would freeze: what has accrued and what would, top-ups, `carried` from before, and who voted."""
    amount = _amount(pool, period, carried)
    snapshot = ranking(votes_between(period.start, period.end), measures)
    return Draft(pool.currency, amount, snapshot, pool.rule, pool.tie_policy)


def carried_into(pool: Pool, period: PoolPeriod, at: datetime) -> int:
    """Minor units that a run at `at` would carry into this period; raises like `forecast`."""
    carried = _carried(pool, period)
    for line in forecast(pool, at, before=period.start):
        carried = line.carried
    return carried


# --------------------------------------------------------------------------------------------------------------- steps


def _carried(pool: Pool, period: PoolPeriod) -> int:
    """Minor units that earlier periods left and none has taken up yet."""
    return sum(amount for _, amount in untaken_carries(pool.programme, period.start, pool.currency_id))


def _standing(pool: Pool) -> dict[str, Distribution]:
    """What is allocated and not yet paid, by period key."""
    allocated = Distribution.objects.filter(programme=pool.programme).exclude(allocated_at=None)
    unpaid = allocated.exclude(status__in=[Status.PAID, Status.CANCELLED, Status.REVERSED])
    return {distribution.period_key: distribution for distribution in unpaid}


def _of_distribution(distribution: Distribution) -> Forecast:
    return Forecast(
        distribution.period_key,
        distribution.amount,
        distribution.participants,
        distribution.recipients,
        distribution.amount - distribution.carried_over - distribution.paid_amount,
        distribution.carried_over,
    )


def _of_period(pool: Pool, period: PoolPeriod, carried: int) -> Forecast:
    if next_vote_at(period.start, before=period.end) is None:
        amount = _amount(pool, period, carried)
        return Forecast(period.key, amount, 0, 0, 0, amount)
    draft = drafted(pool, period, carried, measures_named(pool.rule))
    allocation = allocate(
        draft.rule,
        draft.amount,
        participants_of(draft.snapshot),
        decimals=draft.currency.decimals,
        tie_policy=draft.tie_policy,
    )
    return Forecast(
        period.key,
        draft.amount,
        len(draft.snapshot),
        int((allocation.amounts > 0).sum()),
        draft.amount - allocation.unpaid,
        allocation.unpaid,
        _bonus(pool, period, draft.snapshot, allocation),
    )


def _amount(pool: Pool, period: PoolPeriod, carried: int) -> int:
    return carried + _accruing(pool, period) + topped_up(pool, period.key, pool.currency_id)


def _accruing(pool: Pool, period: PoolPeriod) -> int:
    """What accrued and, of the hours that are not accrued yet, what would."""
    accruals = Accrual.objects.filter(hour__gte=period.start, hour__lt=period.end)
    rows = list(accruals.values_list("hour", "currency", f"{pool.slug}_amount"))
    recorded = {hour for hour, _, _ in rows}
    accrued = sum(amount for _, currency_id, amount in rows if currency_id == pool.currency_id)
    if len(recorded) == period.hours:
        return accrued
    missing = (figures for figures in hours_with_votes(period.start, period.end) if figures.hour.start not in recorded)
    return accrued + sum(getattr(figures, f"{pool.slug}_amount") for figures in missing)


def _bonus(pool: Pool, period: PoolPeriod, snapshot: Snapshot, allocation: Allocation) -> int:
    rate = rate_before(period.end)
    if pool.slug != Pool.Slug.DAILY or rate is None or not rate.bonus_rate:
        return 0
    share = Fraction(rate.bonus_rate)
    in_market = set(User.objects.filter(has_cc_market=True).values_list("pk", flat=True))
    rewards = zip(snapshot.user_ids.tolist(), allocation.amounts.tolist(), strict=True)
    return sum(amount * share.numerator // share.denominator for user_id, amount in rewards if user_id in in_market)
