"""API keys and tokens in the admin: a secret seen once, rights that are checked, an end that is asked for."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from rewards.access import services
from rewards.access.models import AccessToken, ApiKey
from rewards.access.services import create_api_key, create_token, find_api_key, find_token
from rewards.audit.models import AuditEvent
from rewards.users.models import User

pytestmark = pytest.mark.django_db

KEYS = "/admin/rewards/apikey/"
TOKENS = "/admin/rewards/accesstoken/"
SECRET = re.compile(r"rw[kt]_[A-Za-z0-9_-]{43}")


@pytest.fixture
def root(sign_in) -> Client:
    return sign_in()


def add(client: Client, **fields: object):
    return client.post(f"{KEYS}add/", {"name": "game server", "rights": ["claims:write"], **fields})


def said(client: Client, where: str) -> str:
    return client.get(where).content.decode()


class TestMakingAKey:
    def test_shows_the_secret_once(self, root):
        answer = add(root, rights=["read", "claims:write"], requests_per_minute="90")
        assert answer.status_code == 200
        (secret,) = SECRET.findall(answer.content.decode())
        key = find_api_key(secret, timezone.now())
        assert (key.name, key.rights, key.requests_per_minute) == ("game server", ["claims:write", "read"], 90)
        assert key.created_by == User.objects.get(username="root")
        assert "no-store" in answer["Cache-Control"]
        for page in (
            KEYS,
            f"{KEYS}{key.pk}/change/",
            f"{KEYS}{key.pk}/history/",
            "/admin/",
            "/admin/rewards/auditevent/",
        ):
            assert not SECRET.search(said(root, page)), page

    def test_leaves_the_secret_nowhere(self, root):
        (secret,) = SECRET.findall(add(root).content.decode())
        kept = repr(list(LogEntry.objects.values())) + repr(list(AuditEvent.objects.values()))
        kept += repr([session.get_decoded() for session in Session.objects.all()])
        kept += repr(list(ApiKey.objects.values()))
        assert "game server" in kept
        assert secret[12:] not in kept

    def test_is_written_into_the_audit_log(self, root):
        add(root)
        event = AuditEvent.objects.get(event_type="api_key_created")
        assert (event.actor.username, event.data["name"]) == ("root", "game server")

    @pytest.mark.parametrize(
        ("fields", "sentence"),
        [
            ({"rights": []}, "choose at least one"),
            ({"rights": ["everything"]}, "Select a valid choice"),
            ({"name": ""}, "This field is required"),
            ({"name": "a\x00b"}, "Null characters are not allowed"),
            ({"requests_per_minute": "0"}, "greater than or equal to 1"),
            ({"requests_per_minute": "-1"}, "greater than or equal to 1"),
            ({"requests_per_minute": "10000000"}, "less than or equal to 1000000"),
            ({"expires_at_0": "2020-01-01", "expires_at_1": "00:00"}, "choose a later time"),
        ],
    )
    def test_says_what_is_wrong(self, root, fields, sentence):
        assert sentence in add(root, **fields).content.decode()
        assert not ApiKey.objects.exists()

    def test_a_name_is_given_once(self, root):
        add(root)
        assert "already exists" in add(root).content.decode()
        assert ApiKey.objects.count() == 1

    @pytest.mark.parametrize("role", ["Viewer", "Support", "Operator", "Approver"])
    def test_is_for_administrators(self, sign_in, role):
        assert add(sign_in(role)).status_code == 403
        assert not ApiKey.objects.exists()
        assert add(sign_in("Administrator")).status_code == 200


class TestAKey:
    def test_gets_other_rights_with_a_trace(self, root):
        key, secret = create_api_key("game", ["read"], by=None)
        answer = root.post(f"{KEYS}{key.pk}/change/", {"rights": ["claims:write"], "requests_per_minute": "5"})
        assert answer.status_code == 302
        found = find_api_key(secret, timezone.now())
        assert (found.name, found.rights, found.requests_per_minute) == ("game", ["claims:write"], 5)
        event = AuditEvent.objects.get(event_type="api_key_changed")
        assert (event.actor.username, event.data["before"]["rights"]) == ("root", ["read"])

    def test_keeps_what_cannot_be_changed(self, root):
        key, _ = create_api_key("game", ["read"], by=None)
        sent = {"rights": ["read"], "name": "other", "hash": "0" * 64, "expires_at_0": "2030-01-01", "prefix": "rwk_x"}
        root.post(f"{KEYS}{key.pk}/change/", sent)
        stands = ApiKey.objects.get()
        assert (stands.name, stands.hash, stands.expires_at, stands.prefix) == ("game", key.hash, None, key.prefix)

    def test_shows_whether_it_is_used_and_open(self, root):
        now = timezone.now()
        create_api_key("unused", ["read"], by=None)
        create_api_key("old", ["read"], by=None, at=now - timedelta(days=9), expires_at=now - timedelta(days=1))
        page = said(root, KEYS)
        for word in ("never", "active", "expired", "as many as it likes"):
            assert word in page

    def test_is_never_deleted(self, root):
        key, _ = create_api_key("game", ["read"], by=None)
        assert root.post(f"{KEYS}{key.pk}/delete/", {"post": "yes"}).status_code == 403
        assert ApiKey.objects.exists()


class TestRevoking:
    def test_asks_first(self, root):
        key, secret = create_api_key("game", ["read"], by=None)
        assert "cannot be taken back" in said(root, f"{KEYS}{key.pk}/revoke/")
        find_api_key(secret, timezone.now())

    def test_ends_the_key(self, root):
        key, secret = create_api_key("game", ["read"], by=None)
        answer = root.post(f"{KEYS}{key.pk}/revoke/", follow=True).content.decode()
        assert "The API key game" in answer
        assert "is revoked" in answer
        services._remembered.clear()
        with pytest.raises(services.RevokedCredential):
            find_api_key(secret, timezone.now())
        assert AuditEvent.objects.get(event_type="api_key_revoked").actor.username == "root"

    def test_a_second_time_says_so(self, root):
        key, _ = create_api_key("game", ["read"], by=None)
        root.post(f"{KEYS}{key.pk}/revoke/")
        assert "was revoked already" in root.post(f"{KEYS}{key.pk}/revoke/", follow=True).content.decode()
        assert AuditEvent.objects.filter(event_type="api_key_revoked").count() == 1

    def test_a_revoked_key_can_only_be_looked_at(self, root):
        key, _ = create_api_key("game", ["read"], by=None)
        root.post(f"{KEYS}{key.pk}/revoke/")
        page = said(root, f"{KEYS}{key.pk}/change/")
        assert "revoked" in page
        assert f"{KEYS}{key.pk}/revoke/" not in page
        assert root.post(f"{KEYS}{key.pk}/change/", {"rights": ["claims:write"]}).status_code == 403
        assert ApiKey.objects.get().rights == ["read"]

    def test_ends_a_users_token(self, root, alice):
        token, secret = create_token(alice)
        root.post(f"{TOKENS}{token.pk}/revoke/")
        with pytest.raises(services.RevokedCredential):
            find_token(secret, timezone.now())
        event = AuditEvent.objects.get(event_type="access_token_revoked")
        assert (event.user, event.actor.username) == (alice, "root")

    @pytest.mark.parametrize("role", ["Viewer", "Support", "Operator", "Approver"])
    def test_is_not_for_those_who_only_look(self, sign_in, alice, role):
        client = sign_in(role)
        key, _ = create_api_key("game", ["read"], by=None)
        token, _ = create_token(alice)
        for where in (f"{KEYS}{key.pk}/", f"{TOKENS}{token.pk}/"):
            assert client.get(f"{where}change/").status_code == 200
            assert client.post(f"{where}revoke/").status_code == 403
        assert not ApiKey.objects.filter(revoked_at__isnull=False).exists()
        assert not AccessToken.objects.filter(revoked_at__isnull=False).exists()

    def test_is_for_whoever_may_change_them(self, sign_in, alice):
        client = sign_in("Viewer")
        viewer = User.objects.get(username="viewer")
        viewer.user_permissions.add(Permission.objects.get(codename="change_accesstoken"))
        token, _ = create_token(alice)
        assert client.post(f"{TOKENS}{token.pk}/revoke/").status_code == 302
        assert AccessToken.objects.get().revoked_at is not None


class TestTokens:
    def test_are_found_by_their_user(self, root, alice, bob):
        create_token(alice)
        create_token(bob)
        page = said(root, f"{TOKENS}?q=ali")
        assert "alice" in page
        assert "bob" not in page

    def test_are_neither_made_nor_changed_here(self, root, alice):
        token, _ = create_token(alice)
        assert root.get(f"{TOKENS}add/").status_code == 403
        assert root.post(f"{TOKENS}{token.pk}/change/", {"user": "1"}).status_code == 403

    def test_show_no_hash(self, root, alice):
        token, _ = create_token(alice)
        key, _ = create_api_key("game", ["read"], by=None)
        assert token.hash not in said(root, f"{TOKENS}{token.pk}/change/")
        assert key.hash not in said(root, f"{KEYS}{key.pk}/change/")
