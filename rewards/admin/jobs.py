"""What ran, what is running, and which processes are alive."""

from __future__ import annotations

from datetime import timedelta

from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display

from rewards.admin.common.display import ago, badge, duration, grouped, json_block, text_block
from rewards.admin.common.lists import BigList, value_filter
from rewards.admin.common.readonly import ReadOnlyAdmin
from rewards.jobs.models import JobRun, ProcessHeartbeat
from rewards.parameters.services import param


@admin.register(JobRun)
class JobRunAdmin(BigList, ReadOnlyAdmin):
    empty_hint = "Jobs run when the scheduler pokes them and a worker is there. Processes shows which are alive."
    list_display = ["job", "status_badge", "started_at", "took", "progress", "trigger", "overlaps", "result"]
    list_filter = [value_filter(JobRun, "job", "job"), ("status", ChoicesDropdownFilter)]
    fieldsets = [
        (None, {"fields": ["job", "status_badge", "trigger", "worker"]}),
        ("When", {"fields": ["started_at", "heartbeat_at", "finished_at", "took"]}),
        ("Figures", {"fields": ["items", "successes", "failures", "overlaps", "results_shown"]}),
        ("Error", {"fields": ["error", "stack"]}),
    ]
    readonly_fields = ["status_badge", "took", "results_shown", "stack"]

    def get_fieldsets(self, request: HttpRequest, obj: JobRun | None = None) -> list[tuple[str | None, dict]]:
        return self.fieldsets if obj is None or obj.error else self.fieldsets[:-1]

    def cursor_fields(self, request: HttpRequest) -> list[str]:
        return ["-started_at", "-pk"] if request.GET.get("job") else ["-pk"]

    @display(description="Status")
    def status_badge(self, run: JobRun) -> SafeString:
        return badge(run.status)

    @display(description="Took")
    def took(self, run: JobRun) -> str:
        if run.status == JobRun.Status.RUNNING:
            return f"{duration((timezone.now() - run.started_at).total_seconds())} so far"
        return duration(run.seconds)

    @display(description="Progress")
    def progress(self, run: JobRun) -> str:
        failed = f", {grouped(run.failures)} failed" if run.failures else ""
        return f"{grouped(run.successes)} of {grouped(run.items)}{failed}" if run.items else "–"

    @display(description="Result")
    def result(self, run: JobRun) -> str:
        return run_in_brief(run)

    @display(description="Results")
    def results_shown(self, run: JobRun) -> SafeString | str:
        return json_block(run.results) if run.results else "–"

    @display(description="Stack")
    def stack(self, run: JobRun) -> SafeString | str:
        return text_block(run.error_stack)


def run_in_brief(run: JobRun) -> str:
    """The error of a run, or what its results come to, in a line."""
    if run.error:
        first = run.error.splitlines()[0]
        return first if len(first) <= 90 else f"{first[:89]}…"
    facts = [
        f"{name.replace('_', ' ')} {value}"
        for name, value in run.results.items()
        if isinstance(value, int | float | str) and not isinstance(value, bool)
    ]
    return ", ".join(facts[:4]) or "–"


@admin.register(ProcessHeartbeat)
class ProcessHeartbeatAdmin(ReadOnlyAdmin):
    empty_hint = "No worker or scheduler has been heard of: start them."
    list_display = ["name", "kind", "state", "last_heard", "alive_since"]
    ordering = ["-heartbeat_at"]

    @display(description="State")
    def state(self, process: ProcessHeartbeat) -> SafeString:
        return badge(process_state(process))

    @display(description="Last heard of", ordering="heartbeat_at")
    def last_heard(self, process: ProcessHeartbeat) -> str:
        return ago(process.heartbeat_at)

    @display(description="Alive since", ordering="started_at")
    def alive_since(self, process: ProcessHeartbeat) -> str:
        return f"{process.started_at:%Y-%m-%d %H:%M:%S}"


def process_state(process: ProcessHeartbeat) -> str:
    """`alive`, `stopped` (it said so), or `silent` for longer than it should be."""
    if process.stopped_at:
        return "stopped"
    silence = timezone.now() - process.heartbeat_at
    return "alive" if silence <= timedelta(seconds=param("health.stale_after_seconds")) else "silent"
