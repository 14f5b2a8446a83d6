"""/profile/rewards: the user's part of every payout, what became of it, and why; and of nobody else's."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from rewards.access.services import create_api_key, create_token
from rewards.distributions import services
from rewards.distributions.corrections import take_back
from rewards.distributions.models import Distribution, DistributionChunk, Reward
from rewards.distributions.queries import receipt, status_of
from rewards.ledger import services as ledger
from rewards.users.models import User
from rewards_site.profile.rewards import OwnRewardsSerializer, ReceiptSerializer
from tests.rewards.distributions.conftest import Prize, open_prize, prize

__all__ = ["open_prize", "prize"]

pytestmark = pytest.mark.django_db


def signed_in(user: User) -> Client:
    _, secret = create_token(user)
    return Client(headers={"Authorization": f"Bearer {secret}"}, raise_request_exception=False)


@pytest.fixture
def alices(alice: User) -> Client:
    return signed_in(alice)


@pytest.fixture
def three(prize: Prize, alice: User, bob: User, carol: User) -> Prize:
    prize.scores = {"alice": 30, "bob": 20, "carol": 20}
    prize.prize = 1000
    return prize


@pytest.fixture
def pay(three: Prize, open_prize: Any) -> Any:
    return lambda key, **options: services.advance(open_prize(key, **options).pk)


@pytest.fixture
def every_status(pay: Any, three: Prize, staff: Any, alice: User) -> dict[str, Distribution]:
    """Of each status that a reward of alice's can have a payout, oldest first; the last one waits for approval."""
    otto = staff("otto", "reverse_distribution")
    made = {name: pay(name) for name in ("paid", "reversed", "reversed whole")}
    scores, three.scores = three.scores, {"bob": 20, "alice": 0}
    made["none"] = pay("none", rule={"rule": "proportional"})
    three.scores = scores
    made["failed"] = _unpaid(pay("failed"), Distribution.Status.FAILED)
    made["allocated"] = _unpaid(pay("allocated"), Distribution.Status.PAYING)
    made["waiting"] = pay("waiting", approval_limit=1)
    take_back(made["reversed"].pk, otto, "by mistake", reward_id=made["reversed"].rewards.get(user=alice).pk)
    take_back(made["reversed whole"].pk, otto, "by mistake")
    return made


def _unpaid(distribution: Distribution, status: str) -> Distribution:
    """As it was before its only chunk was paid."""
    DistributionChunk.objects.filter(distribution=distribution).update(journal=None, paid_at=None)
    Distribution.objects.filter(pk=distribution.pk).update(status=status, paid_amount=0)
    return distribution


def listed(client: Client, query: str = "") -> list[str]:
    answer = client.get(f"/profile/rewards{query}")
    assert answer.status_code == 200, answer.content
    return [each["distribution"]["period_key"] for each in answer.json()["results"]]


