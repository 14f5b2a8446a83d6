"""Ranks of equals, a user's place, the places around it; and all of it packed."""

from __future__ import annotations

import numpy as np
import pytest

from leaderboard.ranking import ROWS_IN_BLOCK, Ranking, Standing, found_in, standings_in

pytestmark = pytest.mark.once


def ranking(**points: int) -> Ranking:
    """The ranking of users u1, u2, … by their ids."""
    ids = [int(name[1:]) for name in points]
    return Ranking.of(np.array(ids, dtype=np.int64), np.array([*points.values()], dtype=np.int64))


def ranks(found: list[Standing]) -> list[tuple[int, int]]:
    return [(standing.user_id, standing.rank) for standing in found]


def test_equal_points_have_equal_ranks_and_the_next_rank_is_left_out():
    board = ranking(u1=50, u2=70, u3=50, u4=10, u5=50)

    assert ranks(board.first(10)) == [(2, 1), (1, 2), (3, 2), (5, 2), (4, 5)]
    assert ranks(board.first(2)) == [(2, 1), (1, 2)]


def test_a_user_is_found_with_points_rank_and_place():
    board = ranking(u1=50, u2=70, u3=50)

    assert board.of_user(3) == Standing(user_id=3, points=50, rank=2, place=3)
    assert board.of_user(4) is None


@pytest.mark.parametrize(("first", "last", "places"), [(5, 15, (5, 15)), (-3, 7, (1, 7)), (15, 25, (15, 20))])
def test_places_from_one_to_another_stop_at_both_ends(first, last, places):
    board = ranking(**{f"u{number}": 100 - number for number in range(1, 21)})

    found = [(standing.user_id, standing.place) for standing in board.between(first, last)]
    assert found == [(place, place) for place in range(places[0], places[1] + 1)]


def test_nobody_is_a_ranking_too():
    board = ranking()

    assert (len(board), board.first(5), board.of_user(1)) == (0, [], None)
    assert [*board.user_blocks(), *board.place_blocks()] == []


@pytest.mark.parametrize("size", [1, ROWS_IN_BLOCK - 1, ROWS_IN_BLOCK, ROWS_IN_BLOCK + 1, 5 * ROWS_IN_BLOCK + 7])
def test_blocks_hold_what_was_packed(size):
    ids = np.arange(size, dtype=np.int64) * 3 + 10
    board = Ranking.of(ids, (ids * 7919) % 50 + 1)
    users, places = list(board.user_blocks()), list(board.place_blocks())

    assert [standing for first, packed in places for standing in standings_in(packed, first)] == board.first(size)
    for standing in board.first(size):
        _, packed = max(block for block in users if block[0] <= standing.user_id)
        assert found_in(packed, standing.user_id) == standing
        assert found_in(packed, standing.user_id + 1) is None


def test_blocks_of_another_release_are_read_whatever_their_size(monkeypatch):
    ids = np.arange(1, 21)
    board = Ranking.of(ids, ids * 1_000)
    monkeypatch.setattr("leaderboard.ranking.ROWS_IN_BLOCK", 16)
    places = list(board.place_blocks())
    monkeypatch.undo()

    assert [standing for first, packed in places for standing in standings_in(packed, first)] == board.first(20)


def test_the_largest_numbers_are_packed_exactly():
    largest = 2**63 - 1
    board = Ranking.of(np.array([1, 2**62, largest]), np.array([largest, 1, largest - 1]))
    [(_, users)], [(_, places)] = board.user_blocks(), board.place_blocks()

    assert standings_in(places, 1) == board.first(3)
    assert found_in(users, largest) == Standing(largest, largest - 1, 2, 2)


def test_a_block_of_a_million_users_stays_below_what_postgresql_puts_elsewhere():
    ids = np.arange(1, 200_001)
    board = Ranking.of(ids, (ids * 7919) % 1_000_003)

    assert {len(packed) < 2_000 for _, packed in [*board.user_blocks(), *board.place_blocks()]} == {True}
