"""The same key × {same body, spelt otherwise, other body, other caller, other endpoint} × {how the first one ended}."""

from __future__ import annotations

import os
from collections import Counter
from datetime import timedelta
from threading import Event
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.utils import timezone
from rest_framework.response import Response

from rewards.access.models import IdempotentAnswer, Right
from rewards.access.services import ANSWERS_KEPT
from rewards.api import idempotency, transfers
from rewards.api.database_errors import sqlstate
from rewards.api.idempotency import ATTEMPTS, body_hash, in_transaction
from rewards.ledger.models import Currency, Journal
from rewards.users.models import User
from tests.concurrency.racing import PATIENCE_SECONDS, at_once, in_process, threads, was_killed

BODY = b'{"to": "bob", "currency": "coins", "amount": "10"}'

REORDERED = b'{"amount": "10", "currency": "coins", "to": "bob"}'
SPACED = b'\n{ "to" :"bob",\t"currency":"coins","amount":"10" }\r\n'
ESCAPED = b'{"to": "\\u0062ob", "currency": "coins", "amount": "10"}'
OTHER_AMOUNT = b'{"to": "bob", "currency": "coins", "amount": "11"}'
OTHER_TYPE = b'{"to": "bob", "currency": "coins", "amount": 10}'
WITH_NOTE = b'{"to": "bob", "currency": "coins", "amount": "10", "note": ""}'

SAME = {"same body": BODY, "keys in another order": REORDERED, "other white space": SPACED, "escaped": ESCAPED}
OTHER = {"other amount": OTHER_AMOUNT, "number for text": OTHER_TYPE, "a field more": WITH_NOTE}


@pytest.fixture
def coins_of_alice(alice: User, bob: User, coins: Currency, fund: Any, balance: Any) -> Any:
    """Alice has 100.00 coins; call it for what she has now, in whole coins."""
    fund(alice, coins, 100_00)
    return lambda: balance(alice, coins) // 100


def code(answer: Any) -> tuple[int, str | None]:
    return answer.status_code, answer.json().get("code")


# --------------------------------------------------------------------------------------------- the first has succeeded


