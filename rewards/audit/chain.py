"""How events follow each other, and what is hashed of them.

Events are ordered by (transaction number, id). On PostgreSQL an event is settled once its transaction number is below
that of every transaction still open: nothing can appear before it any more. On SQLite transactions commit one by one,
so every event is settled and ids alone give the order.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from django.db import connection
from django.db.models import Q

from rewards.allocation.canonical import canonical_json
from rewards.audit.models import AuditSeal
from rewards.common.database import is_postgresql

GENESIS = "0" * 64

SEALED_COLUMNS = (
    "event_id",
    "event_type",
    "reward_id",
    "distribution_id",
    "user_id",
    "actor_id",
    "amount",
    "currency_id",
    "reason",
    "success",
    "error_message",
    "data",
    "timestamp",
    "transaction_number",
)


def event_hash(event: Mapping[str, Any]) -> str:
    """SHA-256 (hex) over the canonical JSON of an event: column → text, or null. Forged values have a text as well."""
    return _hash({name: _text(event[name]) for name in SEALED_COLUMNS})


def seal_hash(seal: AuditSeal) -> str:
    """SHA-256 (hex) over the canonical JSON of all that a seal says, and of the seal before it."""
    return _hash(
        {
            "previous": seal.previous_hash,
            "entries": [[str(row), digest] for row, digest in seal.entries],
            "first_event": _text(seal.first_event),
            "last_event": _text(seal.last_event),
            "last_transaction_number": _text(seal.last_transaction_number),
            "base_event": _text(seal.base_event),
            "sealed_at": _text(seal.sealed_at),
        }
    )


def _hash(value: dict[str, Any]) -> str:
    return sha256(canonical_json(value)).hexdigest()


def _text(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    if isinstance(value, dict | list):
        return json.dumps(value, sort_keys=True)
    return str(value)


@dataclass(frozen=True)
class Place:
    """A point in the order of events: after the event `event` of the transaction `number`.

    Events with ids up to `base_event` were numbered by another database server and are all before it. A `number`
    below zero is before the first event of this server.
    """

    base_event: int
    number: int
    event: int

    @classmethod
    def after_seal(cls, seal: AuditSeal | None) -> Place:
        return cls(seal.base_event, seal.last_transaction_number, seal.last_event) if seal else BEGINNING

    def before(self) -> Q:
        """Condition for the events that come after this place."""
        if self.number < 0:
            return self._of_this_server()
        # Written so that the index on (transaction_number, id) is entered at the right spot.
        later = Q(transaction_number__gt=self.number) | Q(id__gt=self.event)
        return self._of_this_server() & Q(transaction_number__gte=self.number) & later

    def reaches(self) -> Q:
        """Condition for the events of this server that come up to this place, its own event included."""
        earlier = Q(transaction_number__lt=self.number) | Q(id__lte=self.event)
        return self._of_this_server() & Q(transaction_number__lte=self.number) & earlier

    def _of_this_server(self) -> Q:
        return Q(id__gt=self.base_event) if self.base_event else Q()  # a forger may choose an id below zero


BEGINNING = Place(base_event=0, number=-1, event=0)


def last_seal() -> AuditSeal | None:
    """The head. A seal is written after the one it follows is committed, so ids grow along the chain."""
    return AuditSeal.objects.order_by("-id").first()


# A snapshot lists the open transactions of the whole server. One that a session of another database holds writes no
# event here; whoever holds one without a session to look at (a prepared transaction) is taken for ours.
_HORIZON = """
    SELECT coalesce(
        (SELECT min(number::text::bigint) FROM pg_snapshot_xip(snapshot) AS number
         WHERE NOT EXISTS (
             SELECT 1 FROM pg_locks JOIN pg_stat_activity USING (pid)
             WHERE locktype = 'transactionid' AND transactionid = number::xid AND mode = 'ExclusiveLock' AND granted
               AND datname <> current_database()
         )),
        pg_snapshot_xmax(snapshot)::text::bigint
    ), pg_snapshot_xmax(snapshot)::text::bigint
    FROM pg_current_snapshot() AS snapshot
"""


def transaction_horizon() -> tuple[int, int]:
    """The lowest transaction number still open in this database, and the lowest not given out yet."""
    if not is_postgresql():
        return 1, 1
    with connection.cursor() as cursor:
        cursor.execute(_HORIZON)
        return cursor.fetchone()
