"""Of whom it is known that he was given a badge: a bit for each user id, so that the check passes over them.

The database itself looks at the bits while it reads who has earned a badge, so that in an hour in which nobody has
earned anything hardly a row leaves it. They are a hint: a bit that is missing costs a look into the awards.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from badges.criteria import Condition
from badges.models import AwardedUsers
from rewards.common.columns import Column, read_columns
from rewards.common.database import is_postgresql, require_transaction

BLOCK = 65_536
"""So many neighbouring user ids share a row."""

BLOCK_BYTES = BLOCK // 8
MOST_HOLES = 16
"""Bits go along with a statement in one piece; where more than so many times as many blocks are missing between the
first and the last as there are, the rows are read and looked at here instead."""

Bits = NDArray[np.uint8]


@dataclass(frozen=True)
class Bitmap:
    """The bits of one badge and period: block (user id // 65,536) → 8,192 bytes, the lowest id in the lowest bit."""

    blocks: Mapping[int, bytes] = field(default_factory=dict)

    @classmethod
    def of(cls, user_ids: Column) -> Bitmap:
        return cls({block: _packed(ids).tobytes() for block, ids in _by_block(user_ids)})

    @classmethod
    def stored(cls, badge_id: int, period_key: str) -> Bitmap:
        rows = AwardedUsers.objects.filter(badge=badge_id, period_key=period_key)
        return cls({block: bytes(bits) for block, bits in rows.values_list("block", "bits")})

    def without_known(self, user_ids: Column) -> Column:
        """Those whose bit is not set, in ascending order."""
        left = [
            ids[(_bits(self.blocks[block])[(ids % BLOCK) >> 3] >> (ids & 7)) & 1 == 0] if block in self.blocks else ids
            for block, ids in _by_block(user_ids)
        ]
        return np.concatenate([np.zeros(0, np.int64), *left])

    def in_one_piece(self) -> tuple[int, bytes] | None:
        """The first user id, and the bits from there on; None where the blocks lie too far apart for that."""
        first, last = min(self.blocks), max(self.blocks)
        if last - first + 1 > MOST_HOLES * (len(self.blocks) + 1):
            return None
        nobody = bytes(BLOCK_BYTES)
        return first * BLOCK, b"".join(self.blocks.get(block, nobody) for block in range(first, last + 1))

    def differing(self, other: Bitmap) -> int:
        """Of how many users the two say something else."""
        nobody = bytes(BLOCK_BYTES)
        return sum(
            int(np.unpackbits(_bits(self.blocks.get(block, nobody)) ^ _bits(other.blocks.get(block, nobody))).sum())
            for block in self.blocks.keys() | other.blocks.keys()
        )


def unknown_users(who: Condition, known: Bitmap) -> Column:
    """The ids of those who meet a condition and whose bit is not set, in ascending order."""
    sql, parameters = f"SELECT CAST({who.user_id} AS bigint) FROM {who.table} WHERE {who.where}", list(who.parameters)
    piece = known.in_one_piece() if known.blocks and is_postgresql() else None
    if piece is not None:
        first, bits = piece
        sql += f" AND {_UNKNOWN.format(user_id=who.user_id)}"
        parameters += [first, first + len(bits) * 8, bits, first]
    user_ids = read_columns(sql, parameters, 1)[0]
    user_ids.sort()
    return known.without_known(user_ids) if known.blocks and piece is None else user_ids


def remember(badge_id: int, period_key: str, user_ids: Column) -> None:
    """Set the bits of users to whom the badge was given, in the transaction of the award or after it."""
    require_transaction()
    given = list(_by_block(user_ids))
    _create_missing_blocks(badge_id, period_key, [block for block, _ in given])
    standing = AwardedUsers.objects.filter(
        badge=badge_id, period_key=period_key, block__in=[block for block, _ in given]
    )
    locked = {row.block: row for row in standing.order_by("block").select_for_update(no_key=True)}
    for block, ids in given:
        _store(locked[block], _bits(bytes(locked[block].bits)) | _packed(ids))


def replace(badge_id: int, period_key: str, right: Bitmap) -> None:
    """Make the stored bits these, while the caller has locked what is stored.

    A row of nobody stays: who gives the badge at this moment may be waiting for it.
    """
    require_transaction()
    _create_missing_blocks(badge_id, period_key, sorted(right.blocks))
    rows = AwardedUsers.objects.filter(badge=badge_id, period_key=period_key)
    for row in rows.order_by("block").select_for_update(no_key=True):
        _store(row, _bits(right.blocks.get(row.block, bytes(BLOCK_BYTES))))


# --------------------------------------------------------------------------------------------------------------- steps


def _create_missing_blocks(badge_id: int, period_key: str, blocks: Collection[int]) -> None:
    standing = AwardedUsers.objects.filter(badge=badge_id, period_key=period_key, block__in=blocks)
    missing = sorted(set(blocks) - set(standing.values_list("block", flat=True)))
    about: dict[str, Any] = {"badge_id": badge_id, "period_key": period_key, "bits": bytes(BLOCK_BYTES)}
    AwardedUsers.objects.bulk_create([AwardedUsers(block=block, **about) for block in missing], ignore_conflicts=True)


def _store(row: AwardedUsers, bits: Bits) -> None:
    if bytes(row.bits) != (changed := bits.tobytes()):
        AwardedUsers.objects.filter(pk=row.pk).update(bits=changed)


def _by_block(user_ids: Column) -> list[tuple[int, Column]]:
    """Block → its ids, which are in ascending order."""
    blocks, starts = np.unique(user_ids // BLOCK, return_index=True)
    return list(zip(blocks.tolist(), np.split(user_ids, starts[1:]), strict=True)) if len(user_ids) else []


def _packed(user_ids: Column) -> Bits:
    """The bits of one block in which these ids lie."""
    flags = np.zeros(BLOCK, dtype=np.uint8)
    flags[user_ids % BLOCK] = 1
    return np.packbits(flags, bitorder="little")


def _bits(content: bytes) -> Bits:
    return np.frombuffer(content, dtype=np.uint8)


# CASE: whether it is asked for a bit beyond the last one, which is an error, must not depend on the planner.
_UNKNOWN = "CASE WHEN {user_id} >= %s AND {user_id} < %s THEN get_bit(%s, {user_id} - %s) = 0 ELSE true END"
