"""A new password ends the tokens of the old one."""

from __future__ import annotations

import pytest
from django.contrib.auth import authenticate
from django.utils import timezone

from rewards.access.errors import RevokedCredential
from rewards.access.services import create_token, find_token
from rewards.audit.models import AuditEvent

pytestmark = pytest.mark.django_db


def test_a_new_password_ends_the_users_tokens(alice, bob):
    secrets = [create_token(alice)[1] for _ in range(2)]
    _, bobs = create_token(bob)
    alice.set_password("correct horse")
    alice.save()
    for secret in secrets:
        with pytest.raises(RevokedCredential):
            find_token(secret, timezone.now())
    assert find_token(bobs, timezone.now()).user == bob
    assert AuditEvent.objects.filter(event_type="access_token_revoked", user=alice).count() == 2


def test_other_changes_and_signing_in_end_none(alice, settings):
    alice.set_password("correct horse")
    alice.save()
    _, secret = create_token(alice)
    alice.name = "Alice"
    alice.save()
    # Signing in writes a new hash of the same password where hashes were strengthened.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.PBKDF2PasswordHasher", *settings.PASSWORD_HASHERS]
    before = alice.password
    assert authenticate(username="alice", password="correct horse") == alice
    alice.refresh_from_db()
    assert alice.password != before
    assert find_token(secret, timezone.now()).user == alice
