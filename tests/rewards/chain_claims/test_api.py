"""POST /profile/rewards/claim, and how a chain payout is shown to its owner."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from rewards.access.services import create_api_key, create_token
from rewards.chain.models import ChainTransaction, LocalEntry
from rewards.chain_claims.models import RewardClaim
from rewards.chain_claims.monitor import monitor_transactions
from rewards.distributions import services
from rewards.users.models import User
from tests.rewards.chain_claims.conftest import WALLET, reward_of

pytestmark = pytest.mark.django_db


def signed_in(user: User, **headers: str) -> Client:
    _, secret = create_token(user)
    return Client(headers={"Authorization": f"Bearer {secret}", **headers}, raise_request_exception=False)


def ask(client: Client, *reward_ids: Any, **more: Any):
    body = {"reward_ids": list(reward_ids), **more}
    return client.post("/profile/rewards/claim", body, content_type="application/json")


@pytest.fixture
def alices(alice):
    return signed_in(alice)


@pytest.fixture
def hers(payout, alice):
    return reward_of(payout, alice)


def confirm() -> None:
    from datetime import timedelta

    from django.utils import timezone

    assert monitor_transactions(timezone.now() + timedelta(minutes=3)).errors == 0


def test_a_reward_is_claimed_and_paid(alices, hers):
    answer = ask(alices, hers.pk, wallet_address=WALLET)
    tx = ChainTransaction.objects.get()
    under_way = {
        "id": hers.pk, "status": "processing", "amount": "3.34", "currency": "coins", "wallet_address": WALLET,
        "tx_hash": tx.tx_hash,
    }  # fmt: skip
    assert (answer.status_code, answer.json()) == (202, {"rewards": [under_way]})
    assert LocalEntry.objects.get().tx_hash == tx.tx_hash  # it was sent

    again = ask(alices, hers.pk)
    assert (again.status_code, again.json()) == (202, {"rewards": [under_way]})
    confirm()
    paid = ask(alices, hers.pk)
    assert (paid.status_code, paid.json()) == (200, {"rewards": [{**under_way, "status": "paid"}]})
    assert RewardClaim.objects.count() == ChainTransaction.objects.count() == 1


def test_the_wallet_is_in_the_profile(alices, hers, alice):
    refused = ask(alices, hers.pk)
    assert (refused.status_code, refused.json()["code"]) == (422, "no_wallet_address")
    assert "keep one in your profile" in refused.json()["detail"]

    alices.patch("/profile", {"wallet_address": WALLET}, content_type="application/json")
    assert ask(alices, hers.pk).json()["rewards"][0]["wallet_address"] == WALLET


def test_a_repeated_request_is_answered_as_the_first(alices, alice, hers):
    client = signed_in(alice, **{"Idempotency-Key": "once"})
    first = ask(client, hers.pk, wallet_address=WALLET)
    confirm()
    second = ask(client, hers.pk, wallet_address=WALLET)

    assert (first.status_code, second.status_code, second.json()) == (202, 202, first.json())
    assert second["Idempotent-Replayed"] == "true"
    assert first.json()["rewards"][0]["tx_hash"]


def test_that_of_another_and_none_answer_the_same(alices, hers, payout, bob):
    for reward_id in (reward_of(payout, bob).pk, 10**15):
        answer = ask(alices, hers.pk, reward_id, wallet_address=WALLET)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert not RewardClaim.objects.exists()


def test_what_cannot_be_claimed_is_a_conflict(alices, open_prize, payout, alice):
    in_the_ledger = reward_of(services.advance(open_prize("2").pk), alice)
    answer = ask(alices, in_the_ledger.pk, wallet_address=WALLET)
    assert (answer.status_code, answer.json()["code"]) == (409, "not_claimable")


@pytest.mark.parametrize(
    "body",
    [
        {}, {"reward_ids": []}, {"reward_ids": [0]}, {"reward_ids": ["1"]}, {"reward_ids": [True]},
        {"reward_ids": list(range(1, 102))}, {"reward_ids": [1], "wallet_address": "two words"},
        {"reward_ids": [1], "wallet_address": ""}, {"reward_ids": [1], "wallet_address": "x" * 129},
        {"reward_ids": [1], "wallet_address": "ünïcode"}, {"reward_ids": [2**63]}, {"reward_ids": [1], "user": "bob"},
        {"reward_ids": 1}, [1],
    ],
)  # fmt: skip
def test_a_bad_body_is_refused(alices, hers, body):
    answer = alices.post("/profile/rewards/claim", body, content_type="application/json")
    assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")


def test_it_is_for_users(client, hers):
    _, secret = create_api_key("game", ["read", "rewards:distribute"], by=None)
    assert ask(client, hers.pk).status_code == 401
    assert ask(Client(headers={"x-api-key": secret}), hers.pk).status_code == 403


def test_the_status_is_shown_and_filtered_at_every_step(alices, hers, pay_on_chain, alice, node_is_deaf, staff):
    failed, under_way, paid = (reward_of(pay_on_chain(key), alice) for key in ("failed", "under way", "paid"))
    from datetime import timedelta

    from django.utils import timezone

    ask(alices, failed.pk, wallet_address=WALLET)
    monitor_transactions(timezone.now() + timedelta(days=2))
    node_is_deaf()
    ask(alices, paid.pk, wallet_address=WALLET)
    confirm()
    ask(alices, under_way.pk, wallet_address=WALLET)

    expected = {hers.pk: "claimable", failed.pk: "failed", under_way.pk: "processing", paid.pk: "paid"}
    listed = alices.get("/profile/rewards").json()
    assert {each["id"]: each["status"] for each in listed["results"]} == expected
    assert listed["totals"] == {"coins": dict.fromkeys(expected.values(), "3.34")}
    for reward_id, status in expected.items():
        found = alices.get(f"/profile/rewards?status={status}").json()["results"]
        assert [each["id"] for each in found] == [reward_id]
        assert alices.get(f"/profile/rewards/{reward_id}/receipt").json()["status"] == status
    for status in ("allocated", "reversed", "none"):
        assert alices.get(f"/profile/rewards?status={status}").json()["results"] == []


def test_the_profile_keeps_claimable_apart(alices, hers):
    before = alices.get("/profile").json()
    assert (before["balances"], before["claimable"]) == ({}, {"coins": "3.34"})
    ask(alices, hers.pk, wallet_address=WALLET)
    confirm()
    after = alices.get("/profile").json()
    assert (after["balances"], after["claimable"]) == ({"coins": "3.34"}, {})


def test_the_statement_begins_with_the_claim(alices, hers):
    assert alices.get("/profile/statement?currency=coins").json()["results"] == []
    ask(alices, hers.pk, wallet_address=WALLET)
    confirm()
    (line,) = alices.get("/profile/statement?currency=coins").json()["results"]
    assert (line["kind"], line["counterparty"], line["change"]) == ("chain_claim", "claimable", "3.34")
