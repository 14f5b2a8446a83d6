"""Deployments over HTTP: everybody's own, and no end before what was earned is paid."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from rewards.alerts.models import Alert
from rewards.api.problems import PROBLEM_JSON
from rewards.audit.models import AuditEvent
from rewards.deployments.models import Deployment, Replica
from rewards.deployments.services import create_deployment
from rewards.ledger.models import Currency
from rewards.parameters.services import set_parameter
from rewards.pending.services import queue_reward
from rewards.users.models import User
from tests.rewards.tables import everything, what_differs

pytestmark = pytest.mark.django_db


@pytest.fixture
def clerk(make_user: Any) -> User:
    """Of staff, and may look at deployments."""
    user = make_user("clerk", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_deployment"))
    return user


@pytest.fixture
def web(alice: User, points: Currency) -> Deployment:
    """It has run for two hours on two replicas, and a little longer."""
    return create_deployment(alice, "web", 2, timezone.now() - timedelta(hours=2, seconds=5))


def start(client: Client, key: str = "", **body: Any) -> Any:
    headers = {"Idempotency-Key": key} if key else {}
    return client.post("/api/deployment", data=body, content_type="application/json", headers=headers)


def test_a_deployment_is_started_seen_and_deleted(as_user: Any, alice: User, points: Currency) -> None:
    client = as_user(alice)

    answer = start(client, name="web", replicas=3)

    assert answer.status_code == 201
    told = answer.json()
    assert {name: told[name] for name in ("name", "status", "deleted_at")} == {
        "name": "web", "status": "running", "deleted_at": None,
    }  # fmt: skip
    assert [each["status"] for each in told["replicas"]] == ["running"] * 3
    assert {parse_datetime(each["started_at"]) for each in told["replicas"]} == {parse_datetime(told["created_at"])}
    assert told.keys() == {"id", "name", "status", "replicas", "created_at", "deleted_at"}

    assert client.get(f"/api/deployment/{told['id']}").json() == told
    assert client.get("/api/deployment").json() == {"results": [told], "next": None, "previous": None}
    assert client.delete(f"/api/deployment/{told['id']}").json() == {
        "success": True, "rewards_distributed": 0, "rewards_amount": "0", "totals": {},
    }  # fmt: skip
    for answer in (client.get(f"/api/deployment/{told['id']}"), client.delete(f"/api/deployment/{told['id']}")):
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert client.get("/api/deployment").json()["results"] == []


def test_it_is_started_once_under_a_key(as_user: Any, alice: User) -> None:
    first, again = [start(as_user(alice), "k-1", name="web", replicas=1) for _ in range(2)]

    assert (again.status_code, again.json()) == (201, first.json())
    assert again.headers["Idempotent-Replayed"] == "true"
    assert Deployment.objects.count() == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"replicas": 1}, "name"),
        ({"name": "", "replicas": 1}, "name"),
        ({"name": "x" * 121, "replicas": 1}, "name"),
        ({"name": 7, "replicas": 1}, "name"),
        ({"name": "web"}, "replicas"),
        ({"name": "web", "replicas": 0}, "replicas"),
        ({"name": "web", "replicas": 101}, "replicas"),
        ({"name": "web", "replicas": 1.0}, "replicas"),
        ({"name": "web", "replicas": "1"}, "replicas"),
        ({"name": "web", "replicas": True}, "replicas"),
        ({"name": "web", "replicas": 1, "user": "bob"}, "user"),
    ],
)
def test_what_is_no_deployment_is_not_started(as_user: Any, alice: User, body: Any, field: str) -> None:
    answer = start(as_user(alice), **body)

    assert (answer.status_code, [*answer.json()["errors"]]) == (400, [field])
    assert not Deployment.objects.exists()


def test_a_blank_name_is_none(as_user: Any, alice: User) -> None:
    answer = start(as_user(alice), name="  ", replicas=1)

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_deployment")


def test_deleting_pays_first(as_user: Any, balance: Any, alice: User, web: Deployment, coins: Currency) -> None:
    points = Currency.objects.get(code="points")

    answer = as_user(alice).delete(f"/api/deployment/{web.pk}")

    assert (answer.status_code, answer.json()) == (
        200,
        {"success": True, "rewards_distributed": 2, "rewards_amount": "40", "totals": {"points": "40"}},
    )
    assert balance(alice, points) == 40
    assert {*Replica.objects.values_list("status", flat=True)} == {"stopped"}


def test_of_several_currencies_only_the_totals_are_told(
    as_user: Any, alice: User, web: Deployment, coins: Currency
) -> None:
    queue_reward(alice, coins, 1_50, "task-1", at=timezone.now(), deployment=web)

    told = as_user(alice).delete(f"/api/deployment/{web.pk}").json()

    assert (told["rewards_amount"], told["totals"]) == (None, {"coins": "1.50", "points": "40"})


def test_where_it_cannot_be_paid_it_is_not_deleted(as_user: Any, alice: User, web: Deployment) -> None:
    set_parameter("payouts_paused", True, actor=None, reason="A test")
    client = as_user(alice)
    before = everything()

    answer = client.delete(f"/api/deployment/{web.pk}/")

    assert (answer.status_code, answer.headers["Content-Type"]) == (500, PROBLEM_JSON)
    assert answer.json() == {
        "type": "/problems/cannot_delete",
        "code": "cannot_delete",
        "title": "Cannot delete",
        "status": 500,
        "detail": "Cannot delete: Payouts are paused. An administrator lifts the pause, with a reason, once its cause "
        "is gone.",
    }
    assert what_differs(before).keys() == {"rewards_auditevent", "rewards_alert"}
    assert Alert.objects.get().code == "cleanup_failed"
    assert AuditEvent.objects.filter(event_type="distribution_failed").count() == 1
    assert client.get(f"/api/deployment/{web.pk}").json()["status"] == "running"

    set_parameter("payouts_paused", False, actor=None, reason="A test")
    assert client.delete(f"/api/deployment/{web.pk}").json()["rewards_amount"] == "40"


def test_the_problem_has_its_page(db: None) -> None:
    page = Client().get("/problems/cannot_delete")

    assert page.status_code == 200
    assert "could not be paid" in page.content.decode()


def test_another_ones_is_not_there(as_user: Any, bob: User, web: Deployment, make_user: Any) -> None:
    for stranger in (bob, make_user("of staff without a right", is_staff=True)):
        client = as_user(stranger)
        answers = [client.get(f"/api/deployment{rest}") for rest in (f"/{web.pk}", "?user_id=alice", "?user_id=nobody")]
        for answer in (*answers, client.delete(f"/api/deployment/{web.pk}")):
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
        assert client.get("/api/deployment").json()["results"] == []
    assert Deployment.objects.get().deleted_at is None


def test_staff_see_all_and_delete_by_right(as_user: Any, bob: User, clerk: User, web: Deployment) -> None:
    create_deployment(bob, "worker", 1, timezone.now())
    client = as_user(clerk)

    assert [each["name"] for each in client.get("/api/deployment").json()["results"]] == ["worker", "web"]
    assert [each["name"] for each in client.get("/api/deployment?user_id=alice").json()["results"]] == ["web"]
    assert client.get("/api/deployment?user_id=nobody").status_code == 404
    assert client.get(f"/api/deployment/{web.pk}").json()["name"] == "web"
    assert client.delete(f"/api/deployment/{web.pk}").status_code == 403

    clerk.user_permissions.add(Permission.objects.get(codename="delete_deployment"))
    assert client.delete(f"/api/deployment/{web.pk}").json()["rewards_amount"] == "40"
    assert AuditEvent.objects.get(event_type="deployment_deleted").actor == clerk


def test_the_list_comes_in_pages(as_user: Any, alice: User) -> None:
    now = timezone.now()
    for number in range(5):
        create_deployment(alice, f"web-{number}", 1, now - timedelta(hours=number // 2))
    client, names, url = as_user(alice), [], "/api/deployment?limit=2"

    while url:
        page = client.get(url).json()
        names += [each["name"] for each in page["results"]]
        url = page["next"]

    assert sorted(names) == [f"web-{number}" for number in range(5)]
    assert names[-1] == "web-4"


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "cursor=x", "user_id=", "colour=red"])
def test_a_query_that_cannot_be_is_refused(as_user: Any, alice: User, query: str) -> None:
    assert as_user(alice).get(f"/api/deployment?{query}").status_code == 400


@pytest.mark.parametrize("which", [uuid4(), "7", "x", UUID(int=0)])
def test_what_is_no_deployment_is_not_found(as_user: Any, alice: User, which: Any) -> None:
    for answer in (as_user(alice).get(f"/api/deployment/{which}"), as_user(alice).delete(f"/api/deployment/{which}")):
        assert (answer.status_code, answer.headers["Content-Type"]) == (404, PROBLEM_JSON)


def test_it_is_for_users(as_machine: Any, web: Deployment) -> None:
    assert Client().get("/api/deployment").status_code == 401
    machine = as_machine()
    assert machine.get("/api/deployment").status_code == 403
    assert machine.delete(f"/api/deployment/{web.pk}").status_code == 403
