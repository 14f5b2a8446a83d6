"""The periods of the pools: a UTC hour, and a local day made of the hours that start in it. Pure.

Where midnight does not fall on a full UTC hour, the stretch of a day is still that of its hours: a vote takes part
where its money goes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from rewards.common.periods import ONE_HOUR, Day, Hour

HOURLY_DELAY = timedelta(minutes=30)
DAILY_DELAY = timedelta(seconds=35)


@dataclass(frozen=True, order=True)
class PoolPeriod:
    """A period of a pool: whole hours from `start` to `end` (excluded), paid from `due_at` on."""

    start: datetime
    end: datetime
    key: str
    due_at: datetime

    @property
    def hours(self) -> int:
        return (self.end - self.start) // ONE_HOUR


class Calendar(Protocol):
    """The periods of one pool, in order."""

    def containing(self, instant: datetime) -> PoolPeriod: ...
    def after(self, period: PoolPeriod) -> PoolPeriod: ...
    def before(self, period: PoolPeriod) -> PoolPeriod: ...
    def parse(self, key: str) -> PoolPeriod:
        """Raises `ValueError`."""
        ...


class HourlyCalendar:
    def containing(self, instant: datetime) -> PoolPeriod:
        return _of_hour(Hour.containing(instant))

    def after(self, period: PoolPeriod) -> PoolPeriod:
        return _of_hour(Hour(period.end))

    def before(self, period: PoolPeriod) -> PoolPeriod:
        return _of_hour(Hour(period.start).previous())

    def parse(self, key: str) -> PoolPeriod:
        period = _of_hour(Hour.parse(key))
        return _same_key(period, key)


@dataclass(frozen=True)
class DailyCalendar:
    zone: ZoneInfo

    def containing(self, instant: datetime) -> PoolPeriod:
        return _of_day(Day.containing(Hour.containing(instant).start, self.zone))

    def after(self, period: PoolPeriod) -> PoolPeriod:
        """The next day that has hours: a zone that changes sides of the date line leaves one out."""
        day = Day.parse(period.key, self.zone).next()
        while _of_day(day).hours == 0:
            day = day.next()
        return _of_day(day)

    def before(self, period: PoolPeriod) -> PoolPeriod:
        day = Day.parse(period.key, self.zone).previous()
        while _of_day(day).hours == 0:
            day = day.previous()
        return _of_day(day)

    def parse(self, key: str) -> PoolPeriod:
        return _same_key(_of_day(Day.parse(key, self.zone)), key)


def periods_due(calendar: Calendar, first: datetime, at: datetime) -> Iterator[PoolPeriod]:
    """Every period from the one that holds `first` on that is due at `at`, oldest first."""
    period = calendar.containing(first)
    while period.due_at <= at:
        yield period
        period = calendar.after(period)


def _of_hour(hour: Hour) -> PoolPeriod:
    return PoolPeriod(hour.start, hour.end, hour.key, hour.end + HOURLY_DELAY)


def _of_day(day: Day) -> PoolPeriod:
    end = _full_hour_from(day.end)
    return PoolPeriod(_full_hour_from(day.start), end, day.key, end + DAILY_DELAY)


def _full_hour_from(instant: datetime) -> datetime:
    """The first full UTC hour that is not before `instant`."""
    hour = Hour.containing(instant.astimezone(UTC))
    return hour.start if hour.start == instant else hour.end


def _same_key(period: PoolPeriod, key: str) -> PoolPeriod:
    if period.key != key:
        raise ValueError(f"{key!r} is not written as {period.key!r}.")
    return period
