"""When jobs run: django-celery-beat's models, restricted to the jobs of the product.

Its own admin lets anyone with the right to look run any task with any arguments; nothing of that is left here.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
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

from rewards.admin.common.confirm import Question, ask_then_do, page_context
from rewards.admin.common.display import admin_url, ago, badge, duration
from rewards.admin.common.history import HistoryAdmin
from rewards.admin.common.rights import PayoutRights
from rewards.admin.common.rows import RowPages
from rewards.admin.jobs import run_in_brief
from rewards.admin.running import job_of, known_tasks, run_now
from rewards.jobs.models import JobRun
from rewards.jobs.queries import newest_runs

for model in (PeriodicTask, ClockedSchedule, CrontabSchedule, IntervalSchedule, SolarSchedule):
    admin.site.unregister(model)


class PeriodicTaskForm(forms.ModelForm):
    task = forms.ChoiceField(label="Job", choices=known_tasks, widget=UnfoldAdminSelectWidget())

    class Meta:
        model = PeriodicTask
        fields = ["name", "task", "enabled", "description", "interval", "crontab", "solar", "clocked", "one_off"]


@admin.register(PeriodicTask)
class PeriodicTaskAdmin(PayoutRights, HistoryAdmin):
    form = PeriodicTaskForm
    empty_hint = "`manage.py setup_defaults` creates a schedule for each job."
    list_display = ["name", "enabled", "when", "last_run", "last_result", "next_run"]
    list_filter = [("enabled", BooleanRadioFilter)]
    list_select_related = ["interval", "crontab", "solar", "clocked"]
    ordering = ["name"]
    search_fields = ["name"]
    actions = None
    actions_row = ["run_job"]
    actions_detail = ["run_job"]
    readonly_fields = ["last_run", "last_result", "next_run"]
    fieldsets = [
        (None, {"fields": ["name", "task", "enabled", "description"]}),
        ("When (one of them)", {"fields": ["crontab", "interval", "clocked", "solar", "one_off"]}),
        ("What became of it", {"fields": ["last_run", "last_result", "next_run"]}),
    ]

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """With the newest run of each job, by one query instead of one a line."""
        changes = super().get_changelist_instance(request)
        self._attach_newest_runs(changes.result_list)
        return changes

    def _attach_newest_runs(self, tasks: Any) -> None:
        newest = newest_runs()
        for task in tasks:
            task.newest_run = newest.get(job_of(task.task))

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
        return badge(run.status, run.status) if run else "–"

    @display(description="Next run")
    def next_run(self, task: PeriodicTask) -> str:
        at = next_run_at(task)
        return ago(at) if at else "not planned"

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
    return now + timedelta(seconds=max(0.0, task.schedule.is_due(last).next))


def schedule_in_words(task: PeriodicTask) -> str:
    if task.interval:
        return f"every {duration(float(task.interval.schedule.run_every.total_seconds()))}"
    if task.crontab:
        return f"{task.crontab.human_readable} ({task.crontab.timezone})"
    return str(task.clocked or task.solar or "never")


class ScheduleAdmin(RowPages, ModelAdmin):
    """A schedule that tasks share; one that is in use is not deleted, or its tasks would go with it."""

    actions = None
    show_facets = admin.ShowFacets.NEVER
    list_display = ["__str__", "used_by"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).prefetch_related("periodictask_set")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        allowed = super().has_delete_permission(request, obj)
        return allowed and (obj is None or not obj.periodictask_set.exists())

    @display(description="Used by")
    def used_by(self, schedule: Any) -> str:
        return ", ".join(task.name for task in schedule.periodictask_set.all()) or "no job"


@admin.register(CrontabSchedule)
class CrontabScheduleAdmin(ScheduleAdmin):
    list_display = ["human_readable", "__str__", "used_by"]


@admin.register(IntervalSchedule, ClockedSchedule, SolarSchedule)
class OtherScheduleAdmin(ScheduleAdmin):
    pass
