"""A programme of the tests: what each test puts into it is what it pays."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from django.db import transaction

from rewards.allocation.rules import Measure
from rewards.distributions import services
from rewards.distributions.models import Distribution
from rewards.distributions.programmes import Draft, NoPreview, Programme, Snapshot, register
from rewards.ledger import services as ledger
from rewards.ledger.models import Currency
from rewards.ledger.services import Move
from rewards.users.models import User

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
EQUAL = {"rule": "equal"}


@dataclass
class Prize(Programme):
    """Pays `prize` minor units to whom `scores` names, in the order of its items."""

    scores: dict[str, int] = field(default_factory=dict)
    prize: int = 0
    completed: list[str] = field(default_factory=list)
    broken: bool = False
    currency: Currency | None = None

    def amount(self, distribution: Distribution) -> int:
        return self.prize

    def snapshot(self, distribution: Distribution) -> Snapshot:
        if self.broken:
            raise ZeroDivisionError("the snapshot is broken")
        return self.ranking()

    def ranking(self) -> Snapshot:
        ids = dict(User.objects.filter(username__in=self.scores).values_list("username", "pk"))
        return Snapshot(
            user_ids=np.array([ids[name] for name in self.scores], dtype=np.int64),
            usernames=list(self.scores),
            scores=Measure(list(self.scores.values()), 0),
        )

    def due_periods(self, at: datetime) -> list[Any]:
        return []

    def paid(self, distribution: Distribution) -> None:
        self.completed.append(distribution.period_key)

    def draft(self, name: str, period_key: str, at: datetime) -> Draft:
        if period_key == "never":
            raise NoPreview
        return Draft(self.currency, self.prize, self.ranking(), EQUAL)


@pytest.fixture
def prize() -> Prize:
    programme = Prize()
    register("prize", programme)
    return programme


@pytest.fixture
def open_prize(prize, coins):
    """Fund the pool and open a distribution of the programme."""

    def open_it(key: str = "1", rule: dict[str, Any] = EQUAL, fund: int | None = None, **options: Any) -> Distribution:
        with transaction.atomic():
            pool = ledger.system_account("pool:prize", coins)
            funds = prize.prize if fund is None else fund
            if funds:
                ledger.post(f"fund:{key}", "fund", [Move(ledger.system_account("issuance", coins), pool, funds)])
        distribution, _ = services.open_distribution(
            "prize",
            key,
            starts_at=NOON - timedelta(hours=1),
            ends_at=NOON,
            currency=coins,
            source_account=pool,
            rule=rule,
            at=NOON,
            **options,
        )
        return distribution

    return open_it
