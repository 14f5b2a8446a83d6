"""Ranks in which equals share a number, and the runs of equals that ties are settled in."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rewards.allocation.integers import Integers, exact_integers


def competition_ranks(scores: Integers) -> NDArray[np.int64]:
    """Standard competition ranks (1, 2, 2, 4) of scores that are already in position order.

    Equal neighbours share the number of the first of them. Returns int64, one per score.
    """
    column = exact_integers(scores)
    starts = np.ones(len(column), dtype=bool)
    starts[1:] = column[1:] != column[:-1]
    places = np.arange(1, len(column) + 1, dtype=np.int64)
    return np.maximum.accumulate(np.where(starts, places, 0))


def run_of_equals(ranks: NDArray[np.int64], row: int) -> tuple[int, int]:
    """First row and row after the last of the equals that `row` belongs to; `ranks` come from `competition_ranks`."""
    rank = int(ranks[row])
    return rank - 1, int(np.searchsorted(ranks, rank, side="right"))
