"""Reading boards: ranks of users, pages of a board, now and as it was.

What is asked about now is answered from the board's last refresh while that is fresh (parameter
leaderboard.fresh_seconds; a little longer while the next one is under way or due any moment), else worked out on the
spot: exact, for any user, not only the top.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Max, QuerySet
from django.utils import timezone

from leaderboard.blocks import Stored, stored_places, stored_standings, stored_standings_of
from leaderboard.errors import NoSuchMonth, NotInThePast, PointsTooLarge, UnknownBoard
from leaderboard.models import CLOCKS_DIFFER, KEEP_ROLLING, Board, Entry
from leaderboard.ranking import Ranking, Standing
from leaderboard.scores import last_instant, month_of, scores, tallies
from rewards.activity.models import QUANTITY_SCALE
from rewards.common.amounts import canonical_decimal
from rewards.common.periods import Month
from rewards.jobs.queries import runs_by_itself
from rewards.ledger.errors import UnknownCurrency
from rewards.ledger.queries import currency_named
from rewards.parameters.services import param
from rewards.users.models import User

REFRESH_TAKES = timedelta(minutes=2)
COMES_WITHIN = timedelta(minutes=2)
"""So long a refresh that is due may take to begin: until the scheduler looks, and a worker is free."""
JOB = "refresh_leaderboards"
_TRIES = 5
ABOVE = BELOW = 5
MONTHS_SHOWN = 13


@dataclass(frozen=True)
class Line:
    """One user on a page of a board. `points` are minor units of the currency, or millionths of the metric."""

    rank: int
    place: int
    user_id: int
    username: str
    points: int
    wins: int
    participations: int


@dataclass(frozen=True)
class BoardPage:
    """A board at one instant: all of it comes from the same refresh, or was worked out together."""

    board: Board
    as_of: datetime
    month: str = ""  # of a monthly board
    closed: bool = False  # of a month that is over: it stays as it is
    users: int = 0  # how many have points
    entries: list[Line] = field(default_factory=list)  # the first `board.size` places, or those asked for of them
    me: Standing | None = None
    around: list[Line] = field(default_factory=list)  # 5 above, the user, 5 below


@dataclass(frozen=True)
class OwnPlace:
    """Where a user stood on a board at its last refresh: neither refresh nor place need to be there."""

    board: Board
    as_of: datetime | None
    users: int
    me: Standing | None

    @property
    def points(self) -> str:
        return points_text(self.board, self.me.points) if self.me else "0"


def board_named(slug: str) -> Board:
    """The active board of a slug. Raises `UnknownBoard`."""
    board = Board.objects.filter(slug=slug, active=True).first()
    if board is None:
        raise UnknownBoard(board=slug)
    return board


def active_boards() -> QuerySet[Board]:
    """The active boards in the order of their slugs, each with `as_of`: the instant its last refresh shows, or None."""
    return Board.objects.filter(active=True).annotate(as_of=Max("standings__as_of")).order_by("slug")


def user_rank(user: User, board: Board, at: datetime | None = None) -> Standing | None:
    """Where a user stands on a board now (`at`: the moment of asking); None for who has no points on it.

    From the last refresh while it is fresh, else worked out: exact, for any user. Raises `PointsTooLarge`.
    """
    at = at or timezone.now()
    stored = stored_standings(board, _month_key(board, at), user.pk)
    if stored is not None and _is_fresh(stored, board, at):
        return stored.me
    return Ranking.of(*scores(board, at)).of_user(user.pk)


def board_page(
    board: Board,
    at: datetime,
    *,
    user: User | None = None,
    around: bool = False,
    instant: datetime | None = None,
    month: str | None = None,
    places: tuple[int, int] | None = None,
    before_live: Callable[[], None] | None = None,
) -> BoardPage:
    """A board with the place of `user`, and with those around it if asked for. `at` is the moment of asking.

    With `instant`, the board as it was at that instant, worked out exactly. With `month` (2026-10), a month of a
    monthly board: of one that is over what it closed with. With both, the month as it was at that instant.
    Of `places`, the first and the last, only those that the board shows are there; without it all it shows.
    `before_live` is called when no refresh has the page, before it is worked out; what it raises ends the call.
    Raises `NotInThePast`, `NoSuchMonth`, `PointsTooLarge`.
    """
    first, last = places or (1, board.size)
    wanted = _Wanted(board, user.pk if user else None, around and user is not None, first, min(last, board.size))
    asked = _asked_month(board, at, month)
    if instant is not None:
        if instant > at:
            raise NotInThePast
        if asked is not None and asked != month_of(board, instant):
            raise NoSuchMonth(f"The instant {instant.isoformat()} is not in the month {asked.key} of this board.")
        stored, as_of = None, instant
    elif asked is not None and asked.end <= at:
        stored, as_of = _stored_page(wanted, asked.key, None), last_instant(asked)
    else:
        stored, as_of = _stored_page(wanted, _month_key(board, at), at), at
    if stored is not None:
        return stored
    if before_live is not None:
        before_live()
    return _live_page(wanted, as_of)


def ranks_of(user: User, at: datetime) -> dict[str, dict[str, Any]]:
    """Slug → {"rank": number, "points": decimal text} of the active boards on which the user has points.

    A board that cannot be worked out is left out.
    """
    ranks = {}
    for board in Board.objects.filter(active=True).order_by("slug"):
        with suppress(PointsTooLarge):
            if standing := user_rank(user, board, at):
                ranks[board.slug] = {"rank": standing.rank, "points": points_text(board, standing.points)}
    return ranks


def own_places(user: User, at: datetime) -> list[OwnPlace]:
    """Where the user stood on each active board at its last refresh, however old that is; two statements for all."""
    boards = list(Board.objects.filter(active=True).order_by("slug"))
    stored = stored_standings_of([(board.pk, _month_key(board, at)) for board in boards], user.pk)
    places = []
    for board in boards:
        found = stored.get(board.pk)
        if found is None or found.ranked_by != board.ranks_by:
            places.append(OwnPlace(board, None, 0, None))
        else:
            places.append(OwnPlace(board, found.as_of, found.users, found.me))
    return places


def months_of(board: Board, at: datetime) -> list[str]:
    """The months of a monthly board that can be shown: now's and those that are kept, newest first."""
    current = month_of(board, at)
    if current is None:
        return []
    kept = board.standings.exclude(month="").order_by("-month").values_list("month", flat=True)[:MONTHS_SHOWN]
    return sorted({current.key, *kept}, reverse=True)


