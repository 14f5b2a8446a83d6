"""The queue in the admin: what waits, what is dead, and what somebody queues again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from rewards.alerts.models import Alert
from rewards.ledger.models import Currency
from rewards.parameters.services import create_missing_parameters
from rewards.pending.drain import drain
from rewards.pending.models import PendingReward
from rewards.pending.services import queue_reward
from rewards.users.models import User

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def address(view: str, *args: Any) -> str:
    return reverse(f"admin:rewards_pendingreward_{view}", args=args)


def said(response: Any) -> str:
    return " ".join(str(message) for message in get_messages(response.wsgi_request))


def listed(client: Client, **query: str) -> list[str]:
    return [reward.reward_id for reward in client.get(address("changelist"), query).context["cl"].result_list]


@pytest.fixture
def queue(points: Currency, alice: User, bob: User) -> None:
    """One for Alice that waits for tomorrow, one that is paid, and one for Bob each dead and expired."""
    create_missing_parameters()
    gems = Currency.objects.create(code="gems", active=False)
    tomorrow, an_hour_ago = NOON + timedelta(days=1), NOON - timedelta(hours=1)
    queue_reward(alice, points, 7, "later", at=NOON, not_before=tomorrow)
    queue_reward(alice, points, 8, "paid", at=NOON)
    queue_reward(bob, gems, 9, "dead-1", at=NOON, max_retries=0)
    queue_reward(bob, points, 10, "expired-1", at=NOON - timedelta(days=1), expires_at=an_hour_ago)
    drain(NOON)


@pytest.fixture
def dead(queue: None) -> PendingReward:
    return PendingReward.objects.get(reward_id="dead-1", status="failed")


def test_the_list_is_filtered_by_state_and_searched_by_id_and_username(sign_in, queue) -> None:
    viewer = sign_in("Viewer")
    assert listed(viewer) == ["expired-1", "dead-1", "paid", "later"]
    assert listed(viewer, state="failed") == ["dead-1"]
    assert listed(viewer, state="queued") == ["later"]
    assert listed(viewer, state="distributed") == ["paid"]
    assert listed(viewer, q="dea") == ["dead-1"]
    assert listed(viewer, q="bo") == ["expired-1", "dead-1"]
    assert listed(viewer, q="bo", state="expired") == ["expired-1"]
    assert listed(viewer, q="nobody") == []


def test_a_row_says_how_often_and_why_it_failed_and_what_paid_it(sign_in, dead) -> None:
    viewer = sign_in("Viewer")
    shown = viewer.get(address("change", dead.pk)).content.decode()
    assert "1 of 1" in shown
    assert "The currency gems is not active." in shown
    paid = PendingReward.objects.get(reward_id="paid")
    assert f"/admin/rewards/distribution/{paid.distribution_id}/" in viewer.get(
        address("change", paid.pk)
    ).content.decode()  # fmt: skip


def test_an_operator_queues_a_dead_reward_again_and_it_is_paid(sign_in, dead) -> None:
    operator, url = sign_in("Operator"), address("queue_again", dead.pk)
    asked = operator.get(url).content.decode()
    assert "9 gems for bob go back into the queue" in asked
    assert "The currency gems is not active." in asked
    assert Alert.objects.get(code="pending_reward_dead").resolved_at is None

    Currency.objects.filter(code="gems").update(active=True)
    assert "dead-1 is queued again" in said(operator.post(url))
    assert Alert.objects.get(code="pending_reward_dead").resolved_at is not None
    drain(NOON + timedelta(minutes=1))
    dead.refresh_from_db()
    assert (dead.status, dead.retry_count) == ("distributed", 0)
    assert "(not_dead)" in said(operator.post(url))


def test_the_chosen_ones_of_many_are_queued_again_and_the_others_stay(sign_in, dead, bob) -> None:
    for number in (2, 3):
        queue_reward(bob, dead.currency, number, f"dead-{number}", at=NOON, max_retries=0)
    drain(NOON + timedelta(hours=1))
    operator = sign_in("Operator")
    shown = operator.get(address("dead"))
    assert shown.content.decode().count('name="reward"') == 3
    two = list(PendingReward.objects.filter(reward_id__in=["dead-1", "dead-3"]).values_list("pk", flat=True))
    paid = PendingReward.objects.get(reward_id="paid").pk
    answer = operator.post(address("dead"), {"reward": [*two, paid, "999999", "x"]})
    assert "2 rewards are queued again" in said(answer)
    assert "(not_dead)" in said(answer)
    assert "There is no reward 999999" in said(answer)
    assert listed(operator, state="failed") == ["dead-2"]
    assert "Nothing was chosen" in said(operator.post(address("dead")))


def test_an_expired_reward_is_queued_again_too_and_one_that_waits_is_not(sign_in, queue) -> None:
    operator = sign_in("Operator")
    expired, later = (PendingReward.objects.get(reward_id=name) for name in ("expired-1", "later"))
    assert address("queue_again", expired.pk) in operator.get(address("change", expired.pk)).content.decode()
    assert address("queue_again", later.pk) not in operator.get(address("change", later.pk)).content.decode()
    operator.post(address("queue_again", expired.pk))
    expired.refresh_from_db()
    assert (expired.status, expired.expires_at) == ("queued", None)


@pytest.mark.parametrize("role", ["Viewer", "Support", "Approver"])
def test_whoever_may_only_look_queues_nothing_again(sign_in, dead, role) -> None:
    staff = sign_in(role)
    shown = staff.get(address("dead")).content.decode()
    assert "dead-1" in shown
    assert 'name="reward"' not in shown
    assert staff.post(address("dead"), {"reward": [dead.pk]}).status_code == 403
    assert staff.post(address("queue_again", dead.pk)).status_code == 403
    assert PendingReward.objects.get(pk=dead.pk).status == "failed"


def test_nothing_of_the_queue_is_edited_or_deleted_here(sign_in, dead) -> None:
    for who in (sign_in(), sign_in("Administrator")):
        for url in (address("change", dead.pk), address("delete", dead.pk), address("add")):
            assert who.post(url, {"amount": "1000", "post": "yes"}).status_code == 403
    assert PendingReward.objects.get(pk=dead.pk).amount == 9


def test_the_dashboard_says_that_somebody_is_not_paid_while_a_reward_is_dead(sign_in, dead) -> None:
    viewer = sign_in("Viewer")
    shown = viewer.get(reverse("admin:index")).content.decode()
    assert "Somebody is not paid." in shown
    assert f'href="{address("dead")}">One pending reward is dead.' in shown
    assert "pending_reward_dead dead-1" in shown
    PendingReward.objects.filter(pk=dead.pk).update(status="queued", queued_at=timezone.now(), not_before=None)
    shown = viewer.get(reverse("admin:index")).content.decode()
    assert "Everybody is paid." in shown
    assert "the oldest due" in shown
