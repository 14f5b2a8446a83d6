"""Deployments that end, stakes that are taken back, payers and drainers, all at once: everything is paid once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from threading import Event

import pytest
from django.db import transaction

from rewards.deployments.errors import DeploymentGone, NotStaked
from rewards.deployments.models import Deployment, Replica, StakingPosition
from rewards.deployments.services import (
    CleanupResult,
    cleanup_with_distribution,
    create_deployment,
    stake,
    unstake,
)
from rewards.deployments.sources import RUNTIME
from rewards.ledger import services as ledger
from rewards.pending.drain import drain
from rewards.pending.models import PendingReward
from rewards.pending.services import (
    DistributionResult,
    distribute_pending_rewards,
    get_pending_rewards,
    queue_reward,
)
from tests.concurrency.conftest import broken_promises
from tests.concurrency.racing import PATIENCE_SECONDS, at_once, threads, wait_until_somebody_waits

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]

SEVEN = datetime(2026, 11, 21, 7, tzinfo=UTC)
NOON = SEVEN + timedelta(hours=5)
EARNED = 4 * 5 * 10  # by four replicas from seven to noon
QUEUED = 6 * 7


@pytest.fixture
def web(alice, bob, points, coins) -> Deployment:
    """Four replicas, and six rewards in the queue, in points of Alice and coins of Bob."""
    web = create_deployment(alice, "web", 4, SEVEN)
    for number in range(6):
        queue_reward(alice, points, 7, f"task-{number}", at=SEVEN, deployment=web)
        queue_reward(bob, coins, 3, f"help-{number}", at=SEVEN, deployment=web)
    return web


def holdings(user, currency, code: str = "") -> int:
    return ledger.balance(ledger.user_account(user, currency, code))


def pay(user=None, at: datetime = NOON) -> DistributionResult:
    return distribute_pending_rewards(get_pending_rewards(user, at=at), at=at)


def paid_once(web, alice, bob, points, coins) -> None:
    assert (holdings(alice, points), holdings(bob, coins)) == (EARNED + QUEUED, 18)
    assert {*PendingReward.objects.values_list("status", flat=True)} == {"distributed"}
    assert get_pending_rewards(at=NOON) == []
    assert {*Replica.objects.values_list("status", flat=True)} == {"stopped"}
    assert broken_promises() == []


def test_of_many_who_delete_it_one_does_and_the_others_find_it_gone(web, alice, bob, points, coins):
    answers = at_once(*[partial(cleanup_with_distribution, web, alice, at=NOON)] * 6)

    (done,) = [each for each in answers if isinstance(each, CleanupResult)]
    assert (done.success, done.rewards_distributed) == (True, 16)
    assert sum(isinstance(each, DeploymentGone) for each in answers) == 5
    paid_once(web, alice, bob, points, coins)


def test_a_deletion_beside_payers_and_drainers_pays_what_they_do_not(web, alice, bob, points, coins):
    answers = at_once(
        partial(cleanup_with_distribution, web, alice, at=NOON),
        pay,
        partial(drain, NOON),
        partial(pay, alice),
        partial(drain, NOON),
        pay,
    )

    assert not [each for each in answers if isinstance(each, Exception)]
    assert all(each.success for each in answers if isinstance(each, CleanupResult | DistributionResult))
    paid_once(web, alice, bob, points, coins)


def test_deployments_that_end_together_do_not_wait_for_each_other_crosswise(alice, bob, points, coins):
    """Each pays both users in both currencies."""
    webs = [create_deployment(user, "web", 2, SEVEN) for user in (alice, bob) * 3]
    for number, web in enumerate(webs):
        for user, currency in ((alice, coins), (bob, points)):
            queue_reward(user, currency, 1, f"help-{number}-{currency}", at=SEVEN, deployment=web)

    answers = at_once(*[partial(cleanup_with_distribution, web, None, at=NOON) for web in webs], pay, pay)

    assert not [each for each in answers if isinstance(each, Exception)]
    assert (holdings(alice, points), holdings(bob, points)) == (300, 306)
    assert (holdings(alice, coins), holdings(bob, coins)) == (6, 0)
    assert broken_promises() == []


@pytest.mark.parametrize("ends_at", [NOON, SEVEN + timedelta(minutes=1)])
def test_a_payment_under_way_is_waited_for_and_not_repeated(alice, points, ends_at):
    """Also by a deletion that sees nothing accrued yet: it locks the replicas before the accounts, as payers do."""
    web = create_deployment(alice, "web", 2, SEVEN)
    listed = get_pending_rewards(at=NOON)
    queue_reward(alice, points, 7, "task", at=SEVEN, deployment=web)
    locked, go_on = Event(), Event()

    def pay_slowly() -> DistributionResult:
        with transaction.atomic():
            RUNTIME.lock(listed, NOON)
            locked.set()
            go_on.wait(PATIENCE_SECONDS)
            return distribute_pending_rewards(listed, at=NOON)

    with threads(2) as start:
        payer = start(pay_slowly)
        locked.wait(PATIENCE_SECONDS)
        deleter = start(partial(cleanup_with_distribution, web, alice, at=ends_at))
        wait_until_somebody_waits()
        go_on.set()
        paid, deleted = payer.result(), deleter.result()

    assert (paid.total_rewards_distributed, deleted.success, deleted.rewards_distributed) == (2, True, 1)
    assert holdings(alice, points) == 107
    assert broken_promises() == []


def test_who_comes_with_old_rewards_while_it_ends_is_paid_nothing_more(alice, points):
    web = create_deployment(alice, "web", 2, SEVEN)
    listed = get_pending_rewards(at=NOON)
    locked, go_on = Event(), Event()

    def delete_slowly() -> CleanupResult:
        with transaction.atomic():
            Deployment.objects.select_for_update(no_key=True).get(pk=web.pk)
            [*Replica.objects.select_for_update(no_key=True)]
            locked.set()
            go_on.wait(PATIENCE_SECONDS)
            return cleanup_with_distribution(web, alice, at=NOON)

    with threads(2) as start:
        deleter = start(delete_slowly)
        locked.wait(PATIENCE_SECONDS)
        payer = start(partial(distribute_pending_rewards, listed, at=NOON))
        wait_until_somebody_waits()
        go_on.set()
        deleted, paid = deleter.result(), payer.result()

    assert (deleted.rewards_distributed, paid.success, paid.total_rewards_distributed) == (2, True, 0)
    assert holdings(alice, points) == 100


def test_payers_at_once_pay_the_same_hours_once(alice, bob, points):
    for user in (alice, bob):
        create_deployment(user, "web", 3, SEVEN)
        StakingPosition.objects.create(user=user, currency=points, staked=876_000, staked_at=SEVEN)

    answers = at_once(*[partial(pay, at=NOON + timedelta(minutes=number)) for number in range(6)])

    assert all(each.success for each in answers)
    pay(at=NOON + timedelta(minutes=6))
    assert holdings(alice, points) == holdings(bob, points) == 3 * 51 + 25  # of the stake 25.5
    assert broken_promises() == []


def test_under_one_key_one_stake_is_made(alice, coins):
    with transaction.atomic():
        ledger.credit(alice, coins, 100_00, "give", "")

    made = at_once(*[partial(stake, alice, coins, 60_00, "spring", SEVEN)] * 6)

    assert len({*made}) == 1
    assert (holdings(alice, coins), holdings(alice, coins, made[0].account_code)) == (40_00, 60_00)
    assert StakingPosition.objects.count() == 1
    assert broken_promises() == []


def test_what_is_unstaked_beside_payers_is_paid_and_given_back_once(alice, coins, points):
    with transaction.atomic():
        ledger.credit(alice, coins, 87_600_00, "give", "")
    position = stake(alice, coins, 87_600_00, "spring", SEVEN)
    day = SEVEN + timedelta(days=1)

    answers = at_once(*[partial(unstake, position.pk, day)] * 3, *[partial(pay, at=day)] * 3)

    results = [each for each in answers if isinstance(each, DistributionResult)]
    assert sum(isinstance(each, NotStaked) for each in answers) == 2
    assert len(results) == 4
    assert sum(each.total_rewards_distributed for each in results) == 1
    assert (holdings(alice, points), holdings(alice, coins)) == (12, 87_600_00)
    assert broken_promises() == []
