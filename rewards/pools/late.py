"""Votes that came too late for their hour: counted, and what they would have changed. History itself never moves."""

from __future__ import annotations

from collections import Counter

from rewards.activity.models import ActivityEvent
from rewards.common.periods import Hour
from rewards.distributions.late import changes
from rewards.distributions.models import Distribution
from rewards.distributions.programmes import LateChange
from rewards.pools.accrual import hour_figures
from rewards.pools.models import Pool
from rewards.pools.queries import CC_VOTE, both_pools, calendar_of, late_votes, stretch_of, votes_between
from rewards.pools.ranking import Votes, measures_named, ranking


def count_late_votes(pool: Pool) -> int:
    """Bring `late_events` of the pool's payouts up to date; returns how many payouts changed."""
    calendar = calendar_of(pool)
    counts = Counter(
        calendar.containing(at).key for at in late_votes().values_list("occurred_at", flat=True).iterator()
    )
    frozen = Distribution.objects.filter(programme=pool.programme).exclude(frozen_at=None)
    known = dict(frozen.filter(late_events__gt=0).values_list("period_key", "late_events"))
    changed = 0
    for period_key, count in counts.items():
        if known.get(period_key) != count:
            changed += frozen.filter(period_key=period_key).update(late_events=count)
    return changed


def payout_with_late_votes(distribution: Distribution) -> list[LateChange]:
    """Who would have been given something else, in the order of the ranking as it would have been.

    The late votes count with what they would have brought in; rule and carries are those of the payout, rates, shares
    and vote weights those of today. Nothing is written: the difference may be paid as a correction.
    """
    starts_at, ends_at = stretch_of(distribution)
    every_vote = ActivityEvent.objects.filter(metric=CC_VOTE, occurred_at__gte=starts_at, occurred_at__lt=ends_at)
    snapshot = ranking(every_vote, measures_named(distribution.rule))
    return changes(distribution, distribution.amount + _brought_in_late(distribution, every_vote), snapshot)


def _brought_in_late(distribution: Distribution, every_vote: Votes) -> int:
    """Minor units that the late votes would have added to the pool."""
    pools = both_pools()
    (pool,) = [pool for pool in pools if pool.programme == distribution.programme]
    late = every_vote.filter(late=True).values_list("occurred_at", flat=True)
    added = 0
    for hour in sorted({Hour.containing(at) for at in late.iterator()}):
        of_hour = every_vote.filter(occurred_at__gte=hour.start, occurred_at__lt=hour.end)
        whole = hour_figures(hour, of_hour, *pools)
        counted = hour_figures(hour, votes_between(hour.start, hour.end), *pools)
        added += getattr(whole, f"{pool.slug}_amount") - getattr(counted, f"{pool.slug}_amount")
    return added
