"""Refreshing: what is put in the place of what, months that close, boards that fail."""

from __future__ import annotations

from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
import time_machine
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from leaderboard import services
from leaderboard.errors import BoardLocked, PointsTooLarge
from leaderboard.models import Board, Entry, PlaceBlock, Standings, UserBlock
from leaderboard.queries import board_page, user_rank
from leaderboard.scores import last_instant, month_of
from leaderboard.services import create_default_boards, months_to_close, refresh_board, refresh_boards
from leaderboard.tasks import refresh_leaderboards
from rewards.alerts.services import open_subjects, raise_alert
from rewards.common.amounts import MAX_MINOR
from rewards.common.periods import Month
from rewards.jobs.models import JobRun
from rewards.users.models import User
from tests.leaderboard.conftest import NOON, credited, did, instant, table
from tests.rewards.faults import refused
from tests.rewards.tables import everything, what_differs

pytestmark = pytest.mark.django_db

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def entries(board: Board, month: str = "") -> list[tuple[int, int, str, int]]:
    """(place, rank, username, points)."""
    found = Entry.objects.filter(standings__board=board, standings__month=month)
    return list(found.values_list("place", "rank", "user__username", "points"))


def shown(board: Board) -> list[tuple[str, bool]]:
    """(month, closed) of its standings."""
    return list(Standings.objects.filter(board=board).order_by("month").values_list("month", "closed"))


def test_a_refresh_keeps_the_first_places_and_counts_everybody(make_board, alice, bob, carol, points):
    board = make_board(size=2)
    for user, amount in ((alice, 10), (bob, 30), (carol, 10)):
        credited(user, points, amount)
    did(bob, "cases_won", 2)
    did(bob, "participations", 3)

    standings = refresh_board(board, NOON)

    assert (standings.as_of, standings.users, standings.closed) == (NOON, 3, False)
    assert entries(board) == [(1, 1, "bob", 30), (2, 2, "alice", 10)]
    assert Entry.objects.values_list("wins", "participations", "updated_at").first() == (2, 3, NOON)
    assert Board.objects.get().refreshing_since is None


def test_the_next_refresh_takes_the_place_of_all_of_it(make_board, alice, bob, points):
    board = make_board()
    credited(alice, points, 10)
    refresh_board(board, NOON)
    credited(bob, points, 20, NOON + MINUTE)

    refresh_board(board, NOON + MINUTE)

    assert entries(board) == [(1, 1, "bob", 20), (2, 2, "alice", 10)]
    for model in (Standings, UserBlock, PlaceBlock):
        assert model.objects.count() == 1, model


def test_an_older_result_never_takes_the_place_of_a_newer_one(make_board, alice, points):
    board = make_board()
    credited(alice, points, 10)
    refresh_board(board, NOON)
    before = everything()

    assert refresh_board(board, NOON - MINUTE) is None
    assert what_differs(before) == {}


@time_machine.travel(NOON, tick=False)
def test_what_a_clock_that_was_ahead_has_left_is_not_shown_and_the_next_refresh_takes_its_place(
    make_board, alice, points
):
    board = make_board(window="monthly")
    credited(alice, points, 10, NOON - MINUTE)
    refresh_boards(NOON + 40 * DAY)  # it closes the present month, too
    present = month_of(board, NOON)
    assert Standings.objects.get(closed=True, month=present.key).as_of == last_instant(present)
    credited(alice, points, 90, NOON)

    page = board_page(board, NOON)
    assert (table(page), page.closed) == ([(1, "alice", 100)], False)
    assert user_rank(alice, board, NOON).points == 100
    assert [each.slug for each in services.boards_due(shown_before=NOON - HOUR)] == ["points"]

    assert refresh_boards(NOON, shown_before=NOON - HOUR).boards == 1
    refreshed = Standings.objects.get(month=present.key)
    assert (refreshed.as_of, refreshed.closed) == (NOON, False)
    assert entries(board, present.key) == [(1, 1, "alice", 100)]
    assert refresh_board(board, NOON - HOUR) is None


