"""Events of Alice, Bob and Carol on a spring morning, and what the counters say about them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from typing import Any

import pytest

from rewards.activity.models import ActivityEvent, Counter
from rewards.activity.services import NewEvent

_numbers = count(1)


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


NOON = instant("2026-03-14T12:00")


def event(user: str = "alice", quantity: Any = "1", when: str = "2026-03-14T07:10", **fields: Any) -> NewEvent:
    """A vote with an id of its own, unless fields say otherwise; `when` is UTC."""
    defaults = {"event_id": f"event-{next(_numbers)}", "metric": "cc_vote", "occurred_at": instant(when)}
    return NewEvent(**defaults | fields, user=user, quantity=quantity)


def counters() -> dict[tuple[str, str, str], Decimal]:
    """(username, metric, month) → quantity; the month is empty for the total."""
    rows = Counter.objects.values_list("user__username", "metric", "month", "quantity")
    return {(username, metric, month): quantity for username, metric, month, quantity in rows}


def total(username: str, metric: str = "cc_vote") -> Decimal:
    return counters()[username, metric, ""]


def late_ids() -> set[str]:
    return set(ActivityEvent.objects.filter(late=True).values_list("event_id", flat=True))


@pytest.fixture
def people(make_user: Callable[..., Any]) -> None:
    for username in ("alice", "bob", "carol"):
        make_user(username)
