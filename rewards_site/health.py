"""/healthz: this process answers. /readyz: so do the database, the broker, a worker and the scheduler.

Open to whoever asks, so they say nothing about names, versions or places.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from rewards.jobs.processes import SCHEDULER, WORKER, running_processes
from rewards.parameters.services import param
from rewards_site.celery import app

BROKER_TIMEOUT_SECONDS = 2
PROCESSES_LISTED = 20

logger = logging.getLogger(__name__)


@never_cache
@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """200 as long as this process can answer at all."""
    return JsonResponse({"status": "ok"})


@never_cache
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """200 when everything a payout needs is there, else 503; each part with its own word."""
    parts = {"database": _database(), "broker": _broker(), "worker": _no_answer(), "scheduler": _no_answer()}
    if parts["database"]["ok"]:
        parts |= {"worker": _process(WORKER), "scheduler": _process(SCHEDULER)}
    ready = all(part["ok"] for part in parts.values())
    return JsonResponse({"status": "ok" if ready else "unavailable", **parts}, status=200 if ready else 503)


def _database() -> dict[str, Any]:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError as error:
        logger.error("The database does not answer: %s", error, extra={"event": "database_unavailable"})
        return _no_answer()
    return {"ok": True}


def _broker() -> dict[str, Any]:
    options = {**app.conf.broker_transport_options}
    if app.conf.broker_url.startswith("redis"):
        options |= dict.fromkeys(("socket_timeout", "socket_connect_timeout"), BROKER_TIMEOUT_SECONDS)
    try:
        with app.connection_for_write(connect_timeout=BROKER_TIMEOUT_SECONDS, transport_options=options) as broker:
            broker.connect()
    except Exception as error:  # each transport raises its own
        logger.error("The broker does not answer: %s", error, extra={"event": "broker_unavailable"})
        return _no_answer()
    return {"ok": True}


def _process(kind: str) -> dict[str, Any]:
    """Which processes of this kind are alive: since when, last heard of when; the one heard of last first."""
    alive = list(running_processes(kind)[:PROCESSES_LISTED])
    if not alive:
        return _no_answer()
    silence = max(0.0, alive[0].silence.total_seconds())
    return {
        "ok": silence <= param("health.stale_after_seconds"),
        "last_heard_seconds": round(silence, 1),
        "processes": [
            {"since": _instant(each.started_at), "last_heartbeat": _instant(each.heartbeat_at)} for each in alive
        ],
    }


def _instant(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="seconds")


def _no_answer() -> dict[str, Any]:
    return {"ok": False}
