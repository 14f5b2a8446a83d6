"""When a campaign runs: by the clock on the wall."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from zoneinfo import ZoneInfo

import pytest

from rewards.campaigns.schedule import occurrence_on, occurrences, occurrences_until

BERLIN = ZoneInfo("Europe/Berlin")


def local(text: str, zone: ZoneInfo = BERLIN) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone)


def first(count: int, schedule: str, start: datetime, zone: ZoneInfo = BERLIN) -> list[tuple[str, str]]:
    """(local date, UTC) of the first runs."""
    found = islice(occurrences(schedule, start, zone), count)
    return [(key, f"{instant.astimezone(UTC):%m-%d %H:%M}") for key, instant in found]


def test_daily_keeps_its_local_time_when_clocks_change():
    assert first(3, "daily", local("2026-03-28T09:00")) == [
        ("2026-03-28", "03-28 08:00"),
        ("2026-03-29", "03-29 07:00"),
        ("2026-03-30", "03-30 07:00"),
    ]
    assert first(2, "daily", local("2026-10-24T09:00")) == [
        ("2026-10-24", "10-24 07:00"),
        ("2026-10-25", "10-25 08:00"),
    ]


def test_a_time_that_is_skipped_is_right_after_the_gap_and_one_that_comes_twice_is_the_first():
    assert first(3, "daily", local("2026-03-28T02:30"))[1:] == [
        ("2026-03-29", "03-29 01:30"),  # 03:30 of the new time
        ("2026-03-30", "03-30 00:30"),
    ]
    assert first(2, "daily", local("2026-10-24T02:30"))[1] == ("2026-10-25", "10-25 00:30")


def test_one_that_starts_in_the_second_of_two_equal_hours_starts_there():
    second = local("2026-10-25T02:30").replace(fold=1)

    assert first(2, "daily", second) == [("2026-10-25", "10-25 01:30"), ("2026-10-26", "10-26 01:30")]


def test_weekly():
    assert first(3, "weekly", local("2026-10-20T12:00")) == [
        ("2026-10-20", "10-20 10:00"),
        ("2026-10-27", "10-27 11:00"),
        ("2026-11-03", "11-03 11:00"),
    ]


def test_monthly_is_clamped_to_short_months_and_comes_back():
    dates = [key for key, _ in first(14, "monthly", local("2027-12-31T10:00"))]

    assert dates[:5] == ["2027-12-31", "2028-01-31", "2028-02-29", "2028-03-31", "2028-04-30"]
    assert dates[12:] == ["2028-12-31", "2029-01-31"]


def test_a_day_that_a_zone_leaves_out_has_no_run_of_its_own():
    apia = ZoneInfo("Pacific/Apia")  # went over the date line: there was no 30 December 2011

    dates = [key for key, _ in first(4, "daily", local("2011-12-28T10:00", apia), apia)]

    assert dates == ["2011-12-28", "2011-12-29", "2011-12-31", "2012-01-01"]


def test_what_is_due_at_an_instant_includes_it():
    start = local("2026-11-01T10:00")
    due = [key for key, _ in occurrences_until("daily", start, local("2026-11-03T10:00"), BERLIN)]

    assert due == ["2026-11-01", "2026-11-02", "2026-11-03"]
    assert list(occurrences_until("daily", start, local("2026-11-01T09:59"), BERLIN)) == []


@pytest.mark.parametrize("schedule", ["daily", "weekly", "monthly"])
def test_the_run_of_a_date_is_found_without_walking(schedule):
    start = local("2026-01-31T23:45")

    for key, instant in islice(occurrences(schedule, start, BERLIN), 40):
        assert occurrence_on(schedule, start, key, BERLIN) == instant
    for none in ("2026-01-30", "1999-01-31", "2026-02-30", "9999-99-99", "tomorrow", "20260228", ""):
        assert occurrence_on(schedule, start, none, BERLIN) is None


def test_there_is_an_end_to_it():
    assert [key for key, _ in occurrences("daily", datetime(9999, 12, 30, tzinfo=UTC), ZoneInfo("UTC"))] == [
        "9999-12-30",
        "9999-12-31",
    ]
