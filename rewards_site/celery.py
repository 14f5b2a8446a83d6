"""The Celery application. Messages carry ids and are hints: what is due is worked out from the database."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from celery import Celery, bootsteps, signals

from rewards.jobs import shutdown

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "rewards_site.settings")

app = Celery("rewards_site")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


class Heartbeats(bootsteps.StartStopStep):
    """As long as the worker takes messages its row says so. Without its broker it falls silent, as it should."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Any, **kwargs: Any) -> None:
        self.timer_entry: Any = None
        super().__init__(consumer, **kwargs)

    def start(self, consumer: Any) -> None:
        from rewards.jobs.processes import HEARTBEAT_SECONDS

        _heard_of_worker()
        self.timer_entry = consumer.timer.call_repeatedly(HEARTBEAT_SECONDS, _heard_of_worker)

    def stop(self, consumer: Any) -> None:
        if self.timer_entry is not None:
            self.timer_entry.cancel()

    shutdown = stop


app.steps["consumer"].add(Heartbeats)


def _heard_of_worker() -> None:
    from django.db import connection

    from rewards.jobs.processes import WORKER, heard_of  # models: not before Django has set up its applications

    heard_of(WORKER)
    connection.close()  # children forked later must not share it


@signals.worker_shutting_down.connect
def end_long_work(**kwargs: Any) -> None:
    """Runs in the main process. Its children see it at their next step, finish it and hand over."""
    shutdown.ask()


@signals.worker_shutdown.connect
def leave_nothing_pending(**kwargs: Any) -> None:
    """Runs in the main process, after its children have finished. What is not paid now is paid by the next worker."""
    from rewards.jobs.processes import WORKER, stopped
    from rewards.pending.drain import drain_before_shutdown

    drain_before_shutdown()
    stopped(WORKER)


@signals.beat_init.connect
def watch_scheduler(sender: Any, **kwargs: Any) -> None:
    """Each tick of the scheduler, whichever class it is of, leaves a heartbeat; its end in good order a farewell."""
    from rewards.jobs.processes import SCHEDULER, heard_of, stopped

    scheduler = sender.scheduler
    scheduler.tick = _after(heard_of, SCHEDULER, scheduler.tick)
    scheduler.close = _after(stopped, SCHEDULER, scheduler.close)


def _after(say: Callable[[str], None], kind: str, then: Callable[..., Any]) -> Callable[..., Any]:
    def both(*args: Any, **kwargs: Any) -> Any:
        say(kind)
        return then(*args, **kwargs)

    return both


@signals.setup_logging.connect
def keep_logging_of_settings(**kwargs: Any) -> None:
    """That someone listens keeps Celery from putting its own handlers beside those of the settings."""
