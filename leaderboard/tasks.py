"""What workers do about boards. As in `rewards.tasks`, a task is a poke."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from celery import shared_task
from django.utils import timezone

from leaderboard import services
from rewards.jobs.progress import Progress
from rewards.jobs.registry import task_name
from rewards.tasks import run

RESTS = timedelta(minutes=5)
"""So long a board that was refreshed is left alone by the schedule: when the time of a run was over before its boards,
the next one goes on with the others, and comes to an end."""


@shared_task(name=task_name("refresh_leaderboards"))
def refresh_leaderboards(trigger: str = "schedule") -> None:
    def work(progress: Progress) -> Mapping[str, Any]:
        at = timezone.now()
        shown_before = at - RESTS if trigger == "schedule" else None
        return services.refresh_boards(at, progress, shown_before=shown_before).figures()

    run("refresh_leaderboards", work, trigger)
