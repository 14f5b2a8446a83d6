"""The gate between writing the events of a metric and closing a stretch of time for them.

Writers pass a gate together, a closer holds it alone, each until its transaction ends. So when a stretch is closed,
every event written before is visible to the closer, and every event written after knows that it is late.

The gates of PostgreSQL are transaction-level advisory locks, not rows: those who want a row lock together with others
do not queue behind one who wants it alone, and a closer would starve beside busy writers. On SQLite a transaction that
writes is alone anyway.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable

from django.db import connection

from rewards.common.database import is_postgresql, require_transaction

# Few, because the lock table of PostgreSQL is small and metrics are anyone's invention. That two metrics share a gate
# only means that one waits for the other's closer.
GATES = 64
LOCK_CLASS = int.from_bytes(b"actv", "big")


def pass_gates(metrics: Iterable[str]) -> None:
    """Wait until none of these metrics is being closed, and keep closers waiting from here on."""
    require_transaction()
    if is_postgresql():
        gates = sorted({_gate_of(metric) for metric in metrics})
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock_shared(%s, gate) FROM unnest(%s) gate", [LOCK_CLASS, gates])


def hold_gate(metric: str) -> None:
    """Wait for the writers under way, and keep new ones waiting from here on."""
    require_transaction()
    if is_postgresql():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [LOCK_CLASS, _gate_of(metric)])


def _gate_of(metric: str) -> int:
    return zlib.crc32(metric.encode()) % GATES
