"""Who calls, and who may: over views that declare it in every way there is."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.contrib.auth.models import AnonymousUser, Permission
from django.test import Client
from django.urls import path
from django.utils import timezone
from rest_framework.response import Response

from rewards.access import services
from rewards.access.models import AccessToken, ApiKey, Right
from rewards.access.services import create_api_key, create_token, revoke
from rewards.api.permissions import ANYONE, STAFF, USER, callers_of, machine, staff
from rewards.api.views import ApiView

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]


class View(ApiView):
    def get(self, request):
        return Response({"caller": str(request.user), "credential": type(request.auth).__name__})

    post = put = get


class ForUsers(View):
    access = {"GET": [USER], "POST": [USER]}


class ForStaff(View):
    access = {"GET": [STAFF], "POST": [staff("rewards.approve_distribution")]}


class ForMachines(View):
    access = {"GET": [machine(Right.READ)], "POST": [machine(Right.CLAIMS_WRITE), USER]}


class ForAnyone(View):
    access = {"GET": [ANYONE]}


urlpatterns = [
    path("users", ForUsers.as_view()),
    path("staff", ForStaff.as_view()),
    path("machines", ForMachines.as_view()),
    path("anyone", ForAnyone.as_view()),
    path("undeclared", View.as_view()),
]


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def key(secret: str) -> dict[str, str]:
    return {"x-api-key": secret}


@pytest.fixture
def get(client):
    def call(where: str, headers: dict[str, str] | None = None, method: str = "get"):
        return getattr(client, method)(f"/{where}", headers=headers)

    return call


@pytest.fixture
def alices_token(alice) -> str:
    return create_token(alice)[1]


@pytest.fixture
def reading_key(db) -> str:
    return create_api_key("prometheus", ["read"], by=None)[1]


def is_refused_401(answer, code: str) -> bool:
    assert answer["WWW-Authenticate"].startswith("Bearer ")
    assert "x-api-key" in answer["WWW-Authenticate"]
    return (answer.status_code, answer.json()["code"]) == (401, code)


class TestUsers:
    def test_call_with_their_token(self, get, alices_token):
        answer = get("users", bearer(alices_token))
        assert answer.status_code == 200
        assert answer.json() == {"caller": "alice", "credential": "AccessToken"}

    @pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer "])
    def test_the_scheme_is_read_as_http_reads_it(self, get, alices_token, scheme):
        assert get("users", {"Authorization": f"{scheme} {alices_token}"}).status_code == 200

    def test_call_with_their_session(self, get, client, alice):
        client.force_login(alice)
        assert get("users").json() == {"caller": "alice", "credential": "NoneType"}

    def test_a_session_changes_nothing_without_the_csrf_token(self, alice, alices_token):
        client = Client(enforce_csrf_checks=True)
        client.force_login(alice)
        assert client.get("/users").status_code == 200
        assert client.post("/users").status_code == 403
        assert client.post("/users", headers=bearer(alices_token)).status_code == 200

    @pytest.mark.parametrize("sent", [("{", "application/json"), ("x", "text/plain")])
    def test_the_body_of_a_session_is_not_read_before_its_csrf_token(self, alice, sent):
        client = Client(enforce_csrf_checks=True)
        client.force_login(alice)
        client.cookies["csrftoken"] = "c" * 32
        body, content_type = sent
        assert client.post("/users", body, content_type=content_type).status_code == 403

    def test_the_header_carries_the_csrf_token(self, alice):
        client = Client(enforce_csrf_checks=True)
        client.force_login(alice)
        client.cookies["csrftoken"] = "c" * 32
        assert client.post("/users", headers={"X-CSRFToken": "c" * 32}).status_code == 200
        assert client.post("/users", headers={"X-CSRFToken": "d" * 32}).status_code == 403

    def test_members_of_staff_are_users_too(self, get, make_user):
        assert get("users", bearer(create_token(make_user("root", is_staff=True))[1])).status_code == 200

    def test_nobody_is_401(self, get):
        assert is_refused_401(get("users"), "not_authenticated")

    def test_ended_tokens_are_401(self, get, alice, alices_token):
        token = AccessToken.objects.get()
        AccessToken.objects.update(expires_at=timezone.now())
        assert is_refused_401(get("users", bearer(alices_token)), "expired_credential")
        AccessToken.objects.update(expires_at=timezone.now() + timedelta(days=1))
        assert get("users", bearer(alices_token)).status_code == 200
        alice.is_active = False
        alice.save()
        assert is_refused_401(get("users", bearer(alices_token)), "inactive_user")
        alice.is_active = True
        alice.save()
        revoke(token, at=timezone.now(), by=alice)
        assert is_refused_401(get("users", bearer(alices_token)), "revoked_credential")


class TestMachines:
    def test_call_with_their_key(self, get, reading_key):
        answer = get("machines", key(reading_key))
        assert answer.status_code == 200
        assert answer.json() == {"caller": "prometheus", "credential": "ApiKey"}

    def test_without_the_right_are_403_and_told_which(self, get, reading_key):
        answer = get("machines", key(reading_key), "post")
        assert answer.status_code == 403
        assert "API keys with the right claims:write or users" in answer.json()["detail"]

    @pytest.mark.parametrize("where", ["users", "staff"])
    def test_are_neither_users_nor_staff(self, get, where):
        secret = create_api_key("everything", Right.values, by=None)[1]
        assert get(where, key(secret)).status_code == 403
        assert get(where, key(secret), "post").status_code == 403

    def test_revoked_keys_are_401(self, get, reading_key, monkeypatch):
        clock = services.monotonic()
        monkeypatch.setattr(services, "monotonic", lambda: clock)
        assert get("machines", key(reading_key)).status_code == 200
        ApiKey.objects.update(revoked_at=timezone.now())  # as another process does
        clock += 0.999
        assert is_refused_401(get("machines", key(reading_key)), "revoked_credential")

    def test_expired_keys_are_401_at_once(self, get):
        now = timezone.now()
        secret = create_api_key("old", ["read"], by=None, at=now - timedelta(days=2), expires_at=now)[1]
        assert is_refused_401(get("machines", key(secret)), "expired_credential")


class TestStaff:
    def test_are_asked_for_by_name(self, get, client, alice, make_user):
        client.force_login(alice)
        assert get("staff").status_code == 403
        client.force_login(make_user("operator", is_staff=True))
        assert get("staff").status_code == 200

    def test_need_the_permission_where_it_says_so(self, get, make_user):
        approver = make_user("approver", is_staff=True)
        headers = bearer(create_token(approver)[1])
        refused = get("staff", headers, "post")
        assert refused.status_code == 403
        assert "rewards.approve_distribution" in refused.json()["detail"]
        approver.user_permissions.add(Permission.objects.get(codename="approve_distribution"))
        assert get("staff", headers, "post").status_code == 200

    def test_a_permission_makes_nobody_staff(self, get, alice, alices_token):
        alice.user_permissions.add(Permission.objects.get(codename="approve_distribution"))
        assert get("staff", bearer(alices_token), "post").status_code == 403

    def test_superusers_have_every_permission(self, get, make_user):
        root = make_user("root", is_staff=True, is_superuser=True)
        assert get("staff", bearer(create_token(root)[1]), "post").status_code == 200


class TestFailClosed:
    def test_a_view_that_says_nothing_refuses_everybody(self, get, client, make_user, reading_key):
        client.force_login(make_user("root", is_staff=True, is_superuser=True))
        assert get("undeclared").status_code == 403
        assert get("undeclared", key(reading_key)).status_code == 403

    def test_a_method_it_does_not_name_is_refused(self, get, client, alice):
        client.force_login(alice)
        assert get("users", method="put").status_code == 403
        assert get("anyone", method="post").status_code == 403

    def test_a_method_that_is_not_there_is_405(self, get):
        assert get("anyone", method="delete").status_code == 405

    def test_head_is_get(self, get, alices_token):
        assert get("users", bearer(alices_token), "head").status_code == 200
        assert get("users", method="head").status_code == 401

    def test_anonymous_is_no_user(self):
        nobody = AnonymousUser()
        for kind in (USER, STAFF, machine(Right.READ)):
            assert not kind.include(nobody)
        assert callers_of(SimpleNamespace(), "GET") == ()


ODD = [
    "",
    " ",
    "rwk_",
    "x" * 100_000,
    "é" * 47,
    "rwk_" + "\x00" * 43,
    "rwk_" + "a" * 43,
    "null",
    "１２３",
    "\ud800",
    "a, b",
]


class TestOddHeaders:
    @pytest.mark.parametrize("text", ODD)
    def test_are_401_and_never_an_error(self, get, text):
        assert is_refused_401(get("anyone", key(text)), "unknown_credential")
        assert is_refused_401(get("anyone", bearer(text)), "unknown_credential")

    def test_a_bad_credential_is_refused_where_none_is_needed(self, get):
        assert get("anyone").status_code == 200
        assert is_refused_401(get("anyone", bearer("rwt_" + "a" * 43)), "unknown_credential")

    def test_a_key_as_a_token_and_a_token_as_a_key_are_unknown(self, get, alices_token, reading_key):
        assert is_refused_401(get("anyone", bearer(reading_key)), "unknown_credential")
        assert is_refused_401(get("anyone", key(alices_token)), "unknown_credential")

    def test_both_at_once_are_refused_with_a_sentence(self, get, alices_token, reading_key):
        answer = get("anyone", bearer(alices_token) | key(reading_key))
        assert is_refused_401(answer, "two_credentials")
        assert "not both" in answer.json()["detail"]

    def test_another_scheme_is_no_credential(self, get):
        assert get("anyone", {"Authorization": "Basic YWxpY2U6c2VjcmV0"}).status_code == 200
        assert get("users", {"Authorization": "Basic YWxpY2U6c2VjcmV0"}).status_code == 401
