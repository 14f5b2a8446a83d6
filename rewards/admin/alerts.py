"""What needs a person."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import RadioFilter
from unfold.decorators import action, display

from rewards.admin.common.confirm import Question, ask_then_do, page_context
from rewards.admin.common.display import admin_url, badge
from rewards.admin.common.readonly import ReadOnlyAdmin
from rewards.admin.common.rights import AlertRights
from rewards.admin.csv_lists import AlertsCsv
from rewards.alerts.models import Alert
from rewards.alerts.services import resolve_alert
from rewards.audit.services import record


class OpenFilter(RadioFilter):
    """Open ones unless asked otherwise."""

    title = "state"
    parameter_name = "state"
    all_option = None

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("open", "Open"), ("resolved", "Resolved"), ("all", "All")]

    def value(self) -> str:
        return super().value() or "open"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Alert]) -> QuerySet[Alert]:
        if self.value() == "all":
            return queryset
        return queryset.filter(resolved_at__isnull=self.value() == "open")


@admin.register(Alert)
class AlertAdmin(AlertsCsv, AlertRights, ReadOnlyAdmin):
    empty_hint = "No open alert: nothing needs you."
    list_display = ["cause", "severity_badge", "message", "count", "first_seen", "last_seen", "state"]
    list_filter = [OpenFilter]
    search_fields = ["code__startswith", "subject__startswith"]
    search_help_text = "Start of a code or subject"
    ordering = ["-last_seen"]
    actions_row = ["resolve"]
    actions_detail = ["resolve"]
    fieldsets = [
        (None, {"fields": ["code", "subject", "severity", "message"]}),
        ("When", {"fields": ["first_seen", "last_seen", "count", "mailed_at", "resolved_at"]}),
    ]

    @display(description="Cause")
    def cause(self, alert: Alert) -> str:
        return str(alert)

    @display(description="Severity", ordering="severity")
    def severity_badge(self, alert: Alert) -> SafeString:
        return badge(alert.severity)

    @display(description="State")
    def state(self, alert: Alert) -> SafeString:
        return badge("resolved") if alert.resolved_at else badge("open", kind="warning")

    @action(description="Resolve", url_path="resolve", icon="task_alt", permissions=["resolve"])
    def resolve(self, request: HttpRequest, object_id: str) -> HttpResponse:
        alert = get_object_or_404(Alert, pk=object_id)
        question = Question(
            title=f"Resolve {alert}",
            explanation="It is taken off the list of open alerts. When its cause shows again, a new one is raised.",
            button="Resolve",
            figures=[("Message", alert.message), ("Seen", f"{alert.count} times"), ("Last seen", alert.last_seen)],
        )

        def do(reason: str) -> str:
            if not resolve_alert(alert.code, alert.subject):
                return f"{alert} was resolved already."
            record("alert_resolved", actor=request.user, data={"code": alert.code, "subject": alert.subject})  # type: ignore[arg-type]
            return f"{alert} is resolved."

        back = admin_url(Alert)
        return ask_then_do(request, question, do, back=back, context=page_context(request, self, alert))
