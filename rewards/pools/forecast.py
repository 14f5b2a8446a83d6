"""What a run would pay, worked out without writing or locking anything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction

from rewards.allocation.rules import Allocation, allocate
from rewards.distributions.models import Distribution
from rewards.distributions.programmes import Snapshot
from rewards.distributions.rows import participants_of
from rewards.pools.accrual import hours_with_votes
from rewards.pools.models import Accrual, Pool
from rewards.pools.periods import PoolPeriod
from rewards.pools.queries import (
    accrued_to,
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


def forecast(pool: Pool, at: datetime) -> Iterator[Forecast]:
    """Every period that a run at `at` would settle, oldest first; quiet ones without anything to pay included.

    What was allocated earlier is shown as it stands. Raises what the run would fail with (`NoRate`, a rule's error).
    """
    carried: int | None = None
    standing = _standing(pool)
    for period in periods_left(pool, at):
        if period.key in standing:
            line = _of_distribution(standing[period.key])
        else:
            if carried is None:
                carried = sum(amount for _, amount in untaken_carries(pool.programme, period.start, pool.currency_id))
            line = _of_period(pool, period, carried)
        carried = line.carried
        yield line


# --------------------------------------------------------------------------------------------------------------- steps


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
    amount = carried + _accruing(pool, period) + topped_up(pool, period.key, pool.currency_id)
    if next_vote_at(period.start, before=period.end) is None:
        return Forecast(period.key, amount, 0, 0, 0, amount)
    snapshot = ranking(votes_between(period.start, period.end), measures_named(pool.rule))
    allocation = allocate(
        pool.rule, amount, participants_of(snapshot), decimals=pool.currency.decimals, tie_policy=pool.tie_policy
    )
    return Forecast(
        period.key,
        amount,
        len(snapshot),
        int((allocation.amounts > 0).sum()),
        amount - allocation.unpaid,
        allocation.unpaid,
        _bonus(pool, period, snapshot, allocation),
    )


def _accruing(pool: Pool, period: PoolPeriod) -> int:
    """What accrued and, of the hours that are not accrued yet, what would."""
    recorded = set(Accrual.objects.filter(hour__gte=period.start, hour__lt=period.end).values_list("hour", flat=True))
    accrued = accrued_to(pool, period.start, period.end, pool.currency_id)
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
