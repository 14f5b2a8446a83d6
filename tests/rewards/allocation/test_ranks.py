"""Ranks in which equals share a number."""

from __future__ import annotations

import numpy as np
import pytest

from rewards.allocation.ranks import competition_ranks, run_of_equals


def test_equals_share_a_rank_and_the_next_one_is_skipped():
    assert competition_ranks([90, 80, 80, 70]).tolist() == [1, 2, 2, 4]


@pytest.mark.parametrize(
    ("scores", "ranks"), [([], []), ([5], [1]), ([5, 5, 5], [1, 1, 1]), ([3, 2, 1], [1, 2, 3]), ([0, 0, -1], [1, 1, 3])]
)
def test_edges(scores, ranks):
    assert competition_ranks(scores).tolist() == ranks


def test_scores_of_thirty_digits_are_told_apart():
    assert competition_ranks([10**30 + 1, 10**30, 10**30]).tolist() == [1, 2, 2]


def test_a_column_may_be_an_array():
    assert competition_ranks(np.array([9, 9, 8], dtype=np.int32)).tolist() == [1, 1, 3]


def test_the_run_that_a_row_belongs_to():
    ranks = competition_ranks([90, 80, 80, 80, 70])
    assert [run_of_equals(ranks, row) for row in range(5)] == [(0, 1), (1, 4), (1, 4), (1, 4), (4, 5)]