def test_a_result_for_what_the_board_ranked_before_a_change_is_thrown_away(make_board, alice, points, coins):
    board = make_board()
    credited(alice, points, 10)
    Board.objects.update(currency="coins")

    assert refresh_board(board, NOON) is None
    assert Standings.objects.count() == 0
    board.refresh_from_db()
    assert refresh_board(board, NOON).users == 0


def test_a_board_that_ranks_something_else_now_is_replaced_even_by_an_earlier_instant(make_board, alice, points):
    board = make_board(metric="tests")
    refresh_board(board, NOON)
    board.source, board.currency = "points", "points"
    board.save()
    credited(alice, points, 10, NOON - HOUR)

    assert refresh_board(board, NOON - MINUTE).users == 1


def test_a_refresh_that_fails_while_writing_leaves_what_there_was(make_board, alice, points):
    board = make_board()
    credited(alice, points, 10)
    refresh_board(board, NOON)
    before = everything()

    with refused("leaderboard_placeblock"):
        result = refresh_boards(NOON + MINUTE)

    assert [sentence.split(":")[0] for sentence in result.failures] == ["points"]
    assert set(what_differs(before)) == {"rewards_alert"}


# -------------------------------------------------------------------------------------------------------------- months


def test_a_month_that_is_over_is_closed_as_of_its_last_instant_and_stays(make_board, alice, bob, points):
    board = make_board(window="monthly", time_zone="Europe/Berlin")
    credited(alice, points, 10, instant("2026-10-31T22:59:59"))  # the last second of October in Berlin
    credited(bob, points, 20, instant("2026-10-31T23:00"))
    refresh_boards(instant("2026-10-31T22:50"))
    assert shown(board) == [("2026-09", True), ("2026-10", False)]

    refresh_boards(instant("2026-10-31T23:10"))

    assert shown(board) == [("2026-09", True), ("2026-10", True), ("2026-11", False)]
    assert entries(board, "2026-10") == [(1, 1, "alice", 10)]
    assert entries(board, "2026-11") == [(1, 1, "bob", 20)]
    october = Standings.objects.get(month="2026-10")
    assert october.as_of == instant("2026-10-31T22:59:59.999999")

    did(bob, "tests")
    credited(bob, points, 99, instant("2026-10-20T12:00"))  # it comes late
    User.objects.filter(pk=alice.pk).update(is_active=False)
    refresh_boards(NOON)
    assert refresh_board(board, instant("2026-10-31T22:00")) is None
    assert services.close_month(board, Month(2026, 10, ZoneInfo("Europe/Berlin"))) is None
    assert entries(board, "2026-10") == [(1, 1, "alice", 10)]


def test_months_in_which_nothing_ran_are_closed_afterwards(make_board, alice, bob, points):
    board = make_board(window="monthly")
    credited(alice, points, 10, instant("2026-08-20T12:00"))
    credited(bob, points, 20, instant("2026-09-20T12:00"))
    refresh_boards(instant("2026-08-21T12:00"))

    assert [month.key for month in months_to_close(board, NOON)] == ["2026-08", "2026-09", "2026-10"]
    result = refresh_boards(NOON)

    assert result.closed == 3
    assert shown(board) == [(f"2026-{month}", True) for month in ("07", "08", "09", "10")] + [("2026-11", False)]
    assert entries(board, "2026-08") == [(1, 1, "alice", 10)]
    credited(alice, points, 90, instant("2026-09-20T12:00"))  # late
    refresh_boards(NOON + MINUTE)
    assert entries(board, "2026-09") == [(1, 1, "bob", 20)]
    assert list(months_to_close(board, NOON)) == []


def test_a_month_closes_five_minutes_after_its_end(make_board):
    board = make_board(window="monthly")

    assert [month.key for month in months_to_close(board, instant("2026-11-01T00:04:59"))] == ["2026-09"]
    assert [month.key for month in months_to_close(board, instant("2026-11-01T00:05"))] == ["2026-10"]


def test_around_new_year_the_month_before_is_december(make_board):
    board = make_board(window="monthly", time_zone="Europe/Berlin")

    assert [month.key for month in months_to_close(board, instant("2026-12-31T23:05"))] == ["2026-12"]
    assert list(months_to_close(make_board("all"), NOON)) == []


