"""The pools from the command line."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from rewards.activity.models import ActivityEvent, ClosedStretch
from rewards.deployments.models import Deployment, StakingPosition
from rewards.distributions.models import Distribution
from rewards.jobs.models import JobRun
from rewards.ledger.models import Journal
from rewards.management import demo
from rewards.parameters.services import set_parameter
from rewards.pending.models import PendingReward
from rewards.pools.models import Accrual, CarryOver, CcRate, PartnerTransfer
from rewards.pools.services import export_partners, run_daily, run_hourly
from rewards.users.models import User
from tests.rewards.elsewhere import environment_on_this_database
from tests.rewards.pools.conftest import amounts, instant, rewards_of
from tests.rewards.pools.test_catch_up import cast_votes_over_four_days, outcome_of
from tests.rewards.pools.test_market_bonus import fund_treasury

ROOT = Path(__file__).resolve().parents[3]
NOON = "2026-03-14T12:00"


def run(capsys, command: str, **options) -> str:
    call_command(command, **options)
    return capsys.readouterr().out


def test_run_hourly_and_run_daily_say_what_they_did(pools, vote, capsys):
    cast_votes_over_four_days(vote)

    hourly = run(capsys, "run_hourly", at=NOON)
    daily = run(capsys, "run_daily", at="2026-03-14T12:00+00:00")

    assert "run_hourly: 100 items, 100 succeeded, 0 failed" in hourly
    assert "periods 100" in hourly
    assert "recipients 16" in hourly
    assert "run_daily: 4 items, 4 succeeded, 0 failed" in daily
    assert set(JobRun.objects.values_list("job", "status", "trigger")) == {
        ("run_hourly", "succeeded", "command"),
        ("run_daily", "succeeded", "command"),
    }


def test_run_cycle_does_one_of_each(pools, vote, capsys):
    vote("alice", "1", "2026-03-10T07:10")

    said = run(capsys, "run_cycle", at="2026-03-11T00:30")

    assert "run_hourly: 17 items" in said
    assert "run_daily: 1 items" in said
    assert rewards_of("pool_hourly", "2026-03-10T07") == {"alice": 25}
    assert rewards_of("pool_daily", "2026-03-10") == {"alice": 55}


def test_a_dry_run_shows_what_would_be_paid_and_writes_nothing(pools, vote, capsys):
    CcRate.objects.update(bonus_rate="0.1")
    cast_votes_over_four_days(vote)
    User.objects.filter(username="alice").update(has_cc_market=True)
    tables = (Accrual, CarryOver, ClosedStretch, Distribution, Journal, JobRun, PartnerTransfer)
    before = [table.objects.count() for table in tables]

    hourly = run(capsys, "run_hourly", at=NOON, dry_run=True)
    daily = run(capsys, "run_daily", at=NOON, dry_run=True)

    assert [table.objects.count() for table in tables] == before
    fund_treasury(pools[0].currency, 1_000_000)
    outcome = outcome_of(lambda: run_hourly(instant(NOON)), lambda: run_daily(instant(NOON)))
    for payout, figures in outcome.items():
        programme, _, key = payout.partition(" ")
        if not isinstance(figures, tuple) or figures == (0, 0, 0):
            continue
        amount, paid, carried = figures
        lines = (hourly if programme == "pool_hourly" else daily).splitlines()
        (line,) = [line for line in lines if line.startswith(f"{key}: ")]
        if programme == "cc_market":
            assert line.endswith(f"market bonus {amount}")
        else:
            assert f"{key}: {amount} points, " in line
            assert f", {paid} to " in line
            assert f", {carried} carried over" in line
    assert "nothing was written" in hourly
    assert "run_daily --dry-run: 4 periods due" in daily


def test_a_dry_run_goes_on_from_what_is_recorded(pools, vote, capsys):
    """Carries, and hours that are accrued already, count as in the run itself."""
    cast_votes_over_four_days(vote)
    run_daily(instant("2026-03-11T00:00:35"))
    run_hourly(instant("2026-03-11T16:30"))

    said = run(capsys, "run_daily", at=NOON, dry_run=True)
    run_daily(instant(NOON))

    for key in ("2026-03-11", "2026-03-12", "2026-03-13"):
        assert f"{key}: {amounts()[f'pool_daily {key}'][0]} points, " in said


def test_a_failed_period_ends_the_command_with_an_error(pools, vote, capsys):
    CcRate.objects.all().delete()
    vote("alice", "1", "2026-03-10T07:10")
    with pytest.raises(CommandError, match=r"pool_hourly stopped.*No CC rate for the hour 2026-03-10T07"):
        call_command("run_hourly", at=NOON)
    with pytest.raises(CommandError, match="it would stop: No CC rate for the hour 2026-03-10T07"):
        call_command("run_hourly", at=NOON, dry_run=True)
    with pytest.raises(CommandError, match=r"pool_hourly stopped.*pool_daily stopped"):
        call_command("run_cycle", at=NOON)


def test_paused_payouts_are_said(pools, vote, capsys):
    vote("alice", "1", "2026-03-10T07:10")
    set_parameter("payouts_paused", True, actor=None, reason="a check failed")
    assert "Payouts are paused" in run(capsys, "run_hourly", at=NOON)
    assert amounts() == {}


@pytest.mark.django_db
def test_without_pools_the_commands_say_how_to_make_them():
    with pytest.raises(CommandError, match="setup_pools"):
        call_command("run_hourly")


@pytest.mark.django_db
@pytest.mark.parametrize("at", ["tomorrow", "2026-13-01", ""])
def test_a_bad_instant_is_named(pools, at):
    with pytest.raises(CommandError, match="is not an instant"):
        call_command("run_daily", at=at)


@pytest.mark.django_db(databases=["default", "partner"])
def test_export_partners_from_the_command_line(alice, coins, capsys):
    PartnerTransfer.objects.create(partner=alice, time=instant("2026-03-10T07:00"), amount=100, currency=coins)
    assert "1 rows would be sent" in run(capsys, "export_partners", dry_run=True)
    with pytest.raises(CommandError, match="no table cc_hourly"):
        call_command("export_partners")

    assert "created" in run(capsys, "setup_partner_db")
    assert "stands" in run(capsys, "setup_partner_db")
    assert "export_partners: 1 items, 1 succeeded, 0 failed" in run(capsys, "export_partners", at=NOON)


# ------------------------------------------------------------------------------------------------------------ demo data


@pytest.fixture
def in_development(settings):
    settings.ENVIRONMENT = "development"


@pytest.mark.django_db(databases=["default", "partner"])
def test_demo_data_has_logins_partners_and_payouts_and_a_second_run_adds_nothing(pools, in_development, capsys):
    CcRate.objects.all().delete()
    said = run(capsys, "demo_data")

    assert "Login      admin / demo" in said
    admin = User.objects.get(username="admin")
    assert admin.check_password("demo")
    assert admin.is_superuser
    assert "Login      ada.byron / demo   (recipient" in said
    ada = User.objects.get(username="ada.byron")
    assert (ada.check_password("demo"), ada.is_staff) == (True, False)
    assert User.objects.filter(is_staff=True).count() == 4
    assert User.objects.filter(is_special_partner=True).count() == 2
    assert User.objects.filter(has_cc_market=True).count() >= 5
    unpaid = Distribution.objects.exclude(status="paid").values_list("programme", "status")
    assert list(unpaid) == [("campaign:community-grants", "allocated")]
    assert set(Distribution.objects.values_list("programme", flat=True)) == {
        "pool_hourly", "pool_daily", "cc_market", "pending", "case", "campaign:voters-prizes",
        "campaign:community-grants",
    }  # fmt: skip
    assert sorted(PendingReward.objects.values_list("status", flat=True)) == [
        "distributed", "distributed", "distributed", "failed", "queued",
    ]  # fmt: skip
    assert (Deployment.objects.count(), StakingPosition.objects.count()) == (1, 1)
    assert export_partners(timezone.now()).failed == 0
    assert PartnerTransfer.objects.exclude(sent_at=None).exists()
    before, votes = amounts(), ActivityEvent.objects.count()

    run(capsys, "demo_data")
    assert amounts().items() >= before.items()
    assert len(amounts()) <= len(before) + 3  # an hour may have ended meanwhile
    assert ActivityEvent.objects.filter(late=True).count() == 0
    assert votes > 300
    assert (Deployment.objects.count(), StakingPosition.objects.count(), PendingReward.objects.count()) == (1, 1, 5)


@pytest.mark.django_db
def test_logins_only(in_development, capsys):
    said = run(capsys, "demo_data", logins_only=True)
    assert "admin / demo" in said
    assert "recipient" not in said
    assert User.objects.count() == 4


@pytest.mark.django_db
@pytest.mark.parametrize("environment", ["production", "test"])
def test_demo_data_is_refused_outside_of_development(settings, environment):
    settings.ENVIRONMENT = environment
    with pytest.raises(CommandError, match="in development only"):
        call_command("demo_data")
    assert not User.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_live_votes_keep_coming_until_the_process_is_asked_to_stop():
    demo.create_partners()
    environment = environment_on_this_database(REWARDS_ENVIRONMENT="development", CELERY_BROKER_URL="memory://")
    live = subprocess.Popen([sys.executable, str(ROOT / "manage.py"), "demo_data", "--live"], env=environment)
    try:
        deadline = time.monotonic() + 60
        while not ActivityEvent.objects.exists() and live.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        live.send_signal(signal.SIGTERM)
        assert live.wait(timeout=30) == 0
    finally:
        live.kill()
    assert ActivityEvent.objects.exists()
