"""Alice, Bob and Carol win cases, vote, join early, and connect wallets."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest

from badges.models import Badge, BadgeAward
from badges.setup import create_default_badges
from rewards.activity.services import NewEvent, record_events
from rewards.ledger import services as ledger
from rewards.ledger.models import Currency
from rewards.users.models import User

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
_numbers = count()


@pytest.fixture
def nine(points: Currency) -> dict[str, Badge]:
    """The badges the product ships with, by slug."""
    create_default_badges()
    return {badge.slug: badge for badge in Badge.objects.all()}


@pytest.fixture
def make_badge(points: Currency) -> Callable[..., Badge]:
    """An active badge over the counter `tests_completed`, unless told otherwise."""

    def make(slug: str, **fields: Any) -> Badge:
        fields = {"name": slug.capitalize(), "metric": "tests_completed", "active": True, **fields}
        return Badge.objects.create(slug=slug, **fields)

    return make


def did(user: User, metric: str, quantity: Any = 1, at: datetime = NOON - timedelta(hours=1)) -> None:
    """The user did something; what follows its commit does not happen in a test that is rolled back."""
    event = NewEvent(
        event_id=f"e{next(_numbers)}", user=user.username, metric=metric, quantity=quantity, occurred_at=at
    )
    assert record_events([event], at=NOON).accepted == 1


def badges_of(user: User) -> set[str]:
    """Slugs of what stands; with the period where there is one."""
    awards = BadgeAward.objects.filter(user=user, revoked_at=None)
    return {":".join(filter(None, pair)) for pair in awards.values_list("badge__slug", "period_key")}


def points_of(user: User, currency: str = "points") -> int:
    account = user.accounts.filter(currency__code=currency, code="").first()
    return ledger.balance(account) if account else 0
