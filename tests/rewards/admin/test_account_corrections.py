"""Support corrects an account in the admin: the form, what it comes to in numbers, the deed, and taking it back."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import transaction
from django.urls import reverse

from rewards.ledger import services as ledger
from rewards.ledger.models import Correction, Journal
from rewards.parameters.services import set_parameter
from rewards.users.models import User

pytestmark = pytest.mark.django_db


def page(response: Any) -> str:
    assert response.status_code == 200
    return " ".join(response.content.decode().split())


def correct_page(user: User) -> str:
    return reverse("admin:rewards_user_correct", args=[user.pk])


def hidden(text: str) -> dict[str, str]:
    """What the page would send back."""
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', text))


def fields(**changed: str) -> dict[str, str]:
    given = {"deed": "give:issuance", "currency": "coins", "amount": "12.50", "reason": "A vote was lost", "key": "k"}
    return given | changed


@pytest.fixture
def rich(alice, coins) -> User:
    """Alice has 30 coins."""
    with transaction.atomic():
        ledger.credit(alice, coins, 3000, "welcome", "welcome")
    return alice


def holdings(user, currency) -> int:
    return ledger.balance(ledger.user_account(user, currency))


class TestCorrecting:
    def test_asks_shows_the_numbers_and_does_it(self, sign_in, rich, coins) -> None:
        support, url = sign_in("Support"), correct_page(rich)
        assert url in page(support.get(reverse("admin:rewards_user_change", args=[rich.pk])))
        asked = page(support.get(url, {"currency": "coins"}))
        assert "Left of your limit today" in asked
        assert re.search(r'<option value="coins" selected', asked)
        key = re.search(r'name="key" value="(\w{32})"', asked)
        assert key

        shown = page(support.post(url, fields(key=key[1])))
        for text in (
            "30.00 coins → 42.50 coins",
            "1,000.00 coins → 987.50 coins",
            "Give 12.50 coins",
            "A vote was lost",
        ):
            assert text in shown
        assert not Correction.objects.exists()

        done = page(support.post(url, hidden(shown), follow=True))
        journal = Journal.objects.get(kind="correction")
        assert "12.50 coins were given to alice" in done
        assert reverse("admin:rewards_journal_change", args=[journal.pk]) in done
        assert (holdings(rich, coins), journal.actor.username, journal.reason) == (4250, "support", "A vote was lost")

        support.post(url, hidden(shown))
        assert holdings(rich, coins) == 4250

    def test_takes_too(self, sign_in, rich, coins) -> None:
        support, url = sign_in("Support"), correct_page(rich)
        shown = page(support.post(url, fields(deed="take:treasury")))
        assert "30.00 coins → 17.50 coins" in shown
        assert "0.00 coins → 12.50 coins" in shown
        support.post(url, hidden(shown))
        assert holdings(rich, coins) == 1750
        assert ledger.balance(ledger.system_account("treasury", coins)) == 1250

    @pytest.mark.parametrize(
        ("changed", "sentence"),
        [
            ({"amount": "0"}, "above zero"),
            ({"amount": "-1"}, "above zero"),
            ({"amount": "1.001"}, "decimal"),
            ({"amount": "much"}, "number"),
            ({"amount": "1000.01"}, "correction_limit"),
            ({"amount": "31", "deed": "take:burn"}, "alice has 30.00 coins: no more can be taken"),
            ({"amount": "1", "deed": "give:treasury"}, "The treasury has 0.00 coins"),
            ({"deed": "give:burn"}, "valid choice"),
            ({"currency": "gold"}, "valid choice"),
            ({"reason": " "}, "a reason is needed"),
        ],
    )
    @pytest.mark.parametrize("confirmed", [False, True])
    def test_a_mistake_is_said_at_its_field(self, sign_in, rich, changed, sentence, confirmed) -> None:
        sent = fields(**changed) | ({"confirmed": "1"} if confirmed else {})
        response = sign_in("Support").post(correct_page(rich), sent)
        text = page(response)
        if confirmed and "coins" in sentence:
            sentence = "insufficient_funds"
        assert sentence in text
        assert not Correction.objects.exists()

    def test_nobody_corrects_himself(self, sign_in, coins) -> None:
        for role in ("Support", None):
            client = sign_in(role)
            own = User.objects.get(username=(role or "root").lower())
            for answer in (
                client.get(correct_page(own), follow=True),
                client.post(correct_page(own), fields(confirmed="1"), follow=True),
            ):
                assert "own_correction" in page(answer)
            change = page(client.get(reverse("admin:rewards_user_change", args=[own.pk])))
            assert correct_page(own) not in change
        assert not Correction.objects.exists()

    @pytest.mark.parametrize("role", ["Viewer", "Operator", "Approver"])
    def test_takes_the_right(self, sign_in, rich, role) -> None:
        client = sign_in(role)
        for answer in (client.get(correct_page(rich)), client.post(correct_page(rich), fields(confirmed="1"))):
            assert answer.status_code == 403
        assert correct_page(rich) not in page(client.get(reverse("admin:rewards_user_change", args=[rich.pk])))
        assert not Correction.objects.exists()

    def test_the_statement_leads_there(self, sign_in, rich, coins) -> None:
        account = ledger.user_account(rich, coins)
        statement = reverse("admin:rewards_account_show_statement", args=[account.pk])
        assert f"{correct_page(rich)}?currency=coins" in page(sign_in("Support").get(statement))
        assert correct_page(rich) not in page(sign_in("Viewer").get(statement))
        issuance = ledger.system_account("issuance", coins)
        of_issuance = reverse("admin:rewards_account_show_statement", args=[issuance.pk])
        assert "Correct…" not in page(sign_in("Support").get(of_issuance))


class TestTakingBack:
    @pytest.fixture
    def correction(self, sign_in, rich) -> Correction:
        sign_in("Support").post(correct_page(rich), fields(confirmed="1"))
        return Correction.objects.get()

    def test_is_offered_on_its_journal_asks_and_mirrors(self, sign_in, correction, coins) -> None:
        support = sign_in("Support")
        journal = reverse("admin:rewards_journal_take_back", args=[correction.journal_id])
        url = reverse("admin:rewards_correction_take_back", args=[correction.pk])
        assert journal in page(support.get(reverse("admin:rewards_journal_change", args=[correction.journal_id])))
        asked = page(support.get(journal, follow=True))
        assert "42.50 coins → 30.00 coins" in asked
        assert "a reason is needed" in page(support.post(url, {"reason": ""}))

        done = page(support.post(url, {"reason": "The wrong Alice"}, follow=True))
        assert "12.50 coins were taken from alice" in done
        assert holdings(correction.user, coins) == 3000
        stands = reverse("admin:rewards_correction_change", args=[correction.pk])
        assert url not in page(support.get(stands))
        assert "taken back" in page(support.get(stands))
        support.post(url, {"reason": "Again"})
        assert holdings(correction.user, coins) == 3000

    def test_beyond_the_limit_it_is_refused_and_said(self, sign_in, correction) -> None:
        set_parameter("corrections.daily_limit", 20, actor=None, reason="Here")
        url = reverse("admin:rewards_correction_take_back", args=[correction.pk])
        assert "correction_limit" in page(sign_in("Support").post(url, {"reason": "Wrong"}, follow=True))
        assert Correction.objects.count() == 1

    @pytest.mark.parametrize("role", ["Viewer", "Operator", "Approver"])
    def test_takes_the_right(self, sign_in, correction, role) -> None:
        client = sign_in(role)
        for url in (
            reverse("admin:rewards_correction_take_back", args=[correction.pk]),
            reverse("admin:rewards_journal_take_back", args=[correction.journal_id]),
        ):
            assert client.post(url, {"reason": "mine"}).status_code == 403
        assert Correction.objects.count() == 1

    def test_a_journal_that_is_none_has_no_button(self, sign_in, rich) -> None:
        journal = Journal.objects.get(key="welcome")
        client, back = sign_in(), reverse("admin:rewards_journal_take_back", args=[journal.pk])
        assert back not in page(client.get(reverse("admin:rewards_journal_change", args=[journal.pk])))
        assert client.get(back).status_code == 404

    def test_the_list_finds_by_user_and_says_what_became_of_it(self, sign_in, correction) -> None:
        viewer, changelist = sign_in("Viewer"), reverse("admin:rewards_correction_changelist")
        text = page(viewer.get(changelist, {"q": "ali"}))
        assert "+12.50 coins" in text
        assert "stands" in text
        assert "+12.50 coins" not in page(viewer.get(changelist, {"q": "bob"}))
        assert "+12.50 coins" in page(viewer.get(changelist, {"user__id__exact": str(correction.user_id)}))
