"""Deployments in the admin: what they earned, taken down with their payout or not at all; staking positions."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.urls import reverse
from django.utils import timezone

from rewards.deployments.models import Deployment, StakingPosition
from rewards.deployments.services import create_deployment, stake, unstake
from rewards.ledger.models import Account, Currency
from rewards.ledger.services import Move, balance, post, system_account, user_account
from rewards.parameters.services import create_missing_parameters
from rewards.pending.services import queue_reward
from rewards.users.models import User


def address(view: str, *args: Any, model: str = "deployment") -> str:
    return reverse(f"admin:rewards_{model}_{view}", args=args)


def said(response: Any) -> str:
    return " ".join(str(message) for message in get_messages(response.wsgi_request))


@pytest.fixture
def shop(points: Currency, alice: User) -> Deployment:
    """Alice's, on two replicas for ten hours and a bit, at ten points an hour each; and five points are queued."""
    create_missing_parameters()
    now = timezone.now()
    shop = create_deployment(alice, "shop", 2, now - timedelta(hours=10, minutes=1))
    queue_reward(alice, points, 5, "task-1", deployment=shop, reason="A good month", at=now)
    return shop


def test_a_deployment_shows_its_replicas_and_what_is_pending_for_it(sign_in, shop) -> None:
    shown = sign_in("Viewer").get(address("change", shop.pk)).content.decode()
    assert "205 points" in shown
    assert "A good month" in shown
    for replica in shop.replicas.all():
        assert str(replica.pk) in shown
    assert address("take_down", shop.pk) not in shown


def test_an_operator_reads_in_numbers_what_deleting_pays_and_does_it(sign_in, shop, alice, points) -> None:
    operator, url = sign_in("Operator"), address("take_down", shop.pk)
    asked = operator.get(url).content.decode()
    assert "205 points pending for it are paid to alice" in asked
    assert "shop is deleted; 205 points in 3 rewards paid to alice." in said(operator.post(url))
    shop.refresh_from_db()
    assert shop.status == "deleted"
    assert balance(user_account(alice, points)) == 205
    shown = operator.get(address("change", shop.pk)).content.decode()
    assert "All it earned was paid" in shown
    assert url not in shown
    assert "(deployment_gone)" in said(operator.post(url))
    assert balance(user_account(alice, points)) == 205


def test_what_cannot_be_paid_is_not_deleted_and_everybody_sees_why(sign_in, shop, alice) -> None:
    gems = Currency.objects.create(code="gems", active=False)
    queue_reward(alice, gems, 1, "task-2", deployment=shop, at=timezone.now())
    operator = sign_in("Operator")
    answer = operator.post(address("take_down", shop.pk))
    assert "nothing has changed" in said(answer)
    assert "(cleanup_failed)" in said(answer)
    shop.refresh_from_db()
    assert (shop.status, shop.deleted_at) == ("running", None)
    assert "It could not be deleted" in operator.get(address("change", shop.pk)).content.decode()
    dashboard = operator.get(reverse("admin:index")).content.decode()
    assert "Somebody is not paid." in dashboard
    assert f"Deployment {shop.pk} was not deleted, its rewards are not paid" in dashboard


@pytest.mark.parametrize("role", ["Viewer", "Support", "Approver"])
def test_whoever_may_only_look_deletes_nothing(sign_in, shop, role) -> None:
    assert sign_in(role).post(address("take_down", shop.pk)).status_code == 403
    for who in (sign_in(role), sign_in()):
        for url in (address("change", shop.pk), address("delete", shop.pk), address("add")):
            assert who.post(url, {"name": "mine", "post": "yes"}).status_code == 403
    assert Deployment.objects.get(pk=shop.pk).deleted_at is None


def test_deployments_are_found_by_owner_and_listed_by_whether_they_stand(sign_in, shop, bob) -> None:
    create_deployment(bob, "blog", 1, timezone.now())
    viewer = sign_in("Viewer")

    def listed(**query: str) -> list[str]:
        found = viewer.get(address("changelist"), query).context["cl"].result_list
        return [deployment.name for deployment in found]

    assert listed() == ["blog", "shop"]
    assert listed(q="ali") == ["shop"]
    sign_in("Operator").post(address("take_down", shop.pk))
    assert (listed(state="standing"), listed(state="deleted")) == (["blog"], ["shop"])


def test_a_staking_position_shows_its_principal_and_what_accrued(sign_in, points, alice) -> None:
    create_missing_parameters()
    now = timezone.now()
    income = Move(system_account("issuance", points), user_account(alice, points), 1_000_000)
    post("gift", "test", [income])
    position = stake(alice, points, 876_000, "first", now - timedelta(hours=10, minutes=1))
    viewer, url = sign_in("Viewer"), address("change", position.pk, model="stakingposition")
    shown = viewer.get(url).content.decode()
    assert "876,000 points" in shown
    assert "50 points" in shown  # 876,000 × 0.05 ÷ 8,760 an hour
    kept_on = Account.objects.get(user=alice, code=position.account_code)
    assert f"/admin/rewards/account/{kept_on.pk}/" in shown
    assert unstake(position.pk, now).success
    listed = viewer.get(address("changelist", model="stakingposition"), {"state": "unstaked"}).context["cl"]
    assert [row.pk for row in listed.result_list] == [position.pk]
    assert "unstaked" in viewer.get(url).content.decode()
    assert sign_in().post(url, {"staked": "1"}).status_code == 403
    assert StakingPosition.objects.get().staked == 876_000
