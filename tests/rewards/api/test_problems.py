"""What becomes of an error, whoever raised it: real errors of the database, of the framework, of the product."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest
from django.core import exceptions as django_errors
from django.db import DatabaseError, IntegrityError, OperationalError, connection, transaction
from django.http import Http404
from django.http.request import UnreadablePostError
from django.test import Client, override_settings
from rest_framework import exceptions as drf

from rewards.access.models import ApiKey
from rewards.api.parsers import MalformedJson
from rewards.api.problems import BUILT_IN, PROBLEM_JSON, codes, flattened, handle
from rewards.common.amounts import InvalidAmount
from rewards.common.errors import InvariantBroken, RewardsError
from rewards.ledger.errors import InsufficientFunds
from rewards.ledger.models import Account, Currency, Transfer
from rewards.users.models import User
from tests.concurrency.racing import threads

FRAMEWORK = [
    (drf.ValidationError({"a": ["Wrong."]}), 400, "invalid_request"),
    (drf.ParseError(), 400, "malformed_json"),
    (MalformedJson(), 400, "malformed_json"),
    (drf.AuthenticationFailed(), 401, "authentication_failed"),
    (drf.AuthenticationFailed("Over.", code="expired_credential"), 401, "expired_credential"),
    (drf.AuthenticationFailed("Odd.", code="nobody_explains_this"), 401, "authentication_failed"),
    (drf.NotAuthenticated(), 401, "not_authenticated"),
    (drf.PermissionDenied(), 403, "permission_denied"),
    (drf.NotFound(), 404, "not_found"),
    (drf.MethodNotAllowed("PUT"), 405, "method_not_allowed"),
    (drf.NotAcceptable(), 406, "not_acceptable"),
    (drf.UnsupportedMediaType("text/csv"), 415, "unsupported_media_type"),
    (drf.Throttled(), 429, "throttled"),
    (Http404(), 404, "not_found"),
    (django_errors.PermissionDenied(), 403, "permission_denied"),
    (django_errors.RequestDataTooBig("Too big."), 413, "too_large"),
    (django_errors.DisallowedHost("evil.example"), 400, "invalid_request"),
    (django_errors.TooManyFieldsSent(), 400, "invalid_request"),
    (UnreadablePostError(), 400, "invalid_request"),
]


@pytest.mark.parametrize(("error", "status", "code"), FRAMEWORK)
def test_every_error_of_the_framework_has_its_code(error: Exception, status: int, code: str) -> None:
    answer = handle(error)

    assert (answer.status_code, answer.content_type) == (status, PROBLEM_JSON)
    assert answer.data["type"] == f"/problems/{code}"
    assert (answer.data["code"], answer.data["status"]) == (code, status)
    assert answer.data["title"]
    assert answer.data["detail"]
    assert "evil" not in answer.data["detail"]


def test_retry_after_and_challenge_are_kept() -> None:
    refused = drf.NotAuthenticated()
    refused.auth_header = "Bearer"

    assert handle(drf.Throttled(wait=2.1)).headers["Retry-After"] == "3"
    assert handle(refused).headers["WWW-Authenticate"] == "Bearer"


def test_a_broken_rule_brings_its_facts() -> None:
    answer = handle(InsufficientFunds("Alice has 5.00, not 7.00.", balance="5.00", need="7.00", status="spoofed"))

    assert answer.data == {
        "type": "/problems/insufficient_funds",
        "code": "insufficient_funds",
        "title": "Insufficient funds",
        "status": 409,
        "detail": "Alice has 5.00, not 7.00.",
        "balance": "5.00",
        "need": "7.00",
    }


def test_a_broken_rule_may_name_fields() -> None:
    answer = handle(InvalidAmount(errors={"amount": "Too large.", "line 2.when": ["Odd.", "Very odd."]}))

    assert answer.data["errors"] == {"amount": ["Too large."], "line 2.when": ["Odd.", "Very odd."]}


def test_errors_of_nested_fields_have_one_path_each() -> None:
    told = {
        "to": ["Missing."],
        "events": [{}, {"quantity": ["Bad.", "Worse."], "attributes": {"a": {"b": ["Odd."]}}}],
        "by_place": {3: {"x": ["Wrong."]}},
        "non_field_errors": ["Nothing fits."],
    }

    assert flattened(told) == {
        "to": ["Missing."],
        "events[1].quantity": ["Bad.", "Worse."],
        "events[1].attributes.a.b": ["Odd."],
        "by_place[3].x": ["Wrong."],
        "body": ["Nothing fits."],
    }
    assert flattened(["Not an object."]) == {"body": ["Not an object."]}


def test_a_mistake_of_ours_is_logged_and_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def deep_inside() -> None:
        raise KeyError("secret of alice")

    with pytest.raises(KeyError) as failure:
        deep_inside()
    answer = handle(failure.value)

    assert (answer.status_code, answer.data["code"]) == (500, "internal_error")
    assert "secret" not in str(answer.data)
    assert "deep_inside" in caplog.text
    assert "secret of alice" in caplog.text


def test_a_broken_invariant_is_our_mistake(caplog: pytest.LogCaptureFixture) -> None:
    answer = handle(InvariantBroken("account 7 is 3 short", account=7))

    assert (answer.status_code, answer.data["code"]) == (500, "invariant_broken")
    assert "account" not in answer.data
    assert "3 short" not in str(answer.data)
    assert "3 short" in caplog.text


# ---------------------------------------------------------------------------------------------------------- database


def error_of(*statements: str) -> DatabaseError:
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
    except DatabaseError as error:
        return error
    raise AssertionError("nothing failed")


def code_of(error: Exception) -> tuple[int, str]:
    answer = handle(error)
    assert "rewards_" not in str(answer.data)  # no names of tables
    if answer.status_code == 503:
        assert int(answer.headers["Retry-After"]) > 0
    return answer.status_code, answer.data["code"]


def test_unique_is_a_conflict(alice: User) -> None:
    with pytest.raises(IntegrityError) as failure, transaction.atomic():
        User.objects.create(username="alice")

    assert code_of(failure.value) == (409, "conflict")


def test_check_is_a_broken_rule(db: None) -> None:
    with pytest.raises(IntegrityError) as failure, transaction.atomic():
        Currency.objects.create(code="x", decimals=9)

    assert code_of(failure.value) == (422, "rule_broken")


def test_reference_is_a_broken_rule(points: Currency) -> None:
    with pytest.raises(IntegrityError) as failure, transaction.atomic():
        Transfer.objects.create(journal_id=1, debit_account_id=1, credit_account_id=2, currency=points, amount=1)

    assert code_of(failure.value) == (422, "rule_broken")


@pytest.mark.postgresql
def test_nul_in_a_parameter(db: None) -> None:
    with pytest.raises(ValueError) as failure:
        ApiKey.objects.filter(name="a\x00b").exists()

    assert code_of(failure.value) == (400, "invalid_request")


def test_half_of_a_pair_in_a_parameter(db: None) -> None:
    with pytest.raises(UnicodeEncodeError) as failure, transaction.atomic():
        User.objects.filter(username="\ud800").exists()

    assert code_of(failure.value) == (400, "invalid_request")


def test_a_number_beyond_64_bits(points: Currency, alice: User) -> None:
    with pytest.raises((DatabaseError, OverflowError)) as failure, transaction.atomic():
        Account.objects.create(user=alice, currency=points, balance=2**63)

    assert code_of(failure.value) == (400, "invalid_request")


@pytest.mark.postgresql
@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("SELECT 'x'::int", (400, "invalid_request")),
        ("SELECT 10000000000::int", (400, "invalid_request")),
        ("""SELECT '"\\u0000"'::jsonb->>0""", (400, "invalid_request")),
        ("SELECT convert_from('\\xff', 'UTF8')", (400, "invalid_request")),
        ("SELECT 'ab'::varchar(1) || 1/0", (500, "internal_error")),
        ("SELECT no_such_column", (500, "internal_error")),
        ("SET LOCAL statement_timeout = 10; SELECT pg_sleep(5)", (503, "unavailable")),
        ("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$", (503, "unavailable")),
        ("DO $$ BEGIN RAISE SQLSTATE '40P01'; END $$", (503, "unavailable")),
        ("DO $$ BEGIN RAISE SQLSTATE '53300'; END $$", (503, "unavailable")),
        ("DO $$ BEGIN RAISE SQLSTATE '57P03'; END $$", (503, "unavailable")),
        ("DO $$ BEGIN RAISE SQLSTATE '08006'; END $$", (503, "unavailable")),
    ],
)
def test_states_of_postgresql(db: None, statement: str, found: tuple[int, str]) -> None:
    assert code_of(error_of(statement)) == found


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_a_lock_that_takes_too_long(alice: User) -> None:
    with transaction.atomic(), threads(1) as start:
        User.objects.select_for_update().get(pk=alice.pk)
        waiting = start(
            error_of, "SET LOCAL lock_timeout = 50", f"SELECT 1 FROM rewards_user WHERE id = {alice.pk} FOR UPDATE"
        )
        assert code_of(waiting.result()) == (503, "unavailable")


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_a_connection_that_was_cut(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(OperationalError) as failure, connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    connection.close()

    assert code_of(failure.value) == (503, "unavailable")


def test_a_server_that_is_not_there(db: None) -> None:
    from django.db.backends.postgresql.base import DatabaseWrapper

    nowhere = DatabaseWrapper({**connection.settings_dict, "HOST": "127.0.0.1", "PORT": 1, "OPTIONS": {}}, "nowhere")
    with pytest.raises(OperationalError) as failure:
        nowhere.ensure_connection()

    assert code_of(failure.value) == (503, "unavailable")


def test_sqlite_that_is_locked(tmp_path: Any) -> None:
    writer, other = (sqlite3.connect(tmp_path / "x", timeout=0, isolation_level=None) for _ in "ab")
    writer.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError, match="database is locked") as refused:
        other.execute("BEGIN IMMEDIATE")
    error = OperationalError(*refused.value.args)
    error.__cause__ = refused.value

    assert code_of(error) == (503, "unavailable")


# ------------------------------------------------------------------------------------------- addresses and their pages


@pytest.fixture(params=[False, True], ids=["", "DEBUG"])
def site(request: pytest.FixtureRequest, db: None) -> Any:
    with override_settings(DEBUG=request.param):
        yield Client(raise_request_exception=False)


@pytest.mark.parametrize(
    "path",
    ["/api", "/api/", "/api/nothing", "/api/nothing/", "/api/transfers/7", "/profile/nothing", "/api/%00", "/api/%ff/x",
     "/api/%ed%a0%80", "/api/x%0ay", "/api//transfers", "/api/" + "x" * 5000],
)  # fmt: skip
@pytest.mark.parametrize("method", ["get", "post", "delete"])
def test_no_such_address(site: Client, path: str, method: str) -> None:
    answer = getattr(site, method)(path)

    assert (answer.status_code, answer["Content-Type"]) == (404, PROBLEM_JSON)
    assert answer.json()["code"] == "not_found"


@override_settings(DEBUG=False)
def test_people_get_pages(db: None) -> None:
    answer = Client().get("/nothing")

    assert answer.status_code == 404
    assert "There is nothing at this address." in answer.content.decode()


@override_settings(DEBUG=False)
def test_a_host_that_is_not_ours(db: None) -> None:
    for path, kind in (("/api/nothing", PROBLEM_JSON), ("/nothing", "text/html; charset=utf-8")):
        answer = Client(headers={"host": "evil.example"}, raise_request_exception=False).get(path)
        assert (answer.status_code, answer["Content-Type"]) == (400, kind)
        assert "evil" not in answer.content.decode()


def test_every_code_has_a_page(db: None) -> None:
    client, every = Client(), codes()
    listed = client.get("/problems").content.decode()

    assert {"insufficient_funds", "already_claimed", "throttled", "invalid_request"} <= every.keys()
    for code, kind in every.items():
        for path in (f"/problems/{code}", f"/problems/{code}/"):
            page = client.get(path)
            assert page.status_code == 200, code
        assert str(kind.status) in page.content.decode()
        assert f"/problems/{code}" in listed


def test_no_page_for_what_is_no_code(db: None) -> None:
    assert Client().get("/problems/nothing").status_code == 404


def test_sentences_are_for_people() -> None:
    for code, kind in codes().items():
        assert kind.sentence, code
        assert kind.sentence.rstrip().endswith((".", "?")), code
        assert 400 <= kind.status < 600, code


def test_one_code_means_one_status() -> None:
    def rules(base: type[RewardsError]) -> Any:
        for each in base.__subclasses__():
            yield from rules(each)
            yield each

    statuses: dict[str, set[int]] = {code: {kind.status} for code, kind in BUILT_IN.items()}
    for rule in rules(RewardsError):
        if rule.__module__.split(".")[0] in ("rewards", "badges", "leaderboard"):
            statuses.setdefault(rule.code, set()).add(rule.http_status)

    assert {code: found for code, found in statuses.items() if len(found) > 1} == {}
