"""Files to keep: the lists of the admin and statements as CSV, streamed, each of them an audit event.

Rows are read by cursor, a chunk at a time, as the lists themselves are: the file of a million rows takes no more memory
than that of a thousand, and no chunk is slower than the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter
from typing import Any, cast

from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.utils.http import content_disposition_header
from django.utils.text import slugify
from unfold.decorators import action

from rewards.admin.common.display import admin_url
from rewards.admin.common.lists import AFTER, BEFORE, beyond, cursor_of
from rewards.audit.services import record
from rewards.common.exports import csv_blocks
from rewards.users.models import User

ROWS_IN_A_CHUNK = 1_000

Column = tuple[str, str | Callable[[Any], Any]]
"""The heading, and where the value comes from: a path of attributes such as `currency.code`, or a function."""


@dataclass(frozen=True)
class Exported:
    """Who takes what out of the product: the audit says so, before the first row and when the last one is sent."""

    actor: User
    what: str
    filters: dict[str, Any] = field(default_factory=dict)


def csv_download(
    name: str, columns: Iterable[str], rows: Iterable[Iterable[Any]], *, exported: Exported
) -> StreamingHttpResponse:
    """A CSV file of any length, guarded against what a spreadsheet would run as a formula.

    An error among the rows ends the file with a line that says so, and breaks the connection.
    """
    lines = _audited(csv_blocks(columns, rows), name, exported)
    answer = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = content_disposition_header(True, name)
    answer["Cache-Control"] = "no-store"
    return answer


def file_name(at: datetime, *what: str) -> str:
    """`rewards-paid_20261121T073000Z.csv`: what is in it, and as of when."""
    words = "-".join(filter(None, (slugify(word, allow_unicode=True) for word in what)))
    return f"{words[:120]}_{at:%Y%m%dT%H%M%SZ}.csv"


def _audited(blocks: Iterator[tuple[str, int]], name: str, exported: Exported) -> Iterator[str]:
    """The text of the blocks. It is audited before the first one is made, and when the last one is sent."""
    about = {"what": exported.what, "file": name, "filters": exported.filters}
    record("exported", actor=exported.actor, data=about)
    return _counted(blocks, exported.actor, about)


def _counted(blocks: Iterator[tuple[str, int]], actor: User, about: dict[str, Any]) -> Iterator[str]:
    """The text of the blocks; when it ends, also early, an event says how many rows were sent."""
    rows, problem = 0, "The connection was given up before the end."
    try:
        for text, count in blocks:
            yield text
            rows += count
        problem = ""
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
        raise
    finally:
        record("export_ended", actor=actor, data=about | {"rows": rows}, success=not problem, error_message=problem)


# ---------------------------------------------------------------------------------------------------------- admin lists


class CsvExport:
    """A list that can be taken along: what its filters and its search find, all pages of it, in the list's order.

    To be named before the admin class, which says by `csv_columns` what is in the file.
    """

    csv_columns: Sequence[Column] = ()
    csv_select_related: Sequence[str] = ()
    actions_list: Sequence[Any] = ()
    model: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.actions_list = [*self.actions_list, "export_csv"]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """With a link that takes the filters and the search of the list along."""
        answer: Any = super().changelist_view(request, extra_context)  # type: ignore[misc]
        context = getattr(answer, "context_data", None) or {}
        for entry in context.get("actions_list", ()):
            if entry.get("path", "").endswith("/csv/"):
                entry["path"] += query_of(request)
        return answer

    @action(description="Export CSV", url_path="csv", icon="download", permissions=["view"])
    def export_csv(self, request: HttpRequest) -> HttpResponseBase:
        try:
            found = self._found(request)
        except IncorrectLookupParameters:
            return HttpResponseRedirect(admin_url(self.model))
        fields = self.cursor_fields(request) if hasattr(self, "cursor_fields") else ["-pk"]
        values = [value_of(source) for _, source in self.csv_columns]
        rows = ([value(row) for value in values] for row in in_chunks(found, fields))
        what = str(self.model._meta.verbose_name_plural)
        filters = {name: request.GET.getlist(name) for name in sorted(set(request.GET) - {AFTER, BEFORE})}
        words = [value for name, values_ in filters.items() if name != "q" for value in values_]
        name = file_name(timezone.now(), what, *words[:3])
        exported = Exported(cast(User, request.user), what, filters)
        return csv_download(name, [heading for heading, _ in self.csv_columns], rows, exported=exported)

    def _found(self, request: HttpRequest) -> QuerySet[Any]:
        """What the list shows on all its pages together."""
        found = self.get_changelist_instance(request).queryset  # type: ignore[attr-defined]
        return found.select_related(*self.csv_select_related) if self.csv_select_related else found


def query_of(request: HttpRequest) -> str:
    """What of the list's address an export takes along: everything but the page."""
    kept = request.GET.copy()
    for name in (AFTER, BEFORE, "p", "all"):
        kept.pop(name, None)
    return f"?{kept.urlencode()}" if kept else ""


def in_chunks(rows: QuerySet[Any], fields: Sequence[str]) -> Iterator[Any]:
    """All rows in the order of one or two fields, the last one unique, read by cursor: each chunk by a statement of
    its own. No statement lasts as long as the download, so none holds back the database's own cleaning up.
    """
    ordered = rows.order_by(*fields)
    chunk = list(ordered[:ROWS_IN_A_CHUNK])
    while chunk:
        yield from chunk
        if len(chunk) < ROWS_IN_A_CHUNK:
            return
        last = cursor_of(chunk[-1], fields)
        chunk = list(ordered.filter(beyond(rows.model, fields, last))[:ROWS_IN_A_CHUNK])


def value_of(source: str | Callable[[Any], Any]) -> Callable[[Any], Any]:
    """How the value of a column is got from a row; where something on its path is missing, there is none."""
    if callable(source):
        return source
    first, _, rest = source.partition(".")
    if not rest:
        return attrgetter(first)

    def along_the_path(row: Any) -> Any:
        value = row
        for name in source.split("."):
            if value is None:
                return None
            value = getattr(value, name)
        return value

    return along_the_path


def in_units(name: str, currency: str = "currency") -> Callable[[Any], Any]:
    """An amount of minor units in units of the row's currency, without separators: `1234.50`."""
    currency_of = value_of(currency)

    def units(row: Any) -> Any:
        minor, counted_in = getattr(row, name), currency_of(row)
        return None if minor is None or counted_in is None else counted_in.to_units(minor)

    return units
