"""Which worker and scheduler processes are alive, by the database's clock."""

from __future__ import annotations

import logging
import os
import socket
from datetime import timedelta
from time import monotonic
from typing import Any

from django.db import DatabaseError, close_old_connections, connection
from django.db.models import DurationField, ExpressionWrapper, F, Q, QuerySet
from django.db.models.functions import Now

from rewards.jobs.models import ProcessHeartbeat

WORKER = "worker"
SCHEDULER = "scheduler"
HEARTBEAT_SECONDS = 5.0
AT_MOST_EVERY_SECONDS = 4.0  # a scheduler with much to do ticks many times a second

logger = logging.getLogger(__name__)
_heard_at: dict[str, float] = {}  # name of a process → monotonic seconds


def heard_of(kind: str) -> None:
    """This process is alive: to be called every `HEARTBEAT_SECONDS` or more often.

    A database that does not answer is logged and never ends the process: it would be the next thing to fail.
    """
    name = _name(kind)
    if monotonic() - _heard_at.get(name, float("-inf")) < AT_MOST_EVERY_SECONDS:
        return
    now_running = {"kind": kind, "heartbeat_at": Now(), "stopped_at": None}
    try:
        _leave_old_connections()
        if name not in _heard_at:  # a process of an earlier life may have had this name
            now_running["started_at"] = Now()
        ProcessHeartbeat.objects.update_or_create(name=name, defaults=now_running)
        _heard_at[name] = monotonic()
    except DatabaseError as error:
        logger.warning("Heartbeat of %s: %s", name, error, extra={"event": "heartbeat_failed"})


def stopped(kind: str) -> None:
    """This process ends in good order."""
    name = _name(kind)
    try:
        _leave_old_connections()
        ProcessHeartbeat.objects.filter(name=name).update(stopped_at=Now())
    except DatabaseError as error:
        logger.warning("Farewell of %s: %s", name, error, extra={"event": "heartbeat_failed"})
    _heard_at.pop(name, None)


def running_processes(kind: str) -> QuerySet[Any]:
    """Processes that have not said goodbye, the one heard of last first, each with its `silence` (a timedelta)."""
    silence = ExpressionWrapper(Now() - F("heartbeat_at"), output_field=DurationField())
    return ProcessHeartbeat.objects.filter(kind=kind, stopped_at=None).annotate(silence=silence).order_by("silence")


def seconds_of_silence(kind: str) -> float | None:
    """Seconds since any process of this kind was heard of; None when none is running."""
    shortest = running_processes(kind).values_list("silence", flat=True).first()
    return None if shortest is None else max(0.0, shortest.total_seconds())


def delete_gone_processes() -> int:
    """Forget processes that stopped, or fell silent, more than a day ago."""
    yesterday = Now() - timedelta(days=1)
    gone = ProcessHeartbeat.objects.filter(Q(stopped_at__lt=yesterday) | Q(heartbeat_at__lt=yesterday))
    return gone.delete()[0]


def _name(kind: str) -> str:
    return f"{kind}@{socket.gethostname()}:{os.getpid()}"[:160]


def _leave_old_connections() -> None:
    if not connection.in_atomic_block:
        close_old_connections()
