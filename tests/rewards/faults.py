"""Faults from outside: the database itself refuses a step, until the fault is gone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

from rewards.common.database import is_postgresql


@contextmanager
def refused(table: str, operation: str = "INSERT", when: str = "true") -> Iterator[None]:
    """While it lasts, `operation` on rows of `table` is refused where `when` (SQL over NEW) holds."""
    with connection.cursor() as cursor:
        if is_postgresql():
            cursor.execute(
                "CREATE OR REPLACE FUNCTION tests_refuse() RETURNS trigger LANGUAGE plpgsql AS $$"
                " BEGIN RAISE EXCEPTION 'out of order' USING ERRCODE = 'check_violation'; END $$;"
                f"CREATE TRIGGER tests_refuse BEFORE {operation} ON {table} FOR EACH ROW WHEN ({when})"
                " EXECUTE FUNCTION tests_refuse()"
            )
        else:
            cursor.execute(
                f"CREATE TRIGGER tests_refuse BEFORE {operation} ON {table} WHEN {when}"
                " BEGIN SELECT RAISE(ABORT, 'out of order'); END"
            )
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TRIGGER tests_refuse" + (f" ON {table}" if is_postgresql() else ""))
