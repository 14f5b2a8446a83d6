"""Activity events: what came in. Read only, by metric."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.decorators import display

from rewards.activity.models import ActivityEvent
from rewards.admin.common.display import badge, exact, grouped, json_block, link_to
from rewards.admin.common.lists import BigList, users_found, value_filter
from rewards.admin.common.readonly import ReadOnlyAdmin


@admin.register(ActivityEvent)
class ActivityEventAdmin(BigList, ReadOnlyAdmin):
    empty_hint = "Events come in by the API, or by `manage.py import_votes FILE.csv`."
    list_display = ["event_id", "user_name", "metric", "quantity_shown", "details", "occurred_at", "in_time"]
    list_filter = [value_filter(ActivityEvent, "metric", "metric")]
    list_select_related = ["user"]
    search_fields = ["event_id"]
    search_help_text = "An event id in full, or the start of a username"
    fieldsets = [
        (
            None,
            {
                "fields": [
                    "event_id", "user_link", "metric", "quantity_shown", "occurred_at", "recorded_at", "counted_month",
                    "late", "attributes_shown",
                ]
            },
        )
    ]  # fmt: skip
    readonly_fields = ["user_link", "quantity_shown", "attributes_shown"]

    def cursor_fields(self, request: HttpRequest) -> list[str]:
        """Of one metric by when it happened, which its index gives; all of them by when they were written."""
        return ["-occurred_at", "-pk"] if request.GET.get("metric") else ["-pk"]

    def find(self, queryset: QuerySet[ActivityEvent], term: str) -> QuerySet[ActivityEvent]:
        if ActivityEvent.objects.filter(event_id=term).exists():
            return queryset.filter(event_id=term)
        return queryset.filter(user__in=users_found(term))

    @display(description="User")
    def user_name(self, event: ActivityEvent) -> str:
        return event.user.get_username()

    @display(description="User")
    def user_link(self, event: ActivityEvent) -> SafeString | str:
        return link_to(event.user)

    @display(description="Quantity")
    def quantity_shown(self, event: ActivityEvent) -> str:
        return grouped(exact(event.quantity))

    @display(description="Attributes")
    def details(self, event: ActivityEvent) -> str:
        shown = ", ".join(f"{name}: {value}" for name, value in event.attributes.items())
        return shown if len(shown) <= 60 else f"{shown[:59]}…"

    @display(description="Attributes")
    def attributes_shown(self, event: ActivityEvent) -> SafeString:
        return json_block(event.attributes)

    @display(description="In time")
    def in_time(self, event: ActivityEvent) -> SafeString:
        return badge("missed", "late") if event.late else badge("done", "in time")
