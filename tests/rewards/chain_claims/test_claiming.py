"""Rewards that are paid out on the chain are claimed by their owners, each once."""

from __future__ import annotations

import hashlib
import json

import pytest

from rewards.audit.models import AuditEvent
from rewards.chain import services as chain
from rewards.chain.models import ChainTransaction, LocalEntry
from rewards.chain_claims.errors import NoSuchReward, NotClaimable, NoWalletAddress
from rewards.chain_claims.models import RewardClaim
from rewards.chain_claims.services import claim
from rewards.distributions import queries, services
from rewards.distributions.corrections import take_back
from rewards.ledger.errors import PayoutsPaused
from rewards.ledger.models import Account
from rewards.ledger.queries import earned
from rewards.parameters.services import set_parameter
from tests.rewards.chain_claims.conftest import (
    NOON,
    WALLET,
    after,
    broken_promises,
    claims,
    holds,
    look,
    reward_of,
    status_of,
)

pytestmark = pytest.mark.django_db


class TestPayingOut:
    def test_it_lies_on_accounts_to_be_claimed(self, payout, alice, bob, coins):
        assert payout.status == "paid"
        assert (holds(alice, coins), holds(bob, coins)) == ((334, 0), (333, 0))
        assert not Account.objects.filter(user__isnull=False, min_balance=None).exists()
        assert {status_of(each) for each in payout.rewards.all()} == {"claimable"}
        assert broken_promises() == []
        assert queries.verify(payout) == []

    def test_it_is_not_earned_yet(self, payout, alice, coins):
        assert earned(alice, coins) == 0

    def test_the_receipt_names_no_payment(self, payout, alice):
        found = queries.receipt(reward_of(payout, alice))
        assert (found["status"], found["transfer"], found["paid_at"]) == ("claimable", None, None)

    def test_a_second_payout_adds_to_the_same_account(self, pay_on_chain, alice, coins):
        pay_on_chain("1")
        pay_on_chain("2")
        assert holds(alice, coins) == (668, 0)
        assert broken_promises() == []

    def test_a_lost_unit_is_found(self, payout, alice, coins):
        account = Account.objects.get(user=alice, currency=coins, code="claimable")
        Account.objects.filter(pk=account.pk).update(balance=333)
        assert any("334 are left to be claimed" in each for each in broken_promises())

    def test_the_export_says_what_is_claimable(self, payout, alice):
        claims(alice, reward_of(payout, alice))
        assert [line[-1] for line in queries.reward_lines(payout)] == ["processing", "claimable", "claimable"]


