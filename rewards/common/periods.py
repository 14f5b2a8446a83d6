"""Hours, days and months: half-open stretches of time with a key.

Hours are UTC. Days and months are local to a zone; an hour belongs to the day in which it starts, so a day has 23,
24 or 25 of them. Pure: the clock and the zone are handed in.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

ONE_HOUR = timedelta(hours=1)


class Period(Protocol):
    """What all periods offer: a key, `start` (included) and `end` (excluded), both aware."""

    @property
    def key(self) -> str: ...
    @property
    def start(self) -> datetime: ...
    @property
    def end(self) -> datetime: ...


@dataclass(frozen=True, order=True)
class Hour:
    """A UTC hour; its key is `2026-11-21T07`."""

    start: datetime

    def __post_init__(self) -> None:
        if self.start.utcoffset() != timedelta(0) or (self.start.minute, self.start.second, self.start.microsecond) != (
            0,
            0,
            0,
        ):
            raise ValueError(f"An hour starts at a full UTC hour, not at {self.start}.")

    @classmethod
    def containing(cls, instant: datetime) -> Hour:
        return cls(instant.astimezone(UTC).replace(minute=0, second=0, microsecond=0))

    @classmethod
    def parse(cls, key: str) -> Hour:
        return cls(datetime.strptime(key, "%Y-%m-%dT%H").replace(tzinfo=UTC))

    @property
    def key(self) -> str:
        return f"{self.start:%Y-%m-%dT%H}"

    @property
    def end(self) -> datetime:
        return self.start + ONE_HOUR

    def next(self) -> Hour:
        return Hour(self.end)

    def previous(self) -> Hour:
        return Hour(self.start - ONE_HOUR)


def hours_between(first: Hour, end: datetime) -> Iterator[Hour]:
    """Every hour from `first` on that is over at `end`."""
    hour = first
    while hour.end <= end:
        yield hour
        hour = hour.next()


@dataclass(frozen=True, order=True)
class Day:
    """A calendar day in a zone; its key is `2026-11-21`."""

    date: date
    zone: ZoneInfo

    @classmethod
    def containing(cls, instant: datetime, zone: ZoneInfo) -> Day:
        return cls(instant.astimezone(zone).date(), zone)

    @classmethod
    def parse(cls, key: str, zone: ZoneInfo) -> Day:
        return cls(date.fromisoformat(key), zone)

    @property
    def key(self) -> str:
        return self.date.isoformat()

    @property
    def start(self) -> datetime:
        return local_midnight(self.date, self.zone)

    @property
    def end(self) -> datetime:
        return self.next().start

    def next(self) -> Day:
        return Day(self.date + timedelta(days=1), self.zone)

    def previous(self) -> Day:
        return Day(self.date - timedelta(days=1), self.zone)

    def hours(self) -> Iterator[Hour]:
        """The UTC hours that start in this day: 23, 24 or 25."""
        hour = Hour.containing(self.start)
        if hour.start < self.start:
            hour = hour.next()
        while hour.start < self.end:
            yield hour
            hour = hour.next()


@dataclass(frozen=True, order=True)
class Month:
    """A calendar month in a zone; its key is `2026-10`."""

    year: int
    month: int
    zone: ZoneInfo

    @classmethod
    def containing(cls, instant: datetime, zone: ZoneInfo) -> Month:
        local = instant.astimezone(zone)
        return cls(local.year, local.month, zone)

    @classmethod
    def parse(cls, key: str, zone: ZoneInfo) -> Month:
        first = date.fromisoformat(f"{key}-01")
        return cls(first.year, first.month, zone)

    @property
    def key(self) -> str:
        return f"{self.year:04d}-{self.month:02d}"

    @property
    def start(self) -> datetime:
        return local_midnight(date(self.year, self.month, 1), self.zone)

    @property
    def end(self) -> datetime:
        return self.next().start

    def next(self) -> Month:
        return Month(self.year + self.month // 12, self.month % 12 + 1, self.zone)

    def previous(self) -> Month:
        return Month(self.year - (self.month == 1), (self.month - 2) % 12 + 1, self.zone)


def local_midnight(day: date, zone: ZoneInfo) -> datetime:
    """The first instant of a local day, in UTC. Where midnight is skipped, the instant right after the gap."""
    return datetime.combine(day, time(), tzinfo=zone).astimezone(UTC)


def parse_instant(text: str) -> datetime:
    """An aware instant from ISO 8601; naive means UTC. Raises `ValueError`."""
    instant = datetime.fromisoformat(text.strip())
    if instant.tzinfo is None:
        return instant.replace(tzinfo=UTC)
    try:
        return instant.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"{text} is outside of the years 1 to 9999 in UTC.") from error
