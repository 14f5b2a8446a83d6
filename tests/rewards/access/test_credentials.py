"""Keys of machines and tokens of users: made once, found by their secret, ended."""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from rewards.access import services
from rewards.access.errors import (
    ExpiredCredential,
    InactiveUser,
    InvalidCredential,
    NameTaken,
    RevokedCredential,
    UnknownCredential,
)
from rewards.access.models import AccessToken, ApiKey
from rewards.access.services import change_api_key, create_api_key, create_token, find_api_key, find_token, revoke
from rewards.audit.models import AuditEvent

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


def forget_keys() -> None:
    """What another process is: one that has not seen the key yet."""
    services._remembered.clear()


def everything_stored() -> str:
    """All values of all tables, as text."""
    with connection.cursor() as cursor:
        texts = []
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            texts.append(repr(cursor.fetchall()))
    return "\n".join(texts)


class TestMaking:
    def test_a_key_opens_what_it_was_given_rights_for(self, alice):
        key, secret = create_api_key("combat", ["claims:write", "activity:write"], by=alice, at=NOON)
        found = find_api_key(secret, NOON)
        assert found == key
        assert found.may("claims:write")
        assert found.may("activity:write")
        assert not found.may("monthly:run")
        assert found.created_by == alice

    def test_secrets_have_a_kind_and_256_random_bits(self, alice):
        _, key_secret = create_api_key("combat", ["read"], by=None)
        _, token_secret = create_token(alice)
        assert re.fullmatch(r"rwk_[A-Za-z0-9_-]{43}", key_secret)
        assert re.fullmatch(r"rwt_[A-Za-z0-9_-]{43}", token_secret)

    def test_no_secret_is_stored_or_logged(self, alice, caplog):
        caplog.set_level(logging.DEBUG)
        key, key_secret = create_api_key("combat", ["read"], by=alice)
        token, token_secret = create_token(alice)
        find_api_key(key_secret, NOON)
        find_token(token_secret, NOON)
        change_api_key(key, rights=["claims:write"], requests_per_minute=5, by=alice)
        revoke(key, at=NOON, by=alice)
        revoke(token, at=NOON, by=alice)
        stored = everything_stored()
        assert "combat" in stored
        for secret in (key_secret, token_secret):
            beyond_the_shown = secret[12:]
            assert secret[:12] in stored
            assert beyond_the_shown not in stored
            assert beyond_the_shown not in caplog.text

    @pytest.mark.parametrize("rights", [[], ["everything"], ["read", "write"], ["READ"], [""]])
    def test_rights_that_do_not_exist_are_refused(self, rights):
        with pytest.raises(InvalidCredential, match="activity:write, claims:write"):
            create_api_key("combat", rights, by=None)
        assert not ApiKey.objects.exists()

    @pytest.mark.parametrize("name", ["", "   ", "a" * 81, "a\x00b", "a\nb", "a\ud800b"])
    def test_a_name_is_printable(self, name):
        with pytest.raises(InvalidCredential, match="80 printable"):
            create_api_key(name, ["read"], by=None)

    def test_a_name_is_given_once(self):
        create_api_key("combat", ["read"], by=None)
        with pytest.raises(NameTaken):
            create_api_key(" combat ", ["read"], by=None)
        assert ApiKey.objects.count() == AuditEvent.objects.count() == 1

    def test_nothing_is_made_that_has_expired_already(self, alice):
        with pytest.raises(InvalidCredential, match="later"):
            create_api_key("combat", ["read"], by=None, expires_at=NOON, at=NOON)
        for days in (0, -1, 3651, 10**12):
            with pytest.raises(InvalidCredential, match="3650"):
                create_token(alice, days=days)

    @pytest.mark.parametrize("limit", [0, -1, 1_000_001])
    def test_a_limit_lets_something_through(self, limit):
        with pytest.raises(InvalidCredential):
            create_api_key("combat", ["read"], by=None, requests_per_minute=limit)

    def test_the_audit_log_tells_who_made_what_for_whom(self, alice, bob):
        key, _ = create_api_key("combat", ["read"], by=alice, requests_per_minute=90)
        create_token(bob, by=bob)
        create_token(bob, by=alice)
        made, own, for_bob = AuditEvent.objects.order_by("id")
        assert (made.event_type, made.actor) == ("api_key_created", alice)
        assert made.data == {
            "name": "combat", "prefix": key.prefix, "rights": ["read"], "requests_per_minute": 90, "expires_at": None,
        }  # fmt: skip
        assert (own.event_type, own.user, own.actor) == ("access_token_created", bob, bob)
        assert (for_bob.user, for_bob.actor) == (bob, alice)


