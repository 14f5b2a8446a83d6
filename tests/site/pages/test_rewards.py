"""Own rewards, why each is so much, the statement, and claiming on the chain: of the reader's, and of nobody else's."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from rewards.chain_claims.models import RewardClaim
from rewards.distributions.models import Reward
from rewards.ledger import services as ledger
from rewards.ledger.models import CLAIMABLE, Account
from rewards.users.models import User
from tests.site.pages.conftest import MOST_QUERIES, queries_of, signed_in

pytestmark = pytest.mark.django_db

WALLET = "0x52908400098527886E0F7030069857D2E4169EE7"
HTMX = {"HX-Request": "true"}


class TestList:
    def test_leads_through_all_of_them_page_by_page(self, alices, pay):
        for number in range(30):
            pay(f"payout {number:02d}")

        first = alices.get("/me/rewards/").text
        older = re.search(r'href="(\?before=\d+)">Older', first)
        assert older is not None
        second = alices.get("/me/rewards/" + older[1]).text

        seen = re.findall(r"payout (\d\d)</span>\s*<span class=\"quiet small block\"", first + second)
        assert seen == [f"{number:02d}" for number in reversed(range(30))]
        assert "Older" not in second
        assert "Newest" in second

    def test_by_status(self, alices, pay):
        pay("in the ledger")
        pay("on the chain", payout="chain")

        assert "in the ledger" not in alices.get("/me/rewards/?status=claimable").text
        assert "on the chain" in alices.get("/me/rewards/?status=claimable").text
        assert "No rewards of this kind" in alices.get("/me/rewards/?status=reversed").text

    def test_what_waits_for_approval_is_not_there(self, alices, pay):
        pay("waits", approval_limit=1)

        assert "waits" not in alices.get("/me/rewards/").text

    @pytest.mark.parametrize("query", ["?status=lost", "?before=x", "?before=-1", "?before=" + "9" * 40])
    def test_nonsense_does_no_harm(self, alices, query):
        assert alices.get(f"/me/rewards/{query}").status_code in (200, 404)

    def test_takes_few_queries_and_no_more_for_sixty(self, alices, pay):
        pay("0")
        few = queries_of(alices, "/me/rewards/")
        for number in range(1, 61):
            pay(str(number))

        assert queries_of(alices, "/me/rewards/") == few < MOST_QUERIES


class TestWhyThisAmount:
    def test_says_it_in_words_and_numbers(self, alice, alices, pay):
        reward = pay("1").rewards.get(user=alice)

        page = alices.get(f"/me/rewards/{reward.pk}/").text

        assert "<h1>Why 3.34 coins</h1>" in page
        assert "Place 1 of 3 with a score of 30" in page
        assert "10/3" in page  # the exact share
        assert f"/distributions/{reward.distribution_id}/" in page

    def test_htmx_gets_the_part_that_opens_below_the_row(self, alice, alices, pay):
        reward = pay("1").rewards.get(user=alice)

        part = alices.get(f"/me/rewards/{reward.pk}/", headers=HTMX).text

        assert "Place 1 of 3 with a score of 30" in part
        assert "<html" not in part
        assert f'data-closes="why-{reward.pk}"' in part

    def test_somebody_elses_is_not_found_like_none_at_all(self, alices, bob, pay):
        his = pay("1").rewards.get(user=bob)

        assert alices.get(f"/me/rewards/{his.pk}/").status_code == 404
        assert alices.get(f"/me/rewards/{his.pk}/", headers=HTMX).status_code == 404
        assert alices.get("/me/rewards/999999999/").status_code == 404
        assert alices.get(f"/me/rewards/{10**30}/").status_code == 404

    def test_takes_few_queries(self, alice, alices, pay):
        reward = pay("1").rewards.get(user=alice)

        assert queries_of(alices, f"/me/rewards/{reward.pk}/") < MOST_QUERIES


class TestStatement:
    def test_leads_through_all_lines(self, alice, alices, coins, points):
        for number in range(1, 41):
            ledger.credit(alice, coins, 100, f"coin {number}", f"Coin {number:02d}")

        first = alices.get("/me/statement/?currency=coins").text
        older = re.search(r'rel="next" href="([^"]+)"', first)
        assert older is not None
        second = alices.get("/me/statement/" + older[1].replace("&amp;", "&")).text

        assert re.findall(r"Coin (\d\d)", first + second) == [f"{number:02d}" for number in range(40, 0, -1)]
        assert "40.00 coins" in first
        assert 'rel="next"' not in second

    def test_of_a_currency_that_one_never_had_is_not_found(self, alices, bob, points):
        ledger.credit(bob, points, 5, "his", "his")

        assert alices.get("/me/statement/?currency=points").status_code == 404
        assert alices.get("/me/statement/").status_code == 200

    def test_a_cursor_of_somebody_else_is_refused_in_words(self, alice, alices, bob, coins):
        for user in (alice, bob):
            for number in range(40):
                ledger.credit(user, coins, 1, f"{user}{number}", "x")
        his = re.search(r'cursor=([^"]+)"', signed_in(bob).get("/me/statement/").text)
        assert his is not None

        response = alices.get(f"/me/statement/?currency=coins&cursor={his[1]}")

        assert response.status_code == 400
        assert "Begin with the newest lines" in response.text

    def test_reasons_that_are_markup_stay_text(self, alice, alices, coins):
        ledger.credit(alice, coins, 1, "x", "<script>alert(1)</script>")

        assert "<script>alert(1)" not in alices.get("/me/statement/").text

    def test_takes_few_queries_and_no_more_for_many_lines(self, alice, bob, alices, coins):
        ledger.credit(alice, coins, 1000, "first", "x")
        ledger.transfer(alice, bob, coins, 1, "t")
        few = queries_of(alices, "/me/statement/")
        for number in range(60):
            ledger.transfer(alice, bob, coins, 1, f"t{number}")

        assert queries_of(alices, "/me/statement/") == few < MOST_QUERIES


class TestClaiming:
    @pytest.fixture
    def reward(self, alice, pay) -> Reward:
        return pay("on the chain", payout="chain").rewards.get(user=alice)

    def test_is_offered_with_the_sum(self, alices, reward):
        assert 'href="/me/rewards/claim/"' in alices.get("/me/").text

        page = alices.get("/me/rewards/claim/").text

        assert "1 reward</span>" in page
        assert "Claim 3.34 coins" in page
        assert not RewardClaim.objects.exists()

    def test_is_called_the_same_on_the_page_of_the_payout(self, alices, reward):
        for address in ("/me/rewards/", f"/distributions/{reward.distribution_id}/"):
            page = alices.get(address).text
            assert '<span class="badge badge-info">to be claimed</span>' in page

    def test_confirmed_puts_it_under_way(self, alice, alices, coins, reward):
        response = alices.post("/me/rewards/claim/", {"reward": [reward.pk], "wallet_address": WALLET}, follow=True)

        assert response.redirect_chain == [("/me/rewards/", 302)]
        assert "1 reward on the way" in response.text
        assert RewardClaim.objects.get().wallet_address == WALLET
        assert "Nothing to claim" in alices.get("/me/rewards/claim/").text

    def test_twice_claims_once(self, alice, alices, coins, reward):
        for _ in range(2):
            alices.post("/me/rewards/claim/", {"reward": [reward.pk], "wallet_address": WALLET})

        assert RewardClaim.objects.count() == 1
        assert Account.objects.get(user=alice, currency=coins, code=CLAIMABLE).balance == 334

    def test_without_a_wallet_says_what_is_missing_and_takes_none_from_the_profile(self, alice, alices, reward):
        User.objects.filter(pk=alice.pk).update(wallet_address=WALLET)

        response = alices.post("/me/rewards/claim/", {"reward": [reward.pk], "wallet_address": " "})

        assert response.status_code == 422
        assert "There is no wallet address" in response.text
        assert not RewardClaim.objects.exists()

    def test_of_somebody_else_is_not_found(self, alices, bob, reward):
        his = Reward.objects.get(user=bob)

        response = alices.post("/me/rewards/claim/", {"reward": [his.pk], "wallet_address": WALLET})

        assert response.status_code == 404
        assert not RewardClaim.objects.exists()

    def test_needs_the_token_of_the_form(self, alice, reward):
        client = Client(enforce_csrf_checks=True)
        client.force_login(alice)

        assert client.post("/me/rewards/claim/", {"reward": [reward.pk], "wallet_address": WALLET}).status_code == 403

    def test_of_nothing_says_so(self, alices, reward):
        response = alices.post("/me/rewards/claim/", {"wallet_address": WALLET})

        assert response.status_code == 400
        assert "Choose one to 100 rewards" in response.text
