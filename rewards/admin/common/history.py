"""Histories of what people edit: who, when, why, and the difference, also inside JSON."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import HttpRequest, HttpResponse
from simple_history.admin import SimpleHistoryAdmin
from unfold.admin import ModelAdmin

from rewards.admin.common.display import pretty_json


@dataclass(frozen=True)
class Change:
    """A field's old and new value; `lines` is a unified difference instead, for JSON and long text."""

    field: str
    old: str
    new: str
    lines: list[tuple[str, str]]


class HistoryAdmin(SimpleHistoryAdmin, ModelAdmin):
    """A model whose every change is kept and shown. Old versions are looked at, never written back."""

    object_history_list_template = "admin/history_list.html"
    show_facets = admin.ShowFacets.NEVER
    list_filter_submit = True
    warn_unsaved_form = True

    def history_form_view(
        self, request: HttpRequest, object_id: str, version_id: str, extra_context: Any = None
    ) -> HttpResponse:
        # The library saves what is posted here, whatever the rights of whoever posts it.
        if request.method != "GET":
            raise PermissionDenied
        return super().history_form_view(request, object_id, version_id, extra_context)

    def set_history_delta_changes(
        self, request: HttpRequest, historical_records: Any, foreign_keys_are_objs: bool = True
    ) -> None:
        newer = None
        for record in historical_records:
            if newer is not None:
                delta = newer.diff_against(record, foreign_keys_are_objs=foreign_keys_are_objs)
                newer.changes = [self._change_of(change) for change in delta.changes]
            newer = record

    def _change_of(self, change: Any) -> Change:
        field = self.model._meta.get_field(change.field)
        name = str(field.verbose_name).capitalize()
        if isinstance(field, models.JSONField):
            old, new = pretty_json(change.old), pretty_json(change.new)
            if "\n" in old + new:
                return Change(name, "", "", list(difference(old, new)))
            return Change(name, old, new, [])
        return Change(
            name, self.history_value(change.field, change.old), self.history_value(change.field, change.new), []
        )

    def history_value(self, name: str, value: Any) -> str:
        """How a value of a field stands in the history."""
        return "empty" if value in (None, "") else str(value)


def difference(old: str, new: str) -> Iterator[tuple[str, str]]:
    """Lines of a unified difference as (`+`, `-`, ` ` or `@`, text), with two lines around each change."""
    for line in list(difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=2))[2:]:
        yield ("@", "…") if line.startswith("@@") else (line[0], line[1:])
