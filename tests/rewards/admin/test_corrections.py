"""A payout taken back, late events corrected: what the pages show and do."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.db import transaction
from django.urls import reverse

from rewards.activity.services import NewEvent, record_events
from rewards.campaigns.corrections import differences
from rewards.campaigns.models import Campaign
from rewards.distributions.models import Distribution
from rewards.distributions.queries import status_of
from rewards.ledger import services as ledger
from rewards.ledger.models import DEBT, WRITE_OFF, Account
from rewards.pools.services import run_hourly
from rewards.users.models import User

from .conftest import instant


def address(view: str, *args: Any, model: str = "distribution") -> str:
    return reverse(f"admin:rewards_{model}_{view}", args=args)


def said(response: Any) -> str:
    return " ".join(str(message) for message in get_messages(response.wsgi_request))


def page(response: Any) -> str:
    assert response.status_code == 200
    return " ".join(response.content.decode().split())


class TestTakingBack:
    @pytest.fixture
    def spent(self, paid_hour, points) -> Distribution:
        """Bob has spent 30 of his 40 points."""
        with transaction.atomic():
            ledger.debit(User.objects.get(username="bob"), points, 30, "hat", "a hat")
        return paid_hour

    def balance(self, code: str = "", user: str | None = "bob") -> int:
        return ledger.balance(Account.objects.get(user__username=user, code=code))

    def test_says_first_who_has_spent_it_and_offers_the_choice(self, sign_in, spent) -> None:
        text = page(sign_in("Approver").get(address("reverse", spent.pk)))
        assert "150 points are taken back from 3 recipients" in text
        assert "bob" in text
        assert "Lend it to them" in text
        assert "Write it off" in text

    def test_without_a_choice_it_is_refused_and_said(self, sign_in, spent) -> None:
        answer = sign_in("Approver").post(address("reverse", spent.pk), {"reason": "Wrong rate"})
        assert "In all 30 points are missing" in said(answer)
        spent.refresh_from_db()
        assert spent.status == "paid"

    def test_lent_the_debt_is_listed_and_on_his_page(self, sign_in, spent) -> None:
        approver, root = sign_in("Approver"), sign_in()
        answer = approver.post(address("reverse", spent.pk), {"reason": "Wrong rate", "missing": "lend"})
        assert "30 points were lent to 1 of the recipients" in said(answer)
        spent.refresh_from_db()
        assert (spent.status, self.balance(), self.balance(DEBT)) == ("reversed", 0, -30)
        debts = page(root.get(address("changelist", model="account"), {"owner": "debt"}))
        assert "-30 points" in debts
        assert "pool:hourly" not in debts
        bob = User.objects.get(username="bob")
        assert "owes" in page(root.get(address("change", bob.pk, model="user")))

    def test_one_reward_is_taken_back_from_its_page(self, sign_in, spent) -> None:
        approver, reward = sign_in("Approver"), spent.rewards.get(user__username="bob")
        url = address("reverse", reward.pk, model="reward")
        assert url in page(approver.get(address("change", reward.pk, model="reward")))
        assert "40 points return to pool:hourly" in page(approver.get(url))

        answer = approver.post(url, {"reason": "Not his", "missing": "write_off"}, follow=True)
        assert "30 points were written off for bob" in page(answer)
        assert status_of(reward) == "reversed"
        spent.refresh_from_db()
        assert (spent.status, self.balance(WRITE_OFF, user=None)) == ("paid", -30)
        assert url not in page(approver.get(address("change", reward.pk, model="reward")))

    @pytest.mark.parametrize("role", ["Viewer", "Operator"])
    def test_takes_the_right(self, sign_in, spent, role) -> None:
        reward = spent.rewards.get(user__username="bob")
        for url in (address("reverse", spent.pk), address("reverse", reward.pk, model="reward")):
            assert sign_in(role).post(url, {"reason": "mine", "missing": "lend"}).status_code == 403
        assert self.balance() == 10


class TestLateEvents:
    @pytest.fixture
    def late(self, paid_hour) -> Distribution:
        vote = NewEvent("late", "dave", "cc_vote", 6, instant("2026-11-20T07:50"), {"vote_type": "like"})
        record_events([vote], create_users=True, at=instant("2026-11-20T12:00"))
        run_hourly(instant("2026-11-20T12:30"))
        paid_hour.refresh_from_db()
        assert paid_hour.late_events == 1
        return paid_hour

    def test_differences_are_shown_and_a_correction_is_prepared_once(self, sign_in, late) -> None:
        operator, url = sign_in("Operator"), address("late", late.pk)
        assert url in page(operator.get(address("change", late.pk)))
        shown = operator.get(url)
        assert "dave" in page(shown)
        found = differences(late)
        assert (len(found.missing), found.to_pay) == (3, 160)
        assert f"Prepare a correction of {found.to_pay} points" in page(shown)

        operator.post(url)
        campaign = Campaign.objects.get()
        assert (campaign.corrects, campaign.prepared_by.username) == (late, "operator")
        again = page(operator.get(url))
        assert f"correction-{late.pk}" in again
        assert "Prepare a correction" not in again
        operator.post(url)
        assert Campaign.objects.count() == 1

    def test_who_only_looks_prepares_nothing(self, sign_in, late) -> None:
        viewer, url = sign_in("Viewer"), address("late", late.pk)
        assert "Prepare a correction" not in page(viewer.get(url))
        assert viewer.post(url).status_code == 403
        assert not Campaign.objects.exists()

    def test_without_late_events_there_is_no_link(self, sign_in, paid_hour) -> None:
        assert address("late", paid_hour.pk) not in page(sign_in().get(address("change", paid_hour.pk)))
