"""Writing events, and sealing them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Max, Model, Q, QuerySet
from django.utils import timezone

from rewards.audit.chain import GENESIS, SEALED_COLUMNS, Place, event_hash, last_seal, seal_hash, transaction_horizon
from rewards.audit.models import AuditEvent, AuditSeal
from rewards.common.amounts import canonical_decimal
from rewards.common.database import column_values, insert, write_rows
from rewards.common.errors import RewardsError
from rewards.users.models import User

LARGEST_EXACT_INTEGER = 2**53 - 1  # beyond it, readers of JSON that use doubles would see another number


class SealedMeanwhile(RewardsError):
    """Another process sealed these events at the same moment; there is nothing left to do for this one."""

    code = "sealed_meanwhile"
    http_status = 409


def record(event_type: str, **about: Any) -> AuditEvent:
    """Write one event, in the caller's transaction: what is rolled back leaves no event behind.

    `about` is what `new_event` takes.
    """
    event = new_event(event_type, **about)
    insert(event)
    return event


def record_many(events: Iterable[AuditEvent]) -> None:
    """Write many events that `new_event` made, in the caller's transaction, streamed."""
    fields = [each for each in AuditEvent._meta.concrete_fields if not each.primary_key and not each.has_db_default()]
    columns = [str(field.column) for field in fields]
    write_rows(AuditEvent._meta.db_table, columns, (column_values(event, fields) for event in events))


def new_event(
    event_type: str,
    *,
    distribution: Model | None = None,
    user: User | None = None,
    actor: User | None = None,
    amount: int | None = None,
    currency: Model | None = None,
    reward_id: str = "",
    reason: str = "",
    success: bool = True,
    error_message: str = "",
    data: Mapping[str, Any] | None = None,
) -> AuditEvent:
    """An event that is not written yet.

    `distribution` and `currency` are rows of those models, which stand above this package; `amount` is in minor units.
    In `data`, decimals, dates, UUIDs, floats and integers beyond ±(2**53 - 1) become text.
    """
    return AuditEvent(
        event_type=event_type,
        distribution_id=_pk_of(distribution),
        user_id=_pk_of(user),
        actor_id=_pk_of(actor),
        amount=amount,
        currency_id=_pk_of(currency),
        reward_id=storable_text(reward_id),
        reason=storable_text(reason),
        success=success,
        error_message=storable_text(error_message),
        data=storable(dict(data or {})),
    )


def _pk_of(row: Model | None) -> Any:
    return None if row is None else row.pk


def seal_events(limit: int = 1000) -> int:
    """Seal the next run of settled events, at most `limit` of them; how many it were.

    Call it until it says 0. Of two sealers at once one wins, the other gets `SealedMeanwhile`.
    """
    with transaction.atomic():
        head = last_seal()
        place = Place.after_seal(head)
        oldest_open, next_number = transaction_horizon()
        if place.number >= next_number:
            return _seal_what_was_restored(head, place, next_number, limit)
        return _seal(head, AuditEvent.objects.filter(place.before(), transaction_number__lt=oldest_open), limit)


def _seal(head: AuditSeal | None, events: QuerySet[AuditEvent], limit: int) -> int:
    rows = list(events.order_by("transaction_number", "id").values("id", *SEALED_COLUMNS)[:limit])
    if rows:
        _append_seal(
            head,
            entries=[[row["id"], event_hash(row)] for row in rows],
            first_event=rows[0]["id"],
            last_event=rows[-1]["id"],
            last_transaction_number=rows[-1]["transaction_number"],
            base_event=Place.after_seal(head).base_event,
        )
    return len(rows)


def _seal_what_was_restored(head: AuditSeal | None, place: Place, next_number: int, limit: int) -> int:
    """The chain is ahead of the server's counter: the database was restored into another server.

    Its unsealed events are all settled and come first. Then an empty seal says up to which id the old numbers reach,
    and the order starts again from there.
    """
    from_the_other = Q(transaction_number__gte=next_number)
    sealed = _seal(head, AuditEvent.objects.filter(place.before(), from_the_other), limit)
    if not sealed:
        last = max(row for seal in AuditSeal.objects.iterator(chunk_size=20) for row, _ in seal.entries)
        unsealed = AuditEvent.objects.filter(from_the_other).aggregate(last=Max("id"))["last"] or 0
        base = max(last, unsealed)
        _append_seal(head, entries=[], first_event=base, last_event=base, last_transaction_number=-1, base_event=base)
    return sealed


def _append_seal(head: AuditSeal | None, **facts: Any) -> None:
    seal = AuditSeal(previous_hash=head.hash if head else GENESIS, sealed_at=timezone.now(), **facts)
    seal.hash = seal_hash(seal)
    try:
        with transaction.atomic():
            seal.save(force_insert=True)
    except IntegrityError as error:  # both unique columns say the same: this seal has a successor already
        raise SealedMeanwhile from error


def storable(value: Any) -> Any:
    """JSON that both databases keep exactly as it is. Raises `TypeError` for what has no plain form."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) <= LARGEST_EXACT_INTEGER else str(value)
    if isinstance(value, str):
        return storable_text(value)
    if isinstance(value, Mapping):
        return {storable_text(str(key)): storable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [storable(item) for item in value]
    return _as_text(value)


def storable_text(text: str) -> str:
    """Without what PostgreSQL refuses in text: NUL and lone surrogates become the replacement character."""
    return text.replace("\x00", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _as_text(value: Any) -> str:
    if isinstance(value, Decimal):
        return canonical_decimal(value) if value.is_finite() else str(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, UUID | float):
        return str(value)
    raise TypeError(f"A {type(value).__name__} cannot stand in the data of an audit event.")
