"""Several small reads in one statement, so that a page that shows much asks the database little."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from django.db.models import IntegerField, Model, QuerySet, Subquery

Row = TypeVar("Row", bound=Model)


class Counted(Subquery):
    """How many rows a query has; slice it, so that a large table is never counted to its end."""

    template = "(SELECT count(*) FROM (%(subquery)s) counted)"
    output_field = IntegerField()

    def __init__(self, rows: QuerySet[Any, Any]) -> None:
        super().__init__(rows.values("pk"))


def found_by_any(first: QuerySet[Row], *others: QuerySet[Row]) -> QuerySet[Row]:
    """The rows of one model that any of these queries finds, each query with its own order and limit.

    The ids are found first, each query by its own index; an OR of them would have the whole table read.
    """
    rows = first.model._default_manager.all()
    # SQLite takes no LIMIT in a part of a UNION, but inside of one.
    ids = [rows.filter(pk__in=query.values("pk")).order_by().values("pk") for query in (first, *others)]
    return rows.filter(pk__in=ids[0].union(*ids[1:]) if others else ids[0])


def read_together(one_row: QuerySet[Any, Any], expressions: Mapping[str, Any]) -> dict[str, Any]:
    """The values of these expressions by name, by one statement; `one_row` finds one row to hang them on."""
    if not expressions:
        return {}
    return dict(zip(expressions, one_row.values_list(*expressions.values()).get(), strict=True))