class TestFinding:
    @pytest.mark.parametrize(
        "text",
        ["", "rwk_", "rwk_" + "a" * 43, "rwk_" + "a" * 42, "rwk_" + "a" * 42 + "é", "rwk_" + "a" * 42 + "\x00",
         "rwk_" + "a" * 43 + "\n", "rwk_" + "a" * 1_000_000, "\ud800", "rwk_" + "１" * 43],
    )  # fmt: skip
    def test_what_is_no_key_is_unknown(self, text):
        with pytest.raises(UnknownCredential):
            find_api_key(text, NOON)
        with pytest.raises(UnknownCredential):
            find_token(text.replace("rwk_", "rwt_"), NOON)

    def test_what_cannot_be_a_secret_asks_no_database(self, django_assert_num_queries):
        with django_assert_num_queries(0), pytest.raises(UnknownCredential):
            find_api_key("rwk_short", NOON)

    def test_a_token_is_no_key_and_a_key_no_token(self, alice):
        _, key_secret = create_api_key("combat", ["read"], by=None)
        _, token_secret = create_token(alice)
        with pytest.raises(UnknownCredential):
            find_api_key(token_secret, NOON)
        with pytest.raises(UnknownCredential):
            find_token(key_secret, NOON)
        with pytest.raises(UnknownCredential):
            find_api_key(key_secret.swapcase().replace("RWK_", "rwk_"), NOON)

    def test_the_hash_is_no_secret(self):
        key, _ = create_api_key("combat", ["read"], by=None)
        with pytest.raises(UnknownCredential):
            find_api_key(key.hash, NOON)

    def test_both_end_at_their_expiry(self, alice):
        _, key_secret = create_api_key("combat", ["read"], by=None, at=NOON, expires_at=NOON + DAY)
        _, token_secret = create_token(alice, days=1, at=NOON)
        for find, secret in ((find_api_key, key_secret), (find_token, token_secret)):
            find(secret, NOON + DAY - SECOND)
            with pytest.raises(ExpiredCredential):
                find(secret, NOON + DAY)

    def test_the_token_of_somebody_switched_off_opens_nothing(self, alice):
        _, secret = create_token(alice)
        find_token(secret, NOON)
        alice.is_active = False
        alice.save()
        with pytest.raises(InactiveUser):
            find_token(secret, NOON)

    def test_a_busy_key_does_not_cost_a_query_each_time(self, django_assert_num_queries):
        _, secret = create_api_key("combat", ["read"], by=None)
        find_api_key(secret, NOON)
        with django_assert_num_queries(0):
            for _ in range(50):
                find_api_key(secret, NOON)

    def test_a_key_that_was_looked_for_in_vain_is_found_as_soon_as_it_is_there(self):
        key, secret = create_api_key("combat", ["read"], by=None)
        ApiKey.objects.filter(pk=key.pk).update(hash="0" * 64)
        with pytest.raises(UnknownCredential):
            find_api_key(secret, NOON)
        ApiKey.objects.filter(pk=key.pk).update(hash=key.hash)
        assert find_api_key(secret, NOON) == key


