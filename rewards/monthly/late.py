"""Counting the events that came when their month was closed."""

from __future__ import annotations

from datetime import datetime, timedelta

from rewards.activity.models import ActivityEvent
from rewards.distributions.models import Distribution
from rewards.monthly.models import MonthlyRewardJob, RankingCategory
from rewards.monthly.queries import distributions_of, slug_of

COUNTED_FOR = timedelta(days=62)
"""So long after the end of a month its late events are counted."""


def count_late_events(at: datetime) -> None:
    """Bring `late_events` of the last months' payouts up to date; what they would have changed is on their pages."""
    for job in MonthlyRewardJob.objects.filter(year__gte=(at - COUNTED_FOR).year - 1):
        for distribution in distributions_of(job).filter(ends_at__gt=at - COUNTED_FOR).exclude(allocated_at=None):
            slug = slug_of(distribution.programme)
            if slug in job.categories:
                _count(distribution, job.category(slug))


def _count(distribution: Distribution, category: RankingCategory) -> None:
    late = ActivityEvent.objects.filter(
        metric__in=category.score,
        occurred_at__gte=distribution.starts_at,
        occurred_at__lt=distribution.ends_at,
        counted_month=None,
        user__is_active=True,
    )
    if category.group_id is not None:
        late = late.filter(user__groups=category.group_id)
    count = late.count()
    Distribution.objects.filter(pk=distribution.pk).exclude(late_events=count).update(late_events=count)