def is_stale(page: BoardPage, at: datetime) -> bool:
    """Whether a refresh of what the page shows is late; what is closed stays as it is."""
    return not page.closed and at - page.as_of > timedelta(seconds=param("leaderboard.fresh_seconds"))


def points_text(board: Board, points: int) -> str:
    """Points of a board as decimal text: currency units with all their decimals, or the plain quantity of a metric."""
    if board.source == Board.Source.METRIC:
        return canonical_decimal(Decimal(points).scaleb(-QUANTITY_SCALE))
    try:
        return currency_named(board.currency).to_units(points)
    except UnknownCurrency:
        return str(points)


# ------------------------------------------------------------------------------------------------- stored, or live


@dataclass(frozen=True)
class _Wanted:
    """What of a board is to be shown, and to whom."""

    board: Board
    user_id: int | None
    around: bool
    first: int
    last: int


def _month_key(board: Board, at: datetime) -> str:
    month = month_of(board, at)
    return month.key if month else ""


def _asked_month(board: Board, at: datetime, key: str | None) -> Month | None:
    """Raises `NoSuchMonth` for what is no month of the board, or has not begun."""
    if key is None:
        return None
    current = month_of(board, at)
    try:
        asked = Month.parse(key, current.zone) if current else None
    except ValueError:
        asked = None
    if asked is None or asked.key != key or current is None or asked.start > current.start:
        raise NoSuchMonth(board=board.slug, month=key)
    return asked


