"""What the daily clean-up takes away of credentials and kept answers, and what it leaves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from rewards.access.models import AccessToken, ApiKey, IdempotentAnswer
from rewards.access.services import create_api_key, create_token, find_token, revoke
from rewards.audit.models import AuditEvent
from rewards.jobs.services import clean_up

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
DAY = timedelta(days=1)
MOMENT = timedelta(microseconds=1)


def test_tokens_that_have_ended_go(alice):
    create_token(alice, days=1, at=NOW - DAY)
    revoked, _ = create_token(alice, at=NOW)
    revoke(revoked, at=NOW, by=alice)
    _, secret = create_token(alice, days=1, at=NOW - DAY + MOMENT)
    assert clean_up(NOW)["access_tokens"] == 2
    assert AccessToken.objects.get() == find_token(secret, NOW)
    assert AuditEvent.objects.filter(event_type="access_token_created").count() == 3
    assert clean_up(NOW)["access_tokens"] == 0


def test_keys_stay_whatever_became_of_them(alice):
    create_api_key("old", ["read"], by=None, at=NOW - 9 * DAY, expires_at=NOW - DAY)
    revoke(create_api_key("gone", ["read"], by=None)[0], at=NOW, by=alice)
    clean_up(NOW)
    assert ApiKey.objects.count() == 2


def test_answers_live_for_thirty_days():
    for key, age in (("old", 30 * DAY + MOMENT), ("kept", 30 * DAY), ("new", DAY)):
        IdempotentAnswer.objects.create(caller="user:1", endpoint="POST /x", key=key, created_at=NOW - age)
    assert clean_up(NOW)["idempotent_answers"] == 1
    assert set(IdempotentAnswer.objects.values_list("key", flat=True)) == {"kept", "new"}
