"""The drainer: by priority, the oldest first, and a bad reward holds up nobody."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest
from django.core.management import call_command

from rewards.alerts.models import Alert
from rewards.audit.models import AuditEvent
from rewards.distributions.errors import NotAllowed
from rewards.jobs import shutdown
from rewards.ledger.models import Currency
from rewards.ledger.services import balance, user_account
from rewards.parameters.services import set_parameter
from rewards.pending.drain import drain, drain_before_shutdown, drain_some
from rewards.pending.errors import NotDead
from rewards.pending.models import PendingReward
from rewards.pending.queries import metrics
from rewards.pending.services import requeue
from tests.rewards.pending.conftest import NOON

pytestmark = pytest.mark.django_db


def states() -> dict[str, str]:
    return dict(PendingReward.objects.values_list("reward_id", "status"))


def test_high_goes_first_then_the_oldest(queued, alice) -> None:
    set_parameter("pending.batch_rows", 2, actor=None, reason="Small")
    queued(alice, 1, "low", priority="low", at=NOON - timedelta(hours=9))
    queued(alice, 1, "young", at=NOON)
    queued(alice, 1, "old", at=NOON - timedelta(hours=1))
    queued(alice, 1, "high", priority="high")

    order = []
    while drain_some(NOON):
        paid = {name for name, status in states().items() if status == "distributed"}
        order.append(paid - set().union(*order))

    assert order == [{"high", "old"}, {"young", "low"}]


def test_a_bad_reward_holds_up_nobody(queued, alice, bob, coins, points) -> None:
    for number in range(5):
        queued(alice, 1, f"good-{number}")
    queued(bob, 7, "bad", currency=points)
    Currency.objects.filter(code="points").update(active=False)

    drained = drain(NOON)

    assert (drained.paid, drained.failed, drained.expired) == (5, 1, 0)
    assert balance(user_account(alice, coins)) == 5
    bad = PendingReward.objects.get(reward_id="bad")
    assert (bad.status, bad.retry_count, bad.last_error) == ("queued", 1, "The currency points is not active.")
    assert AuditEvent.objects.filter(event_type="distribution_failed").count() == 1


def test_who_failed_is_left_alone_until_his_time_then_paid_once(queued, alice, coins) -> None:
    queued(alice, 5)
    Currency.objects.filter(code="coins").update(active=False)
    drain(NOON)
    Currency.objects.filter(code="coins").update(active=True)

    assert not drain(NOON + timedelta(seconds=59))
    assert drain(NOON + timedelta(seconds=60)).paid == 1
    assert not drain(NOON + timedelta(days=1))
    assert balance(user_account(alice, coins)) == 5


def test_what_has_expired_is_marked_and_not_paid(queued, alice, coins) -> None:
    queued(alice, 5, "late", expires_at=NOON)
    assert drain(NOON).figures() == {"paid": 0, "failed": 0, "expired": 1}
    assert states() == {"late": "expired"}
    assert balance(user_account(alice, coins)) == 0


def test_a_pause_leaves_the_queue_as_it_is(queued, alice) -> None:
    queued(alice, 5, "waits")
    set_parameter("payouts_paused", True, actor=None, reason="Wait")
    assert not drain(NOON)
    assert states() == {"waits": "queued"}
    assert PendingReward.objects.get().retry_count == 0


def test_a_dead_reward_is_queued_again_by_who_may(queued, alice, staff, coins) -> None:
    queued(alice, 5, "r", max_retries=0)
    Currency.objects.filter(code="coins").update(active=False)
    drain(NOON)
    dead = PendingReward.objects.get()
    assert dead.status == "failed"
    assert Alert.objects.filter(code="pending_reward_dead", resolved_at=None).count() == 1

    with pytest.raises(NotAllowed):
        requeue(dead.pk, staff("viewer"), NOON)
    operator = staff("operator", "requeue_pendingreward")
    requeue(dead.pk, operator, NOON)
    with pytest.raises(NotDead):
        requeue(dead.pk, operator, NOON)

    Currency.objects.filter(code="coins").update(active=True)
    assert drain(NOON).paid == 1
    assert not Alert.objects.filter(code="pending_reward_dead", resolved_at=None).exists()


def test_the_command_pays_and_says_what_it_did(queued, alice, capsys) -> None:
    queued(alice, 5)
    call_command("drain_pending", "--dry-run", "--at", NOON.isoformat())
    assert "1 rewards would be taken" in capsys.readouterr().out
    assert set(states().values()) == {"queued"}

    call_command("drain_pending", "--at", NOON.isoformat())
    assert "drain_pending: 1 paid, 0 failed, 0 expired" in capsys.readouterr().out
    assert set(states().values()) == {"distributed"}


def test_a_worker_pays_what_is_pending_before_it_ends(queued, alice, coins) -> None:
    queued(alice, 5)
    shutdown.ask()
    try:
        drain_before_shutdown()
    finally:
        shutdown.take_back()
    assert balance(user_account(alice, coins)) == 5


def test_a_failure_at_the_end_of_a_worker_is_said_and_loses_nothing(queued, alice, caplog) -> None:
    queued(alice, 5, "r")
    Currency.objects.filter(code="coins").update(active=False)
    with caplog.at_level(logging.CRITICAL):
        drain_before_shutdown()
    assert "manual intervention required" in caplog.text
    assert states() == {"r": "queued"}


def test_a_pause_is_no_emergency_at_the_end_of_a_worker(queued, alice, caplog) -> None:
    queued(alice, 5, "r")
    set_parameter("payouts_paused", True, actor=None, reason="Wait")
    with caplog.at_level(logging.ERROR):
        drain_before_shutdown()
    assert caplog.text == ""
    assert not AuditEvent.objects.filter(event_type="distribution_failed").exists()


def test_metrics_come_from_the_database(queued, alice, points) -> None:
    queued(alice, 1_50)
    drain(NOON)
    queued(alice, 2_00)
    queued(alice, 7, "bad", currency=points)
    Currency.objects.filter(code="points").update(active=False)
    drain(NOON)
    figures = metrics()

    assert figures["totals"] == {"coins": "3.50"}
    assert figures["total_amount_distributed"] == "3.50"
    assert (figures["total_distributions"], figures["successful_distributions"]) == (3, 2)
    assert (figures["failed_distributions"], figures["rollbacks_performed"]) == (1, 1)
    assert (figures["pending_depth"], figures["dead"]) == (1, 0)
    assert figures["durations"]["longest"] >= figures["durations"]["last"] >= 0
