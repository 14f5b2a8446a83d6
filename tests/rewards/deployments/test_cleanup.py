"""A deployment ends only after everything it earned is paid; whatever fails, nothing has happened."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import pytest

from rewards.alerts.models import Alert
from rewards.audit.models import AuditEvent
from rewards.common.amounts import MAX_MINOR
from rewards.deployments.errors import DeploymentGone, InvalidDeployment
from rewards.deployments.models import Deployment, Replica
from rewards.deployments.services import CleanupResult, cleanup_with_distribution, create_deployment
from rewards.ledger.models import Currency, Journal
from rewards.parameters.services import param, set_parameter
from rewards.pending.models import PendingReward
from rewards.pending.services import get_pending_rewards, queue_reward
from tests.rewards.deployments.conftest import SEVEN, after, holdings
from tests.rewards.faults import refused
from tests.rewards.tables import everything, what_differs

pytestmark = pytest.mark.django_db

EIGHT = after(hours=1)


@pytest.fixture
def task(alice, web, points) -> PendingReward:
    """A reward for the deployment in the queue, which its drainer would leave alone until tomorrow."""
    return queue_reward(alice, points, 7, "task-1", at=SEVEN, deployment=web, not_before=after(days=1))


def test_it_pays_and_then_takes_down(alice, web, task, points):
    result = cleanup_with_distribution(web, alice, at=EIGHT)

    assert result == CleanupResult(
        success=True, rewards_distributed=3, rewards_amount=Decimal(27), totals={"points": Decimal(27)},
        cleanup_completed=True, rollback_occurred=False, error_message=None,
    )  # fmt: skip
    assert holdings(alice, points) == 27
    web.refresh_from_db()
    assert (web.status, web.deleted_at, web.resources_released_at) == ("deleted", EIGHT, EIGHT)
    assert {*web.replicas.values_list("status", "stopped_at")} == {("stopped", EIGHT)}
    assert get_pending_rewards(at=after(days=2)) == []
    event = AuditEvent.objects.get(event_type="deployment_deleted")
    assert (event.user, event.actor, event.success) == (alice, alice, True)
    assert event.data == {"deployment": str(web.pk), "replicas_stopped": 2}


def test_with_nothing_pending_it_is_taken_down_all_the_same(alice, web, points):
    result = cleanup_with_distribution(web.pk, alice, at=SEVEN)

    assert (result.success, result.cleanup_completed) == (True, True)
    assert (result.rewards_distributed, result.rewards_amount, result.totals) == (0, Decimal(0), {})
    assert Deployment.objects.get().deleted_at == SEVEN
    assert not Journal.objects.exists()


def test_of_several_currencies_there_is_no_one_amount(alice, web, task, coins):
    queue_reward(alice, coins, 1_25, "task-2", at=SEVEN, deployment=web)

    result = cleanup_with_distribution(web, alice, at=EIGHT)

    assert (result.rewards_distributed, result.rewards_amount) == (4, None)
    assert result.totals == {"points": Decimal(27), "coins": Decimal("1.25")}


def test_it_pays_for_its_own_deployment_alone(alice, bob, web, points):
    create_deployment(alice, "other", 1, SEVEN)
    queue_reward(alice, points, 100, "not for a deployment", at=SEVEN)
    queue_reward(bob, points, 3, "bob-helped", at=SEVEN, deployment=web)

    cleanup_with_distribution(web, alice, at=EIGHT)

    assert (holdings(alice, points), holdings(bob, points)) == (20, 3)
    assert len(get_pending_rewards(at=EIGHT)) == 2


def test_what_has_expired_is_not_pending(alice, web, points):
    queue_reward(alice, points, 5, "too late", at=SEVEN, deployment=web, expires_at=EIGHT)

    assert cleanup_with_distribution(web, alice, at=EIGHT).rewards_amount == 20
    assert PendingReward.objects.get(reward_id="too late").status == "queued"


def test_a_dead_reward_stands_in_the_way_until_it_is_dealt_with(alice, web, coins, points):
    queue_reward(alice, coins, 125, "bonus", at=SEVEN, deployment=web)
    Currency.objects.filter(code="coins").update(active=False)
    for _ in range(6):  # however often somebody asks
        assert not cleanup_with_distribution(web, alice, at=EIGHT).success
    assert PendingReward.objects.get().status == "failed"
    Currency.objects.filter(code="coins").update(active=True)
    assert "failed for good" in cleanup_with_distribution(web, alice, at=EIGHT).error_message

    PendingReward.objects.update(status="queued", retry_count=0)
    assert cleanup_with_distribution(web, alice, at=EIGHT).totals == {"coins": Decimal("1.25"), "points": Decimal(20)}


def test_replicas_that_had_ended_stay_as_they_were(alice, web):
    failed = web.replicas.first()
    Replica.objects.filter(pk=failed.pk).update(status="failed")

    assert cleanup_with_distribution(web, alice, at=EIGHT).rewards_amount == 10
    failed.refresh_from_db()
    assert (failed.status, failed.stopped_at) == ("failed", None)


def test_it_ends_once(alice, bob, web):
    cleanup_with_distribution(web, alice, at=EIGHT)
    before = everything()

    for which, who in ((web, alice), (uuid4(), alice)):
        with pytest.raises(DeploymentGone):
            cleanup_with_distribution(which, who, at=after(hours=2))
    assert what_differs(before) == {}


def test_a_stranger_ends_nothing_and_staff_and_the_product_do(alice, bob, make_user, web):
    with pytest.raises(DeploymentGone):
        cleanup_with_distribution(web, bob, at=EIGHT)
    assert Deployment.objects.get().deleted_at is None

    assert cleanup_with_distribution(web, make_user("support", is_staff=True), at=EIGHT).success
    assert cleanup_with_distribution(create_deployment(alice, "web", 1, SEVEN), None, at=EIGHT).success


@pytest.mark.parametrize(("name", "replicas"), [("", 1), (" ", 1), ("x" * 121, 1), ("web", 0), ("web", 101)])
def test_a_deployment_has_a_name_and_replicas(alice, name, replicas):
    with pytest.raises(InvalidDeployment):
        create_deployment(alice, name, replicas, SEVEN)
    assert not Deployment.objects.exists()


# -------------------------------------------------------------------------------------------------------------- failure


@contextmanager
def inactive_currency(alice, points) -> Iterator[None]:
    points.active = False
    points.save()
    yield
    points.active = True
    points.save()


@contextmanager
def parameter(key: str, value: object) -> Iterator[None]:
    """A parameter is something else for a while."""
    usual = param(key)
    set_parameter(key, value, actor=None, reason="A fault")
    yield
    set_parameter(key, usual, actor=None, reason="It is mended")


# Cause → what makes it, and what the result says of it.
FAULTS = {
    "the currency is inactive": (inactive_currency, "not active"),
    "there is no such currency": (lambda *_: parameter("pending.currency", "nuggets"), "no currency 'nuggets'"),
    "payouts are paused": (lambda *_: parameter("payouts_paused", True), "paused"),
    "the source is empty": (lambda *_: parameter("pending.source", "treasury"), "holds 0"),
    "a reward cannot be queued": (lambda *_: refused("rewards_pendingreward"), ""),
    "the distribution cannot open": (lambda *_: refused("rewards_distribution"), ""),
    "its rows cannot be written": (lambda *_: refused("rewards_reward"), ""),
    "the ledger refuses a transfer": (lambda *_: refused("rewards_transfer"), ""),
    "balances do not move": (lambda *_: refused("rewards_account", "UPDATE"), ""),
    "the audit refuses what was paid": (
        lambda *_: refused("rewards_auditevent", when="NEW.event_type = 'reward_distributed'"), "",
    ),
    "the instant does not move": (
        lambda *_: refused("rewards_replica", "UPDATE", "NEW.rewarded_until IS NOT NULL AND NEW.stopped_at IS NULL"),
        "",
    ),
    "a replica does not stop": (lambda *_: refused("rewards_replica", "UPDATE", "NEW.status = 'stopped'"), ""),
    "the deployment does not end": (lambda *_: refused("rewards_deployment", "UPDATE"), ""),
    "the audit refuses its end": (
        lambda *_: refused("rewards_auditevent", when="NEW.event_type = 'deployment_deleted'"), "",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("fault", "words"), FAULTS.values(), ids=FAULTS)
def test_whatever_fails_nothing_has_happened_and_afterwards_it_is_paid_once(
    alice, web, task, points, fault, words, caplog
):
    before = everything()
    with fault(alice, points):
        broken = everything()
        with caplog.at_level(logging.CRITICAL):
            result = cleanup_with_distribution(web, alice, at=EIGHT)
        differences = what_differs(broken)

    assert (result.success, result.cleanup_completed, result.rollback_occurred) == (False, False, True)
    assert (result.rewards_distributed, result.totals) == (0, {})
    assert words in result.error_message
    only_the_culprit = [{"retry_count", "last_error", "not_before"}]
    assert differences.pop("rewards_pendingreward", only_the_culprit) == only_the_culprit
    assert differences.keys() == {"rewards_auditevent", "rewards_alert"}
    failed = AuditEvent.objects.get(success=False)
    assert (failed.event_type, failed.data["deployment"]) == ("distribution_failed", str(web.pk))
    alert = Alert.objects.get(code="cleanup_failed", resolved_at=None)
    assert (alert.subject, alert.severity) == (str(web.pk), "critical")
    assert result.error_message in alert.message
    (line,) = [each for each in caplog.records if each.levelno == logging.CRITICAL]
    assert "manual intervention required" in line.getMessage()
    assert str(web.pk) in line.getMessage()

    untouched = {"rewards_account", "rewards_transfer", "rewards_journal", "rewards_reward", "rewards_distribution",
                 "rewards_deployment", "rewards_replica"}  # fmt: skip
    assert not what_differs(before).keys() & untouched
    again = cleanup_with_distribution(web, alice, at=EIGHT)
    assert (again.success, again.rewards_amount, holdings(alice, points)) == (True, 27, 27)
    assert not Alert.objects.filter(code="cleanup_failed", resolved_at=None).exists()
    assert PendingReward.objects.filter(status="distributed").count() == 3


def test_an_account_that_is_full_is_named(alice, bob, web, points, give):
    give(alice, points, MAX_MINOR - 10)
    queue_reward(bob, points, 1, "bob-1", at=SEVEN - timedelta(days=1), deployment=web)
    before = everything()

    result = cleanup_with_distribution(web, alice, at=EIGHT)

    assert not result.success
    second = get_pending_rewards(deployment=web, at=EIGHT)[-1]  # the first of her two would have fitted
    assert f"{second.reward_id} (alice)" in result.error_message
    assert what_differs(before).keys() == {"rewards_auditevent", "rewards_alert"}


def test_a_second_failure_counts_on_the_alert(alice, web, points, caplog):
    with inactive_currency(alice, points):
        for _ in range(2):
            cleanup_with_distribution(web, alice, at=EIGHT)

    assert Alert.objects.get(code="cleanup_failed").count == 2
    assert Currency.objects.get().active
