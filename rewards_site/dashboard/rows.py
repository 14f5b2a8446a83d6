"""The rows that more than one part of the dashboard shows, each read once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import QuerySet

from rewards.alerts.models import Alert
from rewards.common.reading import found_by_any
from rewards.distributions.models import Distribution
from rewards.distributions.queries import DONE, PeriodState, state_of, unfinished
from rewards.monthly.models import MonthlyRewardJob
from rewards.monthly.queries import distributions_of, months_without_job
from rewards.pools.models import Pool
from rewards.pools.periods import PoolPeriod
from rewards.pools.queries import (
    first_instants,
    first_period,
    is_settled,
    newest_opened,
    oldest_unfinished,
    period_in_line,
)

DISTRIBUTIONS_SHOWN = 10
ALERTS_SHOWN = 8
# None of them is needed to say where a payout stands, and each may be long.
LONG = ("rule", "results", "seconds", "error_stack")


@dataclass(frozen=True)
class Months:
    """The newest month that has a job, and those that are due and have none, oldest first, as `2026-10`."""

    newest: MonthlyRewardJob | None = None
    late: list[str] = field(default_factory=list)


def months(since: datetime | None, at: datetime, late_before: datetime) -> Months:
    """`since` is when the first active category began; what ended after `late_before` is not late yet."""
    every = MonthlyRewardJob.objects.all()
    recent = every.filter(year__gte=since.year - 1) if since else every.none()
    jobs = list(found_by_any(every[:1], recent))
    missing = months_without_job(since, jobs, at) if since else []
    return Months(jobs[0] if jobs else None, [month.key for month in missing if month.end < late_before])


@dataclass(frozen=True)
class Payouts:
    """Distributions that are not done, the newest, the newest month's, and where the pools stand, out of one read."""

    rows: Sequence[Distribution]
    at: datetime

    @property
    def newest(self) -> list[Distribution]:
        return sorted(self.rows, key=lambda row: -row.pk)[:DISTRIBUTIONS_SHOWN]

    @property
    def unfinished(self) -> list[PeriodState]:
        """Where those stand that are not done, oldest first."""
        left = [row for row in self.rows if row.status not in DONE]
        return [
            state_of(row, self.at) for row in sorted(left, key=lambda row: (row.starts_at or row.opened_at, row.pk))
        ]

    def of_month(self, job: MonthlyRewardJob) -> list[Distribution]:
        return [row for row in self.rows if row.programme.startswith("monthly:") and row.period_key == job.period_key]

    def standing_of(self, pool: Pool) -> Distribution | None:
        """The oldest one of a pool that is not settled, else its newest; None while there is none."""
        of_pool = [row for row in self.rows if row.programme == pool.programme and row.starts_at]
        of_pool.sort(key=lambda row: row.starts_at or row.opened_at)
        left = [row for row in of_pool if not is_settled(row)]
        return left[0] if left else of_pool[-1] if of_pool else None


def in_line(pools: Sequence[Pool], payouts: Payouts) -> list[tuple[Pool, PoolPeriod | None]]:
    """Each pool with the period that it pays next; None while nobody has voted."""
    standing = {pool.pk: payouts.standing_of(pool) for pool in pools}
    new = [pool for pool in pools if standing[pool.pk] is None]
    first = first_instants(new) if new else {}
    return [
        (pool, period_in_line(pool, found) if (found := standing[pool.pk]) else first_period(pool, first[pool.pk]))
        for pool in pools
    ]


def payouts(job: MonthlyRewardJob | None, at: datetime) -> Payouts:
    """What the dashboard says of distributions, by one statement; `job` is the newest month's."""
    every = Distribution.objects.all()
    wanted: list[QuerySet[Distribution]] = [every.order_by("-pk")[:DISTRIBUTIONS_SHOWN], unfinished()]
    for slug in Pool.Slug.values:
        of_pool = every.filter(programme=Pool(slug=slug).programme)
        wanted += [oldest_unfinished(of_pool), newest_opened(of_pool)]
    if job is not None:
        wanted.append(distributions_of(job))
    return Payouts(list(found_by_any(*wanted).select_related("currency").defer(*LONG)), at)


def open_alerts(codes: Sequence[str]) -> list[Alert]:
    """The newest open alerts, and the newest of these codes, last seen first."""
    is_open = Alert.objects.filter(resolved_at=None).order_by("-last_seen")
    found = found_by_any(is_open[:ALERTS_SHOWN], is_open.filter(code__in=codes)[:ALERTS_SHOWN])
    return list(found.order_by("-last_seen"))
