"""What workers do about badges. As in `rewards.tasks`, a task is a poke."""

from __future__ import annotations

from celery import shared_task
from django.utils import timezone

from badges import services
from rewards.jobs.registry import task_name
from rewards.tasks import run


@shared_task(name=task_name("check_badges"))
def check_badges(trigger: str = "schedule") -> None:
    run("check_badges", lambda progress: services.check_badges(timezone.now(), progress).figures(), trigger)
