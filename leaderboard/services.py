"""Refreshing boards: each is read and ranked outside, then put in the place of the former one in one transaction."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from time import monotonic
from typing import Any

from django.db import transaction
from django.db.models import F, Max, Q, QuerySet
from django.utils import timezone

from leaderboard.blocks import delete_standings, write_blocks
from leaderboard.models import CLOCKS_DIFFER, KEEP_ROLLING, Board, Entry, Standings
from leaderboard.ranking import Ranking
from leaderboard.scores import last_instant, month_of, scores, tallies, zone_of
from rewards.alerts.services import open_subjects, raise_alert, resolve_alert
from rewards.common.database import insert
from rewards.common.errors import RewardsError
from rewards.common.periods import Month
from rewards.jobs.progress import Steps, Unwatched

ROLLING = (Board.Window.WEEKLY, Board.Window.DAILY)
CLOSES_AFTER = timedelta(minutes=5)
"""A month closes so long after its end, when its ranking rewards are due: what was on its way at midnight has come."""

BOARD_FAILED = "board_failed"

logger = logging.getLogger(__name__)


@dataclass
class RefreshResult:
    """What a run did. `failures` has a sentence for each board that could not be refreshed."""

    boards: int = 0
    closed: int = 0  # months
    removed: int = 0  # rolling standings that nobody had refreshed for an hour
    failures: list[str] = field(default_factory=list)

    def figures(self) -> dict[str, Any]:
        return {"boards": self.boards, "closed": self.closed, "removed": self.removed, "failures": self.failures}


# ------------------------------------------------------------------------------------------------------------ one board


def refresh_board(board: Board, at: datetime) -> Standings | None:
    """Work a board out as of `at` and put it in the place of what its last refresh found, in one transaction.

    None when newer standings are there already, which stay, or when the board was changed meanwhile. Whoever reads sees
    the former ones or these, never half. Raises `PointsTooLarge`; then, as when the process dies, the former ones stay.
    """
    month = month_of(board, at)
    with _said_to_be_refreshing([board]):
        return _refresh(board, month.key if month else "", at, closed=False)


def close_month(board: Board, month: Month) -> Standings | None:
    """Keep a month of a board as it was at its last instant, for good. None when it is closed already."""
    return _refresh(board, month.key, last_instant(month), closed=True)


@contextmanager
def _said_to_be_refreshing(boards: Sequence[Board]) -> Iterator[Callable[[Sequence[Board]], None]]:
    """Readers go on with what is there meanwhile; of a process that dies they believe it for two minutes.

    The function that it gives says so again, of those that wait for their turn. What another process said of a board
    stays.
    """
    said: set[datetime] = set()

    def say(waiting: Sequence[Board]) -> None:
        now = timezone.now()  # not the instant that the boards will show, which may be long past
        said.add(now)
        Board.objects.filter(pk__in=[board.pk for board in waiting]).update(refreshing_since=now)

    say(boards)
    try:
        yield say
    finally:
        own = Board.objects.filter(pk__in=[board.pk for board in boards], refreshing_since__in=said)
        own.update(refreshing_since=None)


def _refresh(board: Board, month: str, as_of: datetime, *, closed: bool) -> Standings | None:
    started = monotonic()
    ranking = Ranking.of(*scores(board, as_of))
    entries = _entries(board, ranking, as_of)
    found = Standings(
        board=board, month=month, as_of=as_of, ranked_by=board.ranks_by, closed=closed, users=len(ranking)
    )
    with transaction.atomic():
        if not _make_room(found):
            return None
        insert(found)
        for entry in entries:
            entry.standings = found
        Entry.objects.bulk_create(entries, batch_size=1_000)
        write_blocks(found, ranking)
        found.seconds = round(monotonic() - started, 3)
        found.save(update_fields=["seconds"])
    return found


def _entries(board: Board, ranking: Ranking, as_of: datetime) -> list[Entry]:
    """The first places with the wins and participations of their users."""
    first = ranking.first(board.size)
    counted = tallies(board, [standing.user_id for standing in first], as_of)
    return [
        Entry(
            board=board,
            user_id=standing.user_id,
            place=standing.place,
            rank=standing.rank,
            points=standing.points,
            wins=counted.get(standing.user_id, (0, 0))[0],
            participations=counted.get(standing.user_id, (0, 0))[1],
            updated_at=as_of,
        )
        for standing in first
    ]


def _make_room(found: Standings) -> bool:
    """Delete what stands in the place of these standings; False when that is to stay.

    The board's row makes those who refresh it at the same time go one after the other.
    """
    board = Board.objects.select_for_update(no_key=True).filter(pk=found.board_id).first()
    if board is None or board.ranks_by != found.ranked_by:
        return False
    there = Standings.objects.filter(board=board, month=found.month).first()
    if there is None:
        return True
    if there.as_of > timezone.now() + CLOCKS_DIFFER:
        delete_standings(there.pk)
        return True
    newer = there.as_of > found.as_of and there.ranked_by == found.ranked_by
    if there.closed or (newer and not found.closed):
        return False
    delete_standings(there.pk)
    return True


# ----------------------------------------------------------------------------------------------------------- all boards


def refresh_boards(
    at: datetime,
    progress: Steps | None = None,
    *,
    slugs: Collection[str] | None = None,
    shown_before: datetime | None = None,
) -> RefreshResult:
    """Refresh every active board as of `at`, the one longest ago first; close months that are over; remove rolling
    standings over an hour old. With `slugs` these boards only; with `shown_before` only those that show an earlier
    instant.

    Never raises for a board that cannot be worked out: the result names it, an alert is raised, the others go on.
    """
    progress, result, due = progress or Unwatched(), RefreshResult(), list(boards_due(slugs, shown_before))
    # All go stale at the same moment: until its own turn each is shown as it is, else its readers would work it out.
    with _said_to_be_refreshing(due) as say:
        for number, board in enumerate(due, start=1):
            if not progress.keep_going():
                return result
            done = _refresh_one(board, at, result)
            say(due[number:])
            progress.step(successes=int(done), failures=int(not done))
    result.removed = remove_old_standings(at)
    for slug in open_subjects(BOARD_FAILED) - set(Board.objects.filter(active=True).values_list("slug", flat=True)):
        resolve_alert(BOARD_FAILED, slug)  # nobody waits for it any more
    return result


def boards_due(slugs: Collection[str] | None = None, shown_before: datetime | None = None) -> QuerySet[Board]:
    """The active boards that `refresh_boards` takes, the one refreshed longest ago first."""
    boards = Board.objects.filter(active=True).annotate(shown=Max("standings__as_of"))
    if slugs is not None:
        boards = boards.filter(slug__in=slugs)
    if shown_before is not None:
        wrong_clock = Q(shown__gt=timezone.now() + CLOCKS_DIFFER)
        boards = boards.filter(Q(shown=None) | Q(shown__lt=shown_before) | wrong_clock)
    return boards.order_by(F("shown").asc(nulls_first=True), "slug")


def months_to_close(board: Board, at: datetime) -> Iterator[Month]:
    """The months of a monthly board that are over at `at` and not closed, oldest first: from the oldest one of which
    standings are there, or else from the last one on.
    """
    if board.window != Board.Window.MONTHLY:
        return
    zone, last = zone_of(board), Month.containing(at - CLOSES_AFTER, zone_of(board)).previous()
    there = dict(Standings.objects.filter(board=board, month__lte=last.key).values_list("month", "closed"))
    month = Month.parse(min([*there, last.key]), zone)
    while month.key <= last.key:
        if not there.get(month.key):
            yield month
        month = month.next()


def remove_old_standings(at: datetime) -> int:
    """Delete the standings of rolling windows older than an hour; how many there were."""
    old = Standings.objects.filter(board__window__in=ROLLING, as_of__lt=at - KEEP_ROLLING)
    removed = 0
    for board_id in sorted(set(old.values_list("board_id", flat=True))):
        with transaction.atomic():
            Board.objects.select_for_update(no_key=True).filter(pk=board_id).first()  # as who refreshes it
            found = old.filter(board_id=board_id).values_list("pk", flat=True)
            delete_standings(*found)
            removed += len(found)
    return removed


def _refresh_one(board: Board, at: datetime, result: RefreshResult) -> bool:
    try:
        for month in months_to_close(board, at):
            result.closed += close_month(board, month) is not None
        refresh_board(board, at)
    except Exception as error:
        sentence = error.message if isinstance(error, RewardsError) else f"{type(error).__name__}: {error}"
        unexpected = None if isinstance(error, RewardsError) and error.http_status < 500 else error
        logger.error("Board %s: %s", board.slug, sentence, exc_info=unexpected, extra={"event": BOARD_FAILED})
        raise_alert(BOARD_FAILED, board.slug, sentence)
        result.failures.append(f"{board.slug}: {sentence}")
        return False
    resolve_alert(BOARD_FAILED, board.slug)
    result.boards += 1
    return True


# ---------------------------------------------------------------------------------------------------------------- setup

DEFAULT_BOARDS = {
    "points-all-time": ("Points of all time", Board.Window.ALL_TIME),
    "points-weekly": ("Points of the last 7 days", Board.Window.WEEKLY),
    "points-daily": ("Points of the last 24 hours", Board.Window.DAILY),
}


def create_default_boards() -> list[str]:
    """Create the boards that are shipped where they are missing; the slugs of those created."""
    created = []
    for slug, (title, window) in DEFAULT_BOARDS.items():
        _, is_new = Board.objects.get_or_create(slug=slug, defaults={"title": title, "window": window})
        created += [slug] if is_new else []
    return created