@pytest.mark.parametrize("body", SAME.values(), ids=SAME)
@pytest.mark.parametrize("path", ["/api/transfers", "/api/transfers/"])
def test_the_same_again_gets_the_first_answer(
    alice: User, coins_of_alice: Any, send: Any, body: bytes, path: str
) -> None:
    first = send(alice, raw=BODY)
    again = send(alice, raw=body, path=path)

    assert first.status_code == again.status_code == 201
    assert first.content == again.content
    assert again["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first
    assert coins_of_alice() == 90


@pytest.mark.parametrize("body", OTHER.values(), ids=OTHER)
def test_another_body_is_a_conflict(alice: User, coins_of_alice: Any, send: Any, body: bytes) -> None:
    first = send(alice, raw=BODY)

    assert code(send(alice, raw=body)) == (409, "idempotency_conflict")
    assert send(alice, raw=BODY).content == first.content
    assert coins_of_alice() == 90


def test_a_malformed_repetition_is_malformed(alice: User, coins_of_alice: Any, send: Any) -> None:
    send(alice, raw=BODY)

    assert code(send(alice, raw=b'{"to": "bob", "to": "bob"}')) == (400, "malformed_json")
    assert code(send(alice, to="bob")) == (400, "invalid_request")


def test_keys_belong_to_their_caller(
    alice: User, carol: User, coins: Currency, coins_of_alice: Any, fund: Any, send: Any
) -> None:
    fund(carol, coins, 100_00)
    hers, carols = send(alice, raw=BODY), send(carol, raw=OTHER_AMOUNT)

    assert (hers.json()["balance"], carols.json()["balance"]) == ("90.00", "89.00")
    assert "Idempotent-Replayed" not in carols


def test_a_machine_is_another_caller_than_the_user_of_that_id(alice: User, as_machine: Any, as_user: Any) -> None:
    body = {"events": [{"event_id": "e", "user": "alice", "metric": "m", "quantity": 1,
                        "occurred_at": "2026-03-10T07:15:00Z"}]}  # fmt: skip
    for name, replayed in (("game", False), ("shop", False)):
        answer = as_machine(Right.ACTIVITY_WRITE, name=name).post(
            "/api/activity", data=body, content_type="application/json", headers={"Idempotency-Key": "k-1"}
        )
        assert ("Idempotent-Replayed" in answer) is replayed
    assert {*IdempotentAnswer.objects.values_list("endpoint", flat=True)} == {"POST /api/activity"}
    assert IdempotentAnswer.objects.values("caller").distinct().count() == 2


def test_keys_belong_to_their_endpoint(alice: User, as_machine: Any) -> None:
    client = as_machine(Right.ACTIVITY_WRITE, Right.CLAIMS_WRITE)
    key = {"Idempotency-Key": "k-1"}
    client.post("/api/activity", data={"events": []}, content_type="application/json", headers=key)
    answer = client.post("/api/claims/none", data={"context": {}}, content_type="application/json", headers=key)

    assert code(answer) == (404, "unknown_claim_type")


def test_keys_live_for_thirty_days(alice: User, coins_of_alice: Any, send: Any) -> None:
    send(alice, raw=BODY)
    rows = IdempotentAnswer.objects.all()

    rows.update(created_at=timezone.now() - ANSWERS_KEPT + timedelta(minutes=1))
    assert "Idempotent-Replayed" in send(alice, raw=BODY)
    rows.update(created_at=timezone.now() - ANSWERS_KEPT)
    assert "Idempotent-Replayed" not in send(alice, raw=OTHER_AMOUNT)
    assert "Idempotent-Replayed" in send(alice, raw=OTHER_AMOUNT)
    assert rows.count() == 1
    assert coins_of_alice() == 79


# ------------------------------------------------------------------------------------------------ the first has failed


FAILED = {
    "409": (b'{"to": "bob", "currency": "coins", "amount": "101"}', (409, "insufficient_funds")),
    "422": (b'{"to": "nobody", "currency": "coins", "amount": "10"}', (422, "unknown_user")),
    "400": (b'{"to": "bob", "currency": "coins", "amount": "10.001"}', (400, "invalid_request")),
}


@pytest.mark.parametrize(("failing", "found"), FAILED.values(), ids=FAILED)
@pytest.mark.parametrize("then", [*SAME.values(), *OTHER.values()], ids=[*SAME, *OTHER])
def test_a_key_that_failed_is_free(
    alice: User, coins_of_alice: Any, send: Any, failing: bytes, found: Any, then: bytes
) -> None:
    assert code(send(alice, raw=failing)) == found
    assert not IdempotentAnswer.objects.exists()

    answer = send(alice, raw=then)
    assert answer.status_code == 201
    assert "Idempotent-Replayed" not in answer
    assert f"{coins_of_alice()}.00" == answer.json()["balance"]


def test_a_failure_is_no_answer_for_ever(
    alice: User, coins: Currency, coins_of_alice: Any, send: Any, fund: Any, carol: User
) -> None:
    too_much = b'{"to": "bob", "currency": "coins", "amount": "101"}'
    assert code(send(alice, raw=too_much)) == (409, "insufficient_funds")
    fund(carol, coins, 5_00)
    send(carol, to="alice", currency="coins", amount=5)

    assert send(alice, raw=too_much).status_code == 201


@pytest.mark.parametrize("exploding", ["before the answer", "after the money moved"])
def test_a_crash_takes_everything_back(
    alice: User, coins_of_alice: Any, send: Any, monkeypatch: pytest.MonkeyPatch, exploding: str
) -> None:
    def explode(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("crash")

    with monkeypatch.context() as patched:
        if exploding == "before the answer":
            patched.setattr(transfers, "_record", explode)
        else:
            patched.setattr(idempotency, "keep", explode)
        assert code(send(alice, raw=BODY)) == (500, "internal_error")
    assert coins_of_alice() == 100
    assert not IdempotentAnswer.objects.exists()

    assert send(alice, raw=BODY).status_code == 201
    assert coins_of_alice() == 90


def test_an_answer_of_400_and_above_takes_back_what_it_did(alice: User) -> None:
    def work() -> Response:
        User.objects.filter(pk=alice.pk).update(name="Changed")
        return Response({}, status=409)

    assert in_transaction(work).status_code == 409
    alice.refresh_from_db()
    assert alice.name == ""


# ---------------------------------------------------------------------------------------------------------- the header


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 256, "é", "a\tb", "🏆", "\x7f", "a\x00b"])
def test_keys_that_are_none(alice: User, coins_of_alice: Any, send: Any, key: str) -> None:
    assert code(send(alice, key, raw=BODY)) == (400, "invalid_idempotency_key")
    assert coins_of_alice() == 100


