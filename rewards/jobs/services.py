"""Running a job: one at a time across machines, with a heartbeat, its figures kept in a row."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from celery import current_app
from django.contrib.sessions.models import Session
from django.db import DatabaseError, connection, transaction
from django.db.models import F
from django.db.models.functions import Now
from kombu.exceptions import OperationalError

from rewards.access.services import delete_ended_tokens, delete_old_answers
from rewards.alerts.services import CRITICAL, raise_alert, resolve_alert
from rewards.audit.services import storable
from rewards.common.database import insert_if_absent
from rewards.common.errors import RewardsError
from rewards.jobs import shutdown
from rewards.jobs.models import JobRun
from rewards.jobs.processes import delete_gone_processes
from rewards.jobs.progress import Progress, RunLost, still_running
from rewards.jobs.registry import JOBS, task_name
from rewards.parameters.services import param

HEARTBEAT_SECONDS = 10.0
WAIT_BETWEEN_TRIES_SECONDS = 0.5

Work = Callable[[Progress], Mapping[str, Any] | None]

logger = logging.getLogger(__name__)


def run_job(
    name: str,
    work: Work,
    *,
    trigger: str = "schedule",
    wait_seconds: float = 0.0,
    on_step: Callable[[int], None] | None = None,
) -> JobRun | None:
    """Run `work` as the only run of the job `name` anywhere; its finished row.

    None when another run is on (for `wait_seconds`, if given): that run's `overlaps` then counts this call. `work`
    returns what goes into `results` (JSON) or None. What it raises makes the run `failed`, with error and stack, and
    raises an alert; it is not raised again. `trigger` is schedule, operator or command; all but a command have the
    time budget of `jobs.budget_seconds`.
    """
    run = _begin(name, trigger, wait_seconds)
    if run is None:
        return None
    budget_seconds = None if trigger == "command" else param("jobs.budget_seconds")
    progress = Progress(run, budget_seconds=budget_seconds, on_step=on_step)
    started = time.monotonic()
    with heartbeat(f"job {name}", lambda: still_running(run).update(heartbeat_at=Now())):
        try:
            results = storable(dict(work(progress) or {}))
        except RunLost:
            _say_lost(run)
        except Exception as error:
            # A refusal of the product's own says all there is to say; only what nobody foresaw needs its stack.
            stack = None if isinstance(error, RewardsError) and error.http_status < 500 else error
            logger.error("Job %s failed: %s", name, error, exc_info=stack, extra={"event": "job_failed", "job": name})
            if _finish(run, JobRun.Status.FAILED, progress, started, error=error):
                raise_alert("job_failed", name, _sentence(error), CRITICAL)
        except BaseException as error:  # Ctrl-C, the end of the process: not a fault, but the lock must not stay
            _finish(run, JobRun.Status.FAILED, progress, started, error=error)
            raise
        else:
            if _finish(run, JobRun.Status.SUCCEEDED, progress, started, results=results):
                resolve_alert("job_failed", name)
            else:
                _say_lost(run)
    run.refresh_from_db()
    return run


def poke(name: str, *, trigger: str = "schedule") -> bool:
    """Ask a worker to run a job soon. A hint and no more: False when the broker does not take it."""
    try:
        current_app.send_task(task_name(name), kwargs={"trigger": trigger}, expires=JOBS[name].poke_expires_seconds)
    except OperationalError as error:
        logger.warning("Job %s could not be poked: %s", name, error, extra={"event": "poke_failed", "job": name})
        return False
    return True


def poke_aside(name: str, *, trigger: str = "schedule") -> None:
    """`poke`, for who cannot wait: a broker that is out of reach takes seconds to be given up."""
    threading.Thread(target=poke, args=(name,), kwargs={"trigger": trigger}, name=f"poke {name}", daemon=True).start()


def clean_up(at: datetime) -> dict[str, int]:
    """Delete job runs older than `jobs.keep_days`, processes gone for a day, and sessions, tokens and idempotency keys
    that have expired; how many of each.

    What was paid, why, and on what grounds is never deleted: ledger, rewards, audit and activity are not touched.
    """
    old = JobRun.objects.filter(finished_at__lt=at - timedelta(days=param("jobs.keep_days")))
    return {
        "job_runs": old.delete()[0],
        "sessions": Session.objects.filter(expire_date__lt=at).delete()[0],
        "access_tokens": delete_ended_tokens(at),
        "idempotent_answers": delete_old_answers(at),
        "processes": delete_gone_processes(),
    }


def until_done(step: Callable[[], int]) -> Work:
    """Work that takes a step again and again until it says that it found nothing (0 items) to do."""

    def work(progress: Progress) -> None:
        while progress.keep_going() and (done := step()):
            progress.step(successes=done)

    return work


# --------------------------------------------------------------------------------------------------- begin and end


def _begin(name: str, trigger: str, wait_seconds: float) -> JobRun | None:
    deadline = time.monotonic() + wait_seconds
    while (run := _try_to_begin(name, trigger)) is None:
        if _take_over_lost(name):
            continue
        if time.monotonic() < deadline and not shutdown.asked():
            time.sleep(WAIT_BETWEEN_TRIES_SECONDS)
        elif _running(name).update(overlaps=F("overlaps") + 1):
            logger.info("Job %s is running already", name, extra={"event": "job_overlap", "job": name})
            return None
    return run


def _try_to_begin(name: str, trigger: str) -> JobRun | None:
    run = JobRun(job=name, trigger=trigger, worker=f"{socket.gethostname()}:{os.getpid()}"[:120])
    with transaction.atomic():
        if not insert_if_absent(run, ["job"], where="status = 'running'"):
            return None
        # The database's clock for all that is compared between machines.
        still_running(run).update(started_at=Now(), heartbeat_at=Now())
    return run


def _take_over_lost(name: str) -> bool:
    """Close a run whose process died. Its row keeps what it had counted; if it wakes up it finds itself closed."""
    silence = timedelta(seconds=param("jobs.lost_after_seconds"))
    lost = _running(name).filter(heartbeat_at__lt=Now() - silence)
    error = f"No heartbeat for {silence.total_seconds():.0f} seconds: its process is taken to be dead."
    if not lost.update(status=JobRun.Status.LOST, finished_at=Now(), error=error):
        return False
    logger.warning("A run of job %s was lost", name, extra={"event": "job_lost", "job": name})
    raise_alert("job_failed", name, error)
    return True


def _finish(
    run: JobRun,
    status: JobRun.Status,
    progress: Progress,
    started: float,
    *,
    results: dict[str, Any] | None = None,
    error: BaseException | None = None,
) -> bool:
    """Write the end of a run. False when another run has taken over meanwhile."""
    results = results or {}
    if progress.unfinished:
        results["unfinished"] = True
    return bool(
        still_running(run).update(
            **progress.counts(),
            status=status,
            heartbeat_at=Now(),
            finished_at=Now(),
            seconds=round(time.monotonic() - started, 3),
            results=results,
            error=_sentence(error) if error else "",
            error_stack="".join(traceback.format_exception(error)).replace("\x00", "\ufffd") if error else "",
        )
    )


def _running(name: str):  # type: ignore[no-untyped-def]
    return JobRun.objects.filter(job=name, status=JobRun.Status.RUNNING)


def _sentence(error: BaseException) -> str:
    return (str(error) or type(error).__name__).replace("\x00", "\ufffd")


def _say_lost(run: JobRun) -> None:
    logger.error("Run %s of job %s was taken over", run.pk, run.job, extra={"event": "run_lost", "job": run.job})


# ------------------------------------------------------------------------------------------------------- heartbeat


@contextmanager
def heartbeat(name: str, beat: Callable[[], int]) -> Iterator[None]:
    """A thread that calls `beat` every few seconds while the work goes on, until that finds no row to write to.

    Steps alone would not do: one statement over ten million rows takes minutes, and its run is not dead. A process
    that is killed or stopped takes its thread along; one that hangs is ended by the time limit of its task.
    """
    stop = threading.Event()
    thread = threading.Thread(target=_beat_until, args=(stop, name, beat), name=f"heartbeat {name}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _beat_until(stop: threading.Event, name: str, beat: Callable[[], int]) -> None:
    while not stop.wait(HEARTBEAT_SECONDS):
        try:
            if not beat():
                return
        except DatabaseError as error:
            logger.warning("Heartbeat of %s: %s", name, error, extra={"event": "heartbeat_failed"})
        finally:
            connection.close()  # this thread's own
