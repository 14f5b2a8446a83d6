"""Credits and activity at instants of the test's choosing, and boards over them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest
from django.db import transaction

from leaderboard.models import Board
from leaderboard.queries import BoardPage, Line
from rewards.activity.services import NewEvent, record_events
from rewards.ledger.models import ISSUANCE, Journal, Transfer
from rewards.ledger.services import system_account, user_account
from rewards.users.models import User

_numbers = count(1)


def instant(text: str) -> datetime:
    """UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


NOON = instant("2026-11-21T12:00")


def moved(debit_account: Any, credit_account: Any, amount: int, when: datetime, **fields: Any) -> Transfer:
    """A transfer at that instant: the ledger itself stamps its rows with the present."""
    journal = Journal.objects.create(key=f"test:{next(_numbers)}", kind="test", fingerprint="", created_at=when)
    return Transfer.objects.create(
        journal=journal,
        debit_account=debit_account,
        credit_account=credit_account,
        currency=debit_account.currency,
        amount=amount,
        created_at=when,
        **fields,
    )


def credited(user: User, currency: Any, amount: int, when: datetime = NOON, code: str = ISSUANCE) -> Transfer:
    with transaction.atomic():
        source, own = system_account(code, currency), user_account(user, currency)
    return moved(source, own, amount, when)


def reversed_at(transfer: Transfer, when: datetime) -> Transfer:
    return moved(transfer.credit_account, transfer.debit_account, transfer.amount, when, reverses=transfer)


def did(user: User | str, metric: str, quantity: Any = "1", when: datetime = NOON, **fields: Any) -> None:
    """An event; it comes in as it occurs unless `at` says otherwise."""
    at = fields.pop("at", when)
    new = NewEvent(
        event_id=f"event-{next(_numbers)}", user=str(user), metric=metric, quantity=str(quantity), occurred_at=when
    )
    outcome = record_events([new], at=at)
    assert outcome.accepted == 1, outcome


@pytest.fixture
def make_board(db: None) -> Callable[..., Board]:
    """A board of points of all time, unless fields say otherwise."""

    def make(slug: str = "points", **fields: Any) -> Board:
        if "metric" in fields:
            fields = {"source": "metric", "currency": "", **fields}
        return Board.objects.create(slug=slug, **fields)

    return make


def table(lines: list[Line] | BoardPage) -> list[tuple[int, str, int]]:
    """(rank, username, points)."""
    entries = lines.entries if isinstance(lines, BoardPage) else lines
    return [(line.rank, line.username, line.points) for line in entries]
