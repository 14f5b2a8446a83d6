"""A payout on the chain is taken back from where it lies: claimable, or with who has claimed it."""

from __future__ import annotations

import pytest
from django.db import transaction

from rewards.chain_claims.errors import NotClaimable
from rewards.distributions import queries
from rewards.distributions.corrections import clawback_preview, take_back
from rewards.distributions.errors import ClaimUnderWay, NothingToReverse
from rewards.distributions.models import Distribution
from rewards.distributions.queries import taken_back_from
from rewards.ledger import services as ledger
from rewards.ledger.debts import Shortfall
from rewards.ledger.errors import InsufficientFunds
from rewards.ledger.models import Account
from rewards.ledger.queries import earned
from rewards.parameters.services import set_parameter
from tests.rewards.chain_claims.conftest import (
    after,
    broken_promises,
    claims,
    holds,
    look,
    reward_of,
    status_of,
)
from tests.rewards.reading import reading_only

pytestmark = pytest.mark.django_db


@pytest.fixture
def boss(staff):
    return staff("boss", "reverse_distribution")


@pytest.fixture
def half_claimed(payout, alice, bob, coins):
    """Alice has claimed 3.34 and has it, Bob has claimed 3.33 and spent 3.00 of it, Carol has not claimed."""
    claims(alice, reward_of(payout, alice))
    claims(bob, reward_of(payout, bob))
    assert look(minutes=2).completed == 2
    with transaction.atomic():
        ledger.debit(bob, coins, 300, "spent", "a hat")
    return payout


def in_the_pool(distribution):
    return ledger.balance(distribution.source_account)


def all_is_well(distribution):
    found = Distribution.objects.select_related("currency", "source_account").get(pk=distribution.pk)
    return broken_promises() == [] and queries.verify(found) == []


class TestTheWhole:
    def test_what_nobody_has_claimed(self, payout, boss, alice, coins):
        found = take_back(payout.pk, boss, "a mistake")
        assert (found.recipients, found.total, found.short) == (3, 1000, 0)
        assert (holds(alice, coins), in_the_pool(payout)) == ((0, 0), 1000)
        assert {status_of(each) for each in payout.rewards.all()} == {"reversed"}
        assert taken_back_from(payout) == {"alice", "bob", "carol"}
        assert all_is_well(payout)

    def test_who_has_spent_it_is_named(self, half_claimed, boss, alice, coins):
        with reading_only():
            seen = clawback_preview(half_claimed)
        assert (seen.recipients, seen.total, seen.short, seen.missing_total) == (3, 1000, 1, 300)
        assert seen.rows == [Shortfall("bob", 333, 33, 300)]
        with pytest.raises(InsufficientFunds, match="bob"):
            take_back(half_claimed.pk, boss, "a mistake")
        assert (holds(alice, coins), in_the_pool(half_claimed)) == ((0, 334), 0)

    def test_he_owes_the_rest(self, half_claimed, boss, alice, bob, carol, coins):
        found = take_back(half_claimed.pk, boss, "a mistake", missing="lend")
        assert (found.total, found.short, found.missing_total) == (1000, 1, 300)
        assert [holds(user, coins) for user in (alice, bob, carol)] == [(0, 0)] * 3
        assert Account.objects.get(user=bob, code="debt").balance == -300
        assert in_the_pool(half_claimed) == 1000
        assert [earned(user, coins) for user in (alice, bob, carol)] == [0, 0, 0]
        assert {status_of(each) for each in half_claimed.rewards.all()} == {"reversed"}
        assert all_is_well(half_claimed)

    def test_or_it_is_written_off(self, half_claimed, boss, bob, coins):
        take_back(half_claimed.pk, boss, "a mistake", missing="write_off")
        assert (holds(bob, coins), in_the_pool(half_claimed)) == ((0, 0), 1000)
        assert all_is_well(half_claimed)

    def test_while_a_claim_is_under_way_it_is_refused(self, payout, boss, alice, coins):
        claims(alice, reward_of(payout, alice))
        with pytest.raises(ClaimUnderWay, match="Wait until"):
            take_back(payout.pk, boss, "a mistake")
        assert holds(alice, coins) == (334, 0)

        look(minutes=2)
        take_back(payout.pk, boss, "a mistake")
        assert all_is_well(payout)

    def test_a_claim_that_failed_does_not_stand_in_the_way(self, payout, boss, node_is_deaf, alice, coins):
        claims(alice, reward_of(payout, alice))
        look(hours=24)
        take_back(payout.pk, boss, "a mistake")
        assert (holds(alice, coins), status_of(reward_of(payout, alice))) == ((0, 0), "reversed")
        with pytest.raises(NotClaimable):
            claims(alice, reward_of(payout, alice), at=after(hours=25))
        assert all_is_well(payout)

    def test_after_single_ones_the_rest(self, half_claimed, boss, alice, carol, coins):
        for user in (alice, carol):
            take_back(half_claimed.pk, boss, "not theirs", reward_id=reward_of(half_claimed, user).pk)
        found = take_back(half_claimed.pk, boss, "all of it", missing="lend")
        assert (found.recipients, found.total, found.already_reversed) == (1, 333, 2)
        assert in_the_pool(half_claimed) == 1000
        assert all_is_well(half_claimed)

    def test_of_several_chunks(self, pay_on_chain, boss, alice, coins):
        set_parameter("distributions.chunk_rows", 2, actor=None, reason="several chunks")
        several = pay_on_chain("2")
        claims(alice, reward_of(several, alice))
        look(minutes=2)
        take_back(several.pk, boss, "a mistake")
        assert several.chunks.count() > 1
        assert in_the_pool(several) == 1000
        assert all_is_well(several)


class TestOne:
    def test_that_is_not_claimed(self, payout, boss, alice, bob, coins):
        take_back(payout.pk, boss, "not hers", reward_id=reward_of(payout, alice).pk)
        assert (holds(alice, coins), holds(bob, coins), in_the_pool(payout)) == ((0, 0), (333, 0), 334)
        assert [status_of(each) for each in payout.rewards.order_by("position")] == [
            "reversed", "claimable", "claimable",
        ]  # fmt: skip
        assert all_is_well(payout)

    def test_that_was_claimed(self, half_claimed, boss, alice, coins):
        take_back(half_claimed.pk, boss, "not hers", reward_id=reward_of(half_claimed, alice).pk)
        assert (holds(alice, coins), earned(alice, coins), in_the_pool(half_claimed)) == ((0, 0), 0, 334)
        assert status_of(reward_of(half_claimed, alice)) == "reversed"
        assert all_is_well(half_claimed)
        with pytest.raises(NothingToReverse):
            take_back(half_claimed.pk, boss, "again", reward_id=reward_of(half_claimed, alice).pk)

    def test_another_reward_of_hers_stays_claimable(self, pay_on_chain, boss, alice, coins):
        first, second = pay_on_chain("1"), pay_on_chain("2")
        take_back(first.pk, boss, "not hers", reward_id=reward_of(first, alice).pk)
        assert holds(alice, coins) == (334, 0)
        claims(alice, reward_of(second, alice))
        look(minutes=2)
        assert holds(alice, coins) == (0, 334)
        assert all_is_well(second)

    def test_that_is_under_way(self, payout, boss, alice):
        claims(alice, reward_of(payout, alice))
        with pytest.raises(ClaimUnderWay):
            take_back(payout.pk, boss, "not hers", reward_id=reward_of(payout, alice).pk)
        # the others are no claims under way
        take_back(payout.pk, boss, "not his", reward_id=payout.rewards.get(position=2).pk)
        assert all_is_well(payout)
