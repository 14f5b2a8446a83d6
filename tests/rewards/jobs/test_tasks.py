"""Tasks: each runs its job, and pokes itself again when its time was over before its work."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from celery import current_app
from django.core.management import call_command
from kombu.exceptions import OperationalError

from rewards import tasks
from rewards.audit.models import AuditSeal
from rewards.audit.services import record
from rewards.jobs import services, shutdown
from rewards.jobs.models import JobRun
from rewards.jobs.progress import Progress
from rewards.jobs.registry import JOBS, task_name
from rewards.jobs.services import poke

pytestmark = pytest.mark.django_db

Poke = tuple[str, dict[str, str]]


@pytest.fixture
def pokes(monkeypatch: pytest.MonkeyPatch) -> list[Poke]:
    """What was sent to the broker, with the state of the job at that moment checked."""
    sent: list[Poke] = []

    def send_task(name: str, kwargs: dict[str, str], **options: Any) -> None:
        assert not JobRun.objects.filter(status="running").exists()
        assert options["expires"] > 0
        sent.append((name, kwargs))

    monkeypatch.setattr(current_app, "send_task", send_task)
    return sent


@pytest.fixture(autouse=True)
def no_shutdown_is_left_behind() -> Iterator[None]:
    yield
    shutdown.take_back()


@pytest.mark.parametrize("job", list(JOBS))
def test_every_job_runs_on_a_fresh_installation(job: str) -> None:
    call_command("setup_defaults", stdout=None)
    current_app.tasks[task_name(job)]()

    run = JobRun.objects.get()
    assert (run.job, run.status, run.error) == (job, "succeeded" if job != "export_partners" else run.status, run.error)
    assert run.trigger == "schedule"


def test_work_that_is_left_pokes_the_job_again_once_its_row_is_finished(pokes: list[Poke]) -> None:
    def work(progress: Progress) -> None:
        shutdown.ask()
        progress.keep_going()

    tasks.run("seal_audit", work, "operator")

    assert pokes == [("rewards.tasks.seal_audit", {"trigger": "operator"})]


def test_work_that_is_done_or_failed_pokes_nobody(pokes: list[Poke]) -> None:
    def fail(progress: Progress) -> None:
        shutdown.ask()
        progress.keep_going()
        raise ValueError

    tasks.run("seal_audit", fail, "schedule")
    shutdown.take_back()
    tasks.run("seal_audit", lambda progress: None, "schedule")

    assert pokes == []


def test_a_broker_that_is_down_loses_a_hint_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OperationalError("nobody listens")

    monkeypatch.setattr(current_app, "send_task", refuse)

    assert poke("sweep") is False


def test_sealing_as_a_task_and_as_a_command_do_the_same(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("rewards.audit.services.transaction_horizon", lambda: (2**62, 2**62))
    record("first")
    tasks.seal_audit()
    record("second")
    call_command("seal_audit")

    assert AuditSeal.objects.count() == 2
    assert list(JobRun.objects.order_by("id").values_list("trigger", "items")) == [("schedule", 1), ("command", 1)]
    assert "seal_audit: 1 items, 1 succeeded, 0 failed" in capsys.readouterr().out
    assert services.run_job("seal_audit", lambda progress: None) is not None
