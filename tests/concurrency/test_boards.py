"""Readers while boards are replaced, refreshes at once, refreshes that are killed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import partial
from threading import Event

import pytest

from leaderboard.models import Board, Entry, PlaceBlock, Standings, UserBlock
from leaderboard.queries import BoardPage, board_page, user_rank
from leaderboard.services import refresh_board, refresh_boards, remove_old_standings
from rewards.users.models import User
from tests.concurrency.racing import PATIENCE_SECONDS, at_once, die_at_commit, in_process, threads, was_killed
from tests.leaderboard.conftest import NOON, credited, make_board

__all__ = ["make_board"]

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
PEOPLE, ROUNDS, READERS = 30, 40, 3
AT = NOON + ROUNDS * SECOND


@pytest.fixture
def crowd(make_user, points, monkeypatch) -> list[User]:
    """People of whom another one comes first in each round; blocks of eight, so that there are several."""
    monkeypatch.setattr("leaderboard.ranking.ROWS_IN_BLOCK", 8)
    users = [make_user(f"user{number:02}") for number in range(PEOPLE)]
    for number, user in enumerate(users):
        credited(user, points, 1 + number // 2, NOON - HOUR)
    for number in range(ROUNDS):
        credited(users[number * 7 % PEOPLE], points, 100 + number, NOON + number * SECOND)
    return users


def instants() -> list:
    return [NOON + number * SECOND for number in range(ROUNDS)]


def as_one(board: Board, reader: User, at=AT, **options) -> BoardPage:
    """A page without the row of the board, which a refresh writes to."""
    return replace(board_page(board, at, user=reader, around=True, **options), board=None)


def test_a_reader_sees_all_of_one_refresh_and_never_half(make_board, crowd):
    board = make_board(size=12)
    readers = [crowd[0], crowd[14], crowd[29]]
    whole = {
        (reader.pk, instant): as_one(board, reader, instant=instant) for reader in readers for instant in instants()
    }
    refresh_board(board, NOON)
    done = Event()

    def poll(reader: User) -> list[BoardPage]:
        pages = []
        while not done.is_set():
            pages.append(as_one(board, reader))
        return pages

    with threads(READERS) as start:
        polls = [start(poll, reader) for reader in readers]
        try:
            for instant in instants()[1:]:
                assert refresh_board(board, instant) is not None
        finally:
            done.set()
        seen = [poll.result(PATIENCE_SECONDS) for poll in polls]

    for reader, pages in zip(readers, seen, strict=True):
        assert pages
        for page in pages:
            assert page == whole[reader.pk, page.as_of]
        times = [page.as_of for page in pages]
        assert times == sorted(times)
    assert len({page.as_of for pages in seen for page in pages}) > 1


def test_ranks_of_users_are_those_of_one_refresh_or_another(make_board, crowd):
    board = make_board()
    ranks = {instant: board_page(board, AT, instant=instant, user=crowd[3]).me for instant in instants()}
    refresh_board(board, NOON)

    def look_up() -> list:
        return [user_rank(crowd[3], board, AT) for _ in range(300)]

    found, *refreshed = at_once(look_up, *[partial(refresh_board, board, instant) for instant in instants()[::4]])

    assert [answer for answer in refreshed if isinstance(answer, Exception)] == []
    assert {standing in ranks.values() for standing in found} == {True}


def only_these_stand(board: Board, as_of) -> None:
    """The board shows this instant, with the blocks and entries of these standings alone."""
    [standings] = Standings.objects.filter(board=board)
    assert standings.as_of == as_of
    for model in (Entry, UserBlock, PlaceBlock):
        assert set(model.objects.values_list("standings_id", flat=True)) == {standings.pk}
    assert UserBlock.objects.count() == PlaceBlock.objects.count() == 4


def test_of_refreshes_at_once_the_newer_stays_and_nobody_is_in_anybodys_way(make_board, crowd):
    board = make_board()

    for first in range(0, ROUNDS, 4):
        four = instants()[first : first + 4]
        answers = at_once(*[partial(refresh_board, board, instant) for instant in four])
        assert [answer for answer in answers if isinstance(answer, Exception)] == []
        assert answers[-1] is not None
        only_these_stand(board, four[-1])


def test_what_removes_old_standings_and_what_replaces_them_do_not_wait_for_each_other(make_board, crowd):
    board = make_board(window="daily")

    for number in range(10):
        refresh_board(board, NOON - 9 * HOUR + number * SECOND)
        answers = at_once(
            partial(refresh_board, board, NOON - 9 * HOUR + (number + 1) * SECOND),
            *[partial(remove_old_standings, NOON)] * 2,
        )
        assert [answer for answer in answers if isinstance(answer, Exception)] == []
    remove_old_standings(NOON)
    assert Standings.objects.count() == UserBlock.objects.count() == Entry.objects.count() == 0


def test_a_month_that_several_close_is_closed_once(make_board, crowd):
    make_board(window="monthly")

    results = at_once(*[partial(refresh_boards, NOON)] * 3)

    assert sum(result.closed for result in results) == 1
    assert [result.failures for result in results] == [[], [], []]
    assert sorted(Standings.objects.values_list("month", "closed")) == [("2026-10", True), ("2026-11", False)]


@pytest.mark.parametrize("after", [False, True], ids=["before its commit", "after its commit"])
def test_a_refresh_that_is_killed_leaves_the_old_board_or_the_new_one(make_board, crowd, after):
    board = make_board()
    refresh_board(board, NOON)
    old, new = (as_one(board, crowd[14], instant=instant) for instant in (NOON, AT))

    def refresh_and_die() -> None:
        die_at_commit(2, after=after)  # the first ends the reading
        refresh_board(board, AT)

    process = in_process(refresh_and_die)
    process.join(PATIENCE_SECONDS)

    assert was_killed(process)
    only_these_stand(board, AT if after else NOON)
    assert as_one(board, crowd[14], at=AT) == (new if after else old)
    assert Board.objects.get().refreshing_since is not None

    assert refresh_board(board, AT + SECOND) is not None
    only_these_stand(board, AT + SECOND)
    assert Board.objects.get().refreshing_since is None


def test_a_refresh_waits_for_no_reader_and_no_reader_for_a_refresh(make_board, crowd):
    """A reader in a transaction of its own goes on seeing what it saw, while the board is replaced."""
    from django.db import connection, transaction

    board = make_board()
    refresh_board(board, NOON)
    read, replaced = Event(), Event()

    def reader() -> tuple[BoardPage, BoardPage]:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            before = as_one(board, crowd[14])
            read.set()
            assert replaced.wait(PATIENCE_SECONDS)
            return before, as_one(board, crowd[14])

    def refresher() -> object:
        assert read.wait(PATIENCE_SECONDS)
        try:
            return refresh_board(board, AT)
        finally:
            replaced.set()

    (before, again), refreshed = at_once(reader, refresher)

    assert refreshed is not None
    assert before == again
    assert before.as_of == NOON
    assert as_one(board, crowd[14]).as_of == AT