class TestLastUse:
    def test_is_written_once_a_minute(self, alice):
        _, secret = create_token(alice, at=NOON)
        seen = []
        for seconds in (0, 30, 59, 60, 61, 119, 120):
            find_token(secret, NOON + seconds * SECOND)
            seen.append((AccessToken.objects.get().last_used_at - NOON).seconds)
        assert seen == [0, 0, 0, 60, 60, 60, 120]

    def test_of_a_remembered_key_too(self):
        _, secret = create_api_key("combat", ["read"], by=None)
        for seconds in (0, 30, 60):
            find_api_key(secret, NOON + seconds * SECOND)
        assert ApiKey.objects.get().last_used_at == NOON + MINUTE

    def test_never_goes_back(self):
        """A process that is a little behind does not undo what another one wrote."""
        _, secret = create_api_key("combat", ["read"], by=None)
        find_api_key(secret, NOON)
        forget_keys()
        find_api_key(secret, NOON - 10 * MINUTE)
        assert ApiKey.objects.get().last_used_at == NOON

    def test_changes_nothing_else(self):
        """It is no save of the row: what was changed meanwhile stays changed."""
        key, secret = create_api_key("combat", ["read"], by=None)
        find_api_key(secret, NOON)
        ApiKey.objects.filter(pk=key.pk).update(requests_per_minute=7)
        find_api_key(secret, NOON + MINUTE)
        assert ApiKey.objects.get().requests_per_minute == 7


class TestRevoking:
    def test_ends_a_token_at_once(self, alice, bob):
        token, secret = create_token(alice)
        find_token(secret, NOON)
        assert revoke(token, at=NOON, by=bob)
        with pytest.raises(RevokedCredential):
            find_token(secret, NOON)
        event = AuditEvent.objects.get(event_type="access_token_revoked")
        assert (event.user, event.actor, event.data["prefix"]) == (alice, bob, token.prefix)

    def test_a_second_time_is_told(self, alice):
        token, _ = create_token(alice)
        assert revoke(token, at=NOON, by=alice)
        assert not revoke(AccessToken.objects.get(), at=NOON + DAY, by=alice)
        assert AccessToken.objects.get().revoked_at == NOON
        assert AuditEvent.objects.filter(event_type="access_token_revoked").count() == 1

    def test_ends_a_key_in_this_process_with_the_commit(self, django_capture_on_commit_callbacks):
        key, secret = create_api_key("combat", ["read"], by=None)
        find_api_key(secret, NOON)
        with django_capture_on_commit_callbacks(execute=True):
            assert revoke(key, at=NOON, by=None)
        with pytest.raises(RevokedCredential):
            find_api_key(secret, NOON)

    def test_another_process_refuses_a_key_within_a_second(self, monkeypatch):
        """It has found the key before and hears of no commit; only its clock goes on."""
        clock = 1000.0
        monkeypatch.setattr(services, "monotonic", lambda: clock)
        key, secret = create_api_key("combat", ["read"], by=None)
        find_api_key(secret, NOON)
        ApiKey.objects.filter(pk=key.pk).update(revoked_at=NOON)
        find_api_key(secret, NOON)
        clock += 0.999
        with pytest.raises(RevokedCredential):
            find_api_key(secret, NOON)


class TestChanging:
    def test_gives_other_rights_and_says_so(self, alice, django_capture_on_commit_callbacks):
        key, secret = create_api_key("combat", ["read", "claims:write"], by=None)
        find_api_key(secret, NOON)
        with django_capture_on_commit_callbacks(execute=True):
            change_api_key(key, rights=["read"], requests_per_minute=60, by=alice)
        found = find_api_key(secret, NOON)
        assert (found.rights, found.requests_per_minute) == (["read"], 60)
        event = AuditEvent.objects.get(event_type="api_key_changed")
        assert (event.actor, event.data["rights"]) == (alice, ["read"])
        assert event.data["before"]["rights"] == ["claims:write", "read"]

    def test_to_what_it_has_writes_nothing(self, alice):
        key, _ = create_api_key("combat", ["read", "claims:write"], by=None)
        change_api_key(key, rights=["claims:write", "read"], requests_per_minute=None, by=alice)
        assert not AuditEvent.objects.filter(event_type="api_key_changed").exists()
