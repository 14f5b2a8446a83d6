"""When jobs run: django-celery-beat's models, restricted to the jobs of the product.

Its own admin lets anyone with the right to look run any task with any arguments; nothing of that is left here.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.conf import settings
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.utils.safestring import SafeString
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    SolarSchedule,
)
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import BooleanRadioFilter
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminSelectWidget

from rewards.admin.common.charts import Chart, bar_chart
from rewards.admin.common.confirm import Question, ask_then_do, page_context
from rewards.admin.common.display import admin_url, ago, badge, duration, grouped, link_to
from rewards.admin.common.history import HistoryAdmin
from rewards.admin.common.rows import RowPages
from rewards.admin.common.tables import Table
from rewards.admin.jobs import run_in_brief
from rewards.admin.running import job_of, known_tasks, run_now
from rewards.jobs.models import JobRun
from rewards.jobs.queries import newest_runs
from rewards.users.models import User

DAYS_SHOWN = 7
RUNS_CHARTED = 60
RUNS_LISTED = 15

for model in (PeriodicTask, ClockedSchedule, CrontabSchedule, IntervalSchedule, SolarSchedule):
    admin.site.unregister(model)


class PeriodicTaskForm(forms.ModelForm):
    task = forms.ChoiceField(label="Job", choices=known_tasks, widget=UnfoldAdminSelectWidget())

    class Meta:
        model = PeriodicTask
        fields = ["name", "task", "enabled", "description", "interval", "crontab", "solar", "clocked", "one_off"]


@admin.register(PeriodicTask)
class PeriodicTaskAdmin(HistoryAdmin):
    form = PeriodicTaskForm
    change_form_template = "admin/schedule.html"
    empty_hint = "`manage.py setup_defaults` creates a schedule for each job."
    list_display = ["name", "job", "enabled", "when", "next_due", "last_run", "last_result"]
    list_filter = [("enabled", BooleanRadioFilter)]
    list_select_related = ["interval", "crontab", "solar", "clocked"]
    ordering = ["name"]
    search_fields = ["name"]
    actions = None
    actions_row = ["run_job"]
    actions_detail = ["run_job"]
    fieldsets = [
        (None, {"fields": ["name", "task", "enabled", "description"]}),
        ("When (one of them)", {"fields": ["crontab", "interval", "clocked", "solar", "one_off"]}),
    ]

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """With the newest run of each job, by one query instead of one a line, and the time zone of who looks."""
        changes = super().get_changelist_instance(request)
        newest, zone = newest_runs(), zone_of(request.user)
        for task in changes.result_list:
            task.newest_run, task.zone = newest.get(job_of(task.task)), zone
        return changes

    def has_run_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whoever may change when a job runs may run it."""
        return request.user.is_active and self.has_change_permission(request)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        task = PeriodicTask.objects.filter(pk=object_id).select_related(*self.list_select_related).first()
        if task is not None and self.has_view_permission(request, task):
            extra_context = (extra_context or {}) | page_of(task, zone_of(request.user), timezone.now())
        return super().change_view(request, object_id, form_url, extra_context)

    @display(description="Job")
    def job(self, task: PeriodicTask) -> str:
        return job_of(task.task)

    @display(description="When")
    def when(self, task: PeriodicTask) -> str:
        return schedule_in_words(task)

    @display(description="Last run")
    def last_run(self, task: PeriodicTask) -> str:
        run = newest_run(task)
        return ago(run.started_at) if run else "never"

    @display(description="Result")
    def last_result(self, task: PeriodicTask) -> SafeString | str:
        run = newest_run(task)
        return link_to(run, badge(run.status)) if run else "–"

    @display(description="Next due")
    def next_due(self, task: PeriodicTask) -> str:
        return due_in_words(next_run_at(task), getattr(task, "zone", settings.REWARDS_TIME_ZONE), timezone.now())

    @action(description="Run now", url_path="run", icon="play_arrow", permissions=["run"])
    def run_job(self, request: HttpRequest, object_id: str) -> HttpResponse:
        task = get_object_or_404(PeriodicTask, pk=object_id)
        job, run = job_of(task.task), newest_run(task)
        figures = [("Last run", ago(run.started_at)), ("Result", run_in_brief(run))] if run else []
        question = Question(
            title=f"Run {job} now",
            explanation="A worker runs it once, outside its schedule. The job works out what is due; what is done "
            "already is not done again.",
            button="Run now",
            figures=figures,
        )
        back = f"{admin_url(JobRun)}?job={job}"
        return ask_then_do(
            request, question, lambda reason: run_now(job, request.user), back=back,
            context=page_context(request, self, task),
        )  # fmt: skip


def newest_run(task: PeriodicTask) -> JobRun | None:
    if not hasattr(task, "newest_run"):
        task.newest_run = JobRun.objects.filter(job=job_of(task.task)).order_by("-started_at").first()
    return task.newest_run


def next_run_at(task: PeriodicTask) -> Any:
    """When the scheduler will poke it next; None for one that is switched off."""
    if not task.enabled:
        return None
    now = timezone.now()
    last = task.last_run_at or now
    at = now + timedelta(seconds=max(0.0, task.schedule.is_due(last).next))
    # The library looked at the clock a moment later: half past would be shown as a minute earlier.
    return (at + timedelta(seconds=0.5)).replace(microsecond=0)


