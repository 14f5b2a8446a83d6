"""Boards as participants of campaigns: whoever stands on a board, by places.

Registered with the campaigns in `ready()`; they know nothing of boards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from django.conf import settings

from leaderboard.blocks import stored_places, stored_standings
from leaderboard.models import Board
from leaderboard.scores import last_instant, month_of, scores_by_seniority
from rewards.activity.models import QUANTITY_SCALE
from rewards.allocation.rules import Measure
from rewards.campaigns.sources import PREVIOUS, ParticipantSource, only_keys, wrong
from rewards.common.periods import Month
from rewards.distributions.programmes import Snapshot
from rewards.ledger.models import Currency

EXAMPLE = '{"source": "board", "board": "points-weekly", "top": 10}'


class BoardSource(ParticipantSource):
    """Whoever has points on a board: `{"board": slug, "month": "" | "previous" | "2026-10", "top": n}`.

    Equals take their places by the earlier instant of what counted last, then by username. `top` keeps the first n
    places. Of a month that is closed the points are those it closed with.
    """

    def check(self, options: Mapping[str, Any]) -> dict[str, Any]:
        only_keys(options, "board", "month", "top")
        board = _board(options.get("board"))
        month, top = options.get("month", ""), options.get("top")
        if not isinstance(month, str) or not (month in ("", PREVIOUS) or _is_month(month)):
            raise wrong(
                'the month is one such as "2026-10", "previous" for the one before the run, or "" for the present'
            )
        if month and board.window != Board.Window.MONTHLY:
            raise wrong(f"the board {board.slug} has no months; leave the month out")
        if top is not None and (isinstance(top, bool) or not isinstance(top, int) or top < 1):
            raise wrong("top is how many places take part, such as 10; leave it out for all")
        return {"source": "board", "board": board.slug, "month": month} | ({"top": top} if top else {})

    def words(self, options: Mapping[str, Any]) -> str:
        top, month = options.get("top"), options.get("month", "")
        who = f"the first {top} of" if top else "whoever is on"
        when = {"": "", PREVIOUS: " in the month before the run"}.get(month, f" in {month}")
        return f"{who} the board {options['board']}{when}"

    def snapshot(self, options: Mapping[str, Any], currency: Currency, at: datetime) -> Snapshot:
        board = _board(options.get("board"))
        found = _points(board, _month(board, options.get("month", ""), at), at)
        order = np.argsort(-found.points, kind="stable")[: options.get("top")]
        return Snapshot(
            user_ids=found.user_ids[order],
            usernames=[found.usernames[row] for row in order.tolist()],
            scores=Measure(found.points[order], _decimals(board)),
        )


@dataclass(frozen=True)
class _Points:
    """Columns of who has points, those who were there earlier first."""

    user_ids: np.ndarray
    usernames: list[str]
    points: np.ndarray


def _points(board: Board, month: Month | None, at: datetime) -> _Points:
    rows = _rows(board, month, at)
    return _Points(
        user_ids=np.array([user_id for user_id, _, _ in rows], dtype=np.int64),
        usernames=[username for _, username, _ in rows],
        points=np.array([points for _, _, points in rows], dtype=np.int64),
    )


def _rows(board: Board, month: Month | None, at: datetime) -> list[tuple[int, str, int]]:
    """User id, username, points: of a month that is over as at its last instant, of one to come nobody's."""
    if month is None:
        return scores_by_seniority(board, at)
    if month.start > at:
        return []
    rows = scores_by_seniority(board, min(at, last_instant(month)))
    if (closed := _closed_with(board, month)) is None:
        return rows
    return [(user_id, username, closed[user_id]) for user_id, username, _ in rows if user_id in closed]


def _closed_with(board: Board, month: Month) -> dict[int, int] | None:
    """User id → the points with which a month closed; None when it is not closed."""
    stored = stored_standings(board, month.key, None)
    if stored is None or not stored.closed:
        return None
    return {standing.user_id: standing.points for standing in stored_places(stored.pk, 1, stored.users)}


def _month(board: Board, month: str, at: datetime) -> Month | None:
    current = month_of(board, at)
    if current is None or not month:
        return current
    return current.previous() if month == PREVIOUS else Month.parse(month, current.zone)


def _board(slug: object) -> Board:
    board = Board.objects.filter(slug=slug).first() if isinstance(slug, str) else None
    if board is None:
        raise wrong(f"there is no board {slug!r}; write such as {EXAMPLE}")
    return board


def _is_month(text: str) -> bool:
    try:
        return Month.parse(text, settings.REWARDS_TIME_ZONE).key == text
    except ValueError:
        return False


def _decimals(board: Board) -> int:
    if board.source == Board.Source.METRIC:
        return QUANTITY_SCALE
    currency = Currency.objects.filter(code=board.currency).first()
    return currency.decimals if currency else 0
