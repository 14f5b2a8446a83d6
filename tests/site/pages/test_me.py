"""The reader's own page: what he has, why, and what is next. Nothing is written by looking."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.test import Client
from django.utils import timezone

from badges.services import check_badges
from badges.setup import create_default_badges
from leaderboard.services import create_default_boards, refresh_boards
from rewards.activity.services import NewEvent, record_events
from rewards.claims.models import ChargeClock
from rewards.ledger import services as ledger
from rewards.ledger.models import Currency, Journal
from rewards.users.models import User
from tests.site.pages.conftest import MOST_QUERIES, queries_of, signed_in

pytestmark = pytest.mark.django_db


def did(user: User, metric: str, quantity: int) -> None:
    at = timezone.now() - timedelta(minutes=5)
    event = NewEvent(f"{user}:{metric}", user.username, metric, quantity, at)
    assert record_events([event], at=at).accepted == 1


@pytest.fixture
def everything(alice, bob, points, pay):
    create_default_badges()
    create_default_boards()
    did(alice, "cases_won", 2)
    did(alice, "votes", 4)
    ledger.credit(bob, points, 200, "his", "won")
    pay("1")
    check_badges(timezone.now())
    refresh_boards(timezone.now())


class TestPage:
    def test_of_who_has_nothing_says_what_to_do_next(self, alices):
        page = alices.get("/me/").text

        assert "No balance yet" in page
        assert "No rewards yet" in page
        assert "No badges yet" in page
        assert 'href="/cases/"' in page

    def test_shows_balances_badges_ranks_statistics_and_rewards(self, alices, everything):
        page = alices.get("/me/").text

        assert ">3.34<" in page  # coins
        assert "First Victory" in page
        assert 'value="2" max="5"' in page
        assert "2/5 wins" in page
        assert "Votes that won" in page
        assert "50.0 %" in page
        assert "Place 1 of 3" in page
        assert "Why this amount" in page
        assert ">2</span>" in page  # behind Bob
        assert "50 · of 2" in page

    def test_of_others_nothing_is_on_it(self, alices, alice, carol, everything):
        assert "bob" not in alices.get("/me/").text
        assert "First Victory" not in signed_in(carol).get("/me/").text.partition("On the way")[0]

    def test_needs_somebody_who_is_signed_in(self, client, alice):
        for address in ("/me/", "/me/rewards/", "/me/rewards/1/", "/me/rewards/claim/", "/me/statement/"):
            assert client.get(address).headers["Location"] == f"/login/?next={address}"

    def test_a_part_that_htmx_asks_for_leads_the_whole_page_to_sign_in(self, client):
        response = client.get(
            "/me/rewards/1/", headers={"HX-Request": "true", "HX-Current-URL": "http://testserver/me/"}
        )

        assert response.headers["HX-Redirect"] == "/login/?next=%2Fme%2F"

    @pytest.mark.parametrize("address", ["/me/", "/leaderboard/", "/cases/", "/cases/1/"])
    def test_what_one_signs_in_for_is_kept_by_nobody(self, client, alices, address):
        assert alices.get(address).headers["Cache-Control"] == "private, no-store"
        assert client.get(address).headers["Cache-Control"] == "private"

    def test_names_that_are_markup_stay_text(self, alice, alices):
        User.objects.update(name="<img src=x onerror=alert(1)>")

        page = alices.get("/me/").text

        assert "<img src=x" not in page
        assert "&lt;img src=x" in page

    def test_has_no_script_style_or_handler_of_its_own(self, alices, everything):
        page = alices.get("/me/").text

        assert "<style" not in page
        assert " style=" not in page
        assert " onclick=" not in page
        assert page.count("<script") == page.count("<script src=")


class TestCharges:
    def test_those_that_are_due_count_and_are_not_posted_by_looking(self, alice, alices):
        Currency.objects.create(code="drop_charges")
        ChargeClock.objects.create(user=alice, counted_from=timezone.now() - timedelta(hours=2, minutes=5))
        journals = Journal.objects.count()

        page = alices.get("/me/").text

        assert '<span class="tile-name">drop_charges</span>' in page
        assert '<span class="tile-figure">2</span>' in page
        assert "the next one at" in page
        assert Journal.objects.count() == journals
        assert "drop_charges" in alices.get("/me/").text


class TestQueries:
    def test_are_few_and_as_many_for_sixty_rewards_as_for_one(self, alice, alices, everything, pay):
        few = queries_of(alices, "/me/")
        for number in range(2, 61):
            pay(str(number))
        many = queries_of(alices, "/me/")

        assert few == many < MOST_QUERIES

    def test_are_as_many_for_more_boards(self, alices, everything):
        from leaderboard.models import Board

        few = queries_of(alices, "/me/")
        for number in range(30):
            Board.objects.create(slug=f"board-{number}")

        assert queries_of(alices, "/me/") == few


class TestTimeZone:
    def test_times_are_in_the_readers_zone(self, alice, pay):
        alice.time_zone = "Asia/Tokyo"
        alice.save()
        paid = pay("1")
        client: Client = signed_in(alice)

        page = client.get(f"/me/rewards/{paid.rewards.get(user=alice).pk}/").text

        assert "Times are in Asia/Tokyo" in page
        shown = page.partition('<dt>Paid</dt><dd><time datetime="')[2].partition('"')[0]
        assert datetime.fromisoformat(shown).utcoffset() == timedelta(hours=9)
