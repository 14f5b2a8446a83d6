"""Asking a worker to run one of the product's jobs now."""

from __future__ import annotations

from typing import Any

from rewards.audit.services import record
from rewards.common.errors import RewardsError
from rewards.jobs.registry import JOBS, task_name
from rewards.jobs.services import poke


class NoBroker(RewardsError):
    """The broker cannot be reached, so no worker was told. The schedule runs the job when it is due."""

    code = "no_broker"
    http_status = 503


class UnknownJob(RewardsError):
    """This is not one of the product's jobs."""

    code = "unknown_job"
    http_status = 404


def known_tasks() -> list[tuple[str, str]]:
    """(task, job) of what a schedule may name: the product's jobs, nothing else that Celery happens to know."""
    return [(task_name(job), job) for job in sorted(JOBS)]


def job_of(task: str) -> str:
    return task.removeprefix(task_name(""))


def run_now(job: str, actor: Any) -> str:
    """Tell a worker to run a job; what to say. The job itself decides what is due, so asking twice does no harm."""
    if job not in JOBS:
        raise UnknownJob(f"{job} is not one of the product's jobs.")
    record("job_requested", actor=actor, data={"job": job})
    if not poke(job, trigger="operator"):
        raise NoBroker
    return f"A worker was asked to run {job}. Its run appears here when it starts."
