"""`monthly_rewards`: a month in the foreground."""

from __future__ import annotations

import io
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db.models.functions import Now

from rewards.ledger.models import Journal
from rewards.monthly.models import MonthlyRewardJob, RankingCategory
from tests.rewards.monthly.conftest import AFTER, did, join, paid
from tests.rewards.monthly.conftest import category as category  # fixtures
from tests.rewards.monthly.conftest import students as students
from tests.rewards.reading import reading_only

pytestmark = pytest.mark.django_db


@pytest.fixture
def october(category, students, alice, bob):
    join(students, alice, bob)
    did(bob, "tests_completed")
    return category()


def said(**options: Any) -> str:
    out = io.StringIO()
    call_command("monthly_rewards", stdout=out, at=AFTER, **options)
    return out.getvalue()


def test_the_month_before_is_paid_once(october):
    first = said()
    assert "students: paid, 2 took part, 2 rewarded, 1500.00 coins" in first
    assert "Rewards of 2026-10: completed" in first
    journals = Journal.objects.count()
    assert "completed" in said()
    assert Journal.objects.count() == journals
    assert paid() == {"bob": 1000_00, "alice": 500_00}


def test_a_month_is_named(october):
    assert "Rewards of 2026-09: completed" in said(month=9, year=2026)
    assert MonthlyRewardJob.objects.get().period_key == "2026-09"


def test_a_dry_run_writes_nothing(october):
    with reading_only():
        shown = said(dry_run=True)
    assert "students 2026-10: 2 take part, 2 are rewarded, 1500.00 coins" in shown
    assert "1. bob: 1000.00" in shown
    assert not MonthlyRewardJob.objects.exists()


def test_a_dry_run_names_what_cannot_be_paid(october):
    RankingCategory.objects.update(currency="no-such")
    assert "students: cannot be paid: There is no currency 'no-such'" in said(dry_run=True)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"month": 10}, "--month and --year together"),
        ({"month": 13, "year": 2026}, "no such month"),
        ({"month": 11, "year": 2026}, "not over yet"),
        ({"retry": True}, "start it first"),
    ],
)
def test_what_cannot_be_done_is_said(october, options, sentence):
    with pytest.raises(CommandError, match=sentence):
        said(**options)
    assert not MonthlyRewardJob.objects.exists()


def test_a_failed_job_is_retried_when_told_to(october):
    RankingCategory.objects.update(source="treasury")
    with pytest.raises(CommandError, match="Mend the cause, then run it again with --retry"):
        said()
    with pytest.raises(CommandError, match="failed"):
        said()
    RankingCategory.objects.update(source="issuance")
    with pytest.raises(CommandError, match="treasury"):  # what is frozen says where it comes from
        said(retry=True)


def test_another_worker_is_left_alone(october):
    MonthlyRewardJob.objects.create(year=2026, month=10, worker="elsewhere", heartbeat_at=Now())
    with pytest.raises(CommandError, match="Another worker is at"):
        said()
    assert not Journal.objects.exists()
