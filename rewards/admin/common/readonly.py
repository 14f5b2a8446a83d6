"""Pages that only show."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from unfold.admin import ModelAdmin

from rewards.admin.common.rows import RowPages


class ReadOnlyAdmin(RowPages, ModelAdmin):
    """Nothing here can be added, changed or deleted, whoever asks; what changes these rows are the services."""

    actions = None
    show_facets = admin.ShowFacets.NEVER
    list_filter_submit = True

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Without the link to a history: what never changes has none."""
        return super().change_view(request, object_id, form_url, {"show_history": False} | (extra_context or {}))

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
