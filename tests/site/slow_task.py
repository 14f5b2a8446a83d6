"""A task that a worker of the tests loads beside the product's: half a minute of short steps."""

from __future__ import annotations

import time

from celery import shared_task

from rewards import tasks
from rewards.jobs.progress import Progress

STEPS = 300


@shared_task
def slow() -> None:
    tasks.run("seal_audit", many_short_steps, "schedule")


def many_short_steps(progress: Progress) -> None:
    for _ in range(STEPS):
        if not progress.keep_going():
            return
        time.sleep(0.1)
        progress.step(successes=1)
