"""One run of a job at a time, and what is kept of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.core.management.base import BaseCommand
from django.db import connection
from django.utils import timezone

from rewards.alerts.models import Alert
from rewards.audit.models import AuditEvent
from rewards.common.errors import RewardsError
from rewards.jobs import services, shutdown
from rewards.jobs.models import JobRun
from rewards.jobs.progress import Progress, RunLost
from rewards.jobs.services import run_job, until_done
from rewards.management.base import run_as_job
from rewards.parameters.services import set_parameter
from tests.rewards.elsewhere import environment_on_this_database

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def no_shutdown_is_left_behind() -> Iterator[None]:
    yield
    shutdown.take_back()


def nothing(progress: Progress) -> None:
    """A job without work."""


def silent_for(seconds: int, **figures: int) -> JobRun:
    """A run whose process was last heard of that long ago."""
    then = timezone.now() - timedelta(seconds=seconds)
    return JobRun.objects.create(job="pay", started_at=then, heartbeat_at=then, **figures)


# --------------------------------------------------------------------------------------------------- what is kept


def test_a_run_keeps_its_figures() -> None:
    def work(progress: Progress) -> dict[str, Any]:
        progress.step(successes=2)
        progress.step(successes=1, failures=1)
        return {"paid": 30, "at": timezone.now()}

    run = run_job("pay", work, trigger="operator")

    assert run is not None
    assert (run.status, run.trigger, run.error) == ("succeeded", "operator", "")
    assert (run.items, run.successes, run.failures) == (4, 3, 1)
    assert run.results["paid"] == 30
    assert run.worker.endswith(f":{os.getpid()}")
    assert run.finished_at >= run.started_at
    assert run.seconds >= 0


def test_a_failure_is_kept_with_its_stack_and_raises_an_alert_until_a_run_succeeds() -> None:
    def work(progress: Progress) -> None:
        progress.step(successes=1)
        raise ValueError("no rate for 2026-11-21T07")

    run = run_job("pay", work)

    assert run is not None
    assert (run.status, run.successes, run.error) == ("failed", 1, "no rate for 2026-11-21T07")
    assert "in work" in run.error_stack
    alert = Alert.objects.get()
    assert (alert.code, alert.subject, alert.message) == ("job_failed", "pay", "no rate for 2026-11-21T07")

    run_job("pay", nothing)
    assert Alert.objects.get().resolved_at is not None


def test_a_refusal_is_logged_without_a_stack_and_a_surprise_with_one(caplog: pytest.LogCaptureFixture) -> None:
    def refuse(progress: Progress) -> None:
        raise RewardsError("There is no table cc_hourly.")

    def stumble(progress: Progress) -> None:
        raise ZeroDivisionError("by nothing")

    with caplog.at_level("ERROR", "rewards.jobs"):
        run_job("pay", refuse)
        run_job("pay", stumble)

    refused, stumbled = caplog.records
    assert refused.getMessage() == "Job pay failed: There is no table cc_hourly."
    assert refused.exc_info is None
    assert stumbled.exc_info[0] is ZeroDivisionError


def test_results_without_a_plain_form_fail_the_run_and_free_the_lock() -> None:
    run = run_job("pay", lambda progress: {"what": object()})

    assert run is not None
    assert run.status == "failed"
    assert run_job("pay", nothing) is not None


def test_a_process_that_is_interrupted_frees_the_lock() -> None:
    def work(progress: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_job("pay", work)

    assert JobRun.objects.get().status == "failed"
    assert not Alert.objects.exists()


def test_steps_are_repeated_until_one_finds_nothing() -> None:
    left = [3, 2, 0, 7]
    run = run_job("pay", until_done(lambda: left.pop(0)))

    assert run is not None
    assert (run.items, left) == (5, [7])


# ------------------------------------------------------------------------------------------------- one at a time


def test_a_call_while_a_run_is_on_is_skipped_and_counted() -> None:
    def work(progress: Progress) -> None:
        assert run_job("pay", nothing) is None
        assert run_job("pay", nothing, trigger="operator") is None
        assert run_job("another", nothing) is not None

    run = run_job("pay", work)

    assert run is not None
    assert run.overlaps == 2


@pytest.mark.django_db(transaction=True)
def test_of_many_calls_at_once_one_runs() -> None:
    start, end, ran = threading.Barrier(4), threading.Event(), []

    def work(progress: Progress) -> None:
        ran.append(1)
        end.wait(timeout=30)

    def call() -> bool:
        start.wait(timeout=30)
        try:
            return run_job("pay", work) is not None
        finally:
            end.set() if JobRun.objects.filter(overlaps=3).exists() else None
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        outcomes = [future.result() for future in [pool.submit(call) for _ in range(4)]]

    assert (sorted(outcomes), ran) == ([False, False, False, True], [1])
    assert JobRun.objects.get().overlaps == 3


@pytest.mark.django_db(transaction=True)
def test_a_command_waits_for_the_run_that_is_on() -> None:
    running, may_end = threading.Event(), threading.Event()

    def scheduled() -> None:
        def work(progress: Progress) -> None:
            running.set()
            may_end.wait(timeout=30)

        run_job("pay", work)
        connection.close()

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(scheduled)
        running.wait(timeout=30)
        threading.Timer(0.2, may_end.set).start()
        run = run_job("pay", nothing, trigger="command", wait_seconds=30)
        other.result()

    assert run is not None
    assert list(JobRun.objects.order_by("id").values_list("status", "overlaps")) == [("succeeded", 0)] * 2


# ------------------------------------------------------------------------------------------------- lost processes


def test_a_run_without_heartbeat_is_lost_and_taken_over() -> None:
    dead = silent_for(121, successes=7)

    run = run_job("pay", nothing)

    dead.refresh_from_db()
    assert run is not None
    assert (dead.status, dead.successes) == ("lost", 7)
    assert "No heartbeat for 120 seconds" in dead.error
    assert dead.finished_at is not None


def test_a_run_that_was_heard_of_is_left_alone() -> None:
    silent_for(100)

    assert run_job("pay", nothing) is None


def test_how_long_is_lost_is_a_parameter() -> None:
    set_parameter("jobs.lost_after_seconds", 60, actor=None, reason="impatient")
    silent_for(100)

    assert run_job("pay", nothing) is not None


def test_a_zombie_that_wakes_up_touches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rewards.jobs.progress.SECONDS_BETWEEN_WRITES", 0.0)
    steps = []

    def sleep_too_long(progress: Progress) -> None:
        JobRun.objects.update(heartbeat_at=timezone.now() - timedelta(seconds=500))
        newer = run_job("pay", nothing)
        assert newer is not None
        steps.append(newer)
        progress.step(successes=100)  # awake again
        steps.append("never reached")

    zombie = run_job("pay", sleep_too_long)

    assert zombie is not None
    newer = JobRun.objects.get(pk=steps[0].pk)
    assert (newer.status, newer.successes) == ("succeeded", 0)
    assert (zombie.status, zombie.successes) == ("lost", 0)
    assert len(steps) == 1


def test_a_zombie_without_further_steps_does_not_finish_what_it_lost() -> None:
    def sleep_too_long(progress: Progress) -> dict[str, int]:
        JobRun.objects.update(heartbeat_at=timezone.now() - timedelta(seconds=500))
        run_job("pay", nothing)
        return {"paid": 5}

    zombie = run_job("pay", sleep_too_long)

    assert zombie is not None
    assert (zombie.status, zombie.results) == ("lost", {})


def test_progress_of_a_lost_run_says_so() -> None:
    run = silent_for(0)
    progress = Progress(run)
    JobRun.objects.update(status="lost", finished_at=timezone.now())

    with pytest.raises(RunLost):
        progress.write()


@pytest.mark.django_db(transaction=True)
def test_the_heart_beats_while_one_long_step_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "HEARTBEAT_SECONDS", 0.02)
    long_ago = timezone.now() - timedelta(seconds=100)

    def one_long_step(progress: Progress) -> dict[str, bool]:
        JobRun.objects.update(heartbeat_at=long_ago)
        for _ in range(500):
            if JobRun.objects.get().heartbeat_at > long_ago:
                return {"beat": True}
            threading.Event().wait(0.02)
        return {"beat": False}

    run = run_job("pay", one_long_step)

    assert run is not None
    assert run.results == {"beat": True}


# ------------------------------------------------------------------------------------------------ coming to an end


def test_a_scheduled_run_hands_over_when_its_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("rewards.jobs.progress.monotonic", lambda: now[0])

    def step() -> int:
        now[0] += 25
        return 1

    scheduled = run_job("pay", until_done(step))
    assert scheduled is not None
    assert (scheduled.items, scheduled.results) == (3, {"unfinished": True})


def test_a_command_has_all_the_time_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    now, left = [0.0], list(range(10))
    monkeypatch.setattr("rewards.jobs.progress.monotonic", lambda: now[0])

    def step() -> int:
        now[0] += 1_000
        return bool(left and left.pop() is not None)

    run = run_job("pay", until_done(step), trigger="command")
    assert run is not None
    assert (run.items, run.results) == (10, {})


def test_a_shutdown_lets_the_step_finish_and_no_other_begin() -> None:
    def step() -> int:
        shutdown.ask()
        return 1

    run = run_job("pay", until_done(step))

    assert run is not None
    assert (run.items, run.status, run.results) == (1, "succeeded", {"unfinished": True})


def test_forked_children_learn_of_a_shutdown() -> None:
    told, answer = os.pipe()
    asked, ask = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(asked, 1)
        os.write(answer, b"yes" if shutdown.asked() else b"no")
        os._exit(0)
    shutdown.ask()
    os.write(ask, b".")

    assert os.read(told, 3) == b"yes"
    os.waitpid(child, 0)


def test_sigterm_ends_a_command_after_its_step_with_figures(capsys: pytest.CaptureFixture[str]) -> None:
    handler = signal.getsignal(signal.SIGTERM)

    def step() -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        return 1

    run = run_as_job(BaseCommand(), "pay", until_done(step))

    assert run.items == 1
    assert "pay: 1 items, 1 succeeded, 0 failed" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGTERM) == handler
    assert not shutdown.asked()


def test_a_second_signal_does_not_wait_for_the_step() -> None:
    def endless(progress: Progress) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("the second signal should have ended this")

    with pytest.raises(KeyboardInterrupt):
        run_as_job(BaseCommand(), "pay", endless)

    assert JobRun.objects.get().status == "failed"


def test_the_closing_line_shows_what_the_work_reported(capsys: pytest.CaptureFixture[str]) -> None:
    def work(progress: Progress) -> dict[str, Any]:
        progress.step(successes=2, failures=1)
        return {"empty_periods": 0, "paid": "12.50", "paused": False, "failures": ["not shown"]}

    run_as_job(BaseCommand(), "pay", work)

    line = capsys.readouterr().out.strip()
    assert line.startswith("pay: 3 items, 2 succeeded, 1 failed, 0.")
    assert line.endswith(" s, empty periods 0, paid 12.50")


def test_a_command_whose_work_fails_says_why() -> None:
    def work(progress: Progress) -> None:
        raise ValueError("no rate")

    with pytest.raises(CommandError, match="pay failed: no rate"):
        run_as_job(BaseCommand(), "pay", work)


def test_a_command_that_waited_in_vain_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rewards.management.base.WAIT_SECONDS", 0.0)
    silent_for(0)

    with pytest.raises(CommandError, match="running already"):
        run_as_job(BaseCommand(), "pay", nothing)


# ---------------------------------------------------------------------------------------------------- kill -9


@pytest.mark.django_db(transaction=True)
def test_a_killed_process_leaves_a_run_that_the_next_one_takes_over() -> None:
    program = (
        "import django; django.setup()\n"
        "import os, signal\n"
        "from rewards.jobs.services import run_job\n"
        "from rewards.audit.services import record\n"
        "run_job('pay', lambda progress: (record('started'), os.kill(os.getpid(), signal.SIGKILL)))\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", program], env=environment_on_this_database(), timeout=60, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert AuditEvent.objects.filter(event_type="started").exists()

    assert run_job("pay", nothing) is None
    JobRun.objects.update(heartbeat_at=timezone.now() - timedelta(seconds=121))
    assert run_job("pay", nothing) is not None
    assert list(JobRun.objects.order_by("id").values_list("status", flat=True)) == ["lost", "succeeded"]


# ------------------------------------------------------------------------------------------------------- clean-up


def test_clean_up_deletes_old_runs_and_nothing_that_was_paid_for() -> None:
    then = timezone.now() - timedelta(days=91)
    JobRun.objects.create(job="old", status="succeeded", started_at=then, finished_at=then)
    JobRun.objects.create(job="old but running", started_at=then)
    recent = timezone.now() - timedelta(days=89)
    JobRun.objects.create(job="recent", status="failed", started_at=recent, finished_at=recent)
    AuditEvent.objects.create(event_type="approved", timestamp=then)

    call_command("clean_up")

    assert set(JobRun.objects.values_list("job", flat=True)) == {"old but running", "recent", "clean_up"}
    deleted = JobRun.objects.get(job="clean_up").results
    assert deleted.pop("job_runs") == 1
    assert set(deleted.values()) == {0}
    assert AuditEvent.objects.count() == 1