class TestRewards:
    def test_of_somebody_who_never_took_part(self, alices: Client) -> None:
        assert alices.get("/profile/rewards").json() == {"results": [], "next": None, "previous": None, "totals": {}}

    def test_one_of_them_in_full(self, pay: Any, alices: Client, alice: User) -> None:
        distribution = pay("1")

        answer = alices.get("/profile/rewards").json()

        assert answer == {
            "results": [
                {
                    "id": distribution.rewards.get(user=alice).pk,
                    "distribution": {
                        "id": distribution.pk, "programme": "prize", "period_key": "1",
                        "ends_at": "2026-11-21T12:00:00Z",
                    },
                    "amount": "3.34", "currency": "coins", "position": 1, "rank": 1, "score": "30",
                    "breakdown": {"equal": "3.34"}, "status": "paid",
                }
            ],
            "next": None,
            "previous": None,
            "totals": {"coins": {"paid": "3.34"}},
        }  # fmt: skip
        assert answer.keys() == OwnRewardsSerializer().fields.keys()
        assert alices.get("/profile/rewards/").json() == answer

    def test_each_has_the_status_that_its_receipt_has(self, every_status: Any, alices: Client, alice: User) -> None:
        found = alices.get("/profile/rewards").json()

        said = {each["distribution"]["period_key"]: each["status"] for each in found["results"]}
        assert said == {
            "paid": "paid", "reversed": "reversed", "reversed whole": "reversed", "none": "none", "failed": "failed",
            "allocated": "allocated",
        }  # fmt: skip
        for each in found["results"]:
            reward = Reward.objects.select_related("distribution").get(pk=each["id"])
            assert status_of(reward) == each["status"]
        assert found["totals"] == {
            "coins": {"allocated": "3.34", "failed": "3.34", "paid": "3.34", "reversed": "6.68"}
        }  # fmt: skip

    def test_newest_payout_first_and_none_that_nobody_has_approved(self, every_status: Any, alices: Client) -> None:
        assert listed(alices) == ["allocated", "failed", "none", "reversed whole", "reversed", "paid"]

    @pytest.mark.parametrize(
        ("status", "keys"),
        [
            ("paid", ["paid"]), ("reversed", ["reversed whole", "reversed"]), ("none", ["none"]),
            ("failed", ["failed"]), ("allocated", ["allocated"]), ("claimable", []), ("processing", []),
        ],
    )  # fmt: skip
    def test_of_one_status_with_the_totals_of_all(
        self, every_status: Any, alices: Client, status: str, keys: list[str]
    ) -> None:
        assert listed(alices, f"?status={status}") == keys
        everything = alices.get("/profile/rewards").json()["totals"]
        assert alices.get(f"/profile/rewards?status={status}").json()["totals"] == everything

    def test_a_reward_of_his_neighbour_that_was_taken_back_is_not_his(
        self, pay: Any, staff: Any, alices: Client, bob: User
    ) -> None:
        distribution, otto = pay("1"), staff("otto", "reverse_distribution")
        take_back(distribution.pk, otto, "by mistake", reward_id=distribution.rewards.get(user=bob).pk)

        assert alices.get("/profile/rewards").json()["totals"] == {"coins": {"paid": "3.34"}}
        assert signed_in(bob).get("/profile/rewards").json()["totals"] == {"coins": {"reversed": "3.33"}}

    def test_a_reward_that_was_spent_and_lent_is_taken_back_all_the_same(
        self, pay: Any, staff: Any, alices: Client, alice: User, coins: Any
    ) -> None:
        distribution, otto = pay("1"), staff("otto", "reverse_distribution")
        ledger.debit(alice, coins, 300, "spent", "spent")
        take_back(distribution.pk, otto, "by mistake", missing="lend")

        assert alices.get("/profile/rewards").json()["totals"] == {"coins": {"reversed": "3.34"}}

    def test_nobody_sees_those_of_others(self, pay: Any, make_user: Any) -> None:
        pay("1")

        assert listed(signed_in(make_user("dave"))) == []

    def test_page_by_page_every_one_comes_once(self, pay: Any, alices: Client) -> None:
        for key in "abcde":
            pay(key)

        url, pages, totals = "/profile/rewards?limit=2&status=paid", [], []
        while url:
            page = alices.get(url).json()
            pages.append([each["distribution"]["period_key"] for each in page["results"]])
            totals.append(page["totals"])
            url = page["next"]
        assert pages == [["e", "d"], ["c", "b"], ["a"]]
        assert totals == [{"coins": {"paid": "16.70"}}, None, None]

    def test_the_totals_are_worked_out_for_the_first_page_alone(self, pay: Any, alices: Client) -> None:
        pay("1")
        pay("2")
        second = alices.get("/profile/rewards?limit=1").json()["next"]
        with CaptureQueriesContext(connection) as queries:
            assert len(alices.get(second).json()["results"]) == 1

        assert len(queries) == 2  # the token, the page

    def test_more_of_them_take_no_more_queries(self, pay: Any, alices: Client) -> None:
        pay("first")
        listed(alices)  # parameters are read once
        with CaptureQueriesContext(connection) as one:
            assert len(listed(alices)) == 1
        for key in "abcde":
            pay(key)
        with CaptureQueriesContext(connection) as six:
            assert len(listed(alices)) == 6

        assert len(six) == len(one) == 3  # the token, the page, the totals

    @pytest.mark.parametrize(
        "query",
        ["status=gone", "status=", "status=paid&status=none", "limit=0", "limit=501", "user=bob", "cursor=x"],
    )  # fmt: skip
    def test_a_bad_query_is_refused(self, pay: Any, alices: Client, query: str) -> None:
        pay("1")
        answer = alices.get(f"/profile/rewards?{query}")

        assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")

    def test_it_is_for_users(self, client: Client) -> None:
        _, secret = create_api_key("game", ["read", "rewards:distribute"], by=None)

        assert client.get("/profile/rewards").status_code == 401
        assert Client(headers={"x-api-key": secret}).get("/profile/rewards").status_code == 403
        assert client.get("/profile/rewards/1/receipt").status_code == 401
        assert Client(headers={"x-api-key": secret}).get("/profile/rewards/1/receipt").status_code == 403


class TestReceipt:
    def test_it_says_why(self, pay: Any, alices: Client, alice: User, coins: Any) -> None:
        distribution = pay("1")
        reward = distribution.rewards.get(user=alice)

        found = alices.get(f"/profile/rewards/{reward.pk}/receipt").json()

        assert found == receipt(reward)
        assert found.keys() == ReceiptSerializer().fields.keys()
        assert (found["amount"], found["position"], found["status"]) == ("3.34", 1, "paid")
        (line,) = found["slices"]
        assert (line["name"], line["raw_share"], line["members"]) == ("equal", "10/3", 3)
        assert "Place 1 of 3 with a score of 30" in found["words"]
        transfer = ledger.user_account(alice, coins).credits.get()
        assert (found["transfer"], datetime.fromisoformat(found["paid_at"])) == (transfer.pk, transfer.created_at)
        assert alices.get(f"/profile/rewards/{reward.pk}/receipt/").json() == found

    def test_of_every_status(self, every_status: Any, alices: Client) -> None:
        for each in alices.get("/profile/rewards").json()["results"]:
            answer = alices.get(f"/profile/rewards/{each['id']}/receipt")
            assert (answer.status_code, answer.json()["status"]) == (200, each["status"])

    def test_nobody_gets_that_of_another(self, every_status: Any, alices: Client, bob: User, alice: User) -> None:
        his = every_status["paid"].rewards.get(user=bob)
        waits = every_status["waiting"].rewards.get(user=alice)

        for reward_id in (his.pk, waits.pk, 0, 10**18, 10**40):
            answer = alices.get(f"/profile/rewards/{reward_id}/receipt")
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found")

    def test_it_takes_no_parameters(self, pay: Any, alices: Client, alice: User) -> None:
        reward = pay("1").rewards.get(user=alice)

        assert alices.get(f"/profile/rewards/{reward.pk}/receipt?user=bob").status_code == 400
