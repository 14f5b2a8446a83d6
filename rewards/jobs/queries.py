"""Reading what ran."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import OuterRef, Subquery, Value
from django.db.models.functions import Replace
from django_celery_beat.models import PeriodicTask

from rewards.jobs.models import JobRun
from rewards.jobs.registry import task_name


def newest_runs() -> dict[str, JobRun]:
    """The newest run of each scheduled job, by the name of the job: one look into an index a job."""
    runs = JobRun.objects.filter(job=OuterRef("job_name")).order_by("-started_at").values("pk")
    tasks = PeriodicTask.objects.annotate(job_name=Replace("task", Value(task_name("")), Value("")))
    ids = set(tasks.annotate(newest=Subquery(runs[:1])).values_list("newest", flat=True))
    return {run.job: run for run in JobRun.objects.filter(pk__in=ids - {None})}


def is_stuck(run: JobRun, at: datetime, lost_after_seconds: int) -> bool:
    """Whether a run that is said to be going on has not been heard of."""
    return run.status == JobRun.Status.RUNNING and at - run.heartbeat_at > timedelta(seconds=lost_after_seconds)