class TestClaiming:
    def test_a_transaction_is_under_way(self, payout, alice, coins):
        reward = reward_of(payout, alice)
        (done,) = claims(alice, reward)

        assert (done.status, done.wallet_address, done.attempts) == ("processing", WALLET, 1)
        tx = done.transaction
        assert (tx.status, tx.purpose, tx.recipient) == ("submitted", "reward", WALLET)
        assert LocalEntry.objects.get().tx_hash == tx.tx_hash
        said = {"amount": "3.34", "currency": "coins", "reward_id": reward.pk, "user": "alice"}
        canonical = json.dumps(said, sort_keys=True, separators=(",", ":"))
        assert chain.node_payload(tx.tx_hash, NOON) == hashlib.sha256(canonical.encode()).hexdigest()
        assert (status_of(reward), holds(alice, coins), earned(alice, coins)) == ("processing", (334, 0), 0)
        event = AuditEvent.objects.get(event_type="reward_claimed")
        assert (event.user_id, event.amount, event.reward_id) == (alice.pk, 334, str(reward.pk))

    def test_again_returns_what_stands(self, payout, alice):
        reward = reward_of(payout, alice)
        (first,) = claims(alice, reward)
        (second,) = claims(alice, reward, at=after(hours=1), wallet="elsewhere")

        assert (second.pk, second.transaction_id, second.wallet_address) == (first.pk, first.transaction_id, WALLET)
        assert ChainTransaction.objects.count() == LocalEntry.objects.count() == RewardClaim.objects.count() == 1

    def test_also_when_it_is_paid(self, payout, alice, coins):
        reward = reward_of(payout, alice)
        claims(alice, reward)
        look(minutes=2)
        (again,) = claims(alice, reward, at=after(hours=1))

        assert (again.status, holds(alice, coins)) == ("completed", (0, 334))
        assert ChainTransaction.objects.count() == 1

    def test_several_at_once_by_reward(self, pay_on_chain, alice):
        mine = [reward_of(pay_on_chain(key), alice) for key in "123"]
        found = claims(alice, mine[2], mine[0], mine[1])

        assert [each.reward_id for each in found] == [each.pk for each in mine]
        assert len({each.transaction.nonce for each in found}) == 3

    def test_the_wallet_of_the_profile_takes_the_place_of_none(self, payout, alice):
        alice.wallet_address = "alices-own"
        (done,) = claims(alice, reward_of(payout, alice), wallet="")
        assert done.wallet_address == "alices-own"

    def test_a_node_that_cannot_be_reached_does_not_lose_it(self, payout, alice, coins, monkeypatch):
        def down(self, raw, at):
            raise chain.ChainUnavailable

        with monkeypatch.context() as patch:
            patch.setattr("rewards.chain.backends.local.LocalChain.send", down)
            (done,) = claims(alice, reward_of(payout, alice))
        assert (done.status, done.transaction.status, LocalEntry.objects.count()) == ("processing", "submitted", 0)

        look(minutes=1)  # sends it
        look(minutes=3)
        assert holds(alice, coins) == (0, 334)


class TestWhatIsRefused:
    """It changes nothing."""

    @pytest.fixture(autouse=True)
    def nothing_is_written(self, payout):
        yield
        assert not RewardClaim.objects.exists()
        assert not ChainTransaction.objects.exists()
        assert broken_promises() == []

    def test_the_reward_of_another(self, payout, alice, bob):
        with pytest.raises(NoSuchReward):
            claims(alice, reward_of(payout, alice), reward_of(payout, bob))

    def test_none_at_all(self, alice):
        with pytest.raises(NoSuchReward):
            claim(alice, [10**15], WALLET, NOON)

    def test_no_wallet(self, payout, alice):
        with pytest.raises(NoWalletAddress, match="wallet_address"):
            claims(alice, reward_of(payout, alice), wallet="")

    def test_what_the_ledger_pays(self, payout, open_prize, alice):
        in_the_ledger = reward_of(services.advance(open_prize("2").pk), alice)
        with pytest.raises(NotClaimable, match="paid in the ledger"):
            claims(alice, in_the_ledger, reward_of(payout, alice))

    def test_what_is_not_paid_out_yet(self, open_prize, alice):
        waits = open_prize("2", payout="chain", approval_limit=1)
        services.advance(waits.pk)
        with pytest.raises(NoSuchReward):
            claims(alice, reward_of(waits, alice))

    def test_what_was_taken_back(self, payout, alice, staff):
        reward = reward_of(payout, alice)
        take_back(payout.pk, staff("boss", "reverse_distribution"), "a mistake", reward_id=reward.pk)
        with pytest.raises(NotClaimable, match="reversed"):
            claims(alice, reward)

    def test_while_payouts_are_paused(self, payout, alice):
        set_parameter("payouts_paused", True, actor=None, reason="to see")
        with pytest.raises(PayoutsPaused):
            claims(alice, reward_of(payout, alice))


def test_paused_or_not_what_stands_is_told(payout, alice):
    reward = reward_of(payout, alice)
    claims(alice, reward)
    set_parameter("payouts_paused", True, actor=None, reason="to see")
    assert claims(alice, reward)[0].status == "processing"
