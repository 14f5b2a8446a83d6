"""Pending rewards, their distribution, the audit log and the metrics over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from rewards.access.models import Right
from rewards.audit.models import AuditEvent
from rewards.audit.services import record
from rewards.deployments.models import Deployment
from rewards.deployments.services import cleanup_with_distribution, create_deployment
from rewards.distributions.models import Distribution
from rewards.ledger.models import Currency
from rewards.parameters.services import set_parameter
from rewards.pending.models import PendingReward
from rewards.pending.services import queue_reward
from rewards.users.models import User

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
def with_rights(make_user: Any, as_user: Any) -> Callable[..., Client]:
    """A member of staff who may do this."""

    def clerk(*codenames: str) -> Client:
        user = make_user("clerk", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        return as_user(user)

    return clerk


@pytest.fixture
def web(alice: User, points: Currency) -> Deployment:
    return create_deployment(alice, "web", 1, timezone.now() - timedelta(hours=2, seconds=5))


@pytest.fixture
def task(alice: User, coins: Currency) -> PendingReward:
    return queue_reward(alice, coins, 125_50, "task-1", at=NOON, reason="Ten hours", reward_type="task")


def pay(client: Client, key: str = "", **body: Any) -> Any:
    headers = {"Idempotency-Key": key} if key else {}
    return client.post("/api/rewards/distribute", data=body, content_type="application/json", headers=headers)


# ------------------------------------------------------------------------------------------------------------- pending


def test_a_user_sees_what_is_owed_to_him(as_user: Any, alice: User, bob: User, task: PendingReward, coins: Currency):
    queue_reward(bob, coins, 1, "task-2", at=NOON)

    assert as_user(alice).get("/api/rewards/pending").json() == {
        "pending_rewards": [
            {
                "reward_id": "task-1", "amount": "125.50", "currency": "coins", "reason": "Ten hours",
                "reward_type": "task", "created_at": "2026-11-21T12:00:00Z",
            }
        ],
        "total_pending_amount": "125.50",
        "totals": {"coins": "125.50"},
    }  # fmt: skip


def test_what_accrues_is_owed_too_and_of_two_currencies_there_is_no_sum(
    as_user: Any, alice: User, web: Deployment, task: PendingReward
):
    told = as_user(alice).get("/api/rewards/pending/").json()

    accrued = told["pending_rewards"][1]
    assert (accrued["amount"], accrued["currency"], accrued["reward_type"]) == ("20", "points", "deployment_runtime")
    assert parse_datetime(accrued["created_at"]) == web.replicas.get().started_at
    assert (told["total_pending_amount"], told["totals"]) == (None, {"coins": "125.50", "points": "20"})


def test_nothing_pending_is_nothing_of_its_currency(as_user: Any, alice: User, points: Currency, coins: Currency):
    nothing = {"pending_rewards": [], "total_pending_amount": "0", "totals": {}}

    assert as_user(alice).get("/api/rewards/pending").json() == nothing
    set_parameter("pending.currency", "coins", actor=None, reason="A test")
    assert as_user(alice).get("/api/rewards/pending").json() == nothing | {"total_pending_amount": "0.00"}


def test_the_smallest_amounts_are_written_out(as_user: Any, alice: User):
    satoshi = Currency.objects.create(code="btc", decimals=8)
    queue_reward(alice, satoshi, 1, "dust", at=NOON)

    told = as_user(alice).get("/api/rewards/pending").json()

    assert (told["pending_rewards"][0]["amount"], told["totals"]) == ("0.00000001", {"btc": "0.00000001"})


def test_each_deployment_has_its_own(as_user: Any, alice: User, bob: User, web: Deployment, task: PendingReward):
    others = create_deployment(bob, "worker", 1, NOON - timedelta(days=1))
    client = as_user(alice)

    assert client.get(f"/api/rewards/pending?deployment_id={web.pk}&user_id=alice").json()["totals"] == {"points": "20"}
    for query in (f"deployment_id={others.pk}", f"deployment_id={uuid4()}", "user_id=bob", "user_id=nobody"):
        answer = client.get(f"/api/rewards/pending?{query}")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_staff_see_everybodys(with_rights: Any, bob: User, web: Deployment, task: PendingReward, coins: Currency):
    queue_reward(bob, coins, 1_00, "task-2", at=NOON)
    client = with_rights("view_pendingreward")

    def totals(query: str) -> dict[str, str]:
        return client.get(f"/api/rewards/pending?{query}").json()["totals"]

    assert totals("") == {"coins": "126.50", "points": "20"}
    assert totals("user_id=bob") == {"coins": "1.00"}
    assert totals("user_id=alice") == {"coins": "125.50", "points": "20"}
    assert totals(f"deployment_id={web.pk}") == {"points": "20"}
    assert totals(f"deployment_id={web.pk}&user_id=bob") == {}
    assert client.get("/api/rewards/pending?user_id=nobody").status_code == 404
    assert client.get(f"/api/rewards/pending?deployment_id={uuid4()}").status_code == 404


def test_staff_without_the_right_see_their_own(with_rights: Any, task: PendingReward):
    client = with_rights()

    assert client.get("/api/rewards/pending").json()["totals"] == {}
    assert client.get("/api/rewards/pending?user_id=alice").status_code == 404


# ---------------------------------------------------------------------------------------------------------- distribute


def test_a_machine_pays_what_is_pending(
    as_machine: Any, balance: Any, alice: User, task: PendingReward, coins: Currency
):
    answer = pay(as_machine(Right.REWARDS_DISTRIBUTE))

    told = answer.json()
    (entry,) = told.pop("audit_log")
    assert (answer.status_code, told) == (
        200,
        {
            "success": True, "rewards_distributed": 1, "total_amount": "125.50", "totals": {"coins": "125.50"},
            "failed_distributions": [], "error_message": None,
        },
    )  # fmt: skip
    assert parse_datetime(entry.pop("timestamp"))
    assert entry == {
        "reward_id": "task-1", "account_id": "alice", "amount": "125.50", "currency": "coins", "reason": "Ten hours",
        "status": "success",
    }  # fmt: skip
    assert balance(alice, coins) == 125_50


def test_nothing_pending_is_a_success(as_machine: Any, points: Currency):
    assert pay(as_machine(Right.REWARDS_DISTRIBUTE)).json() == {
        "success": True, "rewards_distributed": 0, "total_amount": "0", "totals": {}, "failed_distributions": [],
        "error_message": None, "audit_log": [], "message": "No pending rewards found",
    }  # fmt: skip


def test_staff_pay_by_right_and_are_named(with_rights: Any, task: PendingReward, web: Deployment):
    told = pay(with_rights("run_distribution")).json()

    assert (told["rewards_distributed"], told["total_amount"]) == (2, None)
    assert told["totals"] == {"coins": "125.50", "points": "20"}
    assert {each.actor.username for each in Distribution.objects.filter(programme="pending")} == {"clerk"}


def test_only_what_is_asked_for_is_paid(as_machine: Any, bob: User, task: PendingReward, web: Deployment):
    client = as_machine(Right.REWARDS_DISTRIBUTE)

    assert pay(client, user_id="bob").json()["message"] == "No pending rewards found"
    assert pay(client, deployment_id=str(web.pk)).json()["totals"] == {"points": "20"}
    assert pay(client, user_id="alice").json()["totals"] == {"coins": "125.50"}


def test_one_that_cannot_be_paid_takes_all_back(
    as_machine: Any, balance: Any, alice: User, web: Deployment, task: PendingReward, coins: Currency, points: Currency
):
    coins.active = False
    coins.save()

    answer = pay(as_machine(Right.REWARDS_DISTRIBUTE))

    told = answer.json()
    assert (answer.status_code, told["success"], told["rewards_distributed"], told["totals"]) == (200, False, 0, {})
    assert told["failed_distributions"] == [
        {"reward_id": "task-1", "account_id": "alice", "error": "The currency coins is not active."}
    ]
    assert "task-1 (alice)" in told["error_message"]
    assert [entry["status"] for entry in told["audit_log"]] == ["failed"]
    assert balance(alice, points) == 0
    task.refresh_from_db()
    assert (task.status, task.retry_count) == ("queued", 1)
    assert AuditEvent.objects.get(success=False).event_type == "distribution_failed"


def test_under_a_key_it_is_done_once(as_machine: Any, bob: User, task: PendingReward, coins: Currency):
    client = as_machine(Right.REWARDS_DISTRIBUTE)
    first = pay(client, "k-1")
    queue_reward(bob, coins, 1, "task-2", at=NOON)

    again = pay(client, "k-1")

    assert again.json() == first.json()
    assert again.headers["Idempotent-Replayed"] == "true"
    assert pay(client, "k-1", user_id="bob").status_code == 409
    assert PendingReward.objects.get(reward_id="task-2").status == "queued"


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        ({"user_id": "nobody"}, 422, "unknown_account", "user_id"),
        ({"deployment_id": str(uuid4())}, 422, "unknown_deployment", "deployment_id"),
        ({"deployment_id": "7"}, 400, "invalid_request", "deployment_id"),
        ({"user_id": 7}, 400, "invalid_request", "user_id"),
        ({"user_id": None}, 400, "invalid_request", "user_id"),
        ({"rewards": []}, 400, "invalid_request", "rewards"),
    ],
)
def test_whom_nobody_knows_cannot_be_paid(as_machine: Any, task: PendingReward, body, status, code, field):
    answer = pay(as_machine(Right.REWARDS_DISTRIBUTE), **body)

    assert (answer.status_code, answer.json()["code"], [*answer.json()["errors"]]) == (status, code, [field])
    task.refresh_from_db()
    assert (task.status, task.retry_count) == ("queued", 0)


def test_it_is_for_who_may(as_user: Any, as_machine: Any, with_rights: Any, alice: User, task: PendingReward):
    others = [right for right in Right if right != Right.REWARDS_DISTRIBUTE]
    for client in (as_user(alice), as_machine(*others), with_rights("view_distribution", "view_pendingreward")):
        assert pay(client).status_code == 403
    assert pay(Client()).status_code == 401
    assert not Distribution.objects.exists()


# ----------------------------------------------------------------------------------------------------------- audit log


@pytest.fixture
def log(with_rights: Any) -> Callable[..., Any]:
    client = with_rights("view_auditevent")

    def read(query: str = "") -> Any:
        return client.get(f"/api/rewards/audit-log?{query}")

    return read


def types(answer: Any) -> list[str]:
    return [event["event_type"] for event in answer.json()["results"]]


def test_a_payment_stands_in_the_log(log: Any, as_machine: Any, task: PendingReward):
    pay(as_machine(Right.REWARDS_DISTRIBUTE))

    (told,) = log("event_type=reward_distributed").json()["results"]

    event = AuditEvent.objects.get(event_type="reward_distributed")
    assert parse_datetime(told.pop("timestamp")) == event.timestamp
    assert told == {
        "event_id": str(event.event_id), "event_type": "reward_distributed", "reward_id": "task-1",
        "account_id": "alice", "amount": "125.50", "currency": "coins", "reason": "Ten hours", "status": "success",
        "error_message": "", "data": {"reward_type": "task"},
    }  # fmt: skip


def test_a_failure_stands_in_the_log(log: Any, as_machine: Any, task: PendingReward, coins: Currency):
    coins.active = False
    coins.save()
    pay(as_machine(Right.REWARDS_DISTRIBUTE))

    told = log().json()["results"][0]

    assert (told["event_type"], told["status"]) == ("distribution_failed", "failed")
    assert told["error_message"] == "The currency coins is not active."


def test_events_of_a_user(log: Any, bob: User, alice: User):
    for user, what in ((alice, "one"), (bob, "two"), (None, "three"), (alice, "four")):
        record(what, user=user)

    assert types(log("user_id=alice")) == ["four", "one"]
    assert types(log()) == ["four", "three", "two", "one"]
    assert log("user_id=nobody").status_code == 404


def test_events_of_a_deployment(log: Any, alice: User, bob: User, web: Deployment, points: Currency):
    """Its own, those of its rewards to whomever they went, those of what paid them as a whole, and failures."""
    other = create_deployment(alice, "other", 1, timezone.now() - timedelta(hours=1))
    queue_reward(bob, points, 5, "bob-helped", at=NOON, deployment=web)
    set_parameter("payouts_paused", True, actor=None, reason="A test")
    for each in (web, other):
        cleanup_with_distribution(each, alice)
    set_parameter("payouts_paused", False, actor=None, reason="A test")
    for each in (web, other):
        cleanup_with_distribution(each, alice)

    found = log(f"deployment_id={web.pk}").json()["results"]

    assert sorted(event["event_type"] for event in found) == [
        "deployment_created", "deployment_deleted", "distribution_failed", "distribution_started",
        "reward_distributed", "reward_distributed",
    ]  # fmt: skip
    assert {event["account_id"] for event in found} == {"alice", "bob", None}
    assert {event["data"].get("deployment") for event in found} == {str(web.pk), None}
    assert log(f"deployment_id={uuid4()}").status_code == 404


def at(instant: str, what: str) -> None:
    AuditEvent.objects.create(event_type=what, timestamp=instant)


def test_events_between_instants_or_days(log: Any, settings: Any):
    settings.REWARDS_TIME_ZONE = ZoneInfo("Europe/Berlin")
    for instant, what in (
        ("2026-11-20T22:59:59Z", "the day before"),
        ("2026-11-20T23:00:00Z", "midnight"),
        ("2026-11-21T22:59:59.999999Z", "the last"),
        ("2026-11-21T23:00:00Z", "the day after"),
    ):
        at(instant, what)

    assert types(log("start_date=2026-11-21&end_date=2026-11-21")) == ["the last", "midnight"]
    assert types(log("start_date=2026-11-20T23:00:00Z&end_date=2026-11-21T23:00:00Z")) == ["the last", "midnight"]
    assert types(log("start_date=2026-11-22")) == ["the day after"]
    assert types(log("end_date=2026-11-21T00:00:00%2B01:00&event_type=the day before")) == ["the day before"]


@pytest.mark.parametrize(
    "query",
    ["start_date=yesterday", "start_date=2026-13-01", "start_date=2026-1-1", "start_date=0001-01-01", "start_date=",
     "end_date=2026-11-21T07:00", "end_date=9999-12-31", "end_date=2026-02-30", "limit=0", "limit=501",
     "deployment_id=7", "user_id=", "cursor=x", "colour=red"],
)  # fmt: skip
def test_a_query_that_cannot_be_is_refused(log: Any, settings: Any, query: str):
    settings.REWARDS_TIME_ZONE = ZoneInfo("Asia/Tokyo")
    answer = log(query)

    assert (answer.status_code, [*answer.json()["errors"]]) == (400, [query.partition("=")[0]])


def test_the_log_comes_in_pages(log: Any):
    AuditEvent.objects.bulk_create(AuditEvent(event_type=f"e-{n}", timestamp=NOON) for n in range(120))
    found, query = [], ""

    assert len(log().json()["results"]) == 50
    while query is not None:
        page = log(query)
        found += types(page)
        following = page.json()["next"]
        query = following and following.partition("?")[2]
    assert found == [f"e-{n}" for n in reversed(range(120))]


def test_the_log_is_for_who_may(as_user: Any, as_machine: Any, with_rights: Any, alice: User):
    for client in (as_user(alice), as_machine(), with_rights("view_distribution")):
        assert client.get("/api/rewards/audit-log").status_code == 403


# ------------------------------------------------------------------------------------------------------------- metrics


def test_metrics_are_told_to_staff_and_machines_that_read(
    as_user: Any, as_machine: Any, with_rights: Any, alice: User, web: Deployment, task: PendingReward
):
    pay(as_machine(Right.REWARDS_DISTRIBUTE, name="payer"), user_id="alice")

    told = with_rights().get("/api/rewards/metrics").json()

    assert told.pop("durations").keys() == {"last", "mean", "longest"}
    assert told == {
        "total_distributions": 2, "successful_distributions": 2, "failed_distributions": 0,
        "total_amount_distributed": None, "totals": {"coins": "125.50", "points": "20"}, "rollbacks_performed": 0,
        "pending_depth": 0, "dead": 0,
    }  # fmt: skip
    assert as_machine(Right.READ).get("/api/rewards/metrics").status_code == 200
    assert as_user(alice).get("/api/rewards/metrics").status_code == 403
    assert as_machine(Right.CLAIMS_WRITE, name="other").get("/api/rewards/metrics").status_code == 403
