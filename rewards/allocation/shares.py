"""What an allocation comes to: amounts by row, and which slice gave how much to whom."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ROWS_AT_ONCE = 16_384  # of breakdowns held in memory while they are streamed


@dataclass(frozen=True, eq=False)
class SliceShare:
    """One slice: the minor units it was given, what it paid, and to which rows.

    `rows` are ascending row indices (row 0 is position 1) of its `members`; `shares` are their minor units.
    """

    name: str
    amount: int
    paid: int
    members: int
    rows: NDArray[np.int32]
    shares: NDArray[np.int64]


def as_one(parts: Iterable[SliceShare]) -> list[SliceShare]:
    """The parts, those of one name added up into one that stands where the first of them did."""
    by_name: dict[str, list[SliceShare]] = {}
    for part in parts:
        by_name.setdefault(part.name, []).append(part)
    return [same[0] if len(same) == 1 else _added_up(same) for same in by_name.values()]


def _added_up(parts: Sequence[SliceShare]) -> SliceShare:
    """Equals who split places of several tiers have a row in each: it is one row of the sum."""
    rows, places = np.unique(np.concatenate([part.rows for part in parts]), return_inverse=True)
    shares = np.zeros(len(rows), dtype=np.int64)
    np.add.at(shares, places, np.concatenate([part.shares for part in parts]))
    return SliceShare(
        name=parts[0].name,
        amount=sum(part.amount for part in parts),
        paid=sum(part.paid for part in parts),
        members=len(rows),
        rows=rows,
        shares=shares,
    )


@dataclass(frozen=True, eq=False)
class Allocation:
    """Minor units by row in position order; `amounts.sum() + unpaid` is what was to be shared out.

    `facts` are figures found on the way that a receipt or log wants, such as the weight cap, as exact text.
    """

    amounts: NDArray[np.int64]
    slices: tuple[SliceShare, ...]
    unpaid: int
    facts: dict[str, str | int]

    def breakdowns(self) -> Iterator[dict[str, int]]:
        """By row, in position order: minor units by name of the slices that paid it, in listed order.

        Streams: only a few thousand rows are in memory at a time, and each membership is looked at once.
        """
        for first in range(0, len(self.amounts), ROWS_AT_ONCE):
            yield from self._breakdowns_between(first, min(first + ROWS_AT_ONCE, len(self.amounts)))

    def _breakdowns_between(self, first: int, end: int) -> list[dict[str, int]]:
        breakdowns: list[dict[str, int]] = [{} for _ in range(first, end)]
        for part in self.slices:
            start, stop = np.searchsorted(part.rows, (first, end))
            rows, shares = part.rows[start:stop] - first, part.shares[start:stop]
            for row, share in zip(rows.tolist(), shares.tolist(), strict=True):
                if share:
                    breakdowns[row][part.name] = share
        return breakdowns
