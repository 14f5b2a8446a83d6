"""What ran, when, with what result; and which processes are alive."""

from __future__ import annotations

from typing import Any

import simple_history
from django.db import models
from django.db.models.signals import pre_save
from django.dispatch import receiver
from django.utils import timezone
from django_celery_beat.models import PeriodicTask
from simple_history.models import HistoricalRecords

from rewards.common.errors import RewardsError
from rewards.jobs.registry import JOBS, task_name


class JobRun(models.Model):
    """One run of a job. The unique running row is the job's lock, across machines."""

    class Status(models.TextChoices):
        RUNNING = "running"
        SUCCEEDED = "succeeded"
        FAILED = "failed"
        LOST = "lost"  # its worker died: no heartbeat; another run took over

    job = models.CharField(max_length=60)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.RUNNING)
    trigger = models.CharField(max_length=20, default="schedule", help_text="schedule, command or operator")
    worker = models.CharField(max_length=120, blank=True)
    started_at = models.DateTimeField(default=timezone.now)
    heartbeat_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)
    seconds = models.FloatField(null=True, blank=True)
    items = models.PositiveBigIntegerField(default=0)
    successes = models.PositiveBigIntegerField(default=0)
    failures = models.PositiveBigIntegerField(default=0)
    overlaps = models.PositiveIntegerField(default=0, help_text="Calls skipped because this run was going on")
    results = models.JSONField(default=dict)
    error = models.TextField(blank=True)
    error_stack = models.TextField(blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["job"], condition=models.Q(status="running"), name="job_run_one_at_a_time"),
            models.CheckConstraint(
                condition=models.Q(status="running", finished_at__isnull=True)
                | (~models.Q(status="running") & models.Q(finished_at__isnull=False)),
                name="job_run_finished_or_running",
            ),
        ]
        indexes = [models.Index(fields=["job", "-started_at"], name="job_run_newest")]

    def __str__(self) -> str:
        return f"{self.job} {self.started_at:%Y-%m-%d %H:%M:%S} {self.status}"


class ProcessHeartbeat(models.Model):
    """A worker or scheduler process: since when it lives, and when it was last heard of."""

    name = models.CharField(max_length=160, unique=True, help_text="kind@host:pid")
    kind = models.CharField(max_length=20, help_text="worker or scheduler")
    started_at = models.DateTimeField(default=timezone.now)
    heartbeat_at = models.DateTimeField(default=timezone.now)
    stopped_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return self.name


class HistoryOfEdits(HistoricalRecords):
    """The scheduler saves a task each time it fires, to note when; only what people change is history."""

    def create_historical_record(self, instance: Any, history_type: str, using: str | None = None) -> None:
        saved_by_scheduler = getattr(instance, "no_changes", False)
        if not saved_by_scheduler:
            super().create_historical_record(instance, history_type, using)


simple_history.register(
    PeriodicTask,
    app="rewards",
    records_class=HistoryOfEdits,
    excluded_fields=["last_run_at", "total_run_count", "date_changed"],
)


class ForeignTask(RewardsError):
    """A schedule runs one of the product's jobs, as it is: without arguments, queue or headers of its own."""

    code = "foreign_task"
    http_status = 400


NOTHING = ("", "[]", "{}", None)


@receiver(pre_save, sender=PeriodicTask)
def refuse_foreign_task(instance: PeriodicTask, **kwargs: Any) -> None:
    """However it is saved, by the admin, a fixture or a shell. Raises `ForeignTask`.

    The scheduler notes when it fired a task; a row that was slipped past this must not end it.
    """
    if getattr(instance, "no_changes", False):
        return
    if instance.task not in {task_name(job) for job in JOBS}:
        raise ForeignTask(f"{instance.task[:100]!r} is not one of the product's jobs.")
    given = ("args", "kwargs", "queue", "exchange", "routing_key", "headers")
    if named := [name for name in given if getattr(instance, name) not in NOTHING]:
        raise ForeignTask(f"A job of the product is run as it is: take out {', '.join(named)}.")