def zone_of(user: Any) -> ZoneInfo:
    """The operator's own time zone; the product's where he has none."""
    return ZoneInfo(user.time_zone) if isinstance(user, User) and user.time_zone else settings.REWARDS_TIME_ZONE


def in_zone(at: datetime, zone: ZoneInfo) -> str:
    """`Sat 2026-11-21 08:30 Europe/Berlin`: never without the zone, since all else in the admin is UTC."""
    return f"{at.astimezone(zone):%a %Y-%m-%d %H:%M} {zone.key}"


def due_in_words(at: datetime | None, zone: ZoneInfo, now: datetime) -> str:
    if at is None:
        return "switched off"
    return f"{in_zone(at, zone)} ({'now' if at <= now else ago(at, now)})"


def schedule_in_words(task: PeriodicTask) -> str:
    if task.interval:
        return f"every {duration(float(task.interval.schedule.run_every.total_seconds()))}"
    if task.crontab:
        return task.crontab.human_readable  # the zone is part of it
    return str(task.clocked or task.solar or "never")


# ----------------------------------------------------------------------------------------------- the page of a schedule


def page_of(task: PeriodicTask, zone: ZoneInfo, now: datetime) -> dict[str, Any]:
    job = job_of(task.task)
    newest = JobRun.objects.filter(job=job, started_at__gte=now - timedelta(days=DAYS_SHOWN)).order_by("-started_at")
    runs = list(newest[:RUNS_CHARTED])
    last = runs[0] if runs else newest_run(task)
    at = next_run_at(task)
    return {
        "schedule": task,
        "state": badge("active", "enabled") if task.enabled else badge("none", "switched off"),
        "figures": [
            ("Runs", schedule_in_words(task), job),
            ("Next due", in_zone(at, zone) if at else "–", due_note(at, now)),
            ("Last run", link_to(last, in_zone(last.started_at, zone)) if last else "never", last_note(last, now)),
        ],
        "chart": durations_chart(runs, zone) if len(runs) > 1 else None,
        "days": DAYS_SHOWN,
        "runs": runs_table(runs[:RUNS_LISTED], zone),
        "runs_url": f"{admin_url(JobRun)}?job={job}",
    }


def due_note(at: datetime | None, now: datetime) -> str:
    if at is None:
        return "it is switched off"
    return "now" if at <= now else ago(at, now)


def last_note(run: JobRun | None, now: datetime) -> str:
    return f"{run.status} {ago(run.started_at, now)}" if run else ""


def durations_chart(runs: list[JobRun], zone: ZoneInfo) -> Chart:
    """Seconds of each run, oldest first; those that went wrong in a colour of their own."""
    oldest_first = runs[::-1]
    good = {JobRun.Status.SUCCEEDED, JobRun.Status.RUNNING}
    wrong = [run for run in runs if run.status not in good]
    series = {"seconds": [run.seconds or 0.0 if run.status in good else 0.0 for run in oldest_first]}
    if wrong:
        series["seconds, failed or lost"] = [0.0 if run.status in good else run.seconds or 0.0 for run in oldest_first]
    return bar_chart(
        [f"{run.started_at.astimezone(zone):%m-%d %H:%M}" for run in oldest_first],
        series,
        x_title=f"started ({zone.key})",
        y_title="seconds",
        summary=f"The last {len(runs)} runs took up to {duration(max(run.seconds or 0.0 for run in runs))}; "
        f"{grouped(len(wrong))} of them failed or were lost.",
        stacked=True,
    )


def runs_table(runs: list[JobRun], zone: ZoneInfo) -> Table:
    rows = [
        (
            link_to(run, in_zone(run.started_at, zone)),
            badge(run.status),
            duration(run.seconds),
            run.trigger,
            run_in_brief(run),
        )
        for run in runs
    ]
    return Table(["Started", "Result", "Took", "By", "What became of it"], rows, frozenset({"Took"}), "It has not run.")


# --------------------------------------------------------------------------------------- crontabs, intervals and others


class ScheduleAdmin(RowPages, ModelAdmin):
    """A schedule that tasks share. One that is in use is not deleted, or its tasks would go with it, and not changed:
    another one is chosen on the page of the task, and the change stands in the history of the task.
    """

    actions = None
    show_facets = admin.ShowFacets.NEVER
    list_display = ["__str__", "used_by"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).prefetch_related("periodictask_set")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and not is_in_use(obj)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and not is_in_use(obj)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        return [(None, {"fields": self.get_fields(request, obj), "description": IN_USE if is_in_use(obj) else ""})]

    @display(description="Used by")
    def used_by(self, schedule: Any) -> str:
        return ", ".join(task.name for task in schedule.periodictask_set.all()) or "no job"


IN_USE = (
    "Jobs run by it, so it stays as it is: choose or add another one on the page of the schedule. "
    "There the change stands in the history."
)


def is_in_use(schedule: Any) -> bool:
    return schedule is not None and schedule.pk is not None and schedule.periodictask_set.exists()


@admin.register(CrontabSchedule)
class CrontabScheduleAdmin(ScheduleAdmin):
    list_display = ["human_readable", "__str__", "used_by"]


@admin.register(IntervalSchedule, ClockedSchedule, SolarSchedule)
class OtherScheduleAdmin(ScheduleAdmin):
    pass
