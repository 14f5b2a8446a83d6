"""Lists over tables of any size: pages by cursor, no counting, search by what an index can find."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db import connection, models
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin import DropdownFilter
from unfold.views import ChangeList

from rewards.users.models import User

AFTER, BEFORE = "after", "before"
MOST_USERS_FOUND = 50
MOST_VALUES = 100


class CursorPaginator(Paginator):
    """Stands where Django expects a paginator; the pages are made by `CursorChangeList`."""

    template_name = "admin/cursor_pagination.html"
    count = 0


class CursorChangeList(ChangeList):
    """A page of a list is what stands after (or before) a given row, so the last page is as fast as the first.

    `?after=CURSOR` and `?before=CURSOR` name the row in the list's own order; a cursor is the values of its ordering
    fields.
    """

    def get_filters_params(self, params: Any = None) -> Any:
        lookups = super().get_filters_params(params)
        return {name: value for name, value in lookups.items() if name not in (AFTER, BEFORE)}

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[str]:
        self.cursor_fields = self.model_admin.cursor_fields(request)
        return list(self.cursor_fields)

    def get_results(self, request: HttpRequest) -> None:
        after, before = self.params.get(AFTER), self.params.get(BEFORE)
        rows = self._page(after, before)
        more = len(rows) > self.list_per_page
        rows = rows[: self.list_per_page]
        self.has_newer = more if before else bool(after)
        self.has_older = bool(before) or more
        self.result_list = rows[::-1] if before else rows
        self.result_count = len(rows)
        self.paginator = CursorPaginator(self.result_list, self.list_per_page)
        self.full_result_count = self.result_count  # nothing is counted: the page alone is known
        self.show_full_result_count = self.show_admin_actions = False
        self.can_show_all = self.multi_page = False

    def _page(self, after: str | None, before: str | None) -> list[Any]:
        fields = self.cursor_fields
        if before:
            fields = [name[1:] if name.startswith("-") else f"-{name}" for name in fields]
        rows = self.queryset.order_by(*fields)
        cursor = before or after
        if cursor:
            rows = rows.filter(beyond(self.model, fields, cursor))
        return list(rows[: self.list_per_page + 1])

    def newer_link(self) -> str:
        return self.get_query_string({BEFORE: cursor_of(self.result_list[0], self.cursor_fields), AFTER: None})

    def older_link(self) -> str:
        return self.get_query_string({AFTER: cursor_of(self.result_list[-1], self.cursor_fields), BEFORE: None})

    def first_link(self) -> str:
        return self.get_query_string({AFTER: None, BEFORE: None})


def cursor_of(row: models.Model, fields: Sequence[str]) -> str:
    values = [getattr(row, name.lstrip("-")) for name in fields]
    return "~".join(value.isoformat() if hasattr(value, "isoformat") else str(value) for value in values)


def beyond(model: type[models.Model], fields: Sequence[str], cursor: str) -> Q:
    """What stands after the cursor's row in an order by one or two fields, both in one direction."""
    comparison = "lt" if fields[0].startswith("-") else "gt"
    names = [name.lstrip("-") for name in fields]
    texts = cursor.split("~")
    if len(texts) != len(names):
        raise IncorrectLookupParameters(f"{cursor!r} is not a place in this list")
    try:
        values = [field_of(model, name).to_python(text) for name, text in zip(names, texts, strict=True)]
    except (ValidationError, ValueError) as error:
        raise IncorrectLookupParameters(str(error)) from error
    further = Q(**{f"{names[-1]}__{comparison}": values[-1]})
    if len(names) == 1:
        return further
    # The first condition bounds the index scan, the second one settles equals.
    first = names[0]
    return Q(**{f"{first}__{comparison}e": values[0]}) & (Q(**{f"{first}__{comparison}": values[0]}) | further)


def field_of(model: type[models.Model], name: str) -> Any:
    return model._meta.pk if name == "pk" else model._meta.get_field(name)


class BigList:
    """A ModelAdmin of a table that may hold millions of rows: newest first, by cursor, never counted."""

    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    sortable_by: Any = ()
    list_per_page = 50
    list_select_related: Any = False

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[CursorChangeList]:
        return CursorChangeList

    def cursor_fields(self, request: HttpRequest) -> Sequence[str]:
        """The order of the list: one or two fields, the last one unique, that an index gives."""
        return ["-pk"]

    def find(self, queryset: QuerySet[Any], term: str) -> QuerySet[Any]:
        """The rows that a search term means, found by an index; `search_help_text` says what it may be.

        A list without `search_fields` has no box to search in, and leaves this as it is.
        """
        return queryset

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        return self.find(queryset, term) if term else queryset, False


# ---------------------------------------------------------------------------------------------------------- searching


def users_found(term: str) -> list[int]:
    """Ids of users whose name starts with `term`, at most fifty: the unique index finds them."""
    found = User.objects.filter(username__startswith=term).order_by("username")
    return list(found.values_list("pk", flat=True)[:MOST_USERS_FOUND])


def distinct_values(model: type[models.Model], column: str) -> list[str]:
    """The different values of an indexed column, read by skipping from one to the next instead of scanning it."""
    quote = connection.ops.quote_name
    table, name = quote(model._meta.db_table), quote(column)
    sql = (
        f"WITH RECURSIVE found(value) AS (SELECT min({name}) FROM {table} UNION ALL "
        f"SELECT (SELECT min({name}) FROM {table} WHERE {name} > found.value) "
        "FROM found WHERE found.value IS NOT NULL) "
        f"SELECT value FROM found WHERE value IS NOT NULL LIMIT {MOST_VALUES}"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return [value for (value,) in cursor.fetchall()]


def value_filter(model: type[models.Model], column: str, title_text: str) -> type[DropdownFilter]:
    """A filter over the values that an indexed text column of a large table has."""

    class ValueFilter(DropdownFilter):
        title = title_text
        parameter_name = column

        def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
            return [(value, value) for value in distinct_values(model, column)]

        def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
            return queryset.filter(**{column: self.value()}) if self.value() else queryset

    return ValueFilter
