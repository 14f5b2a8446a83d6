"""Writing events, and sealing them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from rewards.audit.models import AuditEvent
from rewards.common.amounts import canonical_decimal
from rewards.users.models import User

if TYPE_CHECKING:
    from rewards.distributions.models import Distribution
    from rewards.ledger.models import Currency

LARGEST_EXACT_INTEGER = 2**53 - 1  # beyond it, readers of JSON that use doubles would see another number


def record(
    event_type: str,
    *,
    distribution: Distribution | None = None,
    user: User | None = None,
    actor: User | None = None,
    amount: int | None = None,
    currency: Currency | None = None,
    reward_id: str = "",
    reason: str = "",
    success: bool = True,
    error_message: str = "",
    data: Mapping[str, Any] | None = None,
) -> AuditEvent:
    """Write one event, in the caller's transaction: what is rolled back leaves no event behind.

    `amount` is in minor units. In `data`, decimals, dates, UUIDs, floats and integers beyond ±(2**53 - 1) become text.
    """
    return AuditEvent.objects.create(
        event_type=event_type,
        distribution=distribution,
        user=user,
        actor=actor,
        amount=amount,
        currency=currency,
        reward_id=storable_text(reward_id),
        reason=storable_text(reason),
        success=success,
        error_message=storable_text(error_message),
        data=storable(dict(data or {})),
    )


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
