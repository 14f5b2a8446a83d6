"""Reading what ran."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import OuterRef, Subquery, Value
from django.db.models.functions import Replace
from django_celery_beat.models import PeriodicTask

from rewards.jobs.models import JobRun
from rewards.jobs.processes import SCHEDULER, WORKER, seconds_of_silence
from rewards.jobs.registry import task_name
from rewards.parameters.services import param


def newest_runs() -> dict[str, JobRun]:
    """The newest run of each scheduled job, by the name of the job: one look into an index a job."""
    runs = JobRun.objects.filter(job=OuterRef("job_name")).order_by("-started_at").values("pk")
    tasks = PeriodicTask.objects.annotate(job_name=Replace("task", Value(task_name("")), Value("")))
    newest = tasks.annotate(newest=Subquery(runs[:1])).values("newest")
    return {run.job: run for run in JobRun.objects.filter(pk__in=newest)}


def runs_by_itself(job: str) -> bool:
    """Whether a job is begun when it is due: its schedule is on, and a scheduler and a worker are alive."""
    longest = param("health.stale_after_seconds")
    heard = (seconds_of_silence(kind) for kind in (SCHEDULER, WORKER))
    if not all(seconds is not None and seconds <= longest for seconds in heard):
        return False
    return PeriodicTask.objects.filter(task=task_name(job), enabled=True).exists()


def is_stuck(run: JobRun, at: datetime, lost_after_seconds: int) -> bool:
    """Whether a run that is said to be going on has not been heard of."""
    return run.status == JobRun.Status.RUNNING and at - run.heartbeat_at > timedelta(seconds=lost_after_seconds)
