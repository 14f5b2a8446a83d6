"""The partner's own database: one table, any engine, written so that each row gets there exactly once.

Our outbox row is marked as sent after the partner's commit. A crash in between sends the row again, and the table's
primary key makes that harmless.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connections, transaction
from django.db.models import F

from rewards.alerts.services import raise_alert, resolve_alert
from rewards.common.errors import RewardsError
from rewards.jobs.progress import Steps, Unwatched
from rewards.pools.models import PartnerTransfer

ALIAS = "partner"
TABLE = "cc_hourly"
KEY = ["partner_id", "time"]
EXPORT_FAILED = "partner_export_failed"
ROWS_AT_ONCE = 500

_CREATE = {
    "sqlite": "CREATE TABLE cc_hourly (partner_id TEXT NOT NULL, cc_reward TEXT NOT NULL, time TEXT NOT NULL, "
    "PRIMARY KEY (partner_id, time))",
    "postgresql": "CREATE TABLE cc_hourly (partner_id VARCHAR(150) NOT NULL, cc_reward NUMERIC NOT NULL, "
    "time TIMESTAMP WITH TIME ZONE NOT NULL, PRIMARY KEY (partner_id, time))",
    # The binary collation keeps Alice and alice apart, as we do. DATETIME is in UTC.
    "mysql": "CREATE TABLE cc_hourly (partner_id VARCHAR(150) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL, "
    "cc_reward DECIMAL(38, 8) NOT NULL, time DATETIME NOT NULL, PRIMARY KEY (partner_id, time))",
}
_ON_DUPLICATE = {
    "sqlite": "ON CONFLICT (partner_id, time) DO NOTHING",
    "postgresql": "ON CONFLICT (partner_id, time) DO NOTHING",
    # Unlike INSERT IGNORE, this lets every other error be one.
    "mysql": "ON DUPLICATE KEY UPDATE partner_id = partner_id",
}


class NoPartnerDatabase(RewardsError):
    """No partner database is configured: set PARTNER_DATABASE_URL."""

    code = "no_partner_database"


class UnknownEngine(RewardsError):
    """The partner database must be SQLite, MariaDB, MySQL or PostgreSQL."""

    code = "unknown_partner_engine"


class NoPartnerTable(RewardsError):
    """The partner database has no table cc_hourly. Create it with `manage.py setup_partner_db`."""

    code = "no_partner_table"


class NoPartnerKey(RewardsError):
    """The partner's table cc_hourly has no primary key over (partner_id, time): rows could get there twice. Nothing is
    sent until it has one: `ALTER TABLE cc_hourly ADD PRIMARY KEY (partner_id, time)`, in SQLite by a new table."""

    code = "no_partner_key"


class PartnerUnreachable(RewardsError):
    """The partner database cannot be reached. All rows are kept and sent with a later run."""

    code = "partner_unreachable"


@dataclass
class ExportResult:
    """Rows sent by this run, rows it could not send, and rows still to go."""

    sent: int = 0
    failed: int = 0
    left: int = 0
    last_error: str = ""

    def figures(self) -> dict[str, int | str]:
        """For the row of the job."""
        return {"sent": self.sent, "failed": self.failed, "left": self.left, "last_error": self.last_error}


def setup_partner_database() -> bool:
    """Create the partner's table with its primary key; False when it stands already.

    Raises `NoPartnerKey` when it stands without the key, `NoPartnerDatabase`, `UnknownEngine`, `PartnerUnreachable`.
    """
    vendor = _vendor()
    try:
        if TABLE in _tables():
            _require_key()
            return False
        with connections[ALIAS].cursor() as cursor:
            cursor.execute(_CREATE[vendor])
    except (DatabaseError, InterfaceError) as error:
        raise PartnerUnreachable(f"The partner database cannot be reached: {error}") from error
    return True


def export_partners(at: datetime, *, progress: Steps | None = None) -> ExportResult:
    """Send every row of the outbox that is not sent yet, oldest first.

    A row that the partner's table refuses, or holds with another amount, keeps its error and is tried again with the
    next run; it holds up nobody. Raises `NoPartnerDatabase`, `UnknownEngine`, `NoPartnerTable`, `NoPartnerKey` before
    anything is sent, and `PartnerUnreachable`; an alert is open for as long as rows cannot be sent.
    """
    result = ExportResult()
    if ALIAS not in settings.DATABASES and not _unsent().exists():
        return result
    try:
        _require_table_and_key()
        _send_all(at, progress or Unwatched(), result)
    except RewardsError as error:
        _note_all(error.message)
        raise_alert(EXPORT_FAILED, TABLE, error.message)
        raise
    result.left = _unsent().count()
    if result.failed:
        raise_alert(
            EXPORT_FAILED, TABLE, f"{result.failed} rows were not taken, the last one says: {result.last_error}"
        )
    else:
        resolve_alert(EXPORT_FAILED, TABLE)
    return result


# ---------------------------------------------------------------------------------------------------------- the partner


def _vendor() -> str:
    if ALIAS not in settings.DATABASES:
        raise NoPartnerDatabase
    vendor = connections[ALIAS].vendor
    if vendor not in _CREATE:
        raise UnknownEngine
    return vendor


def _require_table_and_key() -> None:
    _vendor()
    try:
        if TABLE not in _tables():
            raise NoPartnerTable
        _require_key()
    except (DatabaseError, InterfaceError) as error:
        raise PartnerUnreachable(
            f"The partner database cannot be reached; all rows are kept. It says: {error}"
        ) from error


def _tables() -> list[str]:
    with connections[ALIAS].cursor() as cursor:
        return connections[ALIAS].introspection.table_names(cursor)


def _require_key() -> None:
    connection = connections[ALIAS]
    with connection.cursor() as cursor:
        constraints = connection.introspection.get_constraints(cursor, TABLE).values()
    keys = [sorted(constraint["columns"]) for constraint in constraints if constraint["primary_key"]]
    if sorted(KEY) not in keys:
        raise NoPartnerKey


def _write(transfers: Sequence[PartnerTransfer]) -> None:
    """Into the partner's table, in one transaction of that database; rows that stand there are left alone."""
    connection = connections[ALIAS]
    values = [value for transfer in transfers for value in _partner_row(transfer)]
    marks = ", ".join(["(%s, %s, %s)"] * len(transfers))
    with transaction.atomic(using=ALIAS), connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO cc_hourly (partner_id, cc_reward, time) VALUES {marks} {_ON_DUPLICATE[connection.vendor]}",
            values,
        )


