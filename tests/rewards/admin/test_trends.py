"""Trends say what happened: compared with the ledger's own truth over a week that was lived through."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import Permission
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from rewards.admin.trends import instants_of, paid_charts
from rewards.distributions.corrections import take_back
from rewards.distributions.models import Distribution, Reward
from rewards.jobs.services import run_job
from rewards.ledger.models import Account, Currency
from rewards.ledger.services import balance, system_account
from rewards.parameters.services import forget
from rewards.pending.services import queue_reward
from rewards.pools.balances import balances_at, held_by_pools, pool_moves
from rewards.pools.models import Pool
from rewards.pools.services import run_daily, run_hourly
from rewards.pools.top_ups import top_up
from rewards.tasks import drain_pending
from rewards.users.models import User
from tests.rewards.admin.conftest import instant, make_whole_product, votes
from tests.rewards.admin.test_pages import refuse_counting

pytestmark = pytest.mark.django_db

MONDAY = instant("2026-11-09")
URL = "/admin/rewards/pool/trends/"


def at(day: int, clock: str) -> datetime:
    hours, minutes = map(int, clock.split(":"))
    return MONDAY + timedelta(days=day, hours=hours, minutes=minutes)


def live(instant: datetime, do: Callable[[], Any]) -> None:
    with time_machine.travel(instant, tick=False):
        do()


def pay(instant: datetime) -> None:
    def do() -> None:
        run_hourly(instant)
        run_daily(instant)

    live(instant, do)


@pytest.fixture
def week(pools: tuple[Pool, Pool], make_user: Callable[..., User]) -> datetime:
    """Votes each day, a top-up, units funded by hand, an hour that waits, a day and a reward taken back."""
    root = make_user("root", is_superuser=True, is_staff=True)
    for day in range(7):
        date = f"{MONDAY + timedelta(days=day):%Y-%m-%d}"
        live(at(day, "07:10"), lambda date=date: votes(f"{date}T07", "alice", "bob", "carol"))
        live(at(day, "15:10"), lambda date=date: votes(f"{date}T15", "bob", "carol"))
        pay(at(day, "08:31"))
        pay(at(day, "16:31"))
    _, daily = pools
    live(at(7, "09:00"), lambda: top_up(daily, 70, "2026-11-17", "gift", "a gift", root, at=at(7, "09:00")))
    live(at(7, "10:00"), lambda: call_command(
        "fund", "pool:hourly", "33", currency="points", key="f1", reason="spare", stdout=StringIO()
    ))  # fmt: skip
    paid = Distribution.objects.get(programme="pool_hourly", period_key="2026-11-12T07")
    reward = Reward.objects.filter(distribution=paid, amount__gt=0).first()
    live(at(7, "11:00"), lambda: take_back(paid.pk, root, "mistake", missing="lend", reward_id=reward.pk))
    live(at(7, "12:00"), lambda: take_back(paid.pk, root, "mistake", missing="lend"))
    day_paid = Distribution.objects.filter(programme="pool_daily", status="paid", paid_amount__gt=0).earliest("pk")
    live(at(7, "13:00"), lambda: take_back(day_paid.pk, root, "mistake", missing="write_off"))
    return at(7, "15:00")


def test_balances_walked_back_are_those_of_the_ledger_at_every_instant_of_the_week(week) -> None:
    instants = [MONDAY + timedelta(hours=3 * step) for step in range(-8, 61)]
    pools = held_by_pools()
    moves = pool_moves(pools, instants[0])
    for pool in pools:
        account = Account.objects.get(pk=pool.account_id)
        truth = [balance(account, instant) for instant in instants]
        assert balances_at(pool.held, moves[account.pk], instants) == truth
        assert len(set(truth)) > 1
    assert {move.what for found in moves.values() for move in found} == {"accrued", "paid", "taken back", "by hand"}


def test_the_walk_reads_as_few_rows_for_a_thousand_rewards_as_for_three(week) -> None:
    with CaptureQueriesContext(connection) as captured:
        pool_moves(held_by_pools(), MONDAY)
    assert len(captured) == 5
    for query in captured.captured_queries[1:]:
        assert '"rewards_transfer"' not in query["sql"] or "pool_top_up" in query["sql"]


def test_the_page_shows_what_was_paid_each_day_by_whom(week, sign_in) -> None:
    [found] = paid_charts(week, 7)
    assert found.code == "points"
    columns = list(found.chart.table.columns)
    assert columns == ["Day of the period", "pool_daily", "pool_hourly"]
    rows = {row[0]: row[1:] for row in found.chart.table.rows}
    for day in range(1, 7):
        date = MONDAY + timedelta(days=day)
        for place, programme in enumerate(columns[1:]):
            paid = Distribution.objects.filter(programme=programme, starts_at__date=date.date()).exclude(
                status="reversed"
            )
            assert rows[f"{date:%d %b}"][place] == f"{sum(each.paid_amount for each in paid):,}"
    with time_machine.travel(week, tick=False):
        shown = sign_in("Viewer").get(URL, {"days": 30}).content.decode()
    assert "Paid per day and programme, points" in shown
    assert "Balances of the pools, points" in shown
    assert 'aria-current="page">30 days' in shown


def test_many_programmes_are_summed_up_as_others(points: Currency) -> None:
    source, now = system_account("treasury", points), datetime.now(UTC)
    for number in range(12):
        Distribution.objects.create(
            programme=f"campaign:{number:02}", period_key="1", starts_at=now, ends_at=now, currency=points,
            source_account=source, amount=100 + number, paid_amount=100 + number, status="paid",
        )  # fmt: skip
    [found] = paid_charts(now, 7)
    assert list(found.chart.table.columns[1:]) == [*(f"campaign:{number:02}" for number in range(5, 12)), "others"]
    assert found.chart.table.rows[0][-1] == "510"
    assert "1,266 points paid" in found.chart.summary


def test_the_queue_is_as_deep_as_each_run_of_the_drainer_left_it(sign_in, points, make_user) -> None:
    alice, now = make_user("alice"), datetime.now(UTC)
    for number in range(3):
        queue_reward(alice, points, 1, f"later-{number}", at=now, not_before=now + timedelta(days=1))
    drain_pending()
    shown = sign_in("Viewer").get(URL).context["queue"]
    assert shown.summary.startswith("3 rewards were queued after the newest run")
    assert shown.table.rows[0][1] == "3"


def test_of_each_job_the_median_and_the_slowest_run_are_shown(sign_in, db) -> None:
    for _ in range(3):
        run_job("seal_audit", lambda progress: {})
    chart = sign_in("Viewer").get(URL).context["jobs"]
    assert [row[0] for row in chart.table.rows] == ["seal_audit"]
    assert "The slowest is seal_audit" in chart.summary


def test_it_shows_what_one_may_see_and_refuses_who_may_see_nothing(make_user, sign_in) -> None:
    client = Client()
    newcomer = make_user("newcomer", is_staff=True)
    client.force_login(newcomer)
    assert client.get(URL).status_code == 403
    sign_in("Viewer")
    newcomer.user_permissions.add(Permission.objects.get(codename="view_jobrun"))
    shown = client.get(URL)
    assert shown.status_code == 200
    assert "jobs" in shown.context
    assert not [name for name in ("paid", "pools", "queue") if name in shown.context]


@pytest.mark.parametrize("days", ["7", "30", "90", "", "8", "x" * 500, "²"])
def test_any_range_opens_in_few_statements(sign_in, days) -> None:
    make_whole_product()
    viewer = sign_in("Viewer")
    forget()
    with CaptureQueriesContext(connection) as captured:
        answer = viewer.get(reverse("admin:rewards_pool_trends"), {"days": days})
    assert answer.status_code == 200
    assert len(captured) < 20
    refuse_counting([query["sql"] for query in captured.captured_queries])


def test_instants_end_now_and_begin_with_the_range() -> None:
    now = instant("2026-11-20T12:00")
    for days in (7, 30, 90):
        instants = instants_of(now, days)
        assert (instants[0], instants[-1]) == (now - timedelta(days=days), now)