@pytest.mark.parametrize("key", ["x", "x" * 255, "!~'\"\\%;<>", "c0ffee00-0000-4000-8000-000000000000"])
def test_keys_that_are_good(alice: User, coins_of_alice: Any, send: Any, key: str) -> None:
    assert send(alice, key, raw=BODY).status_code == 201


def test_bodies_that_are_alike_and_not_the_same() -> None:
    alike = [{"a": 1}, {"a": "1"}, {"a": 1.0}, {"a": True}, {"a": [1]}, {"a": None}, {}, [], None, {"A": 1}]

    assert len({body_hash(body) for body in alike}) == len(alike)
    assert body_hash({"a": 1, "b": {"c": 2, "d": 3}}) == body_hash({"b": {"d": 3, "c": 2}, "a": 1})


# ---------------------------------------------------------------------------------------------------------- in flight


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
class TestInFlight:
    def test_thirty_two_at_once_are_one(self, alice: User, coins_of_alice: Any, send: Any) -> None:
        answers = at_once(*[lambda: send(alice, raw=BODY)] * 32)

        assert Counter(answer.status_code for answer in answers) == {201: 32}
        assert len({answer.content for answer in answers}) == 1
        assert sum("Idempotent-Replayed" in answer for answer in answers) == 31
        assert coins_of_alice() == 90

    def test_of_two_bodies_at_once_one_wins(self, alice: User, coins_of_alice: Any, send: Any) -> None:
        answers = at_once(*[lambda: send(alice, raw=BODY), lambda: send(alice, raw=OTHER_AMOUNT)] * 4)

        statuses = Counter(answer.status_code for answer in answers)
        assert statuses == {201: 4, 409: 4}
        assert coins_of_alice() in (90, 89)
        assert Journal.objects.filter(kind="transfer").count() == 1

    def test_a_duplicate_waits_for_the_first(
        self, alice: User, coins_of_alice: Any, send: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        inside, go_on = self.hold_the_first(monkeypatch)
        with threads(2) as start:
            first = start(send, alice, "k-1", BODY)
            assert inside.wait(PATIENCE_SECONDS)
            second = start(send, alice, "k-1", BODY)
            self.until_somebody_waits()
            go_on.set()
            answers = first.result(), second.result()

        assert answers[0].content == answers[1].content
        assert ["Idempotent-Replayed" in answer for answer in answers] == [False, True]
        assert coins_of_alice() == 90

    def test_but_not_for_ever(
        self, alice: User, coins_of_alice: Any, send: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(idempotency, "DUPLICATES_WAIT_SECONDS", 0.2)
        inside, go_on = self.hold_the_first(monkeypatch)
        with threads(1) as start:
            first = start(send, alice, "k-1", BODY)
            assert inside.wait(PATIENCE_SECONDS)
            for body in (BODY, OTHER_AMOUNT):
                waited = send(alice, raw=body)
                assert code(waited) == (409, "request_in_progress")
                assert int(waited["Retry-After"]) >= 1
            assert code(send(alice, "k-2", to="nobody", currency="coins", amount=1)) == (422, "unknown_user")
            go_on.set()
            assert first.result().status_code == 201

        assert "Idempotent-Replayed" in send(alice, raw=BODY)
        assert coins_of_alice() == 90

    def test_the_duplicate_of_one_that_fails_takes_its_place(
        self, alice: User, coins_of_alice: Any, send: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        inside, go_on = self.hold_the_first(monkeypatch, then_fail=True)
        with threads(2) as start:
            first = start(send, alice, "k-1", BODY)
            assert inside.wait(PATIENCE_SECONDS)
            second = start(send, alice, "k-1", BODY)
            self.until_somebody_waits()
            go_on.set()
            assert code(first.result()) == (500, "internal_error")
            assert second.result().status_code == 201

        assert "Idempotent-Replayed" not in second.result()
        assert coins_of_alice() == 90

    def test_a_process_that_is_killed_leaves_its_key_free(
        self, alice: User, coins_of_alice: Any, send: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def die(*args: Any) -> None:
            os.kill(os.getpid(), 9)

        with monkeypatch.context() as patched:
            patched.setattr(idempotency, "keep", die)
            killed = in_process(send, alice, "k-1", BODY)
            killed.join(PATIENCE_SECONDS)
        assert was_killed(killed)

        answer = send(alice, raw=BODY)
        assert answer.status_code == 201
        assert "Idempotent-Replayed" not in answer
        assert coins_of_alice() == 90

    @staticmethod
    def hold_the_first(monkeypatch: pytest.MonkeyPatch, then_fail: bool = False) -> tuple[Event, Event]:
        """The first transfer stops before its answer is kept, and says so; it goes on when told."""
        inside, go_on, keep = Event(), Event(), idempotency.keep

        def keep_later(*arguments: Any) -> None:
            if not inside.is_set():
                inside.set()
                assert go_on.wait(PATIENCE_SECONDS)
                if then_fail:
                    raise RuntimeError("crash")
            keep(*arguments)

        monkeypatch.setattr(idempotency, "keep", keep_later)
        return inside, go_on

    @staticmethod
    def until_somebody_waits() -> None:
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        with connection.cursor() as cursor:
            while True:
                cursor.execute(waiting)
                if cursor.fetchone()[0]:
                    return


# ---------------------------------------------------------------------------------------------------------- deadlocks


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
class TestDeadlocks:
    def test_whoever_is_chosen_to_end_it_starts_again(self, alice: User, bob: User) -> None:
        """Two lock the same users in opposite order, and meet in the middle the first time."""
        runs: Counter[str] = Counter()
        both = {"alice": Event(), "bob": Event()}

        def give(first: User, second: User) -> Response:
            runs[first.username] += 1
            User.objects.select_for_update().get(pk=first.pk)
            both[first.username].set()
            assert both[second.username].wait(PATIENCE_SECONDS)
            User.objects.select_for_update().get(pk=second.pk)
            User.objects.filter(pk=first.pk).update(name="done")
            return Response({}, status=200)

        answers = at_once(
            lambda: in_transaction(lambda: give(alice, bob)), lambda: in_transaction(lambda: give(bob, alice))
        )

        assert [answer.status_code for answer in answers] == [200, 200]
        assert sum(runs.values()) == 3
        assert {*User.objects.values_list("name", flat=True)} == {"done"}

    def test_not_for_ever(self) -> None:
        runs = 0

        def always() -> Response:
            nonlocal runs
            runs += 1
            with connection.cursor() as cursor:
                cursor.execute("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$")
            raise AssertionError

        with pytest.raises(OperationalError) as failure:
            in_transaction(always)
        assert sqlstate(failure.value) == "40001"
        assert runs == ATTEMPTS

    def test_nobody_else_is_started_again(self) -> None:
        runs = 0

        def broken() -> Response:
            nonlocal runs
            runs += 1
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL statement_timeout = 10; SELECT pg_sleep(5)")
            raise AssertionError

        with pytest.raises(OperationalError):
            in_transaction(broken)
        assert runs == 1

    def test_the_limit_of_waiting_ends_with_the_key(self, alice: User) -> None:
        answer = IdempotentAnswer(
            caller="user:1", endpoint="POST /x", key="k", body_hash="h", created_at=timezone.now()
        )

        def told() -> Response:
            with connection.cursor() as cursor:
                cursor.execute("SHOW lock_timeout")
                return Response({"lock_timeout": cursor.fetchone()[0]})

        assert idempotency.answer_once(answer, told).data == {"lock_timeout": "0"}
