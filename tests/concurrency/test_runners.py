"""Hourly and daily runs side by side, in processes that die: the same books as one run that nobody disturbed."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess

import pytest
from django.db import transaction

from rewards.activity.models import ActivityEvent
from rewards.alerts.models import Alert
from rewards.distributions import queries
from rewards.distributions.models import Distribution, Reward
from rewards.ledger import services as ledger
from rewards.ledger.models import Account, Journal
from rewards.pools.models import CarryOver, CcRate
from rewards.pools.services import run_daily, run_hourly
from rewards.users.models import User
from tests.concurrency.conftest import broken_promises
from tests.concurrency.racing import PATIENCE_SECONDS, in_process, kill, was_killed
from tests.rewards.pools.conftest import amounts, instant
from tests.rewards.pools.test_market_bonus import fund_treasury

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]

THREE_DAYS_LATER = instant("2026-03-13T02:00")


@pytest.fixture
def three_days_of_votes(pools, vote):
    """Thirty partners vote in half of the hours; the rate changes amid an hour; some are in the market."""
    chance = random.Random(7)
    for day in (10, 11, 12):
        for hour in sorted(chance.sample(range(24), 12)):
            for partner in chance.sample(range(30), 8):
                cc = f"{chance.randint(1, 90)}.{chance.randint(0, 999_999):06}"
                vote(f"partner-{partner}", cc, f"2026-03-{day}T{hour:02}:{chance.randrange(60):02}")
    CcRate.objects.create(starts_at=instant("2026-03-11T12:30"), units_per_cc="31.7", bonus_rate="0.07")
    User.objects.filter(username__endswith="1").update(has_cc_market=True)
    fund_treasury(pools[0].currency, 10**9)
    return pools


def books() -> dict[str, object]:
    """Everything that was paid, and to whom, and what everybody holds: to the unit."""
    rewards = Reward.objects.values_list(
        "distribution__programme", "distribution__period_key", "user__username", "position", "score", "amount"
    )
    accounts = Account.objects.select_related("user", "currency")
    return {
        "payouts": amounts(),
        "rewards": sorted(rewards),
        # Nobody has an account where he was never paid; one at zero is the same as none.
        "balances": {str(account): held for account in accounts if (held := ledger.balance(account))},
        "carried": sorted(
            CarryOver.objects.values_list("source__programme", "source__period_key", "target__period_key", "amount")
        ),
        "journals": sorted(Journal.objects.values_list("key", "kind")),
    }


def books_of_one_undisturbed_run() -> dict[str, object]:
    with transaction.atomic():
        assert run_hourly(THREE_DAYS_LATER).failures == []
        assert run_daily(THREE_DAYS_LATER).failures == []
        found = books()
        transaction.set_rollback(True)
    assert found["carried"]
    assert not Distribution.objects.exists()
    return found


def run_all(run: Callable) -> None:
    """What the schedule does: run, and run again while something is left."""
    while run(THREE_DAYS_LATER).failures:
        continue


def test_two_of_each_at_once_one_of_them_killed_again_and_again_leave_the_same_books(three_days_of_votes):
    expected = books_of_one_undisturbed_run()
    chance, deaths = random.Random(11), 0

    undisturbed = [in_process(run_all, run) for run in (run_hourly, run_daily)]
    while any(process.is_alive() for process in undisturbed):
        victim: BaseProcess = in_process(run_all, chance.choice([run_hourly, run_daily]))
        victim.join(chance.uniform(0.05, 0.5))
        if victim.is_alive():
            kill(victim)
        deaths += was_killed(victim)
    for process in undisturbed:
        process.join(PATIENCE_SECONDS)

    assert deaths > 0
    assert [process.exitcode for process in undisturbed] == [0, 0]
    for run in (run_hourly, run_daily):  # the next ones of the schedule: a payout may have been left to one who died
        run_all(run)
    assert books() == expected
    assert_all_is_well()


def test_runs_of_which_none_lives_to_its_end_leave_the_same_books(three_days_of_votes):
    expected = books_of_one_undisturbed_run()
    chance, deaths = random.Random(12), 0

    deadline = time.monotonic() + PATIENCE_SECONDS
    while Distribution.objects.filter(status="paid").count() < len(expected["payouts"]):
        assert time.monotonic() < deadline
        runners = [in_process(run_all, run) for run in (run_hourly, run_daily)]
        time.sleep(chance.uniform(0.1, 0.5) * (1 + deaths / 20))
        for process in runners:
            if process.is_alive():
                kill(process)
            deaths += was_killed(process)

    assert deaths >= 2
    assert books() == expected
    assert_all_is_well()


def assert_all_is_well() -> None:
    assert set(Distribution.objects.values_list("status", flat=True)) == {"paid"}
    assert [difference for each in Distribution.objects.all() for difference in queries.verify(each)] == []
    assert not ActivityEvent.objects.filter(late=True).exists()
    assert not Alert.objects.filter(resolved_at=None).exists()
    assert broken_promises() == []
