"""What users hold and are owed, how long the accounts last, and who is told in time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from rewards.admin.liability import lasts, liabilities, runway_line
from rewards.alerts.models import Alert
from rewards.audit.models import AuditEvent
from rewards.distributions.missed import PERIOD_MISSED, alert_missed_periods
from rewards.jobs.models import JobRun
from rewards.ledger.liability import claimable, outstanding
from rewards.ledger.models import CLAIMABLE, ISSUANCE, Account, BalanceChange, Currency
from rewards.ledger.services import Move, balance, post, split, system_account, user_account
from rewards.parameters.services import forget, set_parameter
from rewards.pending.models import PendingReward
from rewards.pending.services import queue_reward
from rewards.pools.models import Pool
from rewards.pools.runway import NEARLY_DRY, Runway, runways, watch
from rewards.pools.services import run_hourly
from rewards.tasks import check_ledger
from rewards.users.models import User
from tests.rewards.admin.conftest import instant, make_whole_product, votes
from tests.rewards.admin.test_pages import refuse_counting

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def move(key: str, source: Account, target: Account, amount: int) -> None:
    with transaction.atomic():
        post(key, "test", [Move(source, target, amount)])


def treasury_with(points: Currency, amount: int) -> Account:
    treasury = system_account("treasury", points)
    move("fill", system_account(ISSUANCE, points), treasury, amount)
    return treasury


def plain_sum(currency: Currency) -> int:
    """What users hold, one by one."""
    return sum(balance(account) for account in Account.objects.filter(user__isnull=False, currency=currency))


# ----------------------------------------------------------------------------------------------------------- liability


def test_what_users_hold_by_double_entry_is_the_plain_sum_over_all_of_them(make_user) -> None:
    make_whole_product()
    points = Currency.objects.get(code="points")
    coins = Currency.objects.create(code="coins", decimals=2)
    issuance, treasury = system_account(ISSUANCE, points), treasury_with(points, 1_000)
    alice, bob = make_user("alice-2"), make_user("bob-2")
    move("a", treasury, user_account(alice, points), 300)
    move("b", treasury, user_account(bob, points, CLAIMABLE), 50)
    move("c", user_account(alice, points), system_account("burn", points), 7)
    move("d", system_account(ISSUANCE, coins), user_account(bob, coins), 12_345)
    # Beside the row: a change of issuance that found it busy, and a treasury in parts.
    BalanceChange.objects.create(account=issuance, amount=-20)
    Account.objects.filter(pk=user_account(alice, points).pk).update(balance=user_account(alice, points).balance + 20)
    with transaction.atomic():
        split(treasury, 4)
    for currency in (points, coins):
        assert outstanding()[currency.pk] == plain_sum(currency) > 0
    assert claimable() == {points.pk: 50}


def test_the_statement_reads_no_user_account(points) -> None:
    with CaptureQueriesContext(connection) as captured:
        outstanding()
    [query] = captured.captured_queries
    assert query["sql"].count('"user_id" IS NULL') == 2


def test_allocated_is_owed_until_it_is_paid_and_queued_is_told_apart(waiting_hour, points, make_user) -> None:
    dora = make_user("dora")
    for amount, status in ((30, "queued"), (10, "failed"), (7, "expired")):
        reward = queue_reward(dora, points, amount, f"r{amount}", at=timezone.now())
        PendingReward.objects.filter(pk=reward.pk).update(status=status)
    [found], noted = liabilities(timezone.now())
    assert (found.owed, found.queued) == (waiting_hour.amount - waiting_hour.carried_over, 40)
    assert (found.claimable, noted) == (None, None)
    assert found.held == plain_sum(points)


# -------------------------------------------------------------------------------------------------------------- runway


def watched(at: datetime) -> None:
    """An hourly watch at an instant."""
    with time_machine.travel(at, tick=False):
        JobRun.objects.create(job="check_ledger", status="succeeded", started_at=at, finished_at=at, results=watch(at))


def of(account: Account, at: datetime) -> Runway:
    return next(each for each in runways(at) if each.account.pk == account.pk)


@pytest.fixture
def draining(points: Currency, make_user: Callable[..., User]) -> Account:
    """A treasury of 1,000 that pays 100 a day, for five days."""
    treasury, alice = treasury_with(points, 1_000), make_user("alice")
    for day in range(5):
        watched(NOON - timedelta(days=5 - day))
        move(f"day-{day}", treasury, user_account(alice, points), 100)
    return treasury


def test_an_account_that_pays_and_gets_nothing_lasts_as_long_as_its_balance_at_that_rate(draining) -> None:
    found = of(draining, NOON)
    assert (found.held, found.inflow, found.outflow, found.per_day(500)) == (500, 0, 500, 100)
    assert found.days_left == pytest.approx(5)
    assert lasts(found) == "5.0 days"
    assert runway_line(found)[:6] == ["treasury", "points", "500", "0", "100", "5.00"]
    assert not Alert.objects.filter(code=NEARLY_DRY).exists()


def test_whoever_is_nearly_dry_is_told_of_once_worse_when_it_is_under_a_day_and_no_more_when_it_is_over(
    draining, points
) -> None:
    alice = user_account(User.objects.get(username="alice"), points)
    move("more", draining, alice, 250)
    watched(NOON)
    [alert] = Alert.objects.filter(code=NEARLY_DRY)
    assert (alert.severity, alert.resolved_at, alert.subject) == ("warning", None, "treasury (points)")
    assert "It holds 250 points and loses 150 a day: at this rate it lasts 1.7 more days." in alert.message

    move("most", draining, alice, 220)
    watched(NOON + timedelta(hours=1))
    alert.refresh_from_db()
    assert (alert.severity, alert.count) == ("critical", 2)

    move("funded", system_account(ISSUANCE, points), draining, 5_000)
    watched(NOON + timedelta(hours=2))
    alert.refresh_from_db()
    assert alert.resolved_at is not None
    assert lasts(of(draining, NOON + timedelta(hours=2))) == "fills faster than it pays"


def test_the_parameter_says_how_early_one_is_told(draining) -> None:
    set_parameter("pools.runway_alert_days", 6, actor=None, reason="earlier")
    watched(NOON)
    assert Alert.objects.get(code=NEARLY_DRY).severity == "warning"


def test_an_account_of_which_nothing_is_known_yet_says_so(points) -> None:
    found = of(treasury_with(points, 10), NOON)
    assert (found.days_left, lasts(found)) == (None, "not known yet")


def test_a_pool_that_pays_out_what_came_in_is_not_nearly_dry(pools, points) -> None:
    for day in range(3):
        at = NOON + timedelta(days=day)
        with time_machine.travel(at, tick=False):
            votes(f"{at:%Y-%m-%dT%H}", "alice", "bob")
        later = at + timedelta(hours=2)
        with time_machine.travel(later, tick=False):
            run_hourly(later)
    end = NOON + timedelta(days=3)
    found = of(Account.objects.get(code="pool:hourly"), end)
    assert (found.held, found.inflow) == (0, found.outflow)
    assert found.inflow
    watched(end)
    assert not Alert.objects.filter(code=NEARLY_DRY).exists()


def test_a_pool_that_lives_on_what_it_was_given_is_told_of(paid_hour, points) -> None:
    """It paid more than came in."""
    account = Account.objects.get(code="pool:hourly")
    found = Runway(account, held=100, inflow=0, outflow=700, span=timedelta(days=7), is_pool=True)
    assert found.days_left == pytest.approx(1)


# ------------------------------------------------------------------------------------------------------ missed periods


def test_a_period_that_nobody_began_within_the_hour_is_told_of_until_it_is_done(pools) -> None:
    Pool.objects.filter(slug="daily").update(active=False)
    votes("2026-11-20T07", "alice", "bob")
    due_at = instant("2026-11-20T08:30")
    assert alert_missed_periods(due_at + timedelta(minutes=59)) == 0
    assert not Alert.objects.filter(code=PERIOD_MISSED).exists()

    assert alert_missed_periods(due_at + timedelta(hours=2)) == 1
    alert = Alert.objects.get(code=PERIOD_MISSED)
    assert (alert.subject, alert.severity) == ("pool_hourly", "critical")
    assert alert.message.startswith("2026-11-20T07 was due at 2026-11-20 08:30 UTC and has not begun.")

    run_hourly(due_at + timedelta(hours=2))
    assert alert_missed_periods(due_at + timedelta(hours=2)) == 0
    alert.refresh_from_db()
    assert alert.resolved_at is not None


def test_of_a_pool_that_is_switched_off_nothing_is_missed(pools) -> None:
    votes("2026-11-20T07", "alice", "bob")
    later = instant("2026-11-22T12:00")
    assert alert_missed_periods(later) > 0
    assert {alert.subject for alert in Alert.objects.filter(code=PERIOD_MISSED)} == {"pool_hourly", "pool_daily"}
    Pool.objects.update(active=False)
    assert alert_missed_periods(later) == 0
    assert not Alert.objects.filter(code=PERIOD_MISSED, resolved_at=None).exists()


# -------------------------------------------------------------------------------------------------- the job, the pages


def test_the_ledger_check_keeps_what_it_noted(points) -> None:
    treasury = treasury_with(points, 10)
    check_ledger()
    results = JobRun.objects.get(job="check_ledger").results
    assert results["broken"] == results["missed_periods"] == 0
    assert results["watch"]["balances"] == {str(treasury.pk): 10}


def test_the_page_takes_few_statements_and_shows_both_tables(sign_in) -> None:
    make_whole_product()
    check_ledger()
    viewer, url = sign_in("Viewer"), reverse("admin:rewards_pool_liability")
    forget()
    with CaptureQueriesContext(connection) as captured:
        shown = viewer.get(url).content.decode()
    assert len(captured) < 20
    refuse_counting([query["sql"] for query in captured.captured_queries])
    assert "What users hold and are owed" in shown
    assert "pool:hourly (points)" in shown


def test_both_tables_are_downloaded_as_csv(sign_in, draining) -> None:
    def download(name: str) -> list[str]:
        answer: Any = sign_in("Viewer").get(reverse("admin:rewards_pool_liability"), {"csv": name})
        assert answer["Content-Type"].startswith("text/csv")
        return b"".join(answer.streaming_content).decode().splitlines()

    assert download("liability")[1] == "points,500,0,0,0"
    assert download("runway")[1].startswith("treasury,points,500,")
    events = AuditEvent.objects.filter(event_type__startswith="export").order_by("pk")
    assert [(event.event_type, event.data["what"], event.data.get("rows")) for event in events] == [
        ("exported", "liability", None), ("export_ended", "liability", 1),
        ("exported", "runway", None), ("export_ended", "runway", 1),
    ]  # fmt: skip
    assert {event.actor.username for event in events} == {"viewer"}


def test_whoever_may_not_see_accounts_may_not_see_it(make_user) -> None:
    client = Client()
    client.force_login(make_user("newcomer", is_staff=True))
    for query in ({}, {"csv": "runway"}):
        assert client.get(reverse("admin:rewards_pool_liability"), query).status_code == 403
