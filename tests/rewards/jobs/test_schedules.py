"""Each job has a row in the scheduler's table, made once, then the operator's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from celery import current_app
from django.core.management import call_command
from django_celery_beat.models import PeriodicTask
from django_celery_beat.schedulers import ModelEntry

from rewards.jobs.registry import JOBS, task_name
from rewards.jobs.schedules import create_missing_schedules
from rewards.ledger.models import Currency
from rewards.parameters.models import Parameter
from rewards.parameters.registry import PARAMETERS
from rewards.pools.models import Pool

pytestmark = pytest.mark.django_db

OF_CASES = {"generate_case": 12 * 3_600, "close_cases": 300, "monitor_transactions": 30, "check_verdicts": 120}


def test_every_job_gets_a_row_once() -> None:
    assert create_missing_schedules() == list(JOBS)
    assert create_missing_schedules() == []

    rows = {row.name: row for row in PeriodicTask.objects.all()}
    assert set(rows) == set(JOBS)
    assert all(row.enabled and row.task == task_name(name) and row.description for name, row in rows.items())


def test_every_job_has_its_task() -> None:
    current_app.loader.import_default_modules()

    assert {task_name(job) for job in JOBS} <= set(current_app.tasks)


def test_what_an_operator_changed_stays() -> None:
    create_missing_schedules()
    row = PeriodicTask.objects.get(name="run_hourly")
    row.name, row.enabled, row.description = "Hourly payouts", False, "Paused over Christmas"
    row.save()
    before = list(PeriodicTask.objects.order_by("id").values_list("name", "enabled", "crontab", "interval"))

    assert create_missing_schedules() == []
    assert list(PeriodicTask.objects.order_by("id").values_list("name", "enabled", "crontab", "interval")) == before


def test_a_row_that_was_deleted_comes_back() -> None:
    create_missing_schedules()
    PeriodicTask.objects.get(name="sweep").delete()

    assert create_missing_schedules() == ["sweep"]


def test_the_jobs_of_cases_are_poked_as_often_as_they_promise() -> None:
    create_missing_schedules()

    rows = PeriodicTask.objects.filter(name__in=OF_CASES).select_related("interval")
    assert {row.name: (row.interval.every, row.interval.period) for row in rows} == {
        job: (seconds, "seconds") for job, seconds in OF_CASES.items()
    }
    assert {row.name: row.expire_seconds for row in rows} == OF_CASES


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe"])
def test_run_daily_is_poked_one_minute_past_every_local_midnight(zone: str) -> None:
    """Also on the days on which clocks change, and in zones a quarter of an hour off."""
    create_missing_schedules()
    crontab = PeriodicTask.objects.get(name="run_daily").schedule
    day = datetime(2026, 1, 1, tzinfo=ZoneInfo(zone))

    for number in range(365):
        poke = (day + timedelta(days=number, minutes=1)).astimezone(UTC)
        assert poke.minute in crontab.minute
        assert poke.hour in crontab.hour


def test_run_hourly_is_poked_half_past_every_hour() -> None:
    create_missing_schedules()
    crontab = PeriodicTask.objects.get(name="run_hourly").schedule

    assert (crontab.minute, crontab.hour) == ({30}, set(range(24)))


def test_edits_of_people_are_history_and_the_scheduler_s_own_notes_are_not() -> None:
    create_missing_schedules()
    row = PeriodicTask.objects.get(name="sweep")
    assert row.history.count() == 1

    entry = next(ModelEntry(row))  # what the scheduler does each time it fires
    entry.save()
    assert PeriodicTask.objects.get(name="sweep").total_run_count == 1
    assert row.history.count() == 1

    row = PeriodicTask.objects.get(name="sweep")
    row.enabled = False
    row.save()
    assert [version.enabled for version in row.history.all()] == [False, True]


def test_setup_defaults_creates_what_is_missing_and_keeps_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    Currency.objects.create(code="points", name="Stars", symbol="★")
    call_command("setup_defaults")
    first = capsys.readouterr().out
    call_command("setup_defaults")

    again = capsys.readouterr().out.splitlines()
    assert "schedules: 0 created" in again
    assert all(line.endswith(": 0 created") for line in again)
    assert "currencies: 20 created" in first
    assert Currency.objects.get(code="points").name == "Stars"
    assert set(Currency.objects.values_list("decimals", flat=True)) == {0}
    assert {f"{what}_{metal}" for what in ("token", "ticket") for metal in ("bronze", "diamond")} <= set(
        Currency.objects.values_list("code", flat=True)
    )
    assert set(Parameter.objects.values_list("key", flat=True)) == set(PARAMETERS)
    assert set(Pool.objects.values_list("slug", "currency__code")) == {("hourly", "points"), ("daily", "points")}