def test_a_board_with_closed_months_goes_on_ranking_the_same(make_board):
    board = make_board(window="monthly")
    refresh_boards(NOON)
    board.title, board.size = "The month", 50
    board.full_clean()

    board.time_zone = "Europe/Berlin"
    with pytest.raises(ValidationError, match="months that are closed"):
        board.full_clean()
    with pytest.raises(BoardLocked, match="months that are closed"):
        board.save()
    board.save(update_fields=["title", "size"])
    board.refresh_from_db()
    assert (board.title, board.size, board.time_zone) == ("The month", 50, "")


# ---------------------------------------------------------------------------------------------------------- all boards


def test_a_board_that_fails_is_named_and_stops_no_other(make_board, alice, points, coins):
    make_board("a", currency="coins")
    make_board("b")
    make_board("off", active=False)
    credited(alice, coins, MAX_MINOR)
    credited(alice, coins, 1)
    credited(alice, points, 1)

    result = refresh_boards(NOON)

    assert result.boards == 1
    [sentence] = result.failures
    assert sentence.startswith("a: Somebody's points on the board a do not fit 64 bits")
    assert open_subjects(services.BOARD_FAILED) == {"a"}
    assert set(Standings.objects.values_list("board__slug", flat=True)) == {"b"}
    with pytest.raises(PointsTooLarge):
        refresh_board(Board.objects.get(slug="a"), NOON)

    Board.objects.filter(slug="a").update(currency="points")
    assert refresh_boards(NOON).failures == []
    assert open_subjects(services.BOARD_FAILED) == set()


def test_the_alert_of_a_board_that_is_not_active_any_more_is_resolved(make_board):
    raise_alert(services.BOARD_FAILED, "off")
    make_board("off", active=False)

    refresh_boards(NOON)
    assert open_subjects(services.BOARD_FAILED) == set()


def test_rolling_standings_over_an_hour_old_are_removed_and_no_others(make_board, alice, points):
    for window in Board.Window.values:
        make_board(window, window=window)
    credited(alice, points, 1)
    refresh_boards(NOON)
    Board.objects.update(active=False)

    assert refresh_boards(NOON + HOUR).removed == 0
    assert refresh_boards(NOON + HOUR + timedelta(microseconds=1)).removed == 2
    assert set(Standings.objects.values_list("board__slug", flat=True)) == {"all_time", "monthly"}
    assert set(Entry.objects.values_list("board__slug", flat=True)) == {"all_time", "monthly"}
    assert set(UserBlock.objects.values_list("standings__board__slug", flat=True)) == {"all_time", "monthly"}


def test_the_board_refreshed_longest_ago_comes_first_and_one_just_refreshed_rests(make_board):
    first, second = make_board("a"), make_board("b")
    refresh_board(first, NOON)
    refresh_board(second, NOON - HOUR)
    make_board("c")

    assert [board.slug for board in services.boards_due()] == ["c", "b", "a"]
    assert [board.slug for board in services.boards_due(shown_before=NOON)] == ["c", "b"]


def test_a_run_whose_time_is_over_leaves_the_other_boards_for_the_next(make_board):
    class NoTime:
        left = 1

        def step(self, successes=0, failures=0):
            self.left -= 1

        def keep_going(self):
            return self.left > 0

    make_board("a")
    make_board("b")

    assert refresh_boards(NOON, NoTime()).boards == 1
    assert refresh_boards(NOON + MINUTE, NoTime()).boards == 1
    assert Standings.objects.count() == 2


def test_until_its_turn_each_board_is_shown_as_it_is(make_board, monkeypatch):
    """All go stale at the same moment, and three that take 90 seconds each take longer than a mark is believed."""
    boards = [make_board(slug) for slug in "abc"]
    refresh_boards(NOON - 16 * MINUTE)
    work_out, shown_then = services.scores, []

    with time_machine.travel(NOON, tick=False) as clock:

        def slowly(board, at):
            for _ in range(2):
                clock.shift(45)
                shown_then.append([board_page(each, timezone.now()).as_of for each in boards])
            return work_out(board, at)

        monkeypatch.setattr(services, "scores", slowly)
        refresh_boards(NOON)

    before = NOON - 16 * MINUTE
    assert shown_then[::2] == shown_then[1::2] == [[before] * 3, [NOON, before, before], [NOON, NOON, before]]
    assert set(Board.objects.values_list("refreshing_since", flat=True)) == {None}


