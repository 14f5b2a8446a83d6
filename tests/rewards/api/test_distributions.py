"""Distributions: their figures for everyone, everything for staff, and to each user his own row."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from rewards.allocation.merkle import leaf_hash, verify_inclusion
from rewards.allocation.verify import verify_file
from rewards.api.distributions import DistributionSerializer, RewardSerializer
from rewards.audit.models import AuditEvent
from rewards.deployments.models import Deployment
from rewards.distributions import services
from rewards.distributions.models import Distribution
from rewards.ledger import services as ledger
from rewards.pending.models import PendingReward
from tests.concurrency.racing import at_once
from tests.rewards.distributions.conftest import Prize

pytestmark = pytest.mark.django_db

PUBLIC = {
    "id", "programme", "period_key", "starts_at", "ends_at", "status", "currency", "amount", "paid_amount",
    "recipients", "participants", "digest", "opened_at", "frozen_at", "allocated_at", "approved_at", "paying_at",
    "paid_at", "reversed_at",
}  # fmt: skip
ACTIONS = ("approve", "reject", "retry", "reverse")


@pytest.fixture
def three(prize: Prize, alice: Any, bob: Any, carol: Any) -> Prize:
    prize.scores = {"alice": 30, "bob": 20, "carol": 20}
    prize.prize = 1000
    return prize


@pytest.fixture
def paid(three: Prize, open_prize: Any) -> Distribution:
    return services.advance(open_prize("paid").pk)


@pytest.fixture
def waiting(three: Prize, open_prize: Any) -> Distribution:
    return services.advance(open_prize("waiting", approval_limit=1).pk)


@pytest.fixture
def viewer(staff: Any, as_user: Any) -> Client:
    return as_user(staff("vera", "view_distribution"))


@pytest.fixture
def approver(staff: Any, as_user: Any) -> Client:
    return as_user(staff("anna", "approve_distribution"))


def post(client: Client, path: str, /, key: str | None = None, **body: Any) -> Any:
    headers = {} if key is None else {"Idempotency-Key": key}
    return client.post(f"/api/distributions/{path}", data=body, content_type="application/json", headers=headers)


def found(client: Client, query: str = "") -> list[str]:
    answer = client.get(f"/api/distributions{query}")
    assert answer.status_code == 200, answer.json()
    return [each["period_key"] for each in answer.json()["results"]]


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


class TestWhoMayCall:
    def test_nobody_is_asked_who_he_is(self, paid: Distribution, client: Client) -> None:
        for path in ("", f"/{paid.pk}", f"/{paid.pk}/rewards", f"/{paid.pk}/proof"):
            assert client.get(f"/api/distributions{path}").status_code == 401
        for name in ("preview", *(f"{paid.pk}/{action}" for action in ACTIONS)):
            assert post(client, name).status_code == 401

    def test_machines_and_users_do_nothing_about_them(
        self, waiting: Distribution, as_machine: Any, as_user: Any, alice: Any, staff: Any
    ) -> None:
        clerk = staff("clerk", "view_campaign")
        for client in (as_machine(), as_user(alice), as_user(clerk)):
            for name in ("preview", *(f"{waiting.pk}/{action}" for action in ACTIONS)):
                assert code(post(client, name, reason="because")) == (403, "permission_denied")
        waiting.refresh_from_db()
        assert waiting.status == "allocated"

    def test_each_action_takes_its_own_right(self, waiting: Distribution, staff: Any, as_user: Any) -> None:
        rights = {
            "approve": "approve_distribution", "reject": "approve_distribution",
            "retry": "run_distribution", "reverse": "reverse_distribution",
        }  # fmt: skip
        for number, right in enumerate({*rights.values()}):
            client = as_user(staff(f"clerk{number}", right))
            for action, needed in rights.items():
                if needed != right:
                    assert post(client, f"{waiting.pk}/{action}", reason="because").status_code == 403


class TestUsers:
    def test_see_the_public_figures_of_what_paid(
        self, paid: Distribution, waiting: Distribution, as_user: Any, make_user: Any
    ) -> None:
        stranger = as_user(make_user("dave"))
        one = stranger.get(f"/api/distributions/{paid.pk}").json()

        assert one.keys() == PUBLIC
        assert one | {"id": 0, "digest": ""} == one | {"id": 0, "digest": ""} | {
            "programme": "prize", "period_key": "paid", "status": "paid", "currency": "coins", "amount": "10.00",
            "paid_amount": "10.00", "recipients": 3, "participants": 3, "starts_at": "2026-11-21T11:00:00Z",
        }  # fmt: skip
        assert one["digest"] == paid.digest
        assert found(stranger) == ["paid"]
        assert stranger.get("/api/distributions").json()["results"] == [one]

    def test_see_nothing_of_one_that_has_not_paid(self, waiting: Distribution, as_user: Any, alice: Any) -> None:
        client = as_user(alice)
        for path in ("", "/rewards", "/proof"):
            assert client.get(f"/api/distributions/{waiting.pk}{path}").status_code == 404
        assert found(client, "?status=allocated") == []

    def test_see_their_own_row_with_its_salt(self, paid: Distribution, as_user: Any, alice: Any) -> None:
        own = paid.rewards.get(user=alice)
        page = as_user(alice).get(f"/api/distributions/{paid.pk}/rewards").json()

        assert page == {
            "next": None,
            "previous": None,
            "results": [
                {
                    "reward_id": own.pk, "user": "alice", "position": 1, "rank": 1, "score": "30", "currency": "coins",
                    "amount": "3.34", "breakdown": {"equal": "3.34"}, "inputs": {}, "status": "paid", "salt": own.salt,
                }
            ],
        }  # fmt: skip
        assert as_user(alice).get(f"/api/distributions/{paid.pk}/rewards?user=alice").json() == page

    def test_have_no_row_where_they_took_no_part(self, paid: Distribution, as_user: Any, make_user: Any) -> None:
        stranger = as_user(make_user("dave"))

        assert stranger.get(f"/api/distributions/{paid.pk}/rewards").json()["results"] == []
        assert stranger.get(f"/api/distributions/{paid.pk}/proof").status_code == 404
        assert found(stranger, "?user=dave") == []

    @pytest.mark.parametrize("name", ["bob", "nobody-of-this-name"])
    def test_learn_nothing_of_others(self, paid: Distribution, as_user: Any, alice: Any, name: str) -> None:
        client = as_user(alice)
        for path in ("", f"/{paid.pk}/rewards", f"/{paid.pk}/proof"):
            assert code(client.get(f"/api/distributions{path}?user={name}")) == (404, "not_found")

    def test_prove_their_own_row(self, paid: Distribution, as_user: Any, alice: Any, tmp_path: Any) -> None:
        proof = as_user(alice).get(f"/api/distributions/{paid.pk}/proof?user=alice").json()

        assert proof.keys() == {"root", "tree_size", "leaf_index", "leaf", "path"}
        assert (proof["root"], proof["tree_size"], proof["leaf_index"]) == (paid.digest, 4, 1)
        written = tmp_path / "proof.json"
        written.write_text(json.dumps(proof))
        assert verify_file(str(written)).startswith('"alice" was allocated 3.34, leaf 1 of 4')


class TestStaff:
    def test_sees_all_of_all(self, paid: Distribution, waiting: Distribution, viewer: Client) -> None:
        assert found(viewer) == ["waiting", "paid"]
        one = viewer.get(f"/api/distributions/{waiting.pk}").json()
        assert one.keys() > PUBLIC
        assert (one["approval_limit"], one["source_account"]) == ("0.01", "pool:prize (coins)")
        assert one["results"]["slices"] == [{"name": "equal", "amount": "10.00", "paid": "10.00", "members": 3}]
        assert one["results"]["unpaid"] == "0.00"

    def test_without_the_permission_to_view_is_a_user(self, waiting: Distribution, approver: Client) -> None:
        assert found(approver) == []

    def test_sees_every_row_but_no_salt(self, paid: Distribution, viewer: Client) -> None:
        rows = viewer.get(f"/api/distributions/{paid.pk}/rewards").json()["results"]
        assert [(row["user"], row["rank"], row["amount"]) for row in rows] == [
            ("alice", 1, "3.34"), ("bob", 2, "3.33"), ("carol", 2, "3.33"),
        ]  # fmt: skip
        assert not any("salt" in row for row in rows)
        one = viewer.get(f"/api/distributions/{paid.pk}/rewards?user=bob").json()["results"]
        assert one == rows[1:2]

    def test_can_follow_anybodys_path_without_the_salt(self, paid: Distribution, viewer: Client) -> None:
        proof = viewer.get(f"/api/distributions/{paid.pk}/proof?user=carol").json()
        salt = paid.rewards.get(user__username="carol").salt

        assert salt not in json.dumps(proof)
        path = [bytes.fromhex(node) for node in proof["path"]]
        leaf = bytes.fromhex(proof["leaf_hash"])
        root = bytes.fromhex(paid.digest)
        assert verify_inclusion(leaf, proof["leaf_index"], proof["tree_size"], path, root)
        canonical = json.dumps({**proof["leaf"], "salt": salt}, sort_keys=True, separators=(",", ":"))
        assert leaf == leaf_hash(canonical.encode())


class TestLists:
    def test_filters(self, paid: Distribution, waiting: Distribution, viewer: Client, three: Prize) -> None:
        assert found(viewer, "?programme=prize") == ["waiting", "paid"]
        assert found(viewer, "?programme=pending") == []
        assert found(viewer, "?period=paid") == ["paid"]
        assert found(viewer, "?status=allocated") == ["waiting"]
        assert found(viewer, "?user=alice&status=paid&programme=prize") == ["paid"]
        assert found(viewer, "?user=vera") == []

    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ("programme=lottery", "programme"), ("programme=", "programme"), ("status=done", "status"),
            ("deployment=7", "deployment"), ("limit=501", "limit"), ("cursor=x", "cursor"), ("user=%20", "user"),
            ("order=id", "order"), ("status=paid&status=paid", "status"), ("period=" + "x" * 41, "period"),
        ],
    )  # fmt: skip
    def test_refuses(self, viewer: Client, query: str, field: str) -> None:
        answer = viewer.get(f"/api/distributions?{query}")
        assert code(answer) == (400, "invalid_request")
        assert [*answer.json()["errors"]] == [field]

    def test_finds_what_paid_rewards_of_a_deployment(
        self, paid: Distribution, waiting: Distribution, viewer: Client, as_user: Any, alice: Any, bob: Any
    ) -> None:
        hers = Deployment.objects.create(user=alice, name="web")
        for name in ("a", "b"):
            PendingReward.objects.create(
                reward_id=name, user=alice, amount=5, currency=paid.currency, deployment=hers,
                status="distributed", distribution=paid, processed_at=timezone.now(),
            )  # fmt: skip
        query = f"/api/distributions?deployment={hers.pk}"

        assert found(viewer, query.removeprefix("/api/distributions")) == ["paid"]
        assert [each["id"] for each in as_user(alice).get(query).json()["results"]] == [paid.pk]
        assert as_user(bob).get(query).status_code == 404

    def test_pages_of_rewards(self, three: Prize, open_prize: Any, make_user: Any, viewer: Client) -> None:
        people = [make_user(f"user{number:03}") for number in range(130)]
        three.scores = {user.username: 200 - place for place, user in enumerate(people)}
        distribution = services.advance(open_prize("many").pk)
        seen, url = [], f"/api/distributions/{distribution.pk}/rewards?limit=60"
        while url:
            page = viewer.get(url).json()
            seen += [(row["position"], row["user"], row["status"]) for row in page["results"]]
            url = page["next"]

        assert seen == [(place, user.username, "paid") for place, user in enumerate(people, start=1)]
        assert viewer.get(page["previous"]).json()["results"][-1]["position"] == 120

    def test_what_is_there_is_asked_for_in_few_queries(
        self, paid: Distribution, waiting: Distribution, viewer: Client, django_assert_max_num_queries: Any
    ) -> None:
        for path in ("", f"/{paid.pk}", f"/{paid.pk}/rewards"):
            with django_assert_max_num_queries(8):
                viewer.get(f"/api/distributions{path}")

    def test_ids_that_are_none(self, viewer: Client) -> None:
        for number in ("0", "999", "9" * 30, "x", "-1"):
            for path in ("", "/rewards", "/proof"):
                assert viewer.get(f"/api/distributions/{number}{path}").status_code == 404


class TestApproving:
    def test_pays(self, waiting: Distribution, approver: Client, coins: Any, alice: Any) -> None:
        answer = post(approver, f"{waiting.pk}/approve", digest=waiting.digest)

        assert (answer.status_code, answer.json()["status"], answer.json()["paid_amount"]) == (200, "paid", "10.00")
        assert answer.json()["approved_by"] == "anna"
        assert ledger.balance(ledger.user_account(alice, coins)) == 334
        assert code(post(approver, f"{waiting.pk}/approve")) == (409, "not_waiting_for_approval")

    def test_under_a_key_answers_the_same_again(self, waiting: Distribution, approver: Client) -> None:
        first = post(approver, f"{waiting.pk}/approve", key="k-1")
        again = post(approver, f"{waiting.pk}/approve", key="k-1")

        assert first.json()["status"] == "paid"
        assert (again.status_code, again.json()) == (200, first.json())
        assert again["Idempotent-Replayed"] == "true"
        assert AuditEvent.objects.filter(event_type="approved").count() == 1
        assert code(post(approver, f"{waiting.pk}/approve", key="k-1", digest=waiting.digest)) == (
            409, "idempotency_conflict",
        )  # fmt: skip

    def test_something_else_than_was_looked_at(self, waiting: Distribution, approver: Client) -> None:
        assert code(post(approver, f"{waiting.pk}/approve", digest="0" * 64)) == (409, "digest_mismatch")
        assert code(post(approver, f"{waiting.pk}/approve", digest="0f")) == (400, "invalid_request")
        waiting.refresh_from_db()
        assert waiting.status == "allocated"

    def test_what_one_has_opened_oneself(self, three: Prize, open_prize: Any, staff: Any, as_user: Any) -> None:
        anna, olga = staff("anna", "approve_distribution"), staff("olga", "approve_distribution")
        distribution = services.advance(open_prize(approval_limit=1, actor=anna, prepared_by=olga).pk)

        for person in (anna, olga):
            assert code(post(as_user(person), f"{distribution.pk}/approve")) == (403, "own_approval")
        distribution.refresh_from_db()
        assert distribution.status == "allocated"

    def test_one_that_there_is_not(self, approver: Client) -> None:
        assert code(post(approver, "999/approve")) == (404, "not_found")

    @pytest.mark.postgresql
    @pytest.mark.django_db(transaction=True)
    def test_by_two_at_once(self, waiting: Distribution, staff: Any, as_user: Any, coins: Any, alice: Any) -> None:
        clients = [as_user(staff(name, "approve_distribution")) for name in ("anna", "olga")]
        path = f"{waiting.pk}/approve"
        answers = at_once(*[lambda client=client: post(client, path, digest=waiting.digest) for client in clients])

        assert sorted(answer.status_code for answer in answers) == [200, 409]
        assert AuditEvent.objects.filter(event_type="approved").count() == 1
        assert services.advance(waiting.pk).status == "paid"
        assert ledger.balance(ledger.user_account(alice, coins)) == 334


class TestOtherActions:
    def test_reject(self, waiting: Distribution, approver: Client) -> None:
        for reason in ("", "  ", None, 7):
            assert code(post(approver, f"{waiting.pk}/reject", reason=reason)) == (400, "invalid_request")
        answer = post(approver, f"{waiting.pk}/reject", reason="Not this month")

        assert answer.status_code == 200
        assert answer.json()["status"] == "cancelled"
        assert (answer.json()["reason"], answer.json()["carried_over"]) == ("Not this month", "10.00")

    def test_retry(self, three: Prize, open_prize: Any, staff: Any, as_user: Any) -> None:
        runner = as_user(staff("rita", "run_distribution"))
        three.broken = True
        failed = services.advance(open_prize().pk)
        again = post(runner, f"{failed.pk}/retry").json()
        assert (again["status"], again["error"]) == ("failed", "the snapshot is broken")
        three.broken = False

        answer = post(runner, f"{failed.pk}/retry", key="k-1")
        assert (answer.status_code, answer.json()["status"]) == (200, "paid")
        assert post(runner, f"{failed.pk}/retry", key="k-1").json() == answer.json()
        assert code(post(runner, f"{failed.pk}/retry")) == (409, "not_failed")
        assert code(post(runner, f"{failed.pk}/retry", force=True)) == (400, "invalid_request")

    def test_reverse(self, paid: Distribution, waiting: Distribution, staff: Any, as_user: Any, coins: Any) -> None:
        reverser = as_user(staff("rosa", "reverse_distribution"))
        assert code(post(reverser, f"{paid.pk}/reverse")) == (400, "invalid_request")
        assert code(post(reverser, f"{waiting.pk}/reverse", reason="Wrong")) == (409, "nothing_to_reverse")
        answer = post(reverser, f"{paid.pk}/reverse", reason="Wrong rule", key="k-1")

        assert (answer.status_code, answer.json()["status"]) == (200, "reversed")
        assert post(reverser, f"{paid.pk}/reverse", reason="Wrong rule", key="k-1").json() == answer.json()
        assert code(post(reverser, f"{paid.pk}/reverse", reason="Wrong rule")) == (409, "nothing_to_reverse")
        assert ledger.balance(ledger.system_account("pool:prize", coins)) == 2000
        rows = as_user(staff("vera", "view_distribution")).get(f"/api/distributions/{paid.pk}/rewards").json()
        assert {row["status"] for row in rows["results"]} == {"reversed"}

    def test_reverse_from_who_has_spent_it(
        self, paid: Distribution, staff: Any, as_user: Any, coins: Any, alice: Any, bob: Any
    ) -> None:
        with transaction.atomic():
            ledger.transfer(alice, bob, coins, 300, "lunch", "Lunch", actor=alice)
        reverser, path = as_user(staff("rosa", "reverse_distribution")), f"{paid.pk}/reverse"

        assert code(post(reverser, path, reason="Wrong")) == (409, "insufficient_funds")
        assert code(post(reverser, path, reason="Wrong", missing="forgive")) == (400, "invalid_request")
        assert post(reverser, path, reason="Wrong", missing="lend").json()["status"] == "reversed"
        assert ledger.balance(ledger.user_account(alice, coins)) == 0
        assert ledger.balance(ledger.user_account(alice, coins, code="debt")) == -300


class TestPreview:
    def preview(self, client: Client, **body: Any) -> Any:
        return post(client, "preview", **({"programme": "prize", "period_key": "waiting"} | body))

    def test_of_another_rule_and_who_gains(self, waiting: Distribution, viewer: Client) -> None:
        tiers = {"rule": "tiers", "by": "position", "tiers": [{"to": 1, "each": "10.00"}]}
        with CaptureQueriesContext(connection) as queries:
            answer = self.preview(viewer, rule=tiers, against={})
        assert sum('"rewards_reward"."position"' in each["sql"] for each in queries) == 1  # read once for both
        shown = answer.json()

        assert (answer.status_code, shown["total"], shown["recipients"], shown["participants"]) == (200, "10.00", 1, 3)
        assert shown["best"][0] == {"position": 1, "user": "alice", "score": "30", "amount": "10.00"}
        gaining, losing = (shown["comparison"][name] for name in ("gaining", "losing"))
        assert gaining["largest"] == [{"user": "alice", "before": "3.34", "after": "10.00", "difference": "6.66"}]
        assert (losing["count"], losing["sum"], shown["comparison"]["unchanged"]) == (2, "-6.66", 0)
        waiting.refresh_from_db()
        assert waiting.rule == {"rule": "equal"}

    @pytest.mark.parametrize(
        ("body", "status", "error"),
        [
            ({"rule": {"rule": "tiers", "by": "position", "tiers": [{"to": 0, "each": "1"}]}}, 422, "rule_invalid"),
            ({"rule": {"rule": "tiers", "by": "position", "tiers": [{"to": 1, "each": "11"}]}}, 422, "budget_exceeded"),
            ({"programme": "lottery"}, 404, "unknown_programme"),
            ({"programme": "pending"}, 409, "no_preview"),
            ({"tie_policy": "random"}, 400, "invalid_request"),
            ({"rule": "equal"}, 400, "invalid_request"),
            ({"against": []}, 400, "invalid_request"),
            ({"against": {"programme": "prize"}}, 400, "invalid_request"),
        ],
    )
    def test_refused(self, waiting: Distribution, viewer: Client, body: Any, status: int, error: str) -> None:
        assert code(self.preview(viewer, **body)) == (status, error)

    def test_an_error_of_a_rule_names_its_place_in_the_body(self, waiting: Distribution, viewer: Client) -> None:
        wrong = {"rule": "slices", "slices": [{"name": "a", "weight": "x", "members": {"all": True}, "rule": {}}]}

        assert [*self.preview(viewer, rule=wrong).json()["errors"]] == ["rule.slices[0].weight"]
        assert [*self.preview(viewer, against={"rule": wrong}).json()["errors"]] == ["against.rule.slices[0].weight"]


def test_whatever_is_answered_stands_in_the_schema(paid: Distribution, viewer: Client) -> None:
    one = viewer.get(f"/api/distributions/{paid.pk}").json()
    row = viewer.get(f"/api/distributions/{paid.pk}/rewards").json()["results"][0]

    assert one.keys() == DistributionSerializer().fields.keys()
    assert row.keys() == RewardSerializer().fields.keys() - {"salt"}
