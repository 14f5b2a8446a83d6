"""/api/leaderboards: open to all, with the caller's own place where somebody is signed in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from leaderboard.api import BoardSerializer, LineSerializer, ListedBoardSerializer
from leaderboard.models import Board, Standings
from leaderboard.services import refresh_board, refresh_boards
from rewards.api import throttles
from rewards.users.models import User
from tests.leaderboard.conftest import NOON, credited, did, instant, reversed_at
from tests.rewards.api.conftest import as_machine, as_user

__all__ = ["as_machine", "as_user"]

pytestmark = pytest.mark.django_db

LIST = "/api/leaderboards"
POINTS = f"{LIST}/points"
MONTHLY = f"{LIST}/monthly"
YESTERDAY = NOON - timedelta(days=1)
FAR_PAST, FUTURE = "2020-01-01T00:00:00Z", "2026-11-21T12:00:01Z"


@pytest.fixture(autouse=True)
def clock() -> Iterator[Any]:
    with time_machine.travel(NOON, tick=False) as travelled:
        yield travelled


@pytest.fixture
def board(make_board: Callable[..., Board], points: Any) -> Board:
    return make_board("points", title="Points")


@pytest.fixture
def three(board: Board, points: Any, alice: User, bob: User, carol: User) -> Board:
    """Alice has 30, Bob and Carol 20 each; the board is refreshed. Carol has hers since an hour."""
    credited(alice, points, 30, YESTERDAY)
    credited(bob, points, 20, YESTERDAY)
    credited(carol, points, 20, NOON - timedelta(hours=1))
    did(alice, "cases_won", 2, YESTERDAY)
    did(alice, "participations", 5, YESTERDAY)
    refresh_board(board, NOON)
    return board


@pytest.fixture
def crowd(board: Board, points: Any, make_user: Any) -> list[User]:
    """Twenty users, the first with the most points."""
    users = [make_user(f"user-{number:02}") for number in range(1, 21)]
    for place, user in enumerate(users, 1):
        credited(user, points, 100 - place, YESTERDAY)
    return users


@pytest.fixture
def monthly(make_board: Callable[..., Board], points: Any, alice: User, bob: User) -> Board:
    """Alice led in October, Bob leads in November."""
    credited(alice, points, 50, instant("2026-10-31T23:00"))
    credited(bob, points, 10, instant("2026-10-05T00:00"))
    credited(bob, points, 70, instant("2026-11-02T00:00"))
    return make_board("monthly", window="monthly", created_at=instant("2026-10-01T00:00"))


def names(lines: list[dict[str, Any]]) -> list[str]:
    return [line["user"] for line in lines]


def code(answer: Any) -> tuple[int, str]:
    assert answer["Content-Type"] == "application/problem+json"
    return answer.status_code, answer.json()["code"]


class TestList:
    def test_the_active_ones_by_slug(self, three: Board, make_board: Any, client: Client) -> None:
        make_board("votes", metric="votes", window="weekly", size=5)
        make_board("hidden", active=False)

        answer = client.get(LIST).json()

        assert answer == {
            "results": [
                {
                    "slug": "points", "title": "Points", "window": "all_time", "source": "points", "size": 100,
                    "as_of": "2026-11-21T12:00:00Z",
                },
                {
                    "slug": "votes", "title": "", "window": "weekly", "source": "metric", "size": 5, "as_of": None,
                },
            ],
            "next": None,
            "previous": None,
        }  # fmt: skip
        assert answer["results"][0].keys() == ListedBoardSerializer().fields.keys()
        assert client.get(f"{LIST}/").json() == answer

    def test_page_by_page(self, make_board: Any, client: Client) -> None:
        for slug in "abcde":
            make_board(slug)

        url, pages = f"{LIST}?limit=2", []
        while url:
            page = client.get(url).json()
            pages.append([each["slug"] for each in page["results"]])
            url = page["next"]
        assert pages == [["a", "b"], ["c", "d"], ["e"]]

    @pytest.mark.parametrize("query", ["limit=0", "limit=501", "window=daily", "cursor=x"])
    def test_a_bad_query_is_refused(self, board: Board, client: Client, query: str) -> None:
        assert code(client.get(f"{LIST}?{query}")) == (400, "invalid_request")


class TestBoard:
    def test_as_everybody_sees_it(self, three: Board, client: Client) -> None:
        answer = client.get(POINTS).json()

        assert answer == {
            "slug": "points",
            "title": "Points",
            "as_of": "2026-11-21T12:00:00Z",
            "entries": [
                {"rank": 1, "user": "alice", "points": "30", "wins": 2, "participations": 5},
                {"rank": 2, "user": "bob", "points": "20", "wins": 0, "participations": 0},
                {"rank": 2, "user": "carol", "points": "20", "wins": 0, "participations": 0},
            ],
            "me": None,
            "around": [],
        }
        assert answer.keys() == BoardSerializer().fields.keys()
        assert answer["entries"][0].keys() == LineSerializer().fields.keys()
        assert client.get(f"{POINTS}/").json() == answer

    def test_who_is_signed_in_sees_his_own_place(self, three: Board, as_user: Any, carol: User, make_user: Any) -> None:
        assert as_user(carol).get(POINTS).json()["me"] == {"rank": 2, "points": "20"}
        assert as_user(make_user("dave")).get(POINTS).json()["me"] is None

    def test_a_machine_sees_it_and_has_no_place(self, three: Board, as_machine: Any) -> None:
        assert as_machine().get(POINTS).json()["me"] is None

    def test_wrong_credentials_are_refused_although_none_are_needed(self, three: Board) -> None:
        assert Client(headers={"x-api-key": "rwk_wrong"}).get(POINTS).status_code == 401

    def test_points_have_the_decimals_of_their_currency_and_quantities_their_own(
        self, make_board: Any, coins: Any, alice: User, client: Client
    ) -> None:
        make_board("coins", currency="coins")
        make_board("votes", metric="votes")
        credited(alice, coins, 1050)
        did(alice, "votes", "2.50")

        found = [client.get(f"{LIST}/{slug}").json()["entries"][0]["points"] for slug in ("coins", "votes")]
        assert found == ["10.50", "2.5"]

    def test_it_shows_its_size_and_anybodys_place(self, crowd: list[User], board: Board, as_user: Any) -> None:
        Board.objects.update(size=3)

        for refreshed in (False, True):
            if refreshed:
                refresh_boards(NOON)
            answer = as_user(crowd[14]).get(POINTS).json()
            assert names(answer["entries"]) == ["user-01", "user-02", "user-03"]
            assert answer["me"] == {"rank": 15, "points": "85"}
            assert answer["around"] == []

    def test_from_the_last_refresh_it_takes_few_queries(self, crowd: list[User], board: Board, as_user: Any) -> None:
        refresh_board(board, NOON)
        client = as_user(crowd[9])
        client.get(f"{POINTS}?around=me")
        with CaptureQueriesContext(connection) as queries:
            client.get(f"{POINTS}?around=me")

        # Session and user; board, standings with his place, entries; those around, their names, wins, participations.
        assert len(queries) == 9

    @pytest.mark.parametrize("slug", ["gone", "hidden", "1", "x" * 100])
    def test_there_is_no_such_board(self, make_board: Any, client: Client, slug: str) -> None:
        make_board("hidden", active=False)

        assert code(client.get(f"{LIST}/{slug}")) in ((404, "unknown_board"), (404, "not_found"))

    @pytest.mark.parametrize(
        "query",
        ["around=you", "around=", "around=me&around=me", "at=", "at=yesterday", "at=2026-11-21",
         "at=2026-11-21T10:00:00", "at=0001-01-01T00:00:00Z", "at=9999-12-31T23:59:59-12:00", "month=2026-13",
         "month=2026-1", "month=0000-01", "month=", "month=2026-10%0A", "limit=5", "user=alice"],
    )  # fmt: skip
    def test_a_bad_query_is_refused(self, three: Board, client: Client, query: str) -> None:
        assert code(client.get(f"{POINTS}?{query}")) == (400, "invalid_request")


class TestAroundMe:
    @pytest.mark.parametrize(
        ("place", "first", "last"), [(10, 5, 15), (1, 1, 6), (20, 15, 20)], ids=["middle", "first", "last"]
    )
    def test_five_above_and_five_below(
        self, crowd: list[User], board: Board, as_user: Any, place: int, first: int, last: int
    ) -> None:
        expected = [f"user-{number:02}" for number in range(first, last + 1)]

        for refreshed in (False, True):
            if refreshed:
                refresh_board(board, NOON)
            answer = as_user(crowd[place - 1]).get(f"{POINTS}?around=me").json()
            assert names(answer["around"]) == expected
            assert answer["me"]["rank"] == place
            assert answer["around"][0].keys() == LineSerializer().fields.keys()

    def test_who_has_no_points_has_nobody_around(self, three: Board, as_user: Any, make_user: Any) -> None:
        answer = as_user(make_user("dave")).get(f"{POINTS}?around=me").json()

        assert (answer["me"], answer["around"]) == (None, [])

    def test_nobody_is_asked_who_he_is(self, three: Board, client: Client, as_machine: Any) -> None:
        answer = client.get(f"{POINTS}?around=me")

        assert code(answer) == (401, "not_authenticated")
        assert "Bearer" in answer["WWW-Authenticate"]
        assert code(as_machine().get(f"{POINTS}?around=me")) == (403, "permission_denied")


class TestThePast:
    def test_an_instant(self, three: Board, points: Any, alice: User, as_user: Any, carol: User) -> None:
        credit = alice.accounts.get().credits.get()
        reversed_at(credit, NOON - timedelta(minutes=30))

        def at(text: str) -> dict[str, Any]:
            answer = as_user(carol).get(POINTS, {"at": text, "around": "me"})
            assert answer.status_code == 200, answer.content
            return answer.json()

        before_carol, with_carol = at("2026-11-21T10:59:59Z"), at("2026-11-21T12:15:00+01:00")
        assert (names(before_carol["entries"]), before_carol["me"]) == (["alice", "bob"], None)
        assert before_carol["as_of"] == "2026-11-21T10:59:59Z"
        assert (names(with_carol["entries"]), with_carol["me"]["rank"]) == (["alice", "bob", "carol"], 2)
        assert names(with_carol["around"]) == ["alice", "bob", "carol"]
        after_reversal = at("2026-11-21T11:30:00Z")
        assert (names(after_reversal["entries"]), after_reversal["me"]["rank"]) == (["bob", "carol"], 1)
        assert at(FAR_PAST)["entries"] == []

    def test_the_future_is_not_known(self, three: Board, client: Client) -> None:
        assert code(client.get(POINTS, {"at": FUTURE})) == (422, "not_in_the_past")
        assert code(client.get(POINTS, {"at": "2999-12-31T23:59:59Z"})) == (422, "not_in_the_past")
        assert client.get(POINTS, {"at": "2026-11-21T12:00:00Z"}).status_code == 200

    def test_a_month_that_is_over_and_the_one_under_way(self, monthly: Board, as_user: Any, bob: User) -> None:
        client = as_user(bob)
        for closed in (False, True):
            if closed:
                refresh_boards(NOON)
                assert Standings.objects.filter(month="2026-10", closed=True).exists()
            october, november = (client.get(f"{MONTHLY}?month={key}").json() for key in ("2026-10", "2026-11"))
            assert (names(october["entries"]), october["me"]) == (["alice", "bob"], {"rank": 2, "points": "10"})
            assert (names(november["entries"]), november["me"]["rank"]) == (["bob"], 1)
            assert client.get(MONTHLY).json()["entries"] == november["entries"]
            assert client.get(f"{MONTHLY}?month=2026-09").json()["entries"] == []

    def test_a_month_as_it_was_at_an_instant(self, monthly: Board, client: Client) -> None:
        query = {"month": "2026-10", "at": "2026-10-20T00:00:00Z"}

        assert names(client.get(MONTHLY, query).json()["entries"]) == ["bob"]
        assert code(client.get(MONTHLY, query | {"month": "2026-09"})) == (422, "no_such_month")

    def test_a_board_without_months_and_a_month_to_come(self, monthly: Board, three: Board, client: Client) -> None:
        assert code(client.get(f"{POINTS}?month=2026-10")) == (422, "no_such_month")
        assert code(client.get(f"{MONTHLY}?month=2026-12")) == (422, "no_such_month")
        assert code(client.get(f"{MONTHLY}?month=2999-12")) == (422, "no_such_month")


class TestHowOften:
    def test_nobody_looks_back_more_often_than_his_address_may(self, three: Board, as_user: Any, alice: User) -> None:
        here, there = (Client(REMOTE_ADDR=address) for address in ("10.1.1.1", "10.1.1.2"))
        for _ in range(throttles.LOOKS_BACK_PER_ADDRESS):
            assert here.get(POINTS, {"at": FAR_PAST}).status_code == 200

        answer = here.get(POINTS, {"at": FAR_PAST})

        assert code(answer) == (429, "throttled")
        assert int(answer["Retry-After"]) > 0
        assert here.get(POINTS).status_code == 200
        assert there.get(POINTS, {"at": FAR_PAST}).status_code == 200
        assert as_user(alice).get(POINTS, {"at": FAR_PAST}).status_code == 200

    def test_a_user_may_look_back_more_often_and_a_machine_as_it_likes(
        self, three: Board, as_user: Any, as_machine: Any, alice: User, bob: User
    ) -> None:
        client, machine = as_user(alice), as_machine()
        for _ in range(throttles.LOOKS_BACK_PER_USER):
            assert client.get(POINTS, {"at": FAR_PAST}).status_code == 200
            assert machine.get(POINTS, {"at": FAR_PAST}).status_code == 200

        assert code(client.get(POINTS, {"at": FAR_PAST})) == (429, "throttled")
        assert client.get(f"{POINTS}?around=me").status_code == 200
        assert as_user(bob).get(POINTS, {"at": FAR_PAST}).status_code == 200
        assert machine.get(POINTS, {"at": FAR_PAST}).status_code == 200

    def test_a_board_that_is_not_fresh_counts_as_well(
        self, three: Board, as_user: Any, bob: User, clock: Any, client: Client
    ) -> None:
        clock.shift(timedelta(minutes=15, microseconds=1))
        for _ in range(throttles.LOOKS_BACK_PER_ADDRESS):
            assert client.get(POINTS).status_code == 200

        assert code(client.get(POINTS)) == (429, "throttled")
        assert as_user(bob).get(POINTS).status_code == 200
        refresh_boards(NOON + timedelta(minutes=15))
        assert client.get(POINTS).status_code == 200

    def test_what_is_kept_does_not_count(self, monthly: Board, three: Board, client: Client) -> None:
        refresh_boards(NOON)
        for _ in range(throttles.LOOKS_BACK_PER_ADDRESS + 1):
            for path in (POINTS, MONTHLY, f"{MONTHLY}?month=2026-10", f"{MONTHLY}?month=2026-11"):
                assert client.get(path).status_code == 200

        for _ in range(throttles.LOOKS_BACK_PER_ADDRESS):  # nothing is kept of September
            assert client.get(f"{MONTHLY}?month=2026-09").status_code == 200
        assert code(client.get(f"{MONTHLY}?month=2026-09")) == (429, "throttled")
        assert client.get(f"{MONTHLY}?month=2026-10").status_code == 200

    def test_what_is_wrong_anyway_does_not_count(self, three: Board, client: Client) -> None:
        for _ in range(throttles.LOOKS_BACK_PER_ADDRESS + 1):
            assert client.get(POINTS, {"at": "yesterday"}).status_code == 400
            assert client.get(POINTS, {"at": FUTURE}).status_code == 422
            assert client.get(POINTS, {"month": "2026-10"}).status_code == 422
            assert client.get(f"{LIST}/gone", {"at": FAR_PAST}).status_code == 404
