"""Reading the month's rewards: the jobs, what is due, what a user got."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Min, QuerySet

from rewards.common.periods import Month
from rewards.distributions.models import Distribution, Reward
from rewards.monthly.models import PROGRAMME, MonthlyRewardJob, RankingCategory

DUE_AFTER = timedelta(minutes=5)
"""A month is due at 00:05 of the first day of the next one."""


def previous_month(at: datetime) -> Month:
    """The month before the one of `at`, in the product's zone."""
    return Month.containing(at, settings.REWARDS_TIME_ZONE).previous()


def due_months(at: datetime) -> list[Month]:
    """The months that the schedule is to pay and that have no job, oldest first.

    From the month on since when a category is active; earlier ones are started by hand or through the API.
    """
    since = active_since()
    return months_without_job(since, MonthlyRewardJob.objects.filter(year__gte=since.year - 1), at) if since else []


def active_since() -> datetime | None:
    """Since when there has been a category that is active now."""
    return RankingCategory.objects.filter(active=True).aggregate(first=Min("active_since"))["first"]


def months_without_job(since: datetime, jobs: Iterable[MonthlyRewardJob], at: datetime) -> list[Month]:
    """The months from that of `since` on that are due at `at` and have none of these jobs, oldest first."""
    month, last = Month.containing(since, settings.REWARDS_TIME_ZONE), previous_month(at - DUE_AFTER)
    months = []
    while (month.year, month.month) <= (last.year, last.month):
        months.append(month)
        month = month.next()
    done = {(job.year, job.month) for job in jobs}
    return [month for month in months if (month.year, month.month) not in done]


def newest_job() -> MonthlyRewardJob | None:
    """Of the newest month."""
    return MonthlyRewardJob.objects.first()


def distributions_of(job: MonthlyRewardJob) -> QuerySet[Distribution]:
    """What the job has opened, a distribution for each category."""
    under = Distribution.objects.filter(programme__startswith=f"{PROGRAMME}:", period_key=job.period_key)
    return under.select_related("currency").order_by("programme")


def slug_of(programme: str) -> str:
    """The slug of the category: `students` of `monthly:students`."""
    return programme.partition(":")[2]


def tier_of(reward: Reward) -> str:
    """The name of the best tier that paid the reward; empty when none did.

    Equals who share the sum of their places may be paid from several.
    """
    names = (part["name"] for part in reward.distribution.results.get("slices", ()))
    return next((name for name in names if name in reward.breakdown), "")
