"""Who has how many points on a board at an instant.

Points in a currency are what `rewards.ledger.queries.earnings` says: a credit counts from its own instant on and stops,
in every window, at the instant of its reversal. Of a metric they are the quantities of its events, each at the instant
at which it occurred. The same statements give a board now and as it was at any instant.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.db.models import BigIntegerField, F, Max, Sum
from django.db.models.functions import Cast

from leaderboard.errors import PointsTooLarge
from leaderboard.models import Board
from leaderboard.ranking import Column
from rewards.activity.counters import IN_ALL
from rewards.activity.models import QUANTITY_SCALE, ActivityEvent, Counter
from rewards.activity.rows import incoming
from rewards.common.columns import read_columns
from rewards.common.database import expect_many_rows, is_postgresql, sql_instant, table_of
from rewards.common.errors import ensure
from rewards.common.periods import Month
from rewards.ledger.models import Currency
from rewards.ledger.queries import earnings
from rewards.users.models import User

WINS, PARTICIPATIONS = "cases_won", "participations"

_ROLLING = {Board.Window.WEEKLY: timedelta(days=7), Board.Window.DAILY: timedelta(hours=24)}
_A_MICROSECOND = timedelta(microseconds=1)
_OVERFLOW = "22003"  # numeric_value_out_of_range


@dataclass(frozen=True)
class Source:
    """A SELECT of user_id and points, of one row per user."""

    sql: str
    parameters: tuple[Any, ...]


@dataclass(frozen=True)
class Stretch:
    """The time in which something counts: later than `after` (None: from the beginning on), up to `until`, included.

    Instants are whole microseconds, so a month starts right after the microsecond before it.
    """

    after: datetime | None
    until: datetime
    month: Month | None = None

    @property
    def counter_month(self) -> str | None:
        """The month of the counters that count the same events, later ones aside; None when none do."""
        if self.month is not None:
            return self.month.key if self.month.zone == settings.REWARDS_TIME_ZONE else None
        return IN_ALL if self.after is None else None


def month_of(board: Board, at: datetime) -> Month | None:
    """The month that a monthly board shows at an instant; None for other windows."""
    return Month.containing(at, zone_of(board)) if board.window == Board.Window.MONTHLY else None


def zone_of(board: Board) -> ZoneInfo:
    return ZoneInfo(board.time_zone) if board.time_zone else settings.REWARDS_TIME_ZONE


def last_instant(month: Month) -> datetime:
    return month.end - _A_MICROSECOND


def stretch_of(board: Board, at: datetime) -> Stretch:
    """What counts on a board at an instant."""
    if month := month_of(board, at):
        return Stretch(month.start - _A_MICROSECOND, at, month)
    length = _ROLLING.get(Board.Window(board.window))
    return Stretch(at - length if length else None, at)


def scores(board: Board, at: datetime) -> tuple[Column, Column]:
    """The ids of the users with points above zero on a board at an instant, and those points, in any order.

    In minor units of the currency, or in millionths of the metric. Who is deactivated now is left out; of a currency
    that does not exist nobody has any. Raises `PointsTooLarge`.
    """
    counted, later = _sources(board, stretch_of(board, at))
    # One statement sees one state of the database. Rows under a negated id take away: what came later than the instant,
    # or, with a zero, the whole user. Both are few; joins would cost more than all the rest.
    sql = f"SELECT user_id, points FROM ({counted.sql}) AS counted"
    if later:
        sql += f" UNION ALL SELECT -user_id, points FROM ({later.sql}) AS later"
    sql += f" UNION ALL SELECT -id, CAST(0 AS bigint) FROM {table_of(User)} WHERE NOT is_active"
    with refusing_overflow(board), transaction.atomic():
        expect_many_rows()
        user_ids, points = read_columns(sql, (*counted.parameters, *(later.parameters if later else ())), 2)
    return taken_away(user_ids, points)


def taken_away(user_ids: Column, points: Column) -> tuple[Column, Column]:
    """What is left of rows (user id, points), each user's once, when those under a negated id are taken away.

    Their points are subtracted; with zero points they take the user himself away. Who has nothing left is left out.
    """
    takes = user_ids < 0
    whom, what = -user_ids[takes], points[takes]
    user_ids, points = user_ids[~takes], points[~takes]
    if (less := what > 0).any():
        by_id = np.argsort(user_ids)
        found = np.searchsorted(user_ids, whom[less], sorter=by_id)
        is_counted = (found < len(by_id)).all() and (user_ids[by_id[found]] == whom[less]).all()
        ensure(bool(is_counted), "What came later is not in the counter: rebuild the counters.")
        points[by_id[found]] -= what[less]
    left = (points > 0) & ~np.isin(user_ids, whom[~less])
    return user_ids[left], points[left]


def scores_by_seniority(board: Board, at: datetime) -> list[tuple[int, str, int]]:
    """User id, username, points as in `scores`, in the order in which equals take their places in a payout.

    Who was there earlier comes first: the earlier instant of what counted last, then the username in code-point order.
    """
    source, _ = _sources(board, stretch_of(board, at), by_counters=False)
    by_name = 'username COLLATE "C"' if is_postgresql() else "username"
    sql = (
        f"SELECT source.user_id, username, points FROM ({source.sql}) AS source "
        f"JOIN {table_of(User)} AS named ON named.id = source.user_id "
        f"WHERE points > 0 AND is_active ORDER BY last_at, {by_name}"
    )
    with refusing_overflow(board), connection.cursor() as cursor:
        cursor.execute(sql, source.parameters)
        return cursor.fetchall()


def tallies(board: Board, user_ids: Collection[int], at: datetime) -> dict[int, tuple[int, int]]:
    """User id → (cases won, participations) in the window of a board, of these users; who is missing has none."""
    stretch = stretch_of(board, at)
    won, taken_part = (_whole_quantities(metric, stretch, user_ids) for metric in (WINS, PARTICIPATIONS))
    return {user_id: (won.get(user_id, 0), taken_part.get(user_id, 0)) for user_id in won.keys() | taken_part.keys()}


def _whole_quantities(metric: str, stretch: Stretch, user_ids: Collection[int]) -> dict[int, int]:
    counted, later = _quantities(metric, stretch, sorted(user_ids))
    sql, parameters = f"SELECT user_id, points FROM ({counted.sql}) AS counted", counted.parameters
    if later:
        sql += f" UNION ALL SELECT user_id, -points FROM ({later.sql}) AS later"
        parameters += later.parameters
    whole = 10**QUANTITY_SCALE
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT user_id, SUM(points) FROM ({sql}) AS all_of_it GROUP BY user_id", parameters)
        return {user_id: int(total) // whole for user_id, total in cursor.fetchall() if total >= whole}


# ------------------------------------------------------------------------------------------------------------- sources


def _sources(board: Board, stretch: Stretch, *, by_counters: bool = True) -> tuple[Source, Source | None]:
    """Who has points in a stretch of time, and what of them came later than its end and is to be taken away."""
    if board.source == Board.Source.POINTS:
        return _points(board.currency, stretch), None
    if by_counters:
        return _quantities(board.metric, stretch)
    return _summed_events(board.metric, stretch), None


def _points(code: str, stretch: Stretch) -> Source:
    """What users earned in a currency, and when the last of it came."""
    currency = Currency.objects.filter(code=code).first()
    if currency is None:
        return _NOBODY
    earned = earnings(currency, stretch.until)
    if stretch.after is not None:
        earned = earned.filter(created_at__gt=stretch.after)
    by_user = earned.values(user_id=F("credit_account__user_id")).annotate(
        points=Cast(Sum("amount"), BigIntegerField()), last_at=Max("created_at")
    )
    return Source(*by_user.query.sql_with_params())


_NOBODY = Source("SELECT CAST(0 AS bigint) AS user_id, CAST(0 AS bigint) AS points, NULL AS last_at WHERE 1 = 0", ())


def _quantities(metric: str, stretch: Stretch, user_ids: Collection[int] | None = None) -> tuple[Source, Source | None]:
    """The quantities of a metric in millionths, of these users or of all, and what of them is to be taken away.

    Where a counter counts the same events it is read, with the events later than the instant to be taken away: at the
    present there are hardly any.
    """
    month = stretch.counter_month
    if month is None:
        return _summed_events(metric, stretch, user_ids), None
    end = last_instant(stretch.month) if stretch.month else _FAR
    later = _summed_events(metric, Stretch(stretch.until, end, stretch.month), user_ids)
    these, of_these = _only(user_ids)
    sql = (
        f"SELECT user_id, quantity AS points FROM {table_of(Counter)} AS counter {these} "
        "WHERE metric = %s AND month = %s"
    )
    return Source(sql, (*of_these, metric, month)), later


_FAR = datetime(9999, 1, 1, tzinfo=UTC)


def _summed_events(metric: str, stretch: Stretch, user_ids: Collection[int] | None = None) -> Source:
    """The same from the events alone, and when the last of them occurred.

    A month has the events that count in it: not those that came when it was frozen.
    """
    these, of_these = _only(user_ids)
    conditions, parameters = ["metric = %s", "occurred_at <= %s"], [metric, sql_instant(stretch.until)]
    if stretch.after is not None:
        conditions.append("occurred_at > %s")
        parameters.append(sql_instant(stretch.after))
    if stretch.month is not None:
        conditions.append("counted_month IS NOT NULL")
    sql = (
        "SELECT user_id, CAST(SUM(quantity) AS bigint) AS points, MAX(occurred_at) AS last_at "
        f"FROM {table_of(ActivityEvent)} AS event {these} WHERE {' AND '.join(conditions)} GROUP BY user_id"
    )
    return Source(sql, (*of_these, *parameters))


def _only(user_ids: Collection[int] | None) -> tuple[str, list[Any]]:
    """A join that keeps these users."""
    if user_ids is None:
        return "", []
    source, parameters = incoming(Counter, {"user_id": [*user_ids]})
    return f"JOIN {source} USING (user_id)", [*parameters]


@contextmanager
def refusing_overflow(board: Board) -> Iterator[None]:
    """Raises `PointsTooLarge` for a sum that leaves 64 bits."""
    try:
        yield
    except DatabaseError as error:
        state = getattr(error.__cause__, "pgcode", None)
        if state == _OVERFLOW or "integer overflow" in str(error):
            raise PointsTooLarge(
                f"Somebody's points on the board {board.slug} do not fit 64 bits, so it cannot be worked out. Rank "
                "something with fewer decimals.",
                board=board.slug,
            ) from error
        raise
