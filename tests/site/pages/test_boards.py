"""Leaderboards as people look at them: open to all, own place for who is signed in."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from leaderboard.models import Board, Standings
from leaderboard.queries import Line
from leaderboard.services import refresh_boards
from rewards.ledger import services as ledger
from rewards.users.models import User
from rewards_site.pages.boards import shown_lines
from tests.site.pages.conftest import MOST_QUERIES, queries_of, signed_in

pytestmark = pytest.mark.django_db


def ranks(page: str) -> list[str]:
    table = page.partition('id="top-title"')[2]
    return re.findall(r'<span class="medal[^"]*">(?:<span aria-hidden="true">(=)</span>)?(\d+)', table)


def names(page: str) -> list[str]:
    return re.findall(r'class="who-cell">([^<\n]+?)(?: <|</)', page.partition('id="top-title"')[2])


@pytest.fixture
def board(db) -> Board:
    return Board.objects.create(slug="points", title="Points of all time")


@pytest.fixture
def sixty(points, board) -> list[User]:
    """The first has 600 points, the last 10; the 25th and the 26th have as many."""
    users = [User.objects.create(username=f"user{number:02d}") for number in range(60)]
    for number, user in enumerate(users):
        amount = 600 - 10 * (number - (number == 25))
        ledger.credit(user, points, amount, f"credit {number}", "won")
    refresh_boards(timezone.now())
    return users


class TestList:
    def test_is_open_to_all_and_has_active_boards(self, client, board):
        Board.objects.create(slug="gone", title="Gone", active=False)

        page = client.get("/leaderboard/").text

        assert "Points of all time" in page
        assert "Not refreshed yet" in page
        assert "Gone" not in page

    def test_says_where_the_reader_stands(self, sixty):
        assert "You: rank 3 of 60, 580" in signed_in(sixty[2]).get("/leaderboard/").text

    def test_without_boards_says_so(self, client, db):
        assert "No boards yet" in client.get("/leaderboard/").text


class TestBoard:
    def test_leads_through_the_places_page_by_page(self, client, sixty):
        pages, address = [], "/leaderboard/points/"
        while True:
            pages.append(client.get(address).text)
            following = re.search(r'rel="next" href="([^"]+)"', pages[-1])
            if following is None:
                break
            address = "/leaderboard/points/" + following[1]

        assert [len(names(page)) for page in pages] == [25, 25, 10]
        assert [name for page in pages for name in names(page)] == [user.username for user in sixty]

    def test_equals_share_a_rank_also_where_a_page_ends(self, client, sixty):
        first, second = client.get("/leaderboard/points/").text, client.get("/leaderboard/points/?after=25").text

        assert ranks(first)[-2:] == [("", "24"), ("=", "25")]
        assert ranks(second)[:2] == [("=", "25"), ("", "27")]

    def test_shows_the_reader_and_who_stands_around_him(self, sixty):
        page = signed_in(sixty[40]).get("/leaderboard/points/").text
        own = page.partition('id="own-title"')[2].partition('id="top-title"')[0]

        assert '<span class="medal">41</span> of 60' in own
        around = re.findall(r"user\d\d", own)
        assert around == [f"user{number}" for number in range(35, 46)]
        assert own.count('class="is-me"') == 1

    def test_who_has_no_points_is_told_so(self, alices, sixty):
        assert "You have no points on this board yet" in alices.get("/leaderboard/points/").text

    def test_who_is_not_signed_in_may_look_and_is_asked_to_sign_in(self, client, sixty):
        page = client.get("/leaderboard/points/").text

        assert 'href="/login/?next=/leaderboard/points/"' in page
        assert "Around you" not in page

    def test_only_as_many_places_as_the_board_shows(self, client, sixty, board):
        Board.objects.filter(pk=board.pk).update(size=30)
        refresh_boards(timezone.now())

        second = client.get("/leaderboard/points/?after=25").text

        assert len(names(second)) == 5
        assert 'rel="next"' not in second
        assert "60 on the board, 30 shown" in second
        assert client.get("/leaderboard/points/?after=30").status_code == 404

    def test_tells_the_instant_and_says_when_the_refresh_is_late(self, client, sixty, board, monkeypatch):
        assert "the next refresh is late" not in client.get("/leaderboard/points/").text

        Board.objects.update(refreshing_since=timezone.now())
        Standings.objects.update(as_of=timezone.now() - timedelta(minutes=50))

        assert "the next refresh is late" in client.get("/leaderboard/points/").text

    @pytest.mark.parametrize(
        ("address", "status"),
        [
            ("/leaderboard/nothing/", 404),
            ("/leaderboard/points/?month=2026-13", 404),
            ("/leaderboard/points/?after=x", 404),
            ("/leaderboard/points/?after=" + "9" * 30, 404),
        ],
    )
    def test_what_is_not_there_is_not_found(self, client, sixty, address, status):
        assert client.get(address).status_code == status

    def test_names_that_are_markup_stay_text(self, client, points, board):
        user = User.objects.create(username="<b>bold</b>")
        ledger.credit(user, points, 5, "x", "x")

        page = client.get("/leaderboard/points/").text

        assert "<b>bold" not in page
        assert "&lt;b&gt;bold" in page

    def test_what_has_to_be_worked_out_may_be_asked_for_some_times_a_minute(self, client, points, board, alice):
        ledger.credit(alice, points, 5, "x", "x")
        statuses = {client.get("/leaderboard/points/").status_code for _ in range(40)}

        assert statuses == {200, 429}

    def test_windows_and_months_are_a_click_apart(self, client, board):
        Board.objects.create(slug="points-monthly", title="Points of the month", window="monthly")

        page = client.get("/leaderboard/points-monthly/").text

        assert 'href="/leaderboard/points/">All time' in page
        assert 'aria-current="page">The calendar month' in page
        assert f"?month={timezone.now():%Y-%m}" in page

    def test_takes_few_queries_and_no_more_for_sixty_places(self, points, board, alice):
        ledger.credit(alice, points, 5, "x", "x")
        refresh_boards(timezone.now())
        client: Client = signed_in(alice)
        few = queries_of(client, "/leaderboard/points/"), queries_of(client, "/leaderboard/")
        for number in range(60):
            ledger.credit(User.objects.create(username=f"u{number}"), points, number + 1, f"c{number}", "x")
        refresh_boards(timezone.now())
        many = queries_of(client, "/leaderboard/points/"), queries_of(client, "/leaderboard/")

        assert max(many) < MOST_QUERIES
        assert many == few


def test_large_numbers_have_their_thousands_set_apart(alice, points, board) -> None:
    ledger.credit(alice, points, 1_234_567, "x", "x")
    refresh_boards(timezone.now())
    Standings.objects.update(users=1_000_000)

    for address in ("/leaderboard/", "/leaderboard/points/", "/me/"):
        page = signed_in(alice).get(address).text
        assert "1,234,567" in page, address
        assert "1,000,000" in page, address


def test_equals_are_told_from_the_second_one_alone(alice, board) -> None:
    """Whoever shares his rank with one who stands above the lines that are shown."""
    line = Line(rank=25, place=26, user_id=alice.pk, username="alice", points=5, wins=0, participations=0)

    assert shown_lines(board, [line], alice)[0]["is_shared"]
