"""Who stands where: pure NumPy over columns of whole numbers. It knows neither Django nor a database.

Places go by points, the largest first, equals by user id; equals share their rank: 1, 2, 2, 4.

A ranking is kept as packed blocks, so that a million users are a few thousand short rows: blocks of neighbouring user
ids, in which one user is found, and blocks of neighbouring places, in which those around a place are found.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Column = NDArray[np.int64]
Block = tuple[int, bytes]
"""The first user id, or the first place, that a packed block holds; and the block."""

ROWS_IN_BLOCK = 128
"""A block of so many rows of the usual 10 to 14 bytes stays below the 2 kB from which PostgreSQL would compress it and
put it elsewhere."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a user stands. `points` are minor units of the board's currency, or millionths of its metric."""

    user_id: int
    points: int
    rank: int
    place: int


@dataclass(frozen=True)
class Ranking:
    """Columns of equal length in the order of places: row 0 is place 1."""

    user_ids: Column
    points: Column
    ranks: Column

    @classmethod
    def of(cls, user_ids: Column, points: Column) -> Ranking:
        """The ranking of users, each given once, with points above zero, in any order."""
        order = np.argsort(user_ids, kind="stable")
        order = order[np.argsort(-points[order], kind="stable")]
        ordered = points[order]
        return cls(user_ids[order], ordered, _ranks(ordered))

    def __len__(self) -> int:
        return len(self.user_ids)

    def first(self, count: int) -> list[Standing]:
        """The first `count` places."""
        return self.between(1, count)

    def between(self, first: int, last: int) -> list[Standing]:
        """The places from `first` to `last`, both included, as far as there are any."""
        first = max(first, 1)
        rows = slice(first - 1, max(last, 0))
        return _standings(self.user_ids[rows], self.points[rows], self.ranks[rows], first)

    def of_user(self, user_id: int) -> Standing | None:
        """Where a user stands; None for who has no points."""
        rows = np.flatnonzero(self.user_ids == user_id)
        return self.between(int(rows[0]) + 1, int(rows[0]) + 1)[0] if len(rows) else None

    # ------------------------------------------------------------------------------------------------- packed blocks

    def user_blocks(self) -> Iterator[Block]:
        """All of it in blocks of neighbouring user ids; `found_in` looks a user up in one."""
        by_id = np.argsort(self.user_ids, kind="stable")
        ids, ranks = self.user_ids[by_id], self.ranks[by_id]
        return _blocks(ids, [ids, self.points[by_id], ranks, by_id + 1 - ranks])

    def place_blocks(self) -> Iterator[Block]:
        """All of it in blocks of neighbouring places; `standings_in` reads one."""
        places = np.arange(1, len(self) + 1)
        return _blocks(places, [self.user_ids, self.points, places - self.ranks])


def found_in(user_block: bytes | memoryview, user_id: int) -> Standing | None:
    """Where a user stands, from the block that would hold him; None when it does not."""
    ids, points, ranks, behind = _unpacked(user_block, 4)
    row = int(ids.searchsorted(user_id))
    if row == len(ids) or ids[row] != user_id:
        return None
    rank = int(ranks[row])
    return Standing(user_id, int(points[row]), rank, rank + int(behind[row]))


def standings_in(place_block: bytes | memoryview, first_place: int) -> list[Standing]:
    """The standings at the places of a block, in their order."""
    user_ids, points, behind = _unpacked(place_block, 3)
    places = np.arange(first_place, first_place + len(user_ids))
    return _standings(user_ids, points, places - behind, first_place)


def _standings(user_ids: Column, points: Column, ranks: Column, first_place: int) -> list[Standing]:
    columns = (user_ids.tolist(), points.tolist(), ranks.tolist())
    return [Standing(*each, place) for place, each in enumerate(zip(*columns, strict=True), first_place)]


def _ranks(points: Column) -> Column:
    """The ranks of points in descending order: each is the place of the first of its equals."""
    places = np.arange(1, len(points) + 1)
    places[1:][points[1:] == points[:-1]] = 0
    return np.maximum.accumulate(places)


# A packed block: the number of its rows; of each column the least value and the width in bytes; then column after
# column what each value is above the least, in as few bytes as the column's widest block needs (none: all are equal).
_COUNT = np.dtype("<u2")
_HEAD = np.dtype([("least", "<i8"), ("width", "u1")])
_WIDTHS: dict[int, np.dtype[Any]] = {1: np.dtype("u1"), 2: np.dtype("<u2"), 4: np.dtype("<u4"), 8: np.dtype("<u8")}


def _blocks(firsts: Column, columns: Sequence[Column]) -> Iterator[Block]:
    """Packed blocks of these columns, each under what `firsts` has in its first row. All are packed at once."""
    if not len(firsts):
        return
    count = -(-len(firsts) // ROWS_IN_BLOCK)
    rows = np.full((count, 1), ROWS_IN_BLOCK, dtype=_COUNT)
    rows[-1] = len(firsts) - (count - 1) * ROWS_IN_BLOCK
    packed = [_packed(column, count) for column in columns]
    heads, bodies = [head for head, _ in packed], [body for _, body in packed]
    together = np.concatenate([rows.view(np.uint8), *heads, *bodies], axis=1)
    content, size = together.tobytes(), together.shape[1]
    for number, first in enumerate(firsts[::ROWS_IN_BLOCK].tolist()):
        yield first, content[number * size : (number + 1) * size]


def _packed(column: Column, count: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Head and body of a column in each of `count` blocks; the last is filled up with its last value."""
    filled = np.concatenate([column, np.full(count * ROWS_IN_BLOCK - len(column), column[-1])])
    table = filled.reshape(count, ROWS_IN_BLOCK)
    head = np.zeros((count, 1), dtype=_HEAD)
    head["least"] = table.min(axis=1, keepdims=True)
    above = table - head["least"]
    width = _width_of(int(above.max()))
    head["width"] = width
    body = above.astype(_WIDTHS[width]).view(np.uint8) if width else np.zeros((count, 0), dtype=np.uint8)
    return head.view(np.uint8), body


def _width_of(largest: int) -> int:
    return next(width for width in (0, *_WIDTHS) if largest < 1 << 8 * width)


def _unpacked(block: bytes | memoryview, columns: int) -> list[Column]:
    count = int(np.frombuffer(block, _COUNT, 1)[0])
    heads = np.frombuffer(block, _HEAD, columns, offset=_COUNT.itemsize).tolist()
    start, unpacked = _COUNT.itemsize + columns * _HEAD.itemsize, []
    # How many rows it has room for: another release may pack another number.
    room = (len(block) - start) // max(sum(width for _, width in heads), 1)
    for least, width in heads:
        if width:
            unpacked.append(np.frombuffer(block, _WIDTHS[width], count, offset=start).astype(np.int64) + least)
        else:
            unpacked.append(np.full(count, least, dtype=np.int64))
        start += width * room
    return unpacked
