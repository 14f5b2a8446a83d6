"""Keeping a ranking: its packed blocks in their tables, written by the thousand and found by one indexed statement."""

from __future__ import annotations

import io
import struct
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db import connection

from leaderboard.models import Board, PlaceBlock, Standings, UserBlock
from leaderboard.ranking import Block, Ranking, Standing, found_in, standings_in
from rewards.common.database import is_postgresql, table_of

_BOARDS, _STANDINGS, _USERS, _PLACES = map(table_of, (Board, Standings, UserBlock, PlaceBlock))


@dataclass(frozen=True)
class Stored:
    """What a look-up finds of a board's standings, all in one statement."""

    pk: int
    as_of: datetime
    closed: bool
    ranked_by: str
    users: int
    refreshing_since: datetime | None
    me: Standing | None


def write_blocks(standings: Standings, ranking: Ranking) -> None:
    """Write all blocks of a ranking."""
    _write(_USERS, "first_user", standings.pk, ranking.user_blocks())
    _write(_PLACES, "first_place", standings.pk, ranking.place_blocks())


def stored_standings(board: Board, month: str, user_id: int | None) -> Stored | None:
    """The standings of a board (of a month, else empty) and where the user stands; None when there are none."""
    return stored_standings_of([(board.pk, month)], user_id).get(board.pk)


def stored_standings_of(boards: Collection[tuple[int, str]], user_id: int | None) -> dict[int, Stored]:
    """Board id → the same of several boards, each id with its month, in one statement; without those that have none."""
    if not boards:
        return {}
    these = " OR ".join(["(standings.board_id = %s AND standings.month = %s)"] * len(boards))
    with connection.cursor() as cursor:
        cursor.execute(f"{_LOOK_UP} WHERE {these}", [user_id, *(value for board in boards for value in board)])
        rows = cursor.fetchall()
    found = {}
    for board_id, pk, as_of, closed, ranked_by, users, refreshing_since, packed in rows:
        me = found_in(packed, user_id) if packed is not None and user_id is not None else None
        found[board_id] = Stored(pk, _instant(as_of), bool(closed), ranked_by, users, _instant(refreshing_since), me)
    return found


# The block with the largest first user id that is not above the user's is the one that would hold him.
_LOOK_UP = f"""
    SELECT standings.board_id, standings.id, as_of, closed, ranked_by, users, refreshing_since, (
        SELECT packed FROM {_USERS} AS block
        WHERE block.standings_id = standings.id AND first_user <= %s ORDER BY first_user DESC LIMIT 1
    )
    FROM {_STANDINGS} AS standings JOIN {_BOARDS} AS board ON board.id = standings.board_id
"""


def stored_places(standings_id: int, first: int, last: int) -> list[Standing]:
    """The standings at the places from `first` to `last`, both included, as far as there are any.

    Nothing when a refresh has put others in the place of these standings.
    """
    sql = (
        f"SELECT first_place, packed FROM {_PLACES} WHERE standings_id = %s AND first_place <= %s AND first_place >= ("
        f"SELECT COALESCE(MAX(first_place), 1) FROM {_PLACES} WHERE standings_id = %s AND first_place <= %s"
        ") ORDER BY first_place"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, [standings_id, last, standings_id, first])
        blocks = cursor.fetchall()
    found = (each for first_place, packed in blocks for each in standings_in(packed, first_place))
    return [each for each in found if first <= each.place <= last]


def delete_standings(*standings_ids: int) -> None:
    """Delete standings with all that belongs to them."""
    if not standings_ids:
        return
    these = ", ".join(["%s"] * len(standings_ids))
    with connection.cursor() as cursor:
        for table in (_USERS, _PLACES, "leaderboard_cache"):
            cursor.execute(f"DELETE FROM {table} WHERE standings_id IN ({these})", standings_ids)
        cursor.execute(f"DELETE FROM {_STANDINGS} WHERE id IN ({these})", standings_ids)


def _instant(value: Any) -> Any:
    """SQLite gives hand-written SQL text, or UTC without saying so."""
    found = datetime.fromisoformat(value) if isinstance(value, str) else value
    return found.replace(tzinfo=UTC) if found is not None and found.tzinfo is None else found


# ----------------------------------------------------------------------------------------------------- writing blocks


def _write(table: str, first: str, standings_id: int, blocks: Iterable[Block]) -> None:
    columns = f"{table} (standings_id, {first}, packed)"
    with connection.cursor() as cursor:
        if is_postgresql():
            with connection.wrap_database_errors:
                cursor.cursor.copy_expert(
                    f"COPY {columns} FROM STDIN (FORMAT binary)", _as_binary_copy(standings_id, blocks), size=1 << 18
                )
        else:
            rows = [(standings_id, start, packed) for start, packed in blocks]
            cursor.executemany(f"INSERT INTO {columns} VALUES (%s, %s, %s)", rows)


_SIGNATURE = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)  # no flags, no extension
_ROW = struct.Struct(">hiqiqi")  # three fields, each under its length: standings, first, and the block follows
_END = struct.pack(">h", -1)


def _as_binary_copy(standings_id: int, blocks: Iterable[Block]) -> io.BytesIO:
    """The rows as COPY reads them in its binary format, in which a block needs no escaping."""
    parts = [_SIGNATURE]
    for start, packed in blocks:
        parts += (_ROW.pack(3, 8, standings_id, 8, start, len(packed)), packed)
    return io.BytesIO(b"".join([*parts, _END]))
