"""Alice's service on two replicas, and her stake; both earn points."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction

from rewards.deployments.models import Deployment, StakingPosition
from rewards.deployments.services import create_deployment, stake
from rewards.ledger import services as ledger
from rewards.ledger.models import Currency
from rewards.users.models import User

SEVEN = datetime(2026, 11, 21, 7, tzinfo=UTC)


def after(**passed: float) -> datetime:
    """An instant so long after seven."""
    return SEVEN + timedelta(**passed)


def holdings(user: User, currency: Currency, code: str = "") -> int:
    return ledger.balance(ledger.user_account(user, currency, code))


@pytest.fixture
def web(alice: User, points: Currency) -> Deployment:
    return create_deployment(alice, "web", 2, SEVEN)


@pytest.fixture
def give() -> Callable[[User, Currency, int], None]:
    def give(user: User, currency: Currency, amount: int) -> None:
        with transaction.atomic():
            ledger.credit(user, currency, amount, f"give:{user}:{currency}", "")

    return give


@pytest.fixture
def position(alice: User, points: Currency, coins: Currency, give: Callable[..., None]) -> StakingPosition:
    """Of 87,600 coins: five thousand points in a thousand hours at a twentieth a year, half a point an hour."""
    give(alice, coins, 100_000_00)
    return stake(alice, coins, 87_600_00, "s-1", SEVEN)
