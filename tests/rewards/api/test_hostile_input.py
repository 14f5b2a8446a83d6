"""Bad input, whatever the endpoint: refused with a problem of the kind 4xx, and nothing happens."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from rewards.access.models import IdempotentAnswer
from rewards.activity.models import ActivityEvent
from rewards.api.problems import PROBLEM_JSON, codes
from rewards.claims.models import Claim
from rewards.ledger.models import Currency, Journal
from rewards.users.models import User
from tests.rewards.api.test_parsers import MALFORMED

pytestmark = pytest.mark.django_db

POSTS = ["/api/transfers", "/api/activity", "/api/claims/daily_quest", "/api/tokens"]
GETS = ["/profile", "/profile/statement"]
BODIES = [*[("post", path) for path in POSTS], ("patch", "/profile")]


@pytest.fixture
def call(alice: User, as_user: Any, as_machine: Any) -> Any:
    """Call as alice, or as a machine what is for machines; the answer is a problem (or fine) and never a 5xx."""
    hers, machines = as_user(alice), as_machine()

    def any_way(method: str, path: str, **options: Any) -> Any:
        client: Client = machines if "activity" in path or "claims" in path else hers
        options = {"content_type": "application/json", "headers": {"Idempotency-Key": "k"}} | options
        answer = client.generic(method.upper(), path, **options)
        assert answer.status_code < 500, answer.content
        if answer.status_code >= 400 and method != "head":
            assert answer["Content-Type"] == PROBLEM_JSON
            told = answer.json()
            assert told["code"] in codes()
            assert told["status"] == answer.status_code
            assert told["type"] == f"/problems/{told['code']}"
        return answer

    return any_way


@pytest.fixture(autouse=True)
def nothing_happens(db: None) -> Any:
    yield
    for model in (Journal, Claim, ActivityEvent, IdempotentAnswer):
        assert not model.objects.exists()


BODIES_SENT = {name: body for name, body in MALFORMED.items() if body}  # nothing at all is an empty object


@pytest.mark.parametrize("body", BODIES_SENT.values(), ids=BODIES_SENT)
@pytest.mark.parametrize(("method", "path"), BODIES)
def test_malformed_json(call: Any, method: str, path: str, body: bytes) -> None:
    answer = call(method, path, data=body)

    assert (answer.status_code, answer.json()["code"]) in ((400, "malformed_json"), (413, "too_large"))
    assert answer.status_code == 400 or len(body) > 100_000


@pytest.mark.parametrize("value", [[], "x", 7, None, True, 1.5], ids=repr)
@pytest.mark.parametrize(("method", "path"), BODIES)
def test_json_that_is_no_object(call: Any, method: str, path: str, value: Any) -> None:
    answer = call(method, path, data=json.dumps(value))

    assert answer.status_code == 400
    assert [*answer.json()["errors"]] == ["body"]


CONTENT_TYPES = ["text/plain", "application/xml", "application/x-www-form-urlencoded", "multipart/form-data",
                 "multipart/form-data; boundary=x", "text/json", "application/jsonx",
                 "application/json; charset=utf-16", "application/json; charset=latin-1",
                 "application/json;charset=bz2", "application/merge-patch+json", "json", "/", ";",
                 "a" * 3000]  # fmt: skip


@pytest.mark.parametrize("content_type", CONTENT_TYPES, ids=lambda each: each[:40])
@pytest.mark.parametrize(("method", "path"), BODIES)
def test_other_content_types(call: Any, method: str, path: str, content_type: str) -> None:
    answer = call(method, path, data=b'{"a": 1}', content_type=content_type)

    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("field", ["id", "pk", "owner", "is_staff", "is_superuser", "balance", "balances", "status",
                                   "at", "allow_negative", "journal", "created_at", "username", "password", "user_id",
                                   "", "__class__", "\u202e", "x" * 5000])  # fmt: skip
@pytest.mark.parametrize(("method", "path"), BODIES)
def test_unknown_and_read_only_fields(call: Any, alice: User, method: str, path: str, field: str) -> None:
    if path == "/api/tokens" and field in ("username", "password"):
        pytest.skip("these are its own")
    before = User.objects.values().get(pk=alice.pk)
    answer = call(method, path, data=json.dumps({field: True}))

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
    assert (field[:80] or "body") in answer.json()["errors"]
    assert User.objects.values().get(pk=alice.pk) == before


AMOUNTS = [b"-1", b"0", b"1.5", b"1.0", b"1e3", b"NaN", b"Infinity", b"1e400", b"9223372036854775807",
           b"9007199254740993000", b"9223372036854775808", b"1" * 5000, b"true", b"null", b"[]", b"{}", b'""', b'" "',
           b'"abc"', b'"1e3"', b'"NaN"', b'"sNaN"', b'"Infinity"', b'"-0"', b'"-1"', b'"0"', b'"1,5"', b'"0x10"',
           b'"1_000"', b'"1.005"', '"１２３"'.encode(), b'"9223372036854775807"', b'"' + b"9" * 5000 + b'"',
           b'"0.' + b"0" * 5000 + b'1"', b'"1\\u0000"', b'"\\ud800"', b'"--1"', b'"+-1"', b'"."', b'"1."',
           b'".5"']  # fmt: skip


@pytest.mark.parametrize("amount", AMOUNTS, ids=lambda each: each[:30].decode())
def test_amounts_that_are_none(call: Any, bob: User, coins: Currency, amount: bytes) -> None:
    answer = call("post", "/api/transfers", data=b'{"to": "bob", "currency": "coins", "amount": ' + amount + b"}")

    assert answer.status_code == 400
    assert answer.json()["code"] in ("malformed_json", "invalid_request")
    assert answer.json()["code"] == "malformed_json" or [*answer.json()["errors"]] == ["amount"]


TEXTS = [
    "\x00",
    "a\x00b",
    "\ud800",
    "\udfffx",
    "\u202e",
    "🏆",
    "\u00e9",
    "e\u0301",
    "x" * 1_000_000,
    "'",
    "%s",
    "{}",
    "\n",
]


@pytest.mark.parametrize("text", TEXTS, ids=lambda each: repr(each[:12]))
@pytest.mark.parametrize(
    ("method", "path", "field"),
    [("post", "/api/transfers", "to"), ("post", "/api/transfers", "currency"), ("post", "/api/transfers", "note"),
     ("post", "/api/claims/daily_quest", "claim_key"), ("post", "/api/claims/daily_quest", "user"),
     ("post", "/api/claims/daily_quest", "context"), ("post", "/api/tokens", "username"),
     ("post", "/api/tokens", "password"), ("post", "/api/activity", "events")],
)  # fmt: skip
def test_texts_in_bodies(call: Any, method: str, path: str, field: str, text: str) -> None:
    for value in (text, {"a": text}, {text: 1}, [{"a": {"b": [text]}}]):
        answer = call(method, path, data=json.dumps({field: value}))
        rejected_one_by_one = path == "/api/activity" and answer.status_code == 200
        assert rejected_one_by_one or answer.status_code in (400, 401, 404, 413, 422)
        IdempotentAnswer.objects.all().delete()


RAW_QUERIES = ["%00", "a%00", "%ff", "%ed%a0%80", "currency=%00", "currency=%ff", "currency=%ed%a0%80",
               "currency=coins%00", "limit=0", "limit=-1", "limit=501", "limit=1e3", "limit=1.0", "limit=１",
               "limit=%EF%BC%91", "limit=" + "9" * 5000, "limit=", "limit=true", "limit=1_0", "cursor=%00", "cursor=x",
               "cursor=bz1hYmM%3D", "cursor=cD0lMDA%3D", "cursor=" + "x" * 5000, "nothing=1", "format=xml",
               "format=json", "currency=a&currency=b", "currency=coins&limit=1&limit=2",
               "&".join(f"a{number}=1" for number in range(200)), "_connector=OR", "currency__in=coins", "user=bob",
               "page_size=1000000000", "ordering=user__password"]  # fmt: skip


@pytest.mark.parametrize("query", RAW_QUERIES, ids=lambda each: each[:30])
def test_queries(call: Any, coins: Currency, query: str) -> None:
    if "currency" not in query:
        query = f"currency=coins&{query}"
    answer = call("get", f"/profile/statement?{query}")

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
    assert answer.json()["errors"]


PATHS = ["%00", "a%00b", "%ff", "%ed%a0%80", "🏆", "\u202e", "x" * 150, "x" * 5000, "-1", "0", "9" * 5000, "..",
         "%2e%2e", "%2f", "a%0d%0ab", "%25s", "'", "None", "null", "00000000-0000-0000-0000-000000000000"]  # fmt: skip


@pytest.mark.parametrize("segment", PATHS, ids=lambda each: each[:20])
def test_paths(call: Any, segment: str) -> None:
    answer = call("post", f"/api/claims/{segment}", data=b'{"context": {}}')

    assert answer.status_code == 404
    assert answer.json()["code"] in ("not_found", "unknown_claim_type")


ACCEPTS = {"*/*": True, "application/json": True, "application/*": True, "application/json;q=0.5, text/html": True,
           "text/html, */*;q=0.1": True, "application/problem+json": True, "application/json; indent=4": True,
           "": False, "text/html": False, "application/xml": False, ",": False, ";;;": False,
           "x" * 10_000: False}  # fmt: skip


@pytest.mark.parametrize(("accepted", "taken"), ACCEPTS.items(), ids=lambda each: str(each)[:30])
def test_only_json_comes_out(call: Any, accepted: str, taken: bool) -> None:
    answer = call("get", "/profile", headers={"accept": accepted})

    assert (answer.status_code == 200) is taken
    assert taken or (answer.status_code, answer.json()["code"]) == (406, "not_acceptable")
    assert not taken or answer["Content-Type"] == "application/json"


@pytest.mark.parametrize("path", [*POSTS, *GETS])
@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete", "head", "options", "trace"])
def test_methods_that_are_not_there(call: Any, path: str, method: str) -> None:
    allowed = {
        "/profile": {"get", "head", "patch"},
        "/profile/statement": {"get", "head"},
        "/api/tokens": {"post", "delete"},
    }
    if method in allowed.get(path, {"post"}):
        pytest.skip("it is there")
    client = Client(raise_request_exception=False)
    for answer in (client.generic(method.upper(), path), call(method, path)):
        assert answer.status_code == 405
        assert {each.strip().lower() for each in answer["Allow"].split(",")} == allowed.get(path, {"post"})


@pytest.mark.parametrize("method", ["FOO", "DISPATCH", "INITIAL", "ACCESS", "QUERY", "__INIT__", "AS_VIEW"])
def test_methods_that_nobody_knows(call: Any, method: str) -> None:
    assert call(method, "/api/transfers").status_code == 405


HEADERS = [
    {"Authorization": value} for value in ("Bearer", "Bearer ", "Bearer \x00", "Bearer é", "Basic eA==", "x" * 9000, "")
]
HEADERS += [{"x-api-key": value} for value in ("", " ", "\x00", "é", "rwk_", "rwk_" + "x" * 43, "x" * 9000)]


@pytest.mark.parametrize("headers", HEADERS, ids=lambda each: repr(each)[:40])
def test_credentials_that_are_none(db: None, headers: dict[str, str]) -> None:
    client = Client(raise_request_exception=False, headers=headers)
    for method, path in BODIES[:3]:
        answer = getattr(client, method)(path, data=b"{}", content_type="application/json")
        assert answer.status_code == 401
        assert answer["Content-Type"] == PROBLEM_JSON
        assert "Bearer" in answer["WWW-Authenticate"]


def test_bodies_of_unknown_length_are_not_taken_for_empty(call: Any) -> None:
    headers = {"Transfer-Encoding": "chunked", "Idempotency-Key": "k"}
    answer = call("post", "/api/claims/daily_quest", data=b"", headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (411, "length_required")


def test_a_session_needs_the_csrf_token(alice: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    for content_type in ("application/json", "text/plain", "application/x-www-form-urlencoded"):
        answer = client.post("/api/transfers", data=b"{}", content_type=content_type)
        assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
