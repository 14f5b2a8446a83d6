"""Reading boards: from the last refresh while it is fresh, else worked out; as they are, and as they were."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from leaderboard import queries
from leaderboard.errors import NoSuchMonth, NotInThePast, PointsTooLarge, UnknownBoard
from leaderboard.models import Board, Standings
from leaderboard.queries import active_boards, board_named, board_page, points_text, ranks_of, user_rank
from leaderboard.services import refresh_board, refresh_boards
from rewards.common.amounts import MAX_MINOR
from rewards.jobs.models import ProcessHeartbeat
from rewards.jobs.schedules import create_missing_schedules
from rewards.ledger.models import Currency
from rewards.parameters.services import set_parameter
from tests.leaderboard.conftest import NOON, credited, did, instant, reversed_at, table

pytestmark = pytest.mark.django_db

MICROSECOND, MINUTE, HOUR, DAY = (
    timedelta(microseconds=1),
    timedelta(minutes=1),
    timedelta(hours=1),
    timedelta(days=1),
)
FRESH = 15 * MINUTE


@pytest.fixture
def crowd(make_user, points):
    """u01 to u20 with 20 points down to 1; u05 and u06 have the same."""
    users = [make_user(f"u{number:02}") for number in range(1, 21)]
    for number, user in enumerate(users, start=1):
        credited(user, points, 21 - number if number != 6 else 16, NOON - HOUR)
    return users


# ------------------------------------------------------------------------------------------------------ stored or live


def test_a_rank_comes_from_the_last_refresh_while_it_is_fresh(make_board, alice, bob, points):
    board = make_board()
    credited(alice, points, 10, NOON - HOUR)
    refresh_board(board, NOON)
    credited(bob, points, 20, NOON + MICROSECOND)

    stored = user_rank(alice, board, NOON + FRESH)
    assert (stored.rank, stored.points, stored.place) == (1, 10, 1)
    assert user_rank(bob, board, NOON + FRESH) is None

    live = user_rank(alice, board, NOON + FRESH + MICROSECOND)
    assert (live.rank, live.points, live.place) == (2, 10, 2)
    assert user_rank(bob, board, NOON + FRESH + MICROSECOND).rank == 1


def test_how_long_it_is_fresh_is_a_parameter(make_board, alice, points):
    board = make_board()
    refresh_board(board, NOON)
    credited(alice, points, 10, NOON)
    set_parameter("leaderboard.fresh_seconds", 60, actor=None, reason="test")

    assert user_rank(alice, board, NOON + MINUTE) is None
    assert user_rank(alice, board, NOON + MINUTE + MICROSECOND).rank == 1


def test_while_a_refresh_is_under_way_the_former_one_goes_on_for_two_minutes(make_board, alice, points):
    board = make_board()
    refresh_board(board, NOON)
    credited(alice, points, 10, NOON)
    later = NOON + 20 * MINUTE
    Board.objects.update(refreshing_since=later)

    assert user_rank(alice, board, later + MINUTE) is None
    assert user_rank(alice, board, later + 2 * MINUTE).rank == 1  # whoever began it is dead, or slow
    Board.objects.update(refreshing_since=NOON + HOUR)
    assert user_rank(alice, board, NOON + HOUR).rank == 1  # what there is is too old


def test_while_the_next_refresh_comes_any_moment_the_former_one_goes_on_for_two_minutes(make_board, alice, points):
    board = make_board()
    refresh_board(board, NOON)
    credited(alice, points, 10, NOON)
    create_missing_schedules()
    for kind in ("worker", "scheduler"):
        ProcessHeartbeat.objects.create(name=f"{kind}@host:1", kind=kind)

    assert user_rank(alice, board, NOON + FRESH + 2 * MINUTE) is None
    assert user_rank(alice, board, NOON + FRESH + 2 * MINUTE + MICROSECOND).rank == 1  # it did not come


@pytest.mark.parametrize("lacks", ["worker", "scheduler", "heartbeats", "schedule"])
def test_when_no_refresh_comes_by_itself_the_former_one_does_not_go_on(make_board, alice, points, lacks):
    board = make_board()
    refresh_board(board, NOON)
    credited(alice, points, 10, NOON)
    create_missing_schedules()
    silence = HOUR if lacks == "heartbeats" else timedelta(0)
    for kind in {"worker", "scheduler"} - {lacks}:
        ProcessHeartbeat.objects.create(name=f"{kind}@host:1", kind=kind, heartbeat_at=timezone.now() - silence)
    PeriodicTask.objects.filter(name="refresh_leaderboards").update(enabled=lacks != "schedule")

    assert user_rank(alice, board, NOON + FRESH) is None
    assert user_rank(alice, board, NOON + FRESH + MICROSECOND).rank == 1


def test_a_board_without_a_refresh_is_worked_out(make_board, crowd):
    board = make_board()

    assert user_rank(crowd[19], board).rank == 20
    assert len(board_page(board, NOON).entries) == 20


def test_what_a_board_ranked_before_it_was_changed_is_not_shown(make_board, alice, points):
    board = make_board()
    credited(alice, points, 10, NOON)
    refresh_board(board, NOON)
    board.window = "daily"
    board.save()

    assert user_rank(alice, board, NOON + MINUTE).points == 10
    assert board_page(board, NOON + MINUTE).as_of == NOON + MINUTE  # worked out


@pytest.mark.parametrize("source", ["points", "metric"])
@pytest.mark.parametrize("window", Board.Window.values)
def test_stored_and_live_are_equal_and_so_is_the_past(make_board, crowd, points, source, window):
    board = make_board(size=7, window=window, **({"metric": "tests"} if source == "metric" else {}))
    for number, user in enumerate(crowd):
        did(user, "tests", 1 + number // 3, NOON - HOUR)
        did(user, "cases_won", 2, NOON - HOUR)
    live = [board_page(board, NOON, user=user, around=True) for user in crowd]
    refresh_board(board, NOON)
    stored = [board_page(board, NOON, user=user, around=True) for user in crowd]
    for user in crowd[:5]:
        did(user, "tests", 100, NOON + MICROSECOND)
        did(user, "cases_won", 100, NOON + MICROSECOND)
        reversed_at(credited(user, points, 100, NOON + MICROSECOND), NOON + MINUTE)
    past = [board_page(board, NOON + DAY, user=user, around=True, instant=NOON) for user in crowd]

    assert live == stored == past
    assert [page.me for page in live] == [user_rank(user, board, NOON) for user in crowd]
    assert [page.me.place for page in live] != [None] * 20
    assert Standings.objects.count() == 1


# -------------------------------------------------------------------------------------------------------------- a page


@pytest.mark.parametrize("refreshed", [True, False])
def test_a_page_has_the_first_places_the_own_one_and_those_around_it(make_board, crowd, refreshed):
    board = make_board(size=3)
    if refreshed:
        refresh_board(board, NOON)

    page = board_page(board, NOON, user=crowd[5], around=True)

    assert (page.as_of, page.users, page.month, page.closed) == (NOON, 20, "", False)
    assert table(page) == [(1, "u01", 20), (2, "u02", 19), (3, "u03", 18)]
    assert (page.me.rank, page.me.place, page.me.points) == (5, 6, 16)
    assert table(page.around) == [
        (1, "u01", 20),
        (2, "u02", 19),
        (3, "u03", 18),
        (4, "u04", 17),
        (5, "u05", 16),
        (5, "u06", 16),
        (7, "u07", 14),
        (8, "u08", 13),
        (9, "u09", 12),
        (10, "u10", 11),
        (11, "u11", 10),
    ]


@pytest.mark.parametrize("refreshed", [True, False])
def test_who_has_no_points_has_no_place_and_nobody_around(make_board, crowd, alice, refreshed):
    board = make_board()
    if refreshed:
        refresh_board(board, NOON)

    page = board_page(board, NOON, user=alice, around=True)
    assert (page.me, page.around) == (None, [])
    assert board_page(board, NOON).me is None
    assert board_page(board, NOON, user=crowd[0]).around == []


def test_an_empty_board_is_a_page_too(make_board, alice):
    board = make_board(currency="doubloons")
    assert board_page(board, NOON, user=alice, around=True).entries == []

    refresh_board(board, NOON)
    page = board_page(board, NOON + MINUTE, user=alice, around=True)
    assert (page.as_of, page.entries, page.me) == (NOON, [], None)


def test_around_goes_over_the_edge_of_a_block(make_board, make_user, points, monkeypatch):
    monkeypatch.setattr("leaderboard.ranking.ROWS_IN_BLOCK", 4)
    board = make_board(size=1)
    users = [make_user(f"u{number:02}") for number in range(30)]
    for number, user in enumerate(users):
        credited(user, points, 100 - number, NOON)
    refresh_board(board, NOON)

    for place, user in enumerate(users):
        page = board_page(board, NOON, user=user, around=True)
        assert [line.place - 1 for line in page.around] == [*range(max(place - 5, 0), min(place + 6, 30))]


@pytest.mark.parametrize("around", [True, False])
def test_a_page_that_is_replaced_while_it_is_read_is_read_again(make_board, alice, bob, points, monkeypatch, around):
    board = make_board()
    credited(alice, points, 10, NOON - HOUR)
    refresh_board(board, NOON)
    look_up, others = queries.stored_standings, iter([True, False])

    def then_replaced(*arguments):
        found = look_up(*arguments)
        if next(others):
            credited(bob, points, 20, NOON)
            refresh_board(board, NOON + MINUTE)
        return found

    monkeypatch.setattr(queries, "stored_standings", then_replaced)
    page = board_page(board, NOON + MINUTE, user=alice, around=around)

    assert page.as_of == NOON + MINUTE
    assert table(page) == [(1, "bob", 20), (2, "alice", 10)]
    assert page.around == (page.entries if around else [])
    assert page.me.rank == 2


# ------------------------------------------------------------------------------------------------------------ the past


def test_a_past_board_is_as_it_was_then(make_board, alice, bob, points):
    board = make_board(window="weekly")
    credit = credited(alice, points, 30, NOON - 3 * DAY)
    credited(bob, points, 10, NOON - 8 * DAY)
    credited(bob, points, 5, NOON - 2 * DAY)
    reversed_at(credit, NOON - DAY)
    refresh_board(board, NOON)

    assert table(board_page(board, NOON)) == [(1, "bob", 5)]
    assert table(board_page(board, NOON, instant=NOON - 2 * DAY)) == [(1, "alice", 30), (2, "bob", 15)]
    assert table(board_page(board, NOON, instant=NOON - DAY - MICROSECOND)) == [(1, "alice", 30), (2, "bob", 15)]
    assert table(board_page(board, NOON, instant=NOON - DAY)) == [(1, "bob", 5)]
    assert table(board_page(board, NOON, instant=NOON - 300 * DAY)) == []


def test_the_future_is_refused(make_board):
    with pytest.raises(NotInThePast):
        board_page(make_board(), NOON, instant=NOON + MICROSECOND)


def test_a_closed_month_is_shown_as_it_closed(make_board, alice, bob, points):
    board = make_board(window="monthly")
    credited(alice, points, 10, instant("2026-10-10T12:00"))
    assert table(board_page(board, NOON, month="2026-10")) == [(1, "alice", 10)]  # worked out: nothing ran yet

    refresh_boards(NOON)
    credited(bob, points, 20, instant("2026-10-11T12:00"))  # late
    page = board_page(board, NOON + 100 * DAY, month="2026-10", user=alice, around=True)

    assert (page.month, page.closed, page.as_of) == ("2026-10", True, instant("2026-10-31T23:59:59.999999"))
    assert table(page) == table(page.around) == [(1, "alice", 10)]
    assert page.me.rank == 1
    assert table(board_page(board, NOON, month="2026-10", instant=instant("2026-10-10T12:00"))) == [(1, "alice", 10)]
    assert table(board_page(board, NOON, month="2026-11")) == table(board_page(board, NOON)) == []


@pytest.mark.parametrize("month", ["2026-12", "2027-01", "2026-1", "2026-13", "", "last", "2026-10-01"])
def test_what_is_no_month_that_has_begun_is_refused(make_board, month):
    with pytest.raises(NoSuchMonth):
        board_page(make_board(window="monthly"), NOON, month=month)


def test_a_month_is_refused_by_other_windows_and_by_an_instant_outside_of_it(make_board):
    with pytest.raises(NoSuchMonth):
        board_page(make_board(), NOON, month="2026-10")
    with pytest.raises(NoSuchMonth, match="not in the month 2026-10"):
        board_page(make_board("m", window="monthly"), NOON, month="2026-10", instant=NOON)


# --------------------------------------------------------------------------------------------------- boards and ranks


def test_ranks_of_a_user_on_all_active_boards(make_board, alice, bob, points, coins):
    make_board("all")
    make_board("coins", currency="coins")
    make_board("tests", metric="tests")
    make_board("votes", metric="votes")
    make_board("off", active=False)
    make_board("broken", currency="huge")
    huge = Currency.objects.create(code="huge")
    credited(bob, huge, MAX_MINOR)
    credited(bob, huge, 1)
    credited(alice, points, 10)
    credited(bob, points, 20)
    credited(alice, coins, 12_345)
    did(alice, "tests", "2.50")
    before = dict(ranks_of(alice, NOON))
    refresh_boards(NOON)

    assert before == ranks_of(alice, NOON)
    assert before == {
        "all": {"rank": 2, "points": "10"},
        "coins": {"rank": 1, "points": "123.45"},
        "tests": {"rank": 1, "points": "2.5"},
    }
    with pytest.raises(PointsTooLarge):
        user_rank(alice, Board.objects.get(slug="broken"), NOON)


def test_points_as_text(make_board, coins):
    assert points_text(make_board("c", currency="coins"), 1_050) == "10.50"
    assert points_text(make_board("m", metric="tests"), 3_000_000) == "3"
    assert points_text(make_board("m6", metric="tests"), 1) == "0.000001"
    assert points_text(make_board("none", currency="doubloons"), 7) == "7"


def test_boards_are_listed_and_found_by_slug(make_board):
    make_board("b")
    board = make_board("a")
    make_board("off", active=False)
    refresh_board(board, NOON)

    assert [(each.slug, each.as_of) for each in active_boards()] == [("a", NOON), ("b", None)]
    assert board_named("a") == board
    for slug in ("off", "nothing"):
        with pytest.raises(UnknownBoard):
            board_named(slug)
