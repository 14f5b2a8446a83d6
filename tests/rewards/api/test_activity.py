"""Events in, by the product's machine."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from rewards.access.models import IdempotentAnswer, Right
from rewards.activity.models import ActivityEvent, Counter
from rewards.users.models import User

pytestmark = pytest.mark.django_db

MORNING = "2026-03-10T07:15:00Z"


def event(event_id: str = "e-1", **changed: Any) -> dict[str, Any]:
    return {"event_id": event_id, "user": "alice", "metric": "wins", "quantity": 1, "occurred_at": MORNING} | changed


@pytest.fixture
def report(as_machine: Any) -> Any:
    client = as_machine(Right.ACTIVITY_WRITE)

    def post(*events: Any, headers: dict[str, str] | None = None, **more: Any):
        body = {"events": [*events], **more}
        return client.post("/api/activity", data=body, content_type="application/json", headers=headers)

    return post


def test_events_are_counted_once(report: Any, alice: User) -> None:
    first = report(event("e-1"), event("e-2", quantity="2.5", attributes={"case": 7}))
    again = report(event("e-2"), event("e-3", quantity=0.25))

    assert (first.status_code, first.json()) == (200, {"accepted": 2, "duplicates": 0, "rejected": []})
    assert again.json() == {"accepted": 1, "duplicates": 1, "rejected": []}
    assert Counter.objects.get(user=alice, metric="wins", month="").quantity == Decimal("3.75")
    assert ActivityEvent.objects.get(event_id="e-2").attributes == {"case": 7}


BAD = {
    "unknown field": event(colour="red"),
    "server's field": event(late=True),
    "no metric": {name: value for name, value in event().items() if name != "metric"},
    "nothing": {},
    "event_id a number": event(7),
    "event_id empty": event(""),
    "event_id too long": event("x" * 121),
    "event_id with a line break": event("a\nb"),
    "unknown user": event(user="nobody"),
    "user a list": event(user=["alice"]),
    "user too long": event(user="x" * 151),
    "metric for all": event(metric="*"),
    "metric null": event(metric=None),
    **{
        f"quantity {quantity!r}"[:40]: event(quantity=quantity)
        for quantity in (-1, 0, 2**63, 10**39, "1e3", "NaN", "sNaN", "Infinity", True, None, [], {}, "１２３", "", " ",
                         "0.0000001", 1e-7, 1e300, "9223372036854.775808", "0x1", "1,5", "--1")
    },
    **{
        f"occurred_at {instant!r}": event(occurred_at=instant)
        for instant in (None, 7, "", "yesterday", "2026-03-10", "2026-03-10T07:15:00", "2026-13-10T07:15:00Z",
                        "2999-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00",
                        "9999-12-31T23:59:59-14:00", [], {}, True, "2026-03-10T07:15:00+99:00")
    },
    "attributes a text": event(attributes="x"),
    "attributes null": event(attributes=None),
    "attributes too long": event(attributes={"a": "x" * 4000}),
}  # fmt: skip


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_a_bad_event_does_not_stop_the_others(report: Any, alice: User, bad: dict[str, Any]) -> None:
    answer = report(event("good-1"), bad, event("good-2"))

    assert answer.status_code == 200
    assert (answer.json()["accepted"], answer.json()["duplicates"]) == (2, 0)
    (rejected,) = answer.json()["rejected"]
    assert rejected["index"] == 1
    assert len(rejected["error"]) > 10
    assert {*ActivityEvent.objects.values_list("event_id", flat=True)} == {"good-1", "good-2"}


def test_rejected_come_in_their_order(report: Any, alice: User) -> None:
    answer = report({}, event("a", user="nobody"), event("b"), event("c", quantity=-1), {"x": 1})

    assert [rejected["index"] for rejected in answer.json()["rejected"]] == [0, 1, 3, 4]
    assert answer.json()["accepted"] == 1


def test_users_are_created_when_asked_for(report: Any) -> None:
    assert report(event(user="dora"), create_users=True).json()["accepted"] == 1
    assert User.objects.filter(username="dora").exists()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "events"),
        ({"events": None}, "events"),
        ({"events": {}}, "events"),
        ({"events": "x"}, "events"),
        ({"events": [event(), 7]}, "events[1]"),
        ({"events": [[]]}, "events[0]"),
        ({"events": [None]}, "events[0]"),
        ({"events": [], "create_users": "true"}, "create_users"),
        ({"events": [], "create_users": 1}, "create_users"),
        ({"events": [], "create_users": None}, "create_users"),
        ({"events": [], "at": MORNING}, "at"),
        ([event()], "body"),
        ("x", "body"),
        (None, "body"),
        ({"events": [event(str(number)) for number in range(10_001)]}, "events"),
    ],
)
def test_refused_as_a_whole(as_machine: Any, alice: User, body: Any, field: str) -> None:
    answer = as_machine().post("/api/activity", data=json.dumps(body), content_type="application/json")

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
    assert [*answer.json()["errors"]] == [field]
    assert not ActivityEvent.objects.exists()


def test_no_events_are_no_mistake(report: Any) -> None:
    assert report().json() == {"accepted": 0, "duplicates": 0, "rejected": []}


def test_ten_thousand_at_once(report: Any, alice: User) -> None:
    answer = report(*(event(f"e-{number}", attributes={"note": "x" * 600}) for number in range(10_000)))

    assert answer.json() == {"accepted": 10_000, "duplicates": 0, "rejected": []}
    assert Counter.objects.get(user=alice, metric="wins", month="").quantity == 10_000


def test_a_body_beyond_twelve_megabytes(report: Any) -> None:
    answer = report(event(attributes={"a": "x" * 12_000_000}))

    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def test_a_key_is_optional_and_honoured(report: Any, alice: User) -> None:
    report(event("e-1"))
    assert not IdempotentAnswer.objects.exists()
    first, again = (report(event("e-2"), headers={"Idempotency-Key": "k"}) for _ in "ab")

    assert first.json() == again.json() == {"accepted": 1, "duplicates": 0, "rejected": []}
    assert again["Idempotent-Replayed"] == "true"


def test_only_machines_with_the_right(as_machine: Any, as_user: Any, alice: User) -> None:
    for client, status in (
        (as_machine(Right.CLAIMS_WRITE, Right.READ, name="reader"), 403),
        (as_user(alice), 403),
        (Client(), 401),
    ):
        answer = client.post("/api/activity", data={"events": [event()]}, content_type="application/json")
        assert answer.status_code == status
    assert not ActivityEvent.objects.exists()
