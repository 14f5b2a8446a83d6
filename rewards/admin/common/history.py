"""Histories of what people edit: who, when, why, and the difference, also inside JSON."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import HttpRequest, HttpResponse
from simple_history.admin import SimpleHistoryAdmin
from unfold.admin import ModelAdmin

from rewards.admin.common.display import pretty_json
from rewards.admin.common.rows import RowPages

AT_ONCE = timedelta(seconds=1)


@dataclass(frozen=True)
class Change:
    """A field's old and new value; `lines` is a unified difference instead, for JSON and long text."""

    field: str
    old: str
    new: str
    lines: list[tuple[str, str]]


class HistoryAdmin(RowPages, SimpleHistoryAdmin, ModelAdmin):
    """A model whose every change is kept and shown. Old versions are looked at, never written back.

    `parts` names the models whose rows belong to one of this model, with the field that says to which: what was
    changed of them stands in the same history, in order of time.
    """

    object_history_list_template = "admin/history_list.html"
    show_facets = admin.ShowFacets.NEVER
    list_filter_submit = True
    warn_unsaved_form = True
    parts: Sequence[tuple[Any, str]] = ()

    def history_form_view(
        self, request: HttpRequest, object_id: str, version_id: str, extra_context: Any = None
    ) -> HttpResponse:
        # The library saves what is posted here, whatever the rights of whoever posts it.
        if request.method != "GET":
            raise PermissionDenied
        return super().history_form_view(request, object_id, version_id, extra_context)

    def get_history_queryset(self, request: HttpRequest, history_manager: Any, pk_name: str, object_id: Any) -> Any:
        """The object's records, newest first; a list where those of its parts are among them."""
        own = super().get_history_queryset(request, history_manager, pk_name, object_id)
        if not self.parts or not self.model._default_manager.filter(pk=object_id).exists():
            return own  # of what was deleted the library looks for the newest record, in a query set
        records = [*own, *self._records_of_parts(request, object_id)]
        return sorted(records, key=lambda record: (record.history_date, isinstance(record, own.model)), reverse=True)

    def _records_of_parts(self, request: HttpRequest, object_id: Any) -> Iterator[Any]:
        for model, owner in self.parts:
            history = model.history.model._meta
            if request.user.has_perm(f"{history.app_label}.view_{history.model_name}"):  # type: ignore[union-attr]
                yield from model.history.filter(**{f"{owner}_id": object_id}).select_related("history_user")

    def set_history_delta_changes(
        self, request: HttpRequest, historical_records: Any, foreign_keys_are_objs: bool = True
    ) -> None:
        """Give each record of the page its `part` (empty for the object itself), its `changes`, and `is_oldest`.

        The page gets `versions`: the records of what was saved together.
        """
        newer: dict[tuple[Any, Any], Any] = {}
        for record in historical_records:
            self._compare(newer, record)
            model = record.instance_type
            record.part = "" if model is self.model else f"{model._meta.verbose_name} “{record.instance}”"
            record.is_oldest = True
            newer[identity(record)] = record
        for record in self._records_after(historical_records):
            self._compare(newer, record)
            newer.pop(identity(record), None)
        historical_records.versions = saved_together(historical_records)

    def _records_after(self, page: Any) -> Any:
        """What the last versions on a page are compared with."""
        everything, end = page.paginator.object_list, page.end_index()
        return everything[end:] if isinstance(everything, list) else everything[end : end + 1]

    def _compare(self, newer: dict[tuple[Any, Any], Any], older: Any) -> None:
        record = newer.get(identity(older))
        if record is not None:
            model = record.instance_type
            record.is_oldest = False
            record.changes = [
                self._change_of(model, change)
                for change in record.diff_against(older, foreign_keys_are_objs=True).changes
            ]

    def _change_of(self, model: Any, change: Any) -> Change:
        field = model._meta.get_field(change.field)
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


def saved_together(records: Iterable[Any]) -> list[list[Any]]:
    """Records, newest first, by what one person saved for one reason at one time; the object before its parts."""
    versions: list[list[Any]] = []
    for record in records:
        if not (versions and belongs_to(versions[-1], record)):
            versions.append([])
        versions[-1].append(record)
    return [sorted(version, key=lambda record: (record.part != "", record.pk)) for version in versions]


def belongs_to(version: Sequence[Any], record: Any) -> bool:
    newer = version[-1]
    return (
        (newer.history_user_id, newer.history_change_reason) == (record.history_user_id, record.history_change_reason)
        and newer.history_date - record.history_date < AT_ONCE
        and identity(record) not in map(identity, version)
    )


def identity(record: Any) -> tuple[Any, Any]:
    """Of which object a record is a version."""
    return record.instance_type, getattr(record, record.instance_type._meta.pk.attname)


def difference(old: str, new: str) -> Iterator[tuple[str, str]]:
    """Lines of a unified difference as (`+`, `-`, ` ` or `@`, text), with two lines around each change."""
    for line in list(difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=2))[2:]:
        yield ("@", "…") if line.startswith("@@") else (line[0], line[1:])
