"""That something only reads: the database itself refuses it every write and every lock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction


@contextmanager
def reading_only() -> Iterator[None]:
    """Nothing in here can write or lock a row; what stands afterwards is what stood before."""
    before = every_row()
    on, off = "SET TRANSACTION READ ONLY", None
    if connection.vendor == "sqlite":
        on, off = "PRAGMA query_only = ON", "PRAGMA query_only = OFF"
    try:
        with transaction.atomic():
            execute(on)
            yield
    finally:
        if off:
            execute(off)
    assert every_row() == before


def execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def every_row() -> dict[str, list[str]]:
    """The rows of every table, as text in a fixed order."""
    quote = connection.ops.quote_name
    rows = {}
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {quote(table)}")
            rows[table] = sorted(repr([_readable(value) for value in row]) for row in cursor.fetchall())
    return rows


def _readable(value: object) -> object:
    """What is binary shows itself as a place in memory otherwise."""
    return bytes(value) if isinstance(value, memoryview) else value
