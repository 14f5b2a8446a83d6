"""A queue, and something that accrues, for the tests of pending rewards."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import transaction

from rewards.ledger import services as ledger
from rewards.ledger.models import Currency
from rewards.pending.models import PendingReward
from rewards.pending.services import queue_reward
from rewards.users.models import User

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
def queued(coins: Currency) -> Callable[..., PendingReward]:
    """Put a reward into the queue: `queued(alice, 125_50)`."""
    numbers = iter(range(1, 1_000_000))

    def put(user: User, amount: int = 100, reward_id: str = "", **about: Any) -> PendingReward:
        about = {"at": NOON, "currency": coins, **about}
        return queue_reward(user, about.pop("currency"), amount, reward_id or f"task-{next(numbers)}", **about)

    return put


@pytest.fixture
def fund(coins: Currency) -> Callable[[User | str, int], None]:
    """Give minor units of coins to a user, or to a system account."""
    numbers = iter(range(1, 1_000_000))

    def give(owner: User | str, amount: int) -> None:
        with transaction.atomic():
            account = (
                ledger.user_account(owner, coins) if isinstance(owner, User) else ledger.system_account(owner, coins)
            )
            issuance = ledger.system_account("issuance", coins)
            ledger.post(f"fund:{next(numbers)}", "fund", [ledger.Move(issuance, account, amount)])

    return give
