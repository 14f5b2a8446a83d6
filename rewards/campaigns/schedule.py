"""When a campaign runs: once, or every day, week or month from its first instant on. Pure.

The clock on the wall counts: an occurrence has the local time of the first one, also after clocks have changed.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import count, takewhile
from zoneinfo import ZoneInfo

ONCE = "1"
"""The period key of a campaign that runs once."""

_DAYS = {"daily": 1, "weekly": 7}


@dataclass(frozen=True)
class Run:
    """A run of a campaign, due at an instant. As a period it has no length."""

    programme: str
    key: str
    due_at: datetime

    @property
    def start(self) -> datetime:
        return self.due_at

    @property
    def end(self) -> datetime:
        return self.due_at


def occurrences(schedule: str, first: datetime, zone: ZoneInfo) -> Iterator[tuple[str, datetime]]:
    """(local date, instant) of a schedule's runs without an end, oldest first; `schedule` is daily, weekly or monthly.

    A month that is too short has its run on its last day. A time of day that is skipped is the instant right after
    the gap, one that comes twice the first of both. No date comes twice.
    """
    anchor, last_key = first.astimezone(zone), ""
    for number in count():
        try:
            key, instant = _occurrence(schedule, anchor, number)
        except (OverflowError, ValueError):  # the year 10000
            return
        if key > last_key:
            yield key, instant
            last_key = key


def occurrences_until(schedule: str, first: datetime, at: datetime, zone: ZoneInfo) -> Iterator[tuple[str, datetime]]:
    """Those that are due at `at`, `at` included."""
    return takewhile(lambda each: each[1] <= at, occurrences(schedule, first, zone))


def occurrence_on(schedule: str, first: datetime, key: str, zone: ZoneInfo) -> datetime | None:
    """The instant of the run on a local date, such as `2026-11-21`; None where there is none."""
    anchor = first.astimezone(zone)
    try:
        wanted = date.fromisoformat(key)
        number = _number(schedule, anchor.date(), wanted)
        found, instant = _occurrence(schedule, anchor, number)
    except (OverflowError, ValueError):
        return None
    return instant if found == key and number >= 0 else None


def _occurrence(schedule: str, anchor: datetime, number: int) -> tuple[str, datetime]:
    """The run of that number, counted from 0, by the clock on the wall; `anchor` is the first one, local."""
    local = anchor
    if number:
        time = anchor.time().replace(fold=0)
        local = datetime.combine(_date(schedule, anchor.date(), number), time, tzinfo=anchor.tzinfo)
    instant = local.astimezone(UTC)
    return instant.astimezone(anchor.tzinfo).date().isoformat(), instant


def _date(schedule: str, first: date, number: int) -> date:
    if schedule in _DAYS:
        return first + timedelta(days=_DAYS[schedule] * number)
    years, month = divmod(first.month - 1 + number, 12)
    year = first.year + years
    return date(year, month + 1, min(first.day, monthrange(year, month + 1)[1]))


def _number(schedule: str, first: date, day: date) -> int:
    """Which run falls on that day, if one does."""
    if schedule in _DAYS:
        return (day - first).days // _DAYS[schedule]
    return (day.year - first.year) * 12 + day.month - first.month