def test_a_run_that_ends_early_says_of_no_board_that_it_is_being_refreshed(make_board):
    class Ended(Exception):
        pass

    class Ending:
        def step(self, successes=0, failures=0):
            assert Board.objects.get(slug="b").refreshing_since is not None
            raise Ended

        def keep_going(self):
            return True

    make_board("a")
    make_board("b")

    with pytest.raises(Ended):
        refresh_boards(NOON, Ending())
    assert set(Board.objects.values_list("refreshing_since", flat=True)) == {None}


def test_what_another_process_says_of_a_board_stays(make_board, monkeypatch):
    make_board()
    work_out = services.scores

    def meanwhile(board, at):
        Board.objects.update(refreshing_since=NOON)
        return work_out(board, at)

    monkeypatch.setattr(services, "scores", meanwhile)
    refresh_boards(NOON)
    assert Board.objects.get().refreshing_since == NOON


def test_the_task_refreshes_what_is_due_and_says_so_in_its_run(make_board):
    make_board("a")

    refresh_leaderboards()
    refresh_leaderboards()  # it rests
    refresh_leaderboards(trigger="operator")

    assert [run.results["boards"] for run in JobRun.objects.order_by("pk")] == [1, 0, 1]


def test_the_shipped_boards_are_created_once():
    assert create_default_boards() == ["points-all-time", "points-weekly", "points-daily"]
    Board.objects.filter(slug="points-daily").update(size=7)

    assert create_default_boards() == []
    assert dict(Board.objects.values_list("slug", "window")) == {
        "points-all-time": "all_time",
        "points-weekly": "weekly",
        "points-daily": "daily",
    }
    assert Board.objects.get(slug="points-daily").size == 7


def test_a_board_is_deleted_with_all_that_was_found(make_board, alice, points):
    board = make_board()
    credited(alice, points, 1)
    refresh_board(board, NOON)

    board.delete()

    assert [model.objects.count() for model in (Standings, Entry, UserBlock, PlaceBlock)] == [0, 0, 0, 0]
    connection.check_constraints()


# --------------------------------------------------------------------------------------------------------- the command


def test_the_command_refreshes_as_of_an_instant(make_board, alice, points, capsys):
    board = make_board()
    credited(alice, points, 1, NOON - DAY)
    make_board("other")

    call_command("refresh_leaderboards", board="points", at="2026-11-21T12:00Z")

    assert entries(board) == [(1, 1, "alice", 1)]
    assert "1 items, 1 succeeded, 0 failed" in capsys.readouterr().out
    assert Standings.objects.get().as_of == NOON


def test_a_dry_run_names_boards_and_months_and_writes_nothing(make_board, capsys):
    make_board("monthly", window="monthly")
    before = everything()

    call_command("refresh_leaderboards", "--dry-run", "--at", "2026-11-21T12:00Z")

    assert capsys.readouterr().out.splitlines() == [
        "monthly, closing 2026-10",
        "refresh_leaderboards --dry-run: 1 boards; nothing was written",
    ]
    assert what_differs(before) == {}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--board", "nothing"], "There is no such board"),
        (["--at", "2999-01-01"], "in the future"),
        (["--at", "noon"], "not an instant"),
    ],
)
def test_the_command_refuses_what_it_cannot_do(words, sentence):
    with pytest.raises(CommandError, match=sentence):
        call_command("refresh_leaderboards", *words)


def test_the_command_fails_with_the_boards_that_failed(make_board, alice, points):
    credited(alice, points, MAX_MINOR, NOON - DAY)
    credited(alice, points, MAX_MINOR, NOON - DAY)
    make_board()

    with pytest.raises(CommandError, match="points: Somebody's points"):
        call_command("refresh_leaderboards")
