"""The market bonus on a paid day."""

from __future__ import annotations

import pytest
from django.db import transaction

from rewards.alerts.models import Alert
from rewards.distributions import services as distributions
from rewards.distributions.models import Distribution
from rewards.ledger.services import Move, post, system_account
from rewards.pools.models import CcRate, RewardLog
from rewards.pools.services import run_daily
from rewards.users.models import User
from tests.rewards.pools.conftest import amounts, holds, instant, payout, rewards_of
from tests.rewards.pools.test_catch_up import approver

DUE = instant("2026-03-11T00:00:35")


@pytest.fixture
def day_of_three(pools, vote):
    """Alice, Bob and Carol are paid 355, 85 and 10 for 10 March; Alice and Carol are in the market, 7% in force."""
    CcRate.objects.create(starts_at=instant("2026-03-10T23:59:59"), units_per_cc="100", bonus_rate="0.07")
    CcRate.objects.create(starts_at=instant("2026-03-11T00:00"), units_per_cc="100", bonus_rate="1")
    vote("alice", "0.3", "2026-03-10T07:20", times=10)
    vote("bob", "2", "2026-03-10T09:30")
    vote("carol", "1", "2026-03-10T10:00")
    User.objects.filter(username__in=["alice", "carol"]).update(has_cc_market=True)
    return pools[1].currency


def fund_treasury(currency, amount):
    with transaction.atomic():
        move = Move(system_account("issuance", currency), system_account("treasury", currency), amount)
        post(f"fund:{amount}", "fund", [move])


def test_the_bonus_is_the_floor_of_reward_times_rate_in_force_at_the_days_end(day_of_three):
    """355 x 0.07 = 24.85 and 10 x 0.07 = 0.7."""
    fund_treasury(day_of_three, 100)

    result = run_daily(DUE)

    assert rewards_of("cc_market", "2026-03-10") == {"alice": 24, "carol": 0}
    assert (result.bonus_minor, result.bonus_recipients) == (24, 1)
    assert holds("treasury") == 76
    bonus = payout("cc_market", "2026-03-10")
    assert (bonus.status, bonus.rule) == ("paid", {"rule": "fixed"})
    alice = bonus.rewards.get(position=1)
    assert (alice.score, alice.inputs["measures"]) == ("355", {"bonus_rate": "0.07"})
    assert RewardLog.objects.get(type="cc_market").total == 24


def test_an_empty_treasury_fails_the_bonus_and_leaves_the_day_alone(day_of_three):
    result = run_daily(DUE)

    assert result.failures == []
    assert [failure.period_key for failure in result.bonus_failures] == ["2026-03-10"]
    assert payout("pool_daily", "2026-03-10").status == "paid"
    assert rewards_of("pool_daily", "2026-03-10") == {"alice": 355, "bob": 85, "carol": 10}
    bonus = payout("cc_market", "2026-03-10")
    assert bonus.status == "failed"
    assert "treasury" in bonus.error
    assert Alert.objects.get(resolved_at=None).subject == "cc_market 2026-03-10"

    # Later days are not held up, and a retry pays once there are funds.
    assert run_daily(instant("2026-03-12T00:00:35")).periods == 1
    fund_treasury(day_of_three, 100)
    distributions.retry(bonus.pk)
    assert payout("cc_market", "2026-03-10").status == "paid"
    assert not Alert.objects.filter(resolved_at=None).exists()


def test_without_a_bonus_to_pay_there_is_no_distribution(day_of_three):
    CcRate.objects.update(bonus_rate="0.0001")

    run_daily(DUE)

    assert list(amounts()) == ["pool_daily 2026-03-10"]


def test_the_bonus_waits_for_the_day(day_of_three, pools):
    fund_treasury(day_of_three, 100)
    _, daily = pools
    daily.approval_limit = 1
    daily.save()
    run_daily(DUE)
    assert not Distribution.objects.filter(programme="cc_market").exists()

    day = payout("pool_daily", "2026-03-10")
    distributions.approve(day.pk, approver())
    distributions.advance(day.pk)
    run_daily(DUE)

    assert rewards_of("cc_market", "2026-03-10") == {"alice": 24, "carol": 0}
