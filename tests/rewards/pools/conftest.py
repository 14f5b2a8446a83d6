"""Pools in points, people who vote, and what was paid."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count

import pytest

from rewards.activity.services import NewEvent, record_events
from rewards.distributions.models import Distribution, Reward
from rewards.ledger.models import Account, Currency
from rewards.ledger.services import balance
from rewards.pools.models import CcRate, Pool
from rewards.pools.services import create_default_pools

_numbers = count(1)


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.fixture
def pools(points: Currency) -> tuple[Pool, Pool]:
    """The hourly and the daily pool; one CC is 100 points from 1970 on."""
    create_default_pools(points)
    CcRate.objects.create(starts_at=instant("1970-01-01"), units_per_cc=Decimal(100))
    return Pool.objects.get(slug="hourly"), Pool.objects.get(slug="daily")


@pytest.fixture
def vote(db: None) -> Callable[..., int]:
    """`vote("alice", "2.5", "2026-03-10T07:15")`: how many CC, when (UTC), how often, of what type, known from when.

    Returns how many of them came late.
    """
    return record_votes


def record_votes(
    partner: str, cc: str, at: str, *, times: int = 1, vote_type: str = "like", recorded: str | None = None
) -> int:
    events = [
        NewEvent(
            event_id=f"vote-{next(_numbers)}",
            user=partner,
            metric="cc_vote",
            quantity=Decimal(cc),
            occurred_at=instant(at),
            attributes={"vote_type": vote_type},
        )
        for _ in range(times)
    ]
    outcome = record_events(events, create_users=True, at=instant(recorded or at))
    assert outcome.accepted == times, outcome
    return outcome.late


def payout(programme: str, period_key: str) -> Distribution:
    return Distribution.objects.get(programme=programme, period_key=period_key)


def rewards_of(programme: str, period_key: str) -> dict[str, int]:
    """Minor units by username, in position order."""
    rows = Reward.objects.filter(distribution__programme=programme, distribution__period_key=period_key)
    return dict(rows.order_by("position").values_list("user__username", "amount"))


def holds(code: str) -> int:
    """Balance of a system account in minor units; 0 where there is none."""
    account = Account.objects.filter(user=None, code=code).first()
    return balance(account) if account else 0


def amounts() -> dict[str, tuple[int, int, int]]:
    """Everything that was paid: amount, paid and carried over by programme and period."""
    rows = Distribution.objects.order_by("programme", "period_key")
    return {str(row): (row.amount, row.paid_amount, row.carried_over) for row in rows}
