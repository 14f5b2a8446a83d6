"""What a preview shows is what is paid, by whatever rule; before the period is frozen, and after it is paid."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pytest
from hypothesis import given, settings

from rewards.allocation.errors import AllocationError
from rewards.allocation.rules import Measure
from rewards.distributions import services
from rewards.distributions.models import Distribution
from rewards.distributions.preview import Preview, compare, preview
from rewards.distributions.programmes import Draft, Programme, Snapshot, register
from rewards.ledger.models import ISSUANCE, Currency
from rewards.ledger.services import system_account
from rewards.users.models import User
from tests.laws.strategies import Payout, payouts
from tests.rewards.distributions.conftest import NOON

MOST_PEOPLE = 25


class OfTheLaw(Programme):
    """Pays what the law puts into it."""

    def __init__(self, currency: Currency, users: list[User]) -> None:
        self.currency, self.users = currency, users
        self.payout: Payout

    def amount(self, distribution: Distribution) -> int:
        return self.payout.amount

    def snapshot(self, distribution: Distribution) -> Snapshot:
        people = self.payout.people
        users = self.users[: len(people)]

        def measure(name: str | None) -> Measure:
            return Measure([int(one.measures[name] * 10**18) for one in people], 18)

        return Snapshot(
            np.array([user.pk for user in users], dtype=np.int64),
            [user.username for user in users],
            measure(None),
            {"votes": measure("votes")},
            [one.group for one in people],
            [one.amount for one in people],
        )

    def draft(self, name: str, period_key: str, at: datetime) -> Draft:
        snapshot = self.snapshot(Distribution())
        return Draft(self.currency, self.payout.amount, snapshot, self.payout.rule, self.payout.tie_policy)


def shown(period_key: str) -> Preview | str:
    """The preview, or what it is refused with."""
    try:
        return preview("of_the_law", period_key, at=NOON)
    except AllocationError as error:
        return str(error)


@pytest.mark.django_db
def test_what_a_preview_shows_is_what_is_paid(coins: Currency) -> None:
    users = [User.objects.create(username=f"user{number:02d}") for number in range(MOST_PEOPLE)]
    programme = OfTheLaw(coins, users)
    register("of_the_law", programme)
    issuance = system_account(ISSUANCE, coins)

    @given(payouts("equal", "proportional", "tiers", "fixed", decimals=(2,)))
    @settings(max_examples=25)
    def law(payout: Payout) -> None:
        programme.payout = payout
        key = str(Distribution.objects.count())
        before = shown(key)
        opened, _ = services.open_distribution(
            "of_the_law", key, starts_at=None, ends_at=None, currency=coins, source_account=issuance,
            rule=payout.rule, tie_policy=payout.tie_policy, at=NOON,
        )  # fmt: skip
        done = services.advance(opened.pk)
        if isinstance(before, str):
            assert (done.status, done.error) == ("failed", before)
            return
        if not payout.people:
            assert (before.unpaid, done.status, done.paid_amount) == (payout.amount, "paid", 0)
            return
        paid = list(done.rewards.order_by("position").values_list("amount", flat=True))
        after = shown(key)
        assert isinstance(after, Preview)
        assert before.amounts.tolist() == after.amounts.tolist() == paid
        assert before.figures == after.figures
        assert before.figures.total == done.paid_amount == done.amount - before.unpaid
        assert (before.figures.recipients, before.participants) == (done.recipients, done.participants)
        assert [part._asdict() for part in before.slices] == done.results["slices"]
        assert compare(before, after).unchanged == len(payout.people)

    law()
