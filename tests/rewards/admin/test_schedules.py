"""Schedules: when each job is due in the operator's own time, what became of it, and nothing but the product's jobs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.contrib.admin.models import LogEntry
from django.core.serializers import deserialize, serialize
from django.test import Client
from django.urls import reverse
from django_celery_beat.models import CrontabSchedule, PeriodicTask
from django_celery_beat.schedulers import ModelEntry

from rewards.admin.schedules import due_in_words, next_run_at
from rewards.jobs.models import ForeignTask, JobRun
from rewards.jobs.schedules import create_missing_schedules
from rewards.jobs.services import run_job
from rewards.users.models import User
from rewards_site.celery import app

LIBRARY_ACTIONS = ("run_tasks", "enable_tasks", "disable_tasks", "toggle_tasks", "delete_selected")


@pytest.fixture(autouse=True)
def schedules(db: None) -> None:
    create_missing_schedules()


@pytest.fixture
def hourly() -> PeriodicTask:
    return PeriodicTask.objects.get(name="run_hourly")


def address(view: str, *args: Any, model: str = "periodictask") -> str:
    return reverse(f"admin:django_celery_beat_{model}_{view}", args=args)


def form_of(row: PeriodicTask, **changes: Any) -> dict[str, Any]:
    form = {"name": row.name, "task": row.task, "description": row.description, "crontab": row.crontab_id or ""}
    return form | {"interval": row.interval_id or "", "enabled": "on"} | changes


# ------------------------------------------------------------------------------------------------------- what is shown


def test_what_is_due_next_stands_in_the_time_zone_of_who_looks() -> None:
    at, now = datetime(2026, 11, 21, 7, 30, tzinfo=UTC), datetime(2026, 11, 21, 7, 18, tzinfo=UTC)
    assert due_in_words(at, ZoneInfo("Europe/Berlin"), now) == "Sat 2026-11-21 08:30 Europe/Berlin (in 12 min)"
    assert due_in_words(at, ZoneInfo("Asia/Kolkata"), at) == "Sat 2026-11-21 13:00 Asia/Kolkata (now)"
    assert due_in_words(None, ZoneInfo("UTC"), now) == "switched off"


def test_the_list_says_job_state_when_next_due_with_its_zone_and_the_last_run(sign_in, hourly) -> None:
    run = run_job("run_hourly", lambda progress: {"paid": 3})
    viewer = sign_in("Viewer")
    shown = viewer.get(address("changelist")).content.decode()
    assert " UTC (in " in shown
    assert reverse("admin:rewards_jobrun_change", args=[run.pk]) in shown
    User.objects.filter(username="viewer").update(time_zone="Europe/Berlin")
    shown = viewer.get(address("changelist")).content.decode()
    due = next_run_at(hourly).astimezone(ZoneInfo("Europe/Berlin"))
    assert f"{due:%a %Y-%m-%d %H}:30 Europe/Berlin" in shown


def test_a_list_of_all_schedules_takes_few_queries(sign_in, django_assert_max_num_queries) -> None:
    for job in ("run_hourly", "sweep", "seal_audit"):
        run_job(job, lambda progress: {})
    viewer = sign_in("Viewer")
    with django_assert_max_num_queries(19):
        viewer.get(address("changelist"))


def test_the_page_shows_the_runs_of_the_last_days_with_links(sign_in, hourly) -> None:
    good = run_job("run_hourly", lambda progress: {"paid": 3})
    bad = run_job("run_hourly", lambda progress: {}["missing"])
    old = run_job("run_hourly", lambda progress: {})
    JobRun.objects.filter(pk=old.pk).update(started_at=old.started_at - timedelta(days=8))
    page = sign_in("Viewer").get(address("change", hourly.pk))
    shown = page.content.decode()
    for run in (good, bad):
        assert reverse("admin:rewards_jobrun_change", args=[run.pk]) in shown
    assert len(page.context["runs"].rows) == 2
    assert "1 of them failed or were lost" in page.context["chart"].summary
    hourly.enabled = False
    hourly.save()
    assert "it is switched off" in sign_in("Viewer").get(address("change", hourly.pk)).content.decode()


def test_who_changed_a_schedule_stands_in_its_history_and_what_the_scheduler_notes_does_not(sign_in, hourly) -> None:
    before = hourly.history.count()
    noon = CrontabSchedule.objects.create(minute="45", hour="*", timezone="UTC")
    operator = sign_in("Operator")
    operator.post(address("change", hourly.pk), form_of(hourly, crontab=noon.pk))
    next(ModelEntry(PeriodicTask.objects.get(pk=hourly.pk), app=app)).save()  # as the scheduler does when it fires
    assert hourly.history.count() == before + 1
    assert hourly.history.first().history_user.username == "operator"
    shown = operator.get(address("history", hourly.pk)).content.decode()
    assert "by operator" in shown
    assert "<del>30 * * * *" in shown
    assert "<ins>45 * * * *" in shown
    assert LogEntry.objects.filter(user__username="operator").exists()


# ------------------------------------------------------------------------------------------- nothing but product's jobs


def test_another_task_is_not_saved_whoever_posts_it(sign_in, hourly) -> None:
    for task in ("celery.backend_cleanup", "rewards.tasks.nothing", "os.system", ""):
        answer = sign_in().post(address("change", hourly.pk), form_of(hourly, task=task))
        assert "task" in answer.context["adminform"].form.errors
        sign_in().post(address("add"), form_of(hourly, task=task, name="mine"))
    hourly.refresh_from_db()
    assert hourly.task == "rewards.tasks.run_hourly"
    assert not PeriodicTask.objects.filter(name="mine").exists()


def test_arguments_queue_and_headers_that_are_posted_are_left_out(sign_in, hourly) -> None:
    smuggled = {
        "args": '["x"]', "kwargs": '{"trigger": "command"}', "queue": "mine", "exchange": "e", "routing_key": "r",
        "headers": '{"h": 1}', "priority": "9", "regtask": "celery.backend_cleanup",
    }  # fmt: skip
    sign_in().post(address("change", hourly.pk), form_of(hourly, description="Changed", **smuggled))
    hourly.refresh_from_db()
    assert hourly.description == "Changed"
    assert (hourly.task, hourly.args, hourly.kwargs) == ("rewards.tasks.run_hourly", "[]", "{}")
    assert (hourly.queue, hourly.exchange, hourly.routing_key, hourly.priority) == (None, None, None, None)
    assert hourly.headers in (None, "{}")


@pytest.mark.parametrize("action", LIBRARY_ACTIONS)
@pytest.mark.parametrize("role", ["Viewer", "Operator", None])
def test_the_actions_of_the_scheduler_library_do_nothing(sign_in, monkeypatch, action, role) -> None:
    asked: list[str] = []
    monkeypatch.setattr("celery.app.base.Celery.send_task", lambda self, name, **kwargs: asked.append(name))
    monkeypatch.setattr("celery.app.task.Task.apply_async", lambda self, *args, **kwargs: asked.append(self.name))
    before = list(PeriodicTask.objects.order_by("pk").values())
    chosen = [task["id"] for task in before]
    form = {"action": action, "_selected_action": chosen, "select_across": "1", "post": "yes", "index": "0"}
    sign_in(role).post(address("changelist"), form)
    assert asked == []
    assert list(PeriodicTask.objects.order_by("pk").values()) == before


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("task", "os.system"), ("task", "celery.backend_cleanup"), ("args", '["x"]'), ("kwargs", '{"trigger": "x"}'),
        ("queue", "mine"), ("exchange", "e"), ("routing_key", "r"), ("headers", '{"h": 1}'),
    ],
)  # fmt: skip
def test_what_is_foreign_is_not_saved_by_code_or_from_a_fixture_either(hourly, name, value) -> None:
    setattr(hourly, name, value)
    with pytest.raises(ForeignTask):
        hourly.save()
    fixture = serialize("json", [hourly])
    with pytest.raises(ForeignTask):
        next(deserialize("json", fixture)).save()
    assert getattr(PeriodicTask.objects.get(pk=hourly.pk), name) != value


def test_a_foreign_row_that_was_slipped_in_does_not_end_the_scheduler_and_is_not_saved_again(sign_in, hourly) -> None:
    PeriodicTask.objects.filter(pk=hourly.pk).update(task="os.system")
    next(ModelEntry(PeriodicTask.objects.get(pk=hourly.pk), app=app)).save()
    assert PeriodicTask.objects.get(pk=hourly.pk).total_run_count == 1
    answer = sign_in().post(address("change", hourly.pk), form_of(hourly, task="os.system"))
    assert "task" in answer.context["adminform"].form.errors
    assert sign_in().post(address("delete", hourly.pk), {"post": "yes"}).status_code == 302
    assert not PeriodicTask.objects.filter(pk=hourly.pk).exists()


def test_a_crontab_in_use_stays_and_another_one_is_chosen(sign_in, hourly) -> None:
    url = address("change", hourly.crontab_id, model="crontabschedule")
    form = {"minute": "0", "hour": "0", "day_of_week": "*", "day_of_month": "*", "month_of_year": "*"}
    assert sign_in().post(url, form | {"timezone": "UTC"}).status_code == 403
    assert CrontabSchedule.objects.get(pk=hourly.crontab_id).minute == "30"
    assert "so it stays as it is" in sign_in().get(url).content.decode()
    free = CrontabSchedule.objects.create(minute="7", timezone="UTC")
    url = address("change", free.pk, model="crontabschedule")
    assert sign_in().post(url, form | {"timezone": "UTC"}).status_code == 302


# ------------------------------------------------------------------------------------------------------------- run now


def test_whoever_may_change_a_schedule_runs_its_job_and_nobody_else(sign_in, hourly, monkeypatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("celery.app.base.Celery.send_task", lambda self, name, **kwargs: asked.append(name))
    url = address("run_job", hourly.pk)
    for role in ("Viewer", "Support", "Approver"):
        assert sign_in(role).post(url).status_code == 403
    assert Client().post(url).status_code == 302
    sign_in("Operator").post(url)
    assert asked == ["rewards.tasks.run_hourly"]
