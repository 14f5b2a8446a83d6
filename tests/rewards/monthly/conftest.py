"""A month as it was: students with counters, and a category that ranks them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import count
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import Group

from rewards.activity.services import NewEvent, record_events
from rewards.common.periods import Month
from rewards.distributions.models import Distribution, Reward
from rewards.monthly import services
from rewards.monthly.models import MonthlyRewardJob, RankingCategory
from rewards.monthly.setup import TIERS
from rewards.users.models import User

OCTOBER = Month(2026, 10, settings.REWARDS_TIME_ZONE)
DURING = OCTOBER.start + timedelta(days=10)
AFTER = OCTOBER.end + timedelta(minutes=5)
SCORE = {"tests_completed": "15", "correct_answers": "1"}

_numbers = count()


@pytest.fixture
def students(db: None) -> Group:
    return Group.objects.create(name="students")


@pytest.fixture
def category(coins, students) -> Callable[..., RankingCategory]:
    """The students, paid by the shipped tiers in coins, but for what the test says."""

    def create(slug: str = "students", **fields: Any) -> RankingCategory:
        given = {"group": students, "score": SCORE, "tiers": TIERS, "active_since": DURING} | fields
        return services.save_category(RankingCategory(slug=slug, **given), None)

    return create


def join(group: Group, *users: User) -> None:
    for user in users:
        user.groups.add(group)


def did(user: User, metric: str, quantity: str = "1", at: datetime = DURING) -> None:
    """Recorded at the end of the month that it belongs to, while that is open."""
    event = NewEvent(f"event-{next(_numbers)}", user.username, metric, quantity, at, {})
    outcome = record_events([event], at=max(at, DURING))
    assert outcome.accepted == 1, outcome


def paid(programme: str = "monthly:students", period_key: str = OCTOBER.key) -> dict[str, int]:
    """Username → minor units, in position order."""
    distribution = Distribution.objects.get(programme=programme, period_key=period_key)
    rewards = Reward.objects.filter(distribution=distribution).order_by("position")
    return dict(rewards.values_list("user__username", "amount"))


def run(at: datetime = AFTER) -> MonthlyRewardJob:
    """October's job, started by a machine and worked at until nothing is left to do."""
    job, _ = services.start_job(OCTOBER.year, OCTOBER.month, by="test", at=at)
    services.run_job(job, at)
    job.refresh_from_db()
    return job