def _standing(transfers: Sequence[PartnerTransfer]) -> dict[tuple[str, datetime], Decimal]:
    """What the partner's table holds for these rows: amounts in currency units by (partner, instant)."""
    connection = connections[ALIAS]
    times = sorted({transfer.time for transfer in transfers})
    partners = sorted({transfer.partner.username for transfer in transfers})
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT partner_id, time, cc_reward FROM cc_hourly "
            f"WHERE time IN ({', '.join(['%s'] * len(times))}) AND partner_id IN ({', '.join(['%s'] * len(partners))})",
            [*(_partner_instant(time) for time in times), *partners],
        )
        return {(partner, _instant(time)): Decimal(str(amount)) for partner, time, amount in cursor.fetchall()}


def _partner_row(transfer: PartnerTransfer) -> tuple[str, str, Any]:
    return transfer.partner.username, _units(transfer), _partner_instant(transfer.time)


def _units(transfer: PartnerTransfer) -> str:
    return transfer.currency.to_units(transfer.amount)


def _partner_instant(instant: datetime) -> Any:
    """UTC; as text where the engine has no instants."""
    if connections[ALIAS].vendor == "postgresql":
        return instant
    naive = instant.astimezone(UTC).replace(tzinfo=None)
    return naive if connections[ALIAS].vendor == "mysql" else f"{naive:%Y-%m-%d %H:%M:%S}"


def _instant(value: Any) -> datetime:
    instant = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


# --------------------------------------------------------------------------------------------------------------- outbox


def _unsent() -> Any:
    return PartnerTransfer.objects.filter(sent_at=None)


def _send_all(at: datetime, progress: Steps, result: ExportResult) -> None:
    """Each row is tried once; the next batch begins after the last row tried."""
    after: tuple[datetime, int] | None = None
    while progress.keep_going():
        batch = _next_batch(after)
        if not batch:
            return
        after = batch[-1].time, batch[-1].pk
        sent, failed = result.sent, result.failed
        _send(batch, at, result)
        progress.step(successes=result.sent - sent, failures=result.failed - failed)


def _next_batch(after: tuple[datetime, int] | None) -> list[PartnerTransfer]:
    rows = _unsent().select_related("partner", "currency").order_by("time", "pk")
    if after is not None:
        time, pk = after
        rows = rows.filter(time__gte=time).exclude(time=time, pk__lte=pk)
    return list(rows[:ROWS_AT_ONCE])


def _send(batch: Sequence[PartnerTransfer], at: datetime, result: ExportResult) -> None:
    """Send a batch at once or, when the partner's table refuses it, row by row."""
    try:
        _write(batch)
        standing = _standing(batch)
    except (DatabaseError, InterfaceError) as error:
        _require_table_and_key()  # raises when the partner database is gone
        if len(batch) == 1:
            _note(batch[0], str(error), result)
        else:
            for row in batch:
                _send([row], at, result)
        return
    arrived = []
    for row in batch:
        found = standing.get((row.partner.username, row.time))
        if found == Decimal(_units(row)):
            arrived.append(row.pk)
        elif found is None:
            _note(row, "The partner's table did not keep this row.", result)
        else:
            _note(row, f"The partner's table holds {found} for this partner and hour, not {_units(row)}.", result)
    _unsent().filter(pk__in=arrived).update(sent_at=at, attempts=F("attempts") + 1, last_error="")
    result.sent += len(arrived)


def _note(row: PartnerTransfer, error: str, result: ExportResult) -> None:
    _unsent().filter(pk=row.pk).update(attempts=F("attempts") + 1, last_error=error)
    result.failed += 1
    result.last_error = error


def _note_all(error: str) -> None:
    _unsent().update(attempts=F("attempts") + 1, last_error=error)
