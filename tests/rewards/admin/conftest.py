"""An hour that is paid, one that waits for an approval, one that failed; and people with the shipped roles."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.contrib.auth.models import Group
from django.test import Client

from badges.models import Badge
from badges.services import check_badges
from leaderboard.models import Board
from leaderboard.services import refresh_board
from rewards.activity.services import NewEvent, record_events
from rewards.alerts.services import raise_alert
from rewards.audit.services import seal_events
from rewards.campaigns.services import create_campaign, store_rows
from rewards.claims.models import ClaimType, Line
from rewards.claims.services import claim
from rewards.deployments.services import create_deployment, stake
from rewards.distributions.models import Distribution
from rewards.jobs.models import ProcessHeartbeat
from rewards.jobs.schedules import create_missing_schedules
from rewards.jobs.services import run_job
from rewards.ledger.models import Currency
from rewards.monthly.models import RankingCategory
from rewards.monthly.services import run_job as run_month
from rewards.monthly.services import start_job
from rewards.monthly.setup import create_default_categories
from rewards.parameters.services import create_missing_parameters, forget
from rewards.pending.services import queue_reward
from rewards.pools.models import CcRate, Pool, VoteWeight
from rewards.pools.services import create_default_pools, run_daily, run_hourly
from rewards.users.models import User
from rewards.users.roles import create_missing_roles


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def votes(hour: str, *partners: str) -> None:
    """One CC more for each partner than for the next one, at twenty past."""
    at = instant(f"{hour}:20")
    events = [
        NewEvent(f"{hour}-{partner}", partner, "cc_vote", Decimal(len(partners) - place), at, {"vote_type": "like"})
        for place, partner in enumerate(partners)
    ]
    assert record_events(events, create_users=True, at=at).accepted == len(partners)


@pytest.fixture
def roles(db: None) -> None:
    create_missing_roles()


@pytest.fixture
def sign_in(roles: None) -> Callable[..., Client]:
    """`sign_in("Approver")`: a client of a staff member with that role; `sign_in()` one of a superuser."""

    def sign(role: str | None = None, username: str | None = None) -> Client:
        name = username or (role or "root").lower()
        user, is_new = User.objects.get_or_create(
            username=name, defaults={"password": "!", "is_staff": True, "is_superuser": role is None}
        )
        if role and is_new:
            user.groups.add(Group.objects.get(name=role))
        client = Client()
        client.force_login(user)
        return client

    return sign


def create_pools(currency: Currency) -> None:
    """Both pools; one CC is 100 points from 1970 on."""
    create_default_pools(currency)
    CcRate.objects.create(starts_at=instant("1970-01-01"), units_per_cc=Decimal(100))


@pytest.fixture
def pools(points: Currency) -> tuple[Pool, Pool]:
    create_pools(points)
    return Pool.objects.get(slug="hourly"), Pool.objects.get(slug="daily")


@pytest.fixture
def paid_hour(pools: tuple[Pool, Pool]) -> Distribution:
    return pay_an_hour()


@pytest.fixture
def waiting_hour(paid_hour: Distribution) -> Distribution:
    return let_an_hour_wait()


@pytest.fixture
def failed_hour(waiting_hour: Distribution) -> Distribution:
    return let_an_hour_fail()


def pay_an_hour() -> Distribution:
    votes("2026-11-20T07", "alice", "bob", "carol")
    run_hourly(instant("2026-11-20T09:00"))
    paid = Distribution.objects.get(programme="pool_hourly", period_key="2026-11-20T07")
    assert paid.status == "paid"
    return paid


def let_an_hour_wait() -> Distribution:
    """It needs an approver, because it is worth a point or more."""
    Pool.objects.filter(slug="hourly").update(approval_limit=1)
    votes("2026-11-20T08", "alice", "bob")
    run_hourly(instant("2026-11-20T10:00"))
    waiting = Distribution.objects.get(programme="pool_hourly", period_key="2026-11-20T08")
    assert waiting.status == "allocated"
    return waiting


def let_an_hour_fail() -> Distribution:
    """A rule that asks for a measure nobody has."""
    Pool.objects.filter(slug="hourly").update(rule={"rule": "proportional", "by": "nothing"}, approval_limit=None)
    votes("2026-11-20T09", "carol")
    run_hourly(instant("2026-11-20T11:00"))
    failed = Distribution.objects.get(programme="pool_hourly", period_key="2026-11-20T09")
    assert failed.status == "failed"
    return failed


def make_whole_product() -> None:
    """At least one row of everything that has a page."""
    points = Currency.objects.create(code="points", name="Points", decimals=0)
    create_pools(points)
    for make_hour in (pay_an_hour, let_an_hour_wait, let_an_hour_fail):
        make_hour()
    create_missing_roles()
    create_missing_parameters()
    create_missing_schedules()
    run_daily(instant("2026-11-21T01:00"))
    VoteWeight.objects.create(vote_type="share", weight=Decimal("1.25"))
    run_job("check_ledger", lambda progress: {"promises": 9, "broken": 0})
    run_job("mail_alerts", lambda progress: {}["missing"])
    raise_alert("pool_nearly_dry", "treasury", "Three days are left.")
    ProcessHeartbeat.objects.create(name="worker@here:1", kind="worker")
    User.objects.filter(username="alice").update(is_special_partner=True)
    claim_type = ClaimType.objects.create(slug="victory", sample_context={"floor": 7})
    Line.objects.create(claim_type=claim_type, currency="points", amount="10 * floor")
    alice = User.objects.get(username="alice")
    claim(alice, "victory", "e1", {"floor": 7})
    deployment = create_deployment(alice, "shop", 2, instant("2026-11-20T07:00"))
    queue_reward(alice, points, 5, "task-1", deployment=deployment, at=instant("2026-11-20T08:00"))
    stake(alice, points, 50, "first", instant("2026-11-20T09:00"))
    grants = create_campaign(slug="grants", currency=points, amount=9, rule={"rule": "equal"}, at=instant("2026-11-20"))
    store_rows(grants.pk, [(alice.pk, "1", None, "")], actor=None, at=instant("2026-11-20"))
    make_ranks()
    seal_events()


def make_ranks() -> None:
    """A badge that partners hold, a board, and a month's rewards."""
    Badge.objects.create(slug="voter", name="Voter", icon="🗳️", metric="cc_vote", bonus=5, active=True)
    check_badges(instant("2026-11-21"))
    refresh_board(Board.objects.create(slug="votes", source="metric", metric="cc_vote"), instant("2026-11-21"))
    create_default_categories()
    RankingCategory.objects.update(currency="points")
    job, _ = start_job(2026, 10, by="test", at=instant("2026-11-21"))
    run_month(job, instant("2026-11-21"))


@pytest.fixture(autouse=True)
def parameters_read_again() -> None:
    """Another test's values are not this one's."""
    forget()
