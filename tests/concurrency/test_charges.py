"""Many who look at, spend and give one player's charges at once: each hour counts once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from django.db import transaction

from rewards.claims.charges import raise_maximum, regenerate
from rewards.claims.models import ChargeClock
from rewards.ledger import services as ledger
from rewards.ledger.errors import InsufficientFunds
from rewards.ledger.models import Account, Currency, Journal
from tests.concurrency.conftest import broken_promises
from tests.concurrency.racing import at_once

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def drop_charges(db):
    return Currency.objects.create(code="drop_charges")


@pytest.fixture
def alice(make_user):
    return make_user("alice", date_joined=NOON)


def committed(work, *arguments, **named):
    with transaction.atomic():
        return work(*arguments, **named)


def held(user) -> int:
    return Account.objects.get(user=user, currency__code="drop_charges").balance


def test_eight_who_read_a_new_player_at_once_give_each_hour_once(alice):
    gained = at_once(*[partial(committed, regenerate, alice, NOON + 2 * HOUR)] * 8)
    assert sorted(gained) == [0] * 7 + [2]
    assert held(alice) == 2
    assert ChargeClock.objects.count() == Journal.objects.count() == 1


def test_readers_whose_clocks_differ_never_count_an_hour_twice(alice):
    """Each process has read the time a little earlier or later, and they come in any order."""
    for hour in range(1, 8):
        raise_to = [partial(committed, raise_maximum, alice, 8, reason="bought", at=NOON)] if hour == 1 else []
        around = [NOON + hour * HOUR + timedelta(seconds=seconds) for seconds in (-3, -1, 0, 0, 1, 3)]
        results = at_once(*raise_to, *(partial(committed, regenerate, alice, at) for at in around))
        assert not [each for each in results if isinstance(each, Exception)]
        assert held(alice) == hour
    assert broken_promises() == []


def test_spending_gifts_and_reading_at_once_add_up(alice, drop_charges):
    """Three are there, ten try to spend one, two gifts come, readers read: what stands is what was given less spent."""
    at = NOON + 3 * HOUR
    committed(regenerate, alice, at)

    def spend(number: int) -> None:
        regenerate(alice, at)
        ledger.debit(alice, drop_charges, 1, f"spend:{number}", "a drop")

    def give(number: int) -> None:
        regenerate(alice, at)
        ledger.credit(alice, drop_charges, 1, f"give:{number}", "a gift")

    works = [partial(committed, spend, number) for number in range(10)]
    works += [partial(committed, give, number) for number in range(2)]
    works += [partial(committed, regenerate, alice, at)] * 4
    results = at_once(*works)

    errors = [each for each in results if isinstance(each, Exception)]
    assert {type(each) for each in errors} == {InsufficientFunds}
    assert held(alice) == 3 + 2 - (10 - len(errors))
    assert (
        not Journal.objects.filter(kind="charge_regeneration")
        .exclude(key=f"charges:{alice.pk}:{NOON.isoformat()}")
        .exists()
    )
    assert broken_promises() == []


def test_upgrades_at_once_to_different_goals_end_at_the_highest(alice):
    maxima = at_once(
        *[partial(committed, raise_maximum, alice, to, reason="bought", at=NOON) for to in (4, 6, 5, 6, 4)]
    )
    assert max(maxima) == 6
    assert ChargeClock.objects.get().extra_maximum == 3
