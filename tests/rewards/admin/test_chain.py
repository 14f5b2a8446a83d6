"""Chain transactions and claims on the chain in the back-office: looked at, and looked at again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.urls import reverse
from django.utils import timezone

from rewards.audit.models import AuditEvent
from rewards.chain.models import ChainTransaction, LocalEntry
from rewards.chain.services import broadcast, prepare
from rewards.chain_claims.models import RewardClaim
from rewards.chain_claims.services import claim
from rewards.ledger.services import balance, user_account
from rewards.users.roles import ROLES
from tests.rewards.chain_claims import conftest as claiming
from tests.rewards.chain_claims.conftest import WALLET

pay_on_chain, payout = claiming.pay_on_chain, claiming.payout
open_prize, prize = claiming.open_prize, claiming.prize

pytestmark = pytest.mark.django_db

RUNS = ("Operator", "Administrator", None)


def address(view: str, *args: Any, model: str = "chaintransaction") -> str:
    return reverse(f"admin:rewards_{model}_{view}", args=args)


def said(response: Any) -> str:
    return " ".join(str(message) for message in get_messages(response.wsgi_request))


@pytest.fixture
def claimed(payout, alice) -> RewardClaim:
    """Alice has claimed her 3.34 coins five minutes ago: the chain has them by now."""
    (made,) = claim(alice, [payout.rewards.get(user=alice).pk], WALLET, timezone.now() - timedelta(minutes=5))
    broadcast(made.transaction, timezone.now() - timedelta(minutes=5))
    return made


def test_a_transaction_says_what_it_is_for_and_what_it_carries(sign_in, claimed, alice) -> None:
    tx = claimed.transaction
    viewer = sign_in("Viewer")
    listed = viewer.get(address("changelist")).content.decode()
    assert f"{tx.tx_hash[:16]}…" in listed
    page = viewer.get(address("change", tx.pk)).content.decode()
    for words in (tx.tx_hash, tx.payload_hash, WALLET, f"claim #{claimed.pk} of alice"):
        assert words in page, words
    found = viewer.get(address("changelist"), {"q": tx.tx_hash[:6]}).context["cl"].result_list
    assert list(found) == [tx]
    assert not viewer.get(address("changelist"), {"q": "0" * 20}).context["cl"].result_count


def test_a_transaction_that_is_not_signed_has_a_page_too(sign_in, claimed) -> None:
    unsigned = prepare(ChainTransaction.Purpose.REWARD, "ab" * 32, at=timezone.now())
    ChainTransaction.objects.filter(pk=unsigned.pk).update(tx_hash=None, instead_of=claimed.transaction, error="Waits.")
    root = sign_in()
    assert "not signed yet" in root.get(address("changelist")).content.decode()
    page = root.get(address("change", unsigned.pk)).content.decode()
    assert f"{claimed.transaction.tx_hash[:16]}…" in page
    assert "Waits." in page


def test_what_was_signed_is_neither_shown_nor_asked_about(sign_in, claimed) -> None:
    root = sign_in()
    raw = bytes(claimed.transaction.raw)
    assert raw
    assert raw.hex() not in root.get(address("change", claimed.transaction.pk)).content.decode()


def test_looking_again_confirms_a_transaction_and_completes_its_claim(sign_in, claimed, alice, coins) -> None:
    operator = sign_in("Operator")
    tx = claimed.transaction
    assert "Look at" in operator.get(address("look", tx.pk)).content.decode()
    answer = operator.post(address("look", tx.pk))
    assert "is confirmed, 5 confirmations" in said(answer)
    claimed.refresh_from_db()
    assert claimed.status == "completed"
    assert balance(user_account(alice, coins)) == 334
    event = AuditEvent.objects.get(event_type="transaction_looked_at")
    assert (event.actor.username, event.data) == ("operator", {"transaction": tx.pk, "status": "confirmed"})
    assert operator.post(address("look", tx.pk)).status_code == 302
    assert balance(user_account(alice, coins)) == 334


def test_one_that_the_chain_does_not_know_is_sent_again(sign_in, payout, bob) -> None:
    tx = prepare(ChainTransaction.Purpose.REWARD, "ab" * 32, at=timezone.now())
    answer = sign_in("Operator").post(address("look", tx.pk))
    assert "is submitted, 0 confirmations" in said(answer)
    assert LocalEntry.objects.filter(payload_hash="ab" * 32).exists()


@pytest.mark.parametrize("role", [*ROLES, None])
def test_who_may_look_again_and_that_nobody_edits(sign_in, claimed, role) -> None:
    client, tx = sign_in(role), claimed.transaction
    offered = address("look", tx.pk) in client.get(address("change", tx.pk)).content.decode()
    assert offered == (role in RUNS)
    assert client.post(address("look", tx.pk)).status_code == (302 if role in RUNS else 403)
    for model, row in (("chaintransaction", tx), ("rewardclaim", claimed)):
        assert client.get(address("changelist", model=model)).status_code == 200
        for view in ("change", "delete"):
            assert client.post(address(view, row.pk, model=model), {"post": "yes"}).status_code == 403
        assert client.post(address("add", model=model), {}).status_code == 403


def test_a_claim_shows_its_reward_wallet_and_transaction(sign_in, claimed) -> None:
    RewardClaim.objects.update(status="failed", error="No node has known it for 24 hours.")
    viewer = sign_in("Viewer")
    listed = viewer.get(address("changelist", model="rewardclaim"), {"q": "ali"}).content.decode()
    for words in ("3.34 coins", "failed", "No node has known it"):
        assert words in listed, words
    assert not viewer.get(address("changelist", model="rewardclaim"), {"q": "bob"}).context["cl"].result_count
    page = viewer.get(address("change", claimed.pk, model="rewardclaim")).content.decode()
    for words in (WALLET, f"{claimed.transaction.tx_hash[:16]}…", address("change", claimed.transaction.pk)):
        assert words in page, words
