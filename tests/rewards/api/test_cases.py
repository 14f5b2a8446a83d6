"""Cases over HTTP: read by all, voted in and argued about by users; what is sealed is in no answer before closing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from rewards.api.problems import PROBLEM_JSON
from rewards.cases.models import Argument, Case, CaseVote
from rewards.users.models import User
from tests.rewards.cases.conftest import REASONING, argument_of, cast, counted, make_open_case
from tests.rewards.tables import everything, what_differs

pytestmark = pytest.mark.django_db

OF_EVERY_CASE = {
    "id", "title", "context", "status", "opens_at", "closes_at", "yes_votes", "no_votes", "verdict_hash", "commitment",
}  # fmt: skip
REVEALED = {"verdict", "reasoning", "confidence", "nonce"}


@pytest.fixture
def opened(points: Any) -> Callable[..., Case]:
    """A case that has been open for an hour, and is for 23 more."""
    return lambda *args, **fields: make_open_case(*args, opens_at=timezone.now() - timedelta(hours=1), **fields)


def reveal(case: Case, at: datetime | None = None) -> Case:
    """Closed, as the job leaves it."""
    sealed = case.sealed
    case.status, case.closed_at = "closed", at or timezone.now()
    case.verdict, case.reasoning, case.confidence, case.nonce = (
        sealed.verdict, sealed.reasoning, sealed.confidence, sealed.nonce,
    )  # fmt: skip
    case.save()
    return case


def send(client: Client, path: str, key: str = "", **body: Any) -> Any:
    headers = {"Idempotency-Key": key} if key else {}
    return client.post(path, data=body, content_type="application/json", headers=headers)


def told(answer: Any) -> tuple[int, str]:
    """The status of a problem, and its code."""
    assert answer.headers["Content-Type"] == PROBLEM_JSON, answer.content
    return answer.status_code, answer.json()["code"]


# -------------------------------------------------------------------------------------------------------------- reading


def test_everybody_reads_an_open_case(opened: Any, alice: User, bob: User) -> None:
    case = opened(title="A promise", context="It has become hard.")
    cast(case, alice, "YES")
    cast(case, bob, "NO")

    answer = Client().get(f"/api/cases/{case.pk}")

    assert answer.status_code == 200
    found = answer.json()
    assert found.keys() == OF_EVERY_CASE
    assert parse_datetime(found.pop("opens_at")) == case.opens_at
    assert parse_datetime(found.pop("closes_at")) == case.closes_at
    assert found == {
        "id": case.pk,
        "title": "A promise",
        "context": "It has become hard.",
        "status": "active",
        "yes_votes": 1,
        "no_votes": 1,
        "verdict_hash": case.verdict_hash,
        "commitment": {"tx_hash": case.commitment.tx_hash, "confirmations": 3},
    }
    assert Client().get(f"/api/cases/{case.pk}/").json()["id"] == case.pk


def test_once_it_is_closed_the_verdict_is_told(opened: Any, as_user: Any, alice: User) -> None:
    case = reveal(opened("NO"))

    for client in (Client(), as_user(alice)):
        found = client.get(f"/api/cases/{case.pk}").json()
        assert found.keys() - {"own_vote"} == OF_EVERY_CASE | REVEALED
        assert (found["status"], found["verdict"], found["reasoning"]) == ("closed", "NO", REASONING)
        assert (found["confidence"], found["nonce"]) == ("0.8", case.sealed.nonce)


def test_a_user_finds_his_own_vote(opened: Any, as_user: Any, alice: User, bob: User) -> None:
    case = opened()
    own = cast(case, alice, "NO", timezone.now())

    for path in (f"/api/cases/{case.pk}", "/api/cases"):
        found = [as_user(user).get(path).json() for user in (alice, bob)]
        mine, his = (each["results"][0] if "results" in each else each for each in found)
        assert mine["own_vote"]["side"] == "NO"
        assert parse_datetime(mine["own_vote"]["voted_at"]) == own.voted_at
        assert his["own_vote"] is None


def test_the_list_shows_what_was_ever_open(opened: Any, alice: User, as_user: Any) -> None:
    active, closed = opened(), reveal(opened())
    void = opened(created_by=alice)
    Case.objects.filter(pk=void.pk).update(status="void")
    hidden = [opened(created_by=alice) for _ in range(3)]
    for case, status in zip(hidden, ("draft", "pending_moderation", "void"), strict=True):
        # The last is a submission that was rejected: it has never been open.
        Case.objects.filter(pk=case.pk).update(status=status, opens_at=None, closes_at=None)

    for client in (Client(), as_user(alice)):
        page = client.get("/api/cases").json()
        assert [(each["id"], each["status"]) for each in page["results"]] == [
            (void.pk, "void"), (closed.pk, "closed"), (active.pk, "active"),
        ]  # fmt: skip
        assert [each.keys() >= REVEALED for each in page["results"]] == [False, True, False]
        for status, case in (("active", active), ("closed", closed), ("void", void)):
            assert [each["id"] for each in client.get(f"/api/cases?status={status}").json()["results"]] == [case.pk]
    assert told(Client().get("/api/cases?status=draft")) == (400, "invalid_request")
    assert told(Client().get("/api/cases?created_by=1")) == (400, "invalid_request")


def test_it_comes_in_pages(opened: Any) -> None:
    made = [opened().pk for _ in range(5)]
    found, url = [], "/api/cases?limit=2"

    while url:
        page = Client().get(url).json()
        found += [each["id"] for each in page["results"]]
        url = page["next"]

    assert found == made[::-1]


@pytest.mark.parametrize("status", ["draft", "pending_moderation", "void"])
def test_what_never_opened_is_there_for_who_submitted_it_alone(
    opened: Any, as_user: Any, alice: User, bob: User, staff: Any, status: str
) -> None:
    case = opened(created_by=alice)
    Case.objects.update(status=status, opens_at=None, closes_at=None)

    assert as_user(alice).get(f"/api/cases/{case.pk}").json()["status"] == status
    for client in (Client(), as_user(bob), as_user(staff("clerk"))):
        for path in ("", "/arguments"):
            assert told(client.get(f"/api/cases/{case.pk}{path}")) == (404, "unknown_case")


@pytest.mark.parametrize("number", ["0", "4711", "9" * 18, "9" * 60])
def test_a_case_that_is_not_there(alice: User, as_user: Any, number: str) -> None:
    client = as_user(alice)

    assert told(client.get(f"/api/cases/{number}")) == (404, "unknown_case")
    assert told(client.get(f"/api/cases/{number}/arguments")) == (404, "unknown_case")
    assert told(send(client, f"/api/cases/{number}/vote", side="YES")) == (404, "unknown_case")
    assert told(send(client, f"/api/cases/{number}/arguments", side="YES", text="It is.")) == (404, "unknown_case")
    assert told(send(client, f"/api/cases/{number}/arguments/1/like")) == (404, "unknown_case")


# --------------------------------------------------------------------------------------------------------------- voting


def test_a_user_votes_once(opened: Any, as_user: Any, alice: User) -> None:
    case, client = opened(), as_user(alice)

    answer = send(client, f"/api/cases/{case.pk}/vote", side="YES")

    assert answer.status_code == 201
    made = CaseVote.objects.get()
    assert {**answer.json(), "voted_at": None} == {"case": case.pk, "side": "YES", "voted_at": None}
    assert parse_datetime(answer.json()["voted_at"]) == made.voted_at
    again = send(client, f"/api/cases/{case.pk}/vote", side="NO")
    assert told(again) == (409, "already_voted")
    assert again.json()["vote"]["side"] == "YES"
    assert parse_datetime(again.json()["vote"]["voted_at"]) == made.voted_at
    found = client.get(f"/api/cases/{case.pk}").json()
    assert (found["yes_votes"], found["no_votes"]) == (1, 0)
    assert counted(alice) == {"votes": 1, "participations": 1}


def test_under_a_key_it_is_answered_again(opened: Any, as_user: Any, alice: User) -> None:
    path, client = f"/api/cases/{opened().pk}/vote", as_user(alice)

    first, again, other = [send(client, path, "k-1", side=side) for side in ("YES", "YES", "NO")]

    assert (again.status_code, again.json()) == (201, first.json())
    assert again.headers["Idempotent-Replayed"] == "true"
    assert told(other) == (409, "idempotency_conflict")
    assert CaseVote.objects.count() == 1


def test_a_vote_that_comes_late_leaves_nothing(opened: Any, as_user: Any, alice: User) -> None:
    case = opened()
    Case.objects.update(closes_at=timezone.now())
    client = as_user(alice)
    before = everything()

    assert told(send(client, f"/api/cases/{case.pk}/vote", "k-1", side="YES")) == (409, "case_not_open")

    assert what_differs(before) == {}
    Case.objects.update(closes_at=timezone.now() + timedelta(hours=1))
    assert send(client, f"/api/cases/{case.pk}/vote", "k-1", side="YES").status_code == 201


def test_who_moderated_it_does_not_vote(opened: Any, as_user: Any, alice: User) -> None:
    case = opened(moderated_by=alice)

    assert told(send(as_user(alice), f"/api/cases/{case.pk}/vote", side="YES")) == (403, "knows_the_verdict")


def test_only_users_take_part(opened: Any, as_machine: Any, bob: User) -> None:
    case = opened()
    argument = argument_of(case, bob)
    paths = ("/api/cases", *(f"/api/cases/{case.pk}/{rest}" for rest in ("vote", "arguments")))
    like = f"/api/cases/{case.pk}/arguments/{argument.pk}/like"
    machine = as_machine()
    before = everything()

    for client, expected in ((Client(), 401), (machine, 403)):
        assert [send(client, path).status_code for path in (*paths, like)] == [expected] * 4
        assert client.delete(like).status_code == expected
    assert client.get(f"/api/cases/{case.pk}").json().keys() == OF_EVERY_CASE
    assert what_differs(before).keys() <= {"rewards_apikey"}


# -------------------------------------------------------------------------------------------------- arguments and likes


def test_a_user_argues_after_voting_and_liking(opened: Any, as_user: Any, alice: User, bob: User) -> None:
    case, client = opened(), as_user(alice)
    others = argument_of(case, bob, side="NO")
    path = f"/api/cases/{case.pk}/arguments"
    body = {"side": "YES", "text": "A promise is a promise."}

    assert told(send(client, path, **body)) == (409, "vote_first")
    send(client, f"/api/cases/{case.pk}/vote", side="YES")
    refused = send(client, path, **body)
    assert told(refused) == (409, "like_first")
    assert (refused.json()["likes"], refused.json()["needed"]) == (0, 1)
    liked = send(client, f"{path}/{others.pk}/like")
    assert (liked.status_code, liked.json()) == (201, {"argument": others.pk, "likes": 1})
    made = send(client, path, **body)

    assert made.status_code == 201
    own = made.json()
    assert {name: own[name] for name in own.keys() - {"id", "created_at"}} == {
        "user": "alice", "side": "YES", "text": "A promise is a promise.", "likes": 0, "top_place": None,
        "liked": False,
    }  # fmt: skip
    assert told(send(client, path, side="NO", text="It is not.")) == (409, "already_argued")
    found = client.get(path).json()["results"]
    assert found[0] == own
    assert {**found[1], "created_at": ""} == {
        "id": others.pk, "user": "bob", "side": "NO", "text": "bob thinks so.", "likes": 1, "top_place": None,
        "created_at": "", "liked": True,
    }  # fmt: skip
    assert all("liked" not in each for each in Client().get(path).json()["results"])
    assert counted(alice) == {"votes": 1, "participations": 1, "arguments": 1}


def test_arguments_come_in_pages(opened: Any, make_user: Any) -> None:
    case = opened()
    made = [argument_of(case, make_user(f"author-{number}")).pk for number in range(5)]
    argument_of(opened(), make_user("elsewhere"))
    found, url = [], f"/api/cases/{case.pk}/arguments?limit=2"

    while url:
        page = Client().get(url).json()
        found += [each["id"] for each in page["results"]]
        url = page["next"]

    assert found == made[::-1]


def test_likes(opened: Any, as_user: Any, alice: User, bob: User, make_user: Any) -> None:
    case, client = opened(), as_user(alice)
    arguments = [argument_of(case, make_user(f"author-{number}")) for number in range(4)]
    own = argument_of(case, alice)
    likes = [f"/api/cases/{case.pk}/arguments/{each.pk}/like" for each in (*arguments, own)]

    assert [send(client, path).status_code for path in likes[:3]] == [201] * 3
    assert told(send(client, likes[0])) == (409, "already_liked")
    assert told(send(client, likes[3])) == (409, "likes_used_up")
    assert told(send(client, likes[4])) == (403, "own_argument")
    assert send(as_user(bob), likes[0]).json() == {"argument": arguments[0].pk, "likes": 2}
    taken_back = client.delete(likes[0])
    assert (taken_back.status_code, taken_back.content) == (204, b"")
    assert told(client.delete(likes[0])) == (409, "not_liked")
    assert [*Argument.objects.order_by("pk").values_list("likes", flat=True)] == [1, 1, 1, 0, 0]

    Case.objects.update(status="closed")
    assert told(send(client, likes[3])) == (409, "case_not_open")
    assert told(client.delete(likes[1])) == (409, "case_not_open")


def test_an_argument_is_found_in_its_own_case_alone(opened: Any, as_user: Any, alice: User, bob: User) -> None:
    case, other = opened(), opened()
    argument = argument_of(case, bob)
    client = as_user(alice)

    for path in (f"/api/cases/{other.pk}/arguments/{argument.pk}/like", f"/api/cases/{case.pk}/arguments/0/like"):
        assert told(send(client, path)) == (404, "unknown_argument")
        assert told(client.delete(path)) == (404, "unknown_argument")


# ----------------------------------------------------------------------------------------------------------- submitting


def test_a_case_is_submitted_to_moderation(as_user: Any, alice: User, bob: User) -> None:
    answer = send(as_user(alice), "/api/cases", title="A promise", context="It has become hard.")

    assert answer.status_code == 201
    assert answer.json() == {
        "id": Case.objects.get().pk, "title": "A promise", "context": "It has become hard.",
        "status": "pending_moderation", "opens_at": None, "closes_at": None, "yes_votes": 0, "no_votes": 0,
        "verdict_hash": "", "commitment": None, "own_vote": None,
    }  # fmt: skip
    path = f"/api/cases/{answer.json()['id']}"
    assert as_user(alice).get(path).json() == answer.json()
    assert as_user(bob).get(path).status_code == 404
    assert told(send(as_user(alice), f"{path}/vote", side="YES")) == (409, "case_not_open")


def test_five_may_wait(as_user: Any, alice: User) -> None:
    client = as_user(alice)
    for number in range(5):
        assert send(client, "/api/cases", title=f"Promise {number}", context="Hard.").status_code == 201

    refused = send(client, "/api/cases", title="One more", context="Hard.")

    assert told(refused) == (409, "too_many_waiting")
    assert refused.json()["waiting"] == 5
    assert "moderation" in refused.json()["detail"]


def test_it_is_submitted_once_under_a_key(as_user: Any, alice: User) -> None:
    first, again = [send(as_user(alice), "/api/cases", "k-1", title="A promise", context="Hard.") for _ in range(2)]

    assert (again.status_code, again.json()) == (201, first.json())
    assert Case.objects.count() == 1


def test_the_longest_case_in_the_longest_form(as_user: Any, alice: User) -> None:
    context = "\N{CHERRY BLOSSOM}" * 10_000
    assert len(json.dumps(context)) > 100_000

    answer = send(as_user(alice), "/api/cases", title="x" * 200, context=context)

    assert answer.status_code == 201
    assert Case.objects.get().context == context


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("", {"context": "Hard."}, "title"),
        ("", {"title": " ", "context": "Hard."}, "title"),
        ("", {"title": "x" * 201, "context": "Hard."}, "title"),
        ("", {"title": 7, "context": "Hard."}, "title"),
        ("", {"title": "A promise"}, "context"),
        ("", {"title": "A promise", "context": "\n"}, "context"),
        ("", {"title": "A promise", "context": "x" * 10_001}, "context"),
        ("", {"title": "A promise", "context": "Hard.", "verdict": "YES"}, "verdict"),
        ("/vote", {}, "side"),
        ("/vote", {"side": "yes"}, "side"),
        ("/vote", {"side": True}, "side"),
        ("/vote", {"side": None}, "side"),
        ("/vote", {"side": ["YES"]}, "side"),
        ("/vote", {"side": "YES", "user": "bob"}, "user"),
        ("/arguments", {"text": "It is."}, "side"),
        ("/arguments", {"side": "YES"}, "text"),
        ("/arguments", {"side": "YES", "text": ""}, "text"),
        ("/arguments", {"side": "YES", "text": "\t"}, "text"),
        ("/arguments", {"side": "YES", "text": "x" * 2_001}, "text"),
        ("/arguments", {"side": "YES", "text": "It is.", "likes": 3}, "likes"),
        ("/arguments/1/like", {"likes": 3}, "likes"),
    ],
)
def test_what_is_malformed(opened: Any, as_user: Any, alice: User, path: str, body: Any, field: str) -> None:
    at = f"/api/cases/{opened().pk}{path}" if path else "/api/cases"
    client = as_user(alice)
    before = everything()

    answer = send(client, at, **body)

    assert (answer.status_code, [*answer.json()["errors"]]) == (400, [field])
    assert what_differs(before) == {}


# -------------------------------------------------------------------------------------------------------------- secrecy


def answers(case: Case, other: Argument, clients: list[Client]) -> Iterator[Any]:
    """Every answer that anybody gets about a case."""
    path = f"/api/cases/{case.pk}"
    for client in clients:
        yield client.get("/api/cases")
        yield client.get(path)
        yield send(client, f"{path}/arguments/{other.pk}/like")
        yield send(client, f"{path}/arguments", side="YES", text="Too early.")
        for _ in range(2):
            yield send(client, f"{path}/vote", side="YES")
            yield send(client, f"{path}/arguments", side="YES", text="It is.")
            yield client.get(f"{path}/arguments")
        yield client.delete(f"{path}/arguments/{other.pk}/like")
        yield client.get("/profile")
        yield client.get("/profile/rewards")


@pytest.mark.parametrize("status", ["active", "void", "draft", "pending_moderation"])
def test_no_answer_has_what_is_sealed(
    opened: Any, as_user: Any, as_machine: Any, alice: User, bob: User, make_user: Any, status: str, caplog: Any
) -> None:
    case = opened("NO", created_by=alice)
    sealed = case.sealed
    sealed.confidence = Decimal("0.734519")
    sealed.save()
    root = make_user("root", is_staff=True, is_superuser=True)
    argument = argument_of(case, bob)
    Case.objects.update(status=status)
    clients = [as_user(user) for user in (alice, bob, root)] + [Client(), as_machine()]

    texts = [answer.content.decode() for answer in answers(case, argument, clients)]

    assert len(texts) == 5 * 13
    for secret in (REASONING, sealed.nonce, "734519"):
        assert not any(secret in text for text in texts)
        assert secret not in caplog.text
    assert not any(f'"{name}"' in text for text in texts for name in REVEALED)