def _is_fresh(stored: Stored, board: Board, at: datetime) -> bool:
    """Whether what is asked about at `at` may be answered from these standings.

    While a refresh is under way, or comes any moment, the former standings go on a little, else all readers would work
    the board out at once, beside it.
    """
    if stored.ranked_by != board.ranks_by or stored.as_of > at + CLOCKS_DIFFER:
        return False
    if stored.closed:
        return True
    age, fresh_for = at - stored.as_of, timedelta(seconds=param("leaderboard.fresh_seconds"))
    if age <= fresh_for:
        return True
    since = stored.refreshing_since
    if since is not None and abs(at - since) < REFRESH_TAKES and age < KEEP_ROLLING:
        return True
    return age <= fresh_for + COMES_WITHIN and runs_by_itself(JOB)


def _stored_page(wanted: _Wanted, month: str, at: datetime | None) -> BoardPage | None:
    """The page from the standings of a month, else empty; None unless they are closed or fresh at `at`.

    It takes several statements. When a refresh replaces the standings between two of them, the later one finds
    nothing under their id, and all is read again.
    """
    for _ in range(_TRIES):
        stored = stored_standings(wanted.board, month, wanted.user_id)
        if stored is None or not (stored.closed if at is None else _is_fresh(stored, wanted.board, at)):
            return None
        if page := _whole_page(wanted, stored, month):
            return page
    return None


def _whole_page(wanted: _Wanted, stored: Stored, month: str) -> BoardPage | None:
    """None when the standings were replaced meanwhile."""
    entries = list(
        Entry.objects.filter(standings_id=stored.pk, place__range=(wanted.first, wanted.last))
        .order_by("place")
        .values_list("rank", "place", "user_id", "user__username", "points", "wins", "participations")
    )
    around: list[Standing] = []
    if wanted.around and stored.me:
        around = stored_places(stored.pk, stored.me.place - ABOVE, stored.me.place + BELOW)
    if (stored.users >= wanted.first <= wanted.last and not entries) or (
        wanted.around and stored.me and stored.me not in around
    ):
        return None
    return BoardPage(
        board=wanted.board,
        as_of=stored.as_of,
        month=month,
        closed=stored.closed,
        users=stored.users,
        entries=[Line(*entry) for entry in entries],
        me=stored.me,
        around=_lines(wanted.board, around, stored.as_of),
    )


def _live_page(wanted: _Wanted, instant: datetime) -> BoardPage:
    board, ranking = wanted.board, Ranking.of(*scores(wanted.board, instant))
    me = ranking.of_user(wanted.user_id) if wanted.user_id is not None else None
    around = ranking.between(me.place - ABOVE, me.place + BELOW) if me and wanted.around else []
    return BoardPage(
        board=board,
        as_of=instant,
        month=_month_key(board, instant),
        users=len(ranking),
        entries=_lines(board, ranking.between(wanted.first, wanted.last), instant),
        me=me,
        around=_lines(board, around, instant),
    )


def _lines(board: Board, standings: Sequence[Standing], instant: datetime) -> list[Line]:
    if not standings:
        return []
    user_ids = [standing.user_id for standing in standings]
    usernames = dict(User.objects.filter(pk__in=user_ids).values_list("pk", "username"))
    counted = tallies(board, user_ids, instant)
    return [
        Line(
            rank=standing.rank,
            place=standing.place,
            user_id=standing.user_id,
            username=usernames[standing.user_id],
            points=standing.points,
            wins=counted.get(standing.user_id, (0, 0))[0],
            participations=counted.get(standing.user_id, (0, 0))[1],
        )
        for standing in standings
        if standing.user_id in usernames
    ]
