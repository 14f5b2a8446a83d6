"""`create_api_key` and `create_token`: a secret is printed once, and it works."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.utils import timezone

from rewards.access.models import AccessToken, ApiKey
from rewards.access.services import find_api_key, find_token

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


class TestCreateApiKey:
    @pytest.mark.parametrize(
        "rights",
        [["claims:write,activity:write"], ["claims:write", "activity:write"], ["claims:write,", "activity:write"],
         ["claims:write activity:write"], [" claims:write , activity:write "]],
    )  # fmt: skip
    def test_prints_a_key_with_these_rights(self, manage, rights):
        secret, sentence = manage("create_api_key", "game server", "--rights", *rights).splitlines()
        key = find_api_key(secret, timezone.now())
        assert (key.name, key.rights) == ("game server", ["activity:write", "claims:write"])
        assert (key.expires_at, key.requests_per_minute, key.created_by) == (None, None, None)
        assert sentence == (
            "This is the key of game server, for activity:write, claims:write, until it is revoked. "
            "It is shown this once: keep it safe."
        )

    def test_with_an_end_and_a_limit(self, manage):
        with time_machine.travel(NOON, tick=False):
            said = manage("create_api_key", "game", "--rights", "read", "--days", 7, "--requests-per-minute", 90)
        key = ApiKey.objects.get()
        assert (key.expires_at, key.requests_per_minute) == (NOON + timedelta(days=7), 90)
        assert "until 2026-11-28 12:00 UTC" in said

    @pytest.mark.parametrize(
        ("words", "sentence"),
        [
            (["game", "--rights", "everything"], "There is no right 'everything'"),
            (["game", "--rights", ","], "without a right"),
            (["", "--rights", "read"], "80 printable"),
            (["a\x00b", "--rights", "read"], "80 printable"),
            (["game", "--rights", "read", "--days", "0"], "1 to 3650 days"),
            (["game", "--rights", "read", "--days", "99999999999"], "1 to 3650 days"),
            (["game", "--rights", "read", "--requests-per-minute", "0"], "1 to 1000000"),
        ],
    )
    def test_says_what_is_wrong(self, refused, words, sentence):
        assert sentence in refused("create_api_key", *words)

    def test_a_name_is_given_once(self, manage, refused):
        manage("create_api_key", "game", "--rights", "read")
        assert "choose another name" in refused("create_api_key", "game", "--rights", "claims:write")

    def test_rights_have_to_be_said(self):
        with pytest.raises(CommandError, match="--rights"):
            call_command("create_api_key", "game")


class TestCreateToken:
    def test_prints_a_token_of_the_user(self, manage, alice):
        with time_machine.travel(NOON, tick=False):
            secret, sentence = manage("create_token", "alice").splitlines()
        token = find_token(secret, NOON)
        assert (token.user, token.expires_at) == (alice, NOON + timedelta(days=30))
        expected = "This is a token of alice until 2026-12-21 12:00 UTC. It is shown this once: keep it safe."
        assert sentence == expected

    def test_for_so_many_days(self, manage, alice):
        with time_machine.travel(NOON, tick=False):
            manage("create_token", "alice", "--days", 2)
        assert AccessToken.objects.get().expires_at == NOON + timedelta(days=2)

    @pytest.mark.parametrize("days", ["0", "-1", "3651"])
    def test_days_are_in_bounds(self, refused, alice, days):
        assert "1 to 3650 days" in refused("create_token", "alice", "--days", days)

    @pytest.mark.parametrize("username", ["nobody", "", "Alice", "a b"])
    def test_of_a_user_there_is(self, refused, alice, username):
        assert refused("create_token", username) == f"There is no user {username!r}."

    def test_of_an_active_one(self, refused, make_user):
        make_user("gone", is_active=False)
        assert "not active" in refused("create_token", "gone")
