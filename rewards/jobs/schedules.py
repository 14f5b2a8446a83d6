"""Rows of django-celery-beat for the jobs of the registry."""

from __future__ import annotations

from django.db import transaction
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask

from rewards.jobs.registry import JOBS, Crontab, Every, Job, task_name


def create_missing_schedules() -> list[str]:
    """Give each job that has no row one; names of those created.

    A row that stands is an operator's: its schedule, and whether it is enabled, are never touched again.
    """
    standing = set(PeriodicTask.objects.values_list("task", flat=True))
    missing = {name: job for name, job in JOBS.items() if task_name(name) not in standing}
    with transaction.atomic():
        for name, job in missing.items():
            _create(name, job)
    return list(missing)


def _create(name: str, job: Job) -> None:
    row = PeriodicTask(
        name=name, task=task_name(name), description=job.description, expire_seconds=job.poke_expires_seconds
    )
    if isinstance(job.schedule, Every):
        row.interval = _interval(job.schedule)
    else:
        row.crontab = _crontab(job.schedule)
    row._change_reason = "default"
    row.save()


def _interval(schedule: Every) -> IntervalSchedule:
    fields = {"every": schedule.seconds, "period": IntervalSchedule.SECONDS}
    return IntervalSchedule.objects.filter(**fields).first() or IntervalSchedule.objects.create(**fields)


def _crontab(schedule: Crontab) -> CrontabSchedule:
    fields = {"minute": schedule.minute, "hour": schedule.hour, "timezone": "UTC"}
    fields |= dict.fromkeys(("day_of_week", "day_of_month", "month_of_year"), "*")
    return CrontabSchedule.objects.filter(**fields).first() or CrontabSchedule.objects.create(**fields)
