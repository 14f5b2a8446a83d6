"""Signing in and out over the API."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.contrib.auth.hashers import get_hasher

from rewards.access.models import AccessToken
from rewards.access.services import create_api_key, create_token
from rewards.audit.models import AuditEvent

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
PASSWORD = " correct horse "


@pytest.fixture
def clock():
    with time_machine.travel(NOON, tick=False) as travelled:
        yield travelled


@pytest.fixture
def alice(make_user):
    user = make_user("alice")
    user.set_password(PASSWORD)
    user.save()
    return user


@pytest.fixture
def sign_in(client):
    def post(username: object = "alice", password: object = PASSWORD, **headers: str):
        sent = {"username": username, "password": password}
        return client.post("/api/tokens", sent, content_type="application/json", **headers)

    return post


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def problem(answer) -> tuple[int, str]:
    assert answer["Content-Type"] == "application/problem+json"
    return answer.status_code, answer.json()["code"]


class TestSigningIn:
    def test_gives_a_token_for_thirty_days(self, sign_in, client, alice, clock):
        answer = sign_in()
        assert answer.status_code == 201
        assert set(answer.json()) == {"token", "expires_at"}
        assert datetime.fromisoformat(answer.json()["expires_at"]) == NOON + timedelta(days=30)
        assert "no-store" in answer["Cache-Control"]
        headers = bearer(answer.json()["token"])
        assert client.get("/profile", headers=headers).json()["id"] == "alice"
        clock.shift(timedelta(days=30))
        assert problem(client.get("/profile", headers=headers)) == (401, "expired_credential")

    def test_needs_no_slash_and_takes_one(self, client, alice):
        sent = {"username": "alice", "password": PASSWORD}
        assert client.post("/api/tokens/", sent, content_type="application/json").status_code == 201

    def test_is_written_into_the_audit_log_without_any_secret(self, sign_in, alice, caplog):
        caplog.set_level(logging.DEBUG)
        secret = sign_in().json()["token"]
        sign_in(password="wrong password")
        event = AuditEvent.objects.get()
        assert (event.event_type, event.user, event.actor) == ("access_token_created", alice, alice)
        assert secret[12:] not in repr(event.__dict__)
        for text in (secret, PASSWORD, "wrong password"):
            assert text not in caplog.text

    def test_each_time_gives_another_one(self, sign_in, alice):
        assert sign_in().json()["token"] != sign_in().json()["token"]
        assert AccessToken.objects.count() == 2

    def test_an_old_token_or_a_key_beside_it_is_not_looked_at(self, sign_in, client, alice):
        assert sign_in(headers=bearer("rwt_expired")).status_code == 201
        assert sign_in(headers={"x-api-key": "nonsense"}).status_code == 201
        client.force_login(alice)
        assert sign_in().status_code == 201


class TestRefusals:
    def test_say_the_same_whatever_is_wrong(self, sign_in, alice, make_user):
        make_user("nopassword")
        gone = make_user("gone", is_active=False)
        gone.set_password(PASSWORD)
        gone.save()
        answers = [
            sign_in(password="wrong"),
            sign_in(username="nobody"),
            sign_in(username="nopassword"),
            sign_in(username="gone"),
            sign_in(username="ALICE"),
            sign_in(password=PASSWORD.strip()),
        ]
        assert {problem(answer) for answer in answers} == {(401, "wrong_password")}
        assert len({answer.content for answer in answers}) == 1
        assert all(answer["WWW-Authenticate"].startswith("Bearer ") for answer in answers)
        assert not AccessToken.objects.exists()

    def test_take_as_much_work_for_a_name_that_nobody_has(self, sign_in, alice, make_user, monkeypatch):
        """Counted in passwords hashed: the clock would tell less."""
        hashed = []
        hasher = type(get_hasher())
        encode = hasher.encode
        monkeypatch.setattr(hasher, "encode", lambda self, *given: hashed.append(1) or encode(self, *given))
        make_user("nopassword")
        work = []
        for username in ("alice", "nobody", "nopassword"):
            hashed.clear()
            sign_in(username, "wrong")
            work.append(len(hashed))
        assert work == [1, 1, 1]

    @pytest.mark.parametrize(
        ("username", "password"),
        [("a\x00b", "x"), ("alice", "a\x00b"), ("", "x"), ("alice", ""), (1, "x"), (None, "x"), ("alice", None),
         (["alice"], "x"), ({"a": 1}, "x"), ("a" * 151, "x"), ("alice", "x" * 5_000), (True, True)],
    )  # fmt: skip
    def test_of_what_is_no_name_or_password_are_400(self, sign_in, username, password):
        assert sign_in(username, password).status_code == 400

    @pytest.mark.parametrize(
        "body",
        ["", "{}", "[]", "null", '"alice"', "{", '{"username":"alice"}',
         '{"username":"a","password":"b","is_staff":true}',
         '{"username":"\\ud800","password":"b"}', '{"username":"a","username":"b","password":"c"}'],
    )  # fmt: skip
    def test_of_bodies_that_are_none_are_400(self, client, body):
        assert client.post("/api/tokens", body, content_type="application/json").status_code == 400

    def test_of_other_methods_are_405(self, client):
        for method in ("get", "put", "patch"):
            assert getattr(client, method)("/api/tokens").status_code == 405

    @pytest.mark.parametrize("username", ["' OR 1=1 --", "🦄", "a" * 150, "\u202ealice", "alice\n"])
    def test_of_odd_names_are_401(self, sign_in, alice, username):
        assert problem(sign_in(username)) == (401, "wrong_password")


class TestThrottles:
    def test_an_address_may_try_20_times_a_minute(self, sign_in, clock):
        statuses = [sign_in(username=f"user{number}").status_code for number in range(21)]
        assert statuses == [401] * 20 + [429]
        answer = sign_in()
        assert problem(answer) == (429, "throttled")
        clock.shift(int(answer["Retry-After"]))
        assert sign_in().status_code == 401

    def test_a_name_may_be_tried_10_times_a_minute_from_anywhere(self, sign_in, alice, clock):
        tries = [sign_in(password="wrong", REMOTE_ADDR=f"10.0.0.{number}").status_code for number in range(11)]
        assert tries == [401] * 10 + [429]
        answer = sign_in(REMOTE_ADDR="10.0.1.1")
        assert answer.status_code == 429
        clock.shift(int(answer["Retry-After"]))
        assert sign_in(REMOTE_ADDR="10.0.1.1").status_code == 201

    def test_a_users_calls_are_counted_whatever_the_credential(self, client, alice, clock):
        headers = bearer(create_token(alice)[1])
        statuses = {client.get("/profile", headers=headers).status_code for _ in range(599)}
        client.force_login(alice)
        assert client.get("/profile").status_code == 200
        assert statuses == {200}
        answer = client.get("/profile", headers=headers)
        assert problem(answer) == (429, "throttled")
        assert answer["Retry-After"] == "60"
        assert client.get("/profile").status_code == 429


class TestSigningOut:
    def test_ends_the_token_that_is_used_and_no_other(self, sign_in, client, alice):
        first, second = (sign_in().json()["token"] for _ in range(2))
        answer = client.delete("/api/tokens", headers=bearer(first))
        assert (answer.status_code, answer.content) == (204, b"")
        assert problem(client.get("/profile", headers=bearer(first))) == (401, "revoked_credential")
        assert client.get("/profile", headers=bearer(second)).status_code == 200
        assert AuditEvent.objects.get(event_type="access_token_revoked").actor == alice

    def test_a_second_time_is_401(self, sign_in, client, alice):
        secret = sign_in().json()["token"]
        client.delete("/api/tokens", headers=bearer(secret))
        assert problem(client.delete("/api/tokens", headers=bearer(secret))) == (401, "revoked_credential")

    def test_needs_a_token(self, client, alice):
        assert problem(client.delete("/api/tokens")) == (401, "not_authenticated")
        secret = create_api_key("game", ["read"], by=None)[1]
        assert problem(client.delete("/api/tokens", headers={"x-api-key": secret})) == (401, "not_authenticated")
        client.force_login(alice)
        assert problem(client.delete("/api/tokens")) == (401, "not_authenticated")
