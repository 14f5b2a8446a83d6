"""Hours, days and months where clocks jump."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from rewards.common.periods import Day, Hour, Month, hours_between, local_midnight, parse_instant

BERLIN = ZoneInfo("Europe/Berlin")
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")
SAO_PAULO = ZoneInfo("America/Sao_Paulo")
APIA = ZoneInfo("Pacific/Apia")


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("key", "zone", "starts", "ends", "hours"),
    [
        ("2026-11-21", ZoneInfo("UTC"), "2026-11-21T00:00", "2026-11-22T00:00", 24),
        ("2026-03-29", BERLIN, "2026-03-28T23:00", "2026-03-29T22:00", 23),
        ("2026-10-25", BERLIN, "2026-10-24T22:00", "2026-10-25T23:00", 25),
        # Clocks there move by half an hour, so no UTC hour is cut in two the same way before and after.
        ("2026-10-04", LORD_HOWE, "2026-10-03T13:30", "2026-10-04T13:00", 23),
        ("2026-04-05", LORD_HOWE, "2026-04-04T13:00", "2026-04-05T13:30", 25),
        # Midnight did not exist: the day began at one o'clock.
        ("2018-11-04", SAO_PAULO, "2018-11-04T03:00", "2018-11-05T02:00", 23),
        # Midnight was met twice: the hour before it belongs to the day before.
        ("2018-02-17", SAO_PAULO, "2018-02-17T02:00", "2018-02-18T03:00", 25),
        # The day was left out when the date line moved.
        ("2011-12-29", APIA, "2011-12-29T10:00", "2011-12-30T10:00", 24),
        ("2011-12-30", APIA, "2011-12-30T10:00", "2011-12-30T10:00", 0),
        ("2011-12-31", APIA, "2011-12-30T10:00", "2011-12-31T10:00", 24),
    ],
)
def test_a_day_lasts_from_its_first_to_the_next_days_first_instant(key, zone, starts, ends, hours):
    day = Day.parse(key, zone)
    assert (day.start, day.end) == (instant(starts), instant(ends))
    assert len(list(day.hours())) == hours
    assert day.key == key


@pytest.mark.parametrize(
    ("zone", "first"),
    [
        (BERLIN, "2026-03-01"),
        (BERLIN, "2026-10-01"),
        (LORD_HOWE, "2026-03-25"),
        (LORD_HOWE, "2026-09-25"),
        (SAO_PAULO, "2018-10-25"),
        (APIA, "2011-12-15"),
    ],
)
def test_days_and_their_hours_follow_each_other_without_gap_or_overlap(zone, first):
    days = [Day.parse(first, zone)]
    while len(days) < 40:
        days.append(days[-1].next())
    assert all(earlier.end == later.start for earlier, later in pairwise(days))
    hours = [hour for day in days for hour in day.hours()]
    assert all(earlier.next() == later for earlier, later in pairwise(hours))
    assert [later.previous() for later in days[1:]] == days[:-1]
    for day in days:
        for hour in day.hours():
            assert Day.containing(hour.start, zone) == day


@pytest.mark.parametrize(
    ("at", "zone", "day"),
    [
        ("2026-03-28T22:59:59", BERLIN, "2026-03-28"),
        ("2026-03-28T23:00:00", BERLIN, "2026-03-29"),
        ("2018-11-04T02:59:59", SAO_PAULO, "2018-11-03"),
        ("2018-11-04T03:00:00", SAO_PAULO, "2018-11-04"),
        ("2011-12-30T09:59:59", APIA, "2011-12-29"),
        ("2011-12-30T10:00:00", APIA, "2011-12-31"),
    ],
)
def test_every_instant_is_in_one_day(at, zone, day):
    assert Day.containing(instant(at), zone).key == day


def test_both_hours_of_a_night_that_has_two_o_clock_twice_are_hours_of_their_own():
    first = datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN)
    second = first.replace(fold=1)
    keys = [Hour.containing(first).key, Hour.containing(second).key]
    assert keys == ["2026-10-25T00", "2026-10-25T01"]
    assert Day.containing(first, BERLIN) == Day.containing(second, BERLIN)


def test_an_hour_starts_at_a_full_hour_of_utc_and_nowhere_else():
    hour = Hour.parse("2026-11-21T07")
    assert (hour.start, hour.end, hour.key) == (
        instant("2026-11-21T07:00"), instant("2026-11-21T08:00"), "2026-11-21T07",
    )  # fmt: skip
    assert Hour.containing(instant("2026-11-21T07:59:59.999999")) == hour
    for start in (
        instant("2026-11-21T07:00:01"),
        instant("2026-11-21T07:30"),
        datetime(2026, 11, 21, 7, tzinfo=BERLIN),
        datetime(2026, 11, 21, 7),  # noqa: DTZ001
    ):
        with pytest.raises(ValueError, match="full UTC hour"):
            Hour(start)


def test_hours_that_are_over():
    first = Hour.parse("2026-12-31T22")
    at_two = instant("2027-01-01T02:00")
    assert [hour.key for hour in hours_between(first, at_two)] == [
        "2026-12-31T22", "2026-12-31T23", "2027-01-01T00", "2027-01-01T01",
    ]  # fmt: skip
    assert len(list(hours_between(first, at_two - timedelta(microseconds=1)))) == 3
    assert list(hours_between(first, first.start)) == []


def test_months_over_the_turn_of_the_year_and_in_february():
    december = Month.parse("2026-12", BERLIN)
    assert december.next().key == "2027-01"
    assert december.next().previous() == december
    assert (december.start, december.end) == (instant("2026-11-30T23:00"), instant("2026-12-31T23:00"))
    february = Month.parse("2028-02", BERLIN)
    assert february.end - february.start == timedelta(days=29)
    october = Month.parse("2026-10", BERLIN)
    assert october.end - october.start == timedelta(days=31, hours=1)
    assert Month.containing(instant("2026-12-31T23:00"), BERLIN).key == "2027-01"


@pytest.mark.parametrize("key", ["2026-11-21T24", "2026-11-21", "2026-02-30T00", "", "now"])
def test_a_key_that_is_no_hour_is_refused(key):
    with pytest.raises(ValueError):
        Hour.parse(key)


@pytest.mark.parametrize("key", ["2026-02-30", "2026-1", "", "2026-11-21T07"])
def test_a_key_that_is_no_day_is_refused(key):
    with pytest.raises(ValueError):
        Day.parse(key, BERLIN)


@pytest.mark.parametrize("key", ["2026-13", "2026-0", "2026", "2026-11-21"])
def test_a_key_that_is_no_month_is_refused(key):
    with pytest.raises(ValueError):
        Month.parse(key, BERLIN)


def test_midnight_is_given_in_utc():
    midnight = local_midnight(date(2026, 7, 1), BERLIN)
    assert midnight == instant("2026-06-30T22:00")
    assert midnight.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-21T10:30", "2026-11-21T10:30"),
        (" 2026-11-21T10:30Z\n", "2026-11-21T10:30"),
        ("2026-11-21T10:30+02:00", "2026-11-21T08:30"),
        ("2026-11-21", "2026-11-21T00:00"),
        ("2026-11-21 10:30:01.5", "2026-11-21T10:30:01.500"),
    ],
)
def test_an_instant_without_a_zone_is_utc(text, expected):
    assert parse_instant(text) == instant(expected)


@pytest.mark.parametrize(
    "text",
    ["", "now", "10:30", "2026-11-21T24:00", "2026-11-21T10:60", "2026-12-31T23:59:60", "10000-01-01", "0000-01-01",
     "0001-01-01T00:00+14:00", "9999-12-31T23:59-12:00", "1763721000"],
)  # fmt: skip
def test_what_is_no_instant_is_a_value_error(text):
    with pytest.raises(ValueError):
        parse_instant(text)
