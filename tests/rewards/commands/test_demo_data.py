"""`demo_data`: ranks, badges and the month's rewards to look at. Pools and campaigns: tests/rewards/pools."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import time_machine
from django.core.management import call_command

from badges.models import BadgeAward
from leaderboard.models import Board, Entry, Standings
from rewards.activity.models import ActivityEvent, Counter
from rewards.alerts.models import Alert
from rewards.cases.models import Case, SealedVerdict
from rewards.chain.services import verify_local_chain
from rewards.distributions.models import Distribution, Reward
from rewards.management import demo
from rewards.monthly.models import MonthlyRewardJob
from rewards.monthly.services import run_due
from rewards.users.models import User
from rewards_site.profile.profile import statistics
from tests.rewards.promises import broken_promises

pytestmark = pytest.mark.django_db(databases=["default", "partner"])

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def fresh_product(settings):
    settings.ENVIRONMENT = "development"
    call_command("setup_defaults")


def at(instant: datetime) -> time_machine.travel:
    return time_machine.travel(instant, tick=False)


def test_the_demo_shows_a_paid_month_badges_and_boards(manage):
    with at(NOON):
        said = manage("demo_data")

    assert "rankings paid: 2026-10" in said
    job = MonthlyRewardJob.objects.get()
    assert (job.period_key, job.status, job.results["totalRewardsAwarded"]) == ("2026-10", "completed", 40)
    assert {slug: result["rewardsAwarded"] for slug, result in job.results["categories"].items()} == {
        "students": 32, "teachers": 8,
    }  # fmt: skip
    champions = Reward.objects.filter(distribution__programme__startswith="monthly:", position=1)
    assert set(champions.values_list("amount", flat=True)) == {1_000}
    held = set(BadgeAward.objects.values_list("badge__slug", flat=True))
    assert held >= {"first_win", "active_participant", "dedicated_voter", "top_argument", "wallet_connected"}
    assert held >= {"monthly-champion", "monthly-elite", "monthly-achiever"}
    shown = set(Standings.objects.filter(users__gt=20).values_list("board__slug", "month", "closed"))
    assert shown == {
        ("points-all-time", "", False), ("points-weekly", "", False), ("points-daily", "", False),
        ("tests-of-the-month", "2026-10", True), ("tests-of-the-month", "2026-11", False),
    }  # fmt: skip
    assert Entry.objects.filter(wins__gt=0).exists()
    # The one thing that is wrong on purpose: a reward in a currency that is switched off.
    assert set(Alert.objects.values_list("code", flat=True)) == {"pending_reward_dead"}


def test_nobody_has_won_more_than_was_decided_or_voted_on(manage):
    with at(NOON):
        manage("demo_data")

    counted = [statistics(user) for user in User.objects.all()]
    assert all(each["wins"] <= each["votes"] and Decimal(each["accuracy"]) <= 1 for each in counted)
    assert sum(each["wins"] > 0 for each in counted) > 20


def test_the_demo_has_cases_in_every_state(manage):
    with at(NOON):
        said = manage("demo_data")

    assert "4 cases to vote in and look at" in said
    waiting, *open_ones, closed = Case.objects.order_by("-pk")
    assert (waiting.status, waiting.created_by is None) == ("pending_moderation", False)
    assert [case.status for case in open_ones] == ["active", "active"]
    assert all(case.opens_at < NOON < case.closes_at for case in open_ones)
    assert SealedVerdict.objects.filter(case__in=open_ones).count() == 2
    assert (closed.status, closed.settled_at, bool(closed.reasoning)) == ("closed", NOON, True)
    for case in (*open_ones, closed):
        assert (case.yes_votes + case.no_votes, case.arguments.count()) == (18, 5)
    assert set(closed.arguments.values_list("top_place", flat=True)) == {1, 2, 3, None}
    payout = Distribution.objects.get(programme="case")
    assert (payout.period_key, payout.status, payout.amount) == (f"case:{closed.pk}", "paid", 1_000)
    parts = {part for reward in payout.rewards.all() for part in reward.breakdown}
    assert parts == {"winning_voter", "top_argument", "participant"}
    assert verify_local_chain().intact
    assert broken_promises() == []


def test_a_second_run_adds_nothing(manage):
    tables = (ActivityEvent, Reward, BadgeAward, Board, Case, MonthlyRewardJob, User)
    with at(NOON):
        manage("demo_data")
        before = [table.objects.count() for table in tables]
        said = manage("demo_data")

    assert "0 new lessons and cases, 0 cases to vote in and look at, rankings paid: none" in said
    assert [table.objects.count() for table in tables] == before


def test_next_month_the_one_before_is_paid(manage):
    with at(NOON):
        manage("demo_data")
    tests = Counter.objects.filter(metric="tests_completed", month="2026-11").count()
    with at(NOON + timedelta(days=20)):
        said = manage("demo_data")

    assert "rankings paid: 2026-11" in said
    assert not ActivityEvent.objects.filter(late=True).exists()
    assert Counter.objects.filter(metric="tests_completed", month="2026-11").count() >= tests > 20
    assert Distribution.objects.filter(programme="monthly:students", status="paid").count() == 2


def test_a_month_that_the_schedule_has_paid_gets_no_lessons_too_late(manage):
    with at(NOON):
        manage("demo_data")
    run_due(NOON + timedelta(days=15))  # while the product was on, of November as far as it was known
    with at(NOON + timedelta(days=20)):
        said = manage("demo_data")

    assert "rankings paid: none" in said
    assert not ActivityEvent.objects.filter(counted_month=None).exists()
    assert Counter.objects.filter(metric="tests_completed", month="2026-12").exists()


@pytest.mark.once
def test_what_comes_live_is_votes_and_now_and_then_something_else():
    chance = random.Random(3)
    metrics = [demo.live_event(NOON, chance).metric for _ in range(200)]
    assert set(metrics) == set(demo.LIVE_METRICS)
    assert metrics.count("cc_vote") > 80
