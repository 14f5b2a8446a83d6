"""Database helpers: what the two engines do differently stands here, behind one function each.

The laws of the tables (`Reference`, `WholeNumber`, `AppendOnly`, `WrittenOnce`, `MirrorsReversed`) are Django
constraints of our own. As part of the model state they are written again whenever SQLite rebuilds a table, where a
trigger from a migration would vanish without a word.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from django.apps import apps
from django.db import DatabaseError, InterfaceError, OperationalError, connection, connections, models
from django.db.backends.ddl_references import Statement, Table
from django.db.models.functions import Collate

from rewards.common.errors import ensure


def is_postgresql(using: str = "default") -> bool:
    return connections[using].vendor == "postgresql"


def require_transaction() -> None:
    """Raise unless the caller has opened a transaction: functions that lock or post never open their own."""
    ensure(connection.in_atomic_block, "This function must run inside transaction.atomic(); the programme opens it.")


_PASSING_STATES = frozenset({"40001", "40P01", "55P03"})  # serialization, deadlock, a lock not had in time
_PASSING_NAMES = ("SQLITE_BUSY", "SQLITE_LOCKED")


def is_passing(error: Exception) -> bool:
    """Whether a database error passes by itself, so that what it interrupted is simply done again.

    A deadlock, a lock not had in time, a connection lost. Not a full disk, nor a statement that somebody cancelled.
    """
    if not isinstance(error, OperationalError | InterfaceError):
        return False
    cause = error.__cause__
    if name := getattr(cause, "sqlite_errorname", None):
        return str(name).startswith(_PASSING_NAMES)
    state = getattr(cause, "pgcode", None)
    return state is None or state in _PASSING_STATES or state.startswith(("08", "57P"))


def in_code_point_order(field: str) -> models.expressions.Combinable:
    """Sort text by code point on both engines, whatever the collation of the PostgreSQL database."""
    return Collate(field, "C") if is_postgresql() else models.F(field)


def sql_instant(instant: datetime) -> Any:
    """An instant as a parameter of hand-written SQL: SQLite keeps it as text in one certain form."""
    return connection.ops.adapt_datetimefield_value(instant)


def sql_microseconds(instant_sql: str) -> str:
    """SQL that gives an instant as whole microseconds since 1970, from SQL that gives it as Django stores it."""
    if is_postgresql():
        return f"CAST(extract(epoch FROM {instant_sql}) * 1000000 AS bigint)"
    fraction = f"CAST(substr({instant_sql} || '.000000', 21, 6) AS integer)"
    return f"(CAST(strftime('%%s', substr({instant_sql}, 1, 19)) AS integer) * 1000000 + {fraction})"


def table_of(model: type[models.Model]) -> str:
    return connection.ops.quote_name(model._meta.db_table)


def insert(instance: models.Model) -> None:
    """INSERT a new row and set its primary key, without signals: a quarter of the work of `save`."""
    sql, values = insert_sql(instance)
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        has_been_written(instance, cursor.fetchone()[0])


def insert_sql(instance: models.Model) -> tuple[str, list[Any]]:
    """The statement of `insert` and its parameters."""
    return _insertion(type(instance), connection.vendor, "").filled(instance)


def execute_together(*statements: tuple[str, Sequence[Any]]) -> None:
    """Execute statements whose results nobody needs: on PostgreSQL in one round trip."""
    with connection.cursor() as cursor:
        if is_postgresql():
            sql, parameters = zip(*statements, strict=True)
            cursor.execute("; ".join(sql), [value for values in parameters for value in values])
        else:
            for statement, values in statements:
                cursor.execute(statement, values)


def insert_if_absent(instance: models.Model, unique: Sequence[str], where: str = "") -> bool:
    """INSERT … ON CONFLICT (unique columns) DO NOTHING. Sets the primary key.

    True when this call wrote the row. False when another row with the same unique columns stands, written earlier or
    by a concurrent transaction that this call waited for. `where` names the predicate of a partial unique index.
    """
    sql, values = insert_if_absent_sql(instance, unique, where)
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        written = cursor.fetchone()
    if written:
        has_been_written(instance, written[0])
    return written is not None


def insert_if_absent_sql(instance: models.Model, unique: Sequence[str], where: str = "") -> tuple[str, list[Any]]:
    """The statement of `insert_if_absent` and its parameters: it returns the primary key of the row it wrote."""
    quote, fields = connection.ops.quote_name, type(instance)._meta.get_field
    target = ", ".join(quote(str(fields(name).column)) for name in unique)  # type: ignore[union-attr]
    on_conflict = f"ON CONFLICT ({target}){' WHERE ' + where if where else ''} DO NOTHING "
    return _insertion(type(instance), connection.vendor, on_conflict).filled(instance)


@dataclass(frozen=True)
class _Insertion:
    """The statement that writes a row of one model; what the database fills in by itself is left to it."""

    sql: str
    fields: tuple[models.Field[Any, Any], ...]

    def filled(self, instance: models.Model) -> tuple[str, list[Any]]:
        database = connections[connection.alias]  # itself: each look through the proxy costs
        return self.sql, [f.get_db_prep_save(f.pre_save(instance, True), database) for f in self.fields]


@lru_cache
def _insertion(model: type[models.Model], vendor: str, on_conflict: str) -> _Insertion:
    fields = tuple(f for f in model._meta.concrete_fields if not f.primary_key and not f.has_db_default())
    quote = connection.ops.quote_name
    columns = ", ".join(quote(str(f.column)) for f in fields)
    sql = (
        f"INSERT INTO {table_of(model)} ({columns}) VALUES {marks(len(fields), 1)} "
        f"{on_conflict}RETURNING {quote(str(model._meta.pk.column))}"
    )
    return _Insertion(sql, fields)


def has_been_written(instance: models.Model, primary_key: int) -> None:
    """Tell an instance that hand-written SQL has inserted its row."""
    instance.pk = primary_key
    instance._state.adding = False
    instance._state.db = connection.alias


def marks(columns: int, rows: int) -> str:
    """Place holders for that many rows of so many columns: `(%s, %s), (%s, %s)`."""
    return ", ".join([f"({', '.join(['%s'] * columns)})"] * rows)


# ---------------------------------------------------------------------------------------------- many rows at once


MANY_ROWS = 20_000
"""So many new rows in one transaction are worth counting: plans made for a few would go through all of them again and
again."""


def expect_many_rows() -> None:
    """Let this transaction sort and hash in memory, compile no query, and plan cursors for all of their rows.

    By itself PostgreSQL sorts in 4 MB and then on disk, compiles what a small payout would be done with meanwhile, and
    takes a cursor for one of which a tenth is read.
    """
    if is_postgresql():
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL work_mem = '128MB'; SET LOCAL jit = off; SET LOCAL cursor_tuple_fraction = 1")


def refresh_statistics(model: type[models.Model]) -> None:
    """Have PostgreSQL count the table anew and plan what it does with it afresh, the checks of references too.

    It would do so by itself within minutes. Who counts at the same moment is not waited for.
    """
    if is_postgresql():
        with connection.cursor() as cursor:
            cursor.execute(f"ANALYZE (SKIP_LOCKED) {table_of(model)}")


def write_rows(table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write many rows, streamed: COPY on PostgreSQL, executemany elsewhere. Values are None, bool, int or str.

    Unquoted names come from our own models, never from input. Duplicates raise `IntegrityError` on both engines; what
    `rows` raises is raised.
    """
    quote = connection.ops.quote_name
    names = ", ".join(quote(c) for c in columns)
    if is_postgresql():
        stream = _CopyStream(rows)
        with connection.cursor() as cursor:
            statement = f"COPY {quote(table)} ({names}) FROM STDIN"
            try:
                with connection.wrap_database_errors:
                    cursor.cursor.copy_expert(statement, stream, size=1 << 18)
            except DatabaseError as error:
                raise stream.failure or error from None
        return
    marks = ", ".join(["%s"] * len(columns))
    with connection.cursor() as cursor:
        for batch in in_batches(rows, 10_000):
            cursor.executemany(f"INSERT INTO {quote(table)} ({names}) VALUES ({marks})", batch)


def column_values(instance: models.Model, fields: Sequence[models.Field[Any, Any]]) -> list[Any]:
    """The values of these fields as `write_rows` takes them."""
    return [_plain(field, getattr(instance, field.attname)) for field in fields]


def _plain(field: models.Field[Any, Any], value: Any) -> Any:
    if isinstance(field, models.JSONField):
        return None if value is None else json.dumps(value)
    return field.get_db_prep_save(value, connection)


def in_batches(rows: Iterable[Any], size: int) -> Iterator[list[Any]]:
    batch = []
    for row in rows:
        batch.append(row)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


_COPY_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
_COPY_NULL = "\\N"


def _copy_lines(rows: Sequence[Sequence[Any]]) -> str:
    """Rows as COPY reads them. Few texts need escaping: to look at all of them together is several times faster."""
    text = "\n".join(
        ["\t".join([v if type(v) is str else _COPY_NULL if v is None else str(v) for v in row]) for row in rows]
    )
    return f"{text}\n" if _is_plain(text, rows) else "".join(map(_escaped_line, rows))


def _is_plain(text: str, rows: Sequence[Sequence[Any]]) -> bool:
    """Whether every tab and line feed in the text parts values, and every backslash stands for a null."""
    backslashes = text.count("\\")
    return (
        text.count("\t") == len(rows) * (len(rows[0]) - 1)
        and text.count("\n") == len(rows) - 1
        and "\r" not in text
        and (not backslashes or backslashes == sum([list(row).count(None) for row in rows]))
    )


def _escaped_line(row: Sequence[Any]) -> str:
    return "\t".join([_COPY_NULL if v is None else str(v).translate(_COPY_ESCAPES) for v in row]) + "\n"


class _CopyStream(io.TextIOBase):
    """A readable file over rows, for COPY: a few hundred kilobytes are in memory at a time."""

    def __init__(self, rows: Iterable[Sequence[Any]]) -> None:
        self._texts = map(_copy_lines, in_batches(rows, 500))
        self._rest = ""
        # psycopg2 would make a cancelled query of it, which looks like a lost connection.
        self.failure: BaseException | None = None

    def read(self, size: int | None = -1) -> str:
        try:
            return self._read(size)
        except BaseException as error:
            self.failure = error
            raise

    def _read(self, size: int | None) -> str:
        wanted = size if size is not None and size > 0 else 1 << 62
        parts, length = [self._rest], len(self._rest)
        while length < wanted:
            text = next(self._texts, "")
            if not text:
                break
            parts.append(text)
            length += len(text)
        text = "".join(parts)
        self._rest = text[wanted:]
        return text[:wanted]


# ------------------------------------------------------------------------------------------------ laws of the tables


class Reference(models.BaseConstraint):
    """A foreign key checked at once instead of at COMMIT, over one or several columns.

    Deferred keys were the largest single cost of a mass payout. A key over (account, currency) also holds that a
    transfer and both of its accounts share one currency. The model's field has `db_constraint=False`.
    """

    def __init__(self, *, columns: Sequence[str], to: str, to_columns: Sequence[str], name: str) -> None:
        self.columns, self.to, self.to_columns = tuple(columns), to, tuple(to_columns)
        super().__init__(name=name)

    def constraint_sql(self, model: Any, schema_editor: Any) -> str:
        quote = schema_editor.quote_name
        return (
            f"CONSTRAINT {quote(self.name)} FOREIGN KEY ({', '.join(map(quote, self.columns))}) "
            f"REFERENCES {quote(self.to)} ({', '.join(map(quote, self.to_columns))})"
        )

    def create_sql(self, model: Any, schema_editor: Any) -> str:
        table = schema_editor.quote_name(model._meta.db_table)
        return f"ALTER TABLE {table} ADD {self.constraint_sql(model, schema_editor)}"

    def remove_sql(self, model: Any, schema_editor: Any) -> str:
        quote = schema_editor.quote_name
        return f"ALTER TABLE {quote(model._meta.db_table)} DROP CONSTRAINT {quote(self.name)}"

    def validate(self, *args: Any, **kwargs: Any) -> None:
        """Held by the database alone."""

    def deconstruct(self) -> Any:
        path, _, _ = super().deconstruct()
        return path, (), {"columns": self.columns, "to": self.to, "to_columns": self.to_columns, "name": self.name}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Reference) and self.deconstruct() == other.deconstruct()

    __hash__ = models.BaseConstraint.__hash__


class WholeNumber(models.BaseConstraint):
    """SQLite keeps 1.5 and 'abc' in a bigint column, and turns a sum that overflows into a float. Not in this one."""

    def __init__(self, *, column: str, name: str) -> None:
        self.column = column
        super().__init__(name=name)

    def constraint_sql(self, model: Any, schema_editor: Any) -> str:
        if schema_editor.connection.vendor != "sqlite":
            return ""
        quote = schema_editor.quote_name
        return f"CONSTRAINT {quote(self.name)} CHECK (typeof({quote(self.column)}) IN ('integer', 'null'))"

    def create_sql(self, model: Any, schema_editor: Any) -> Any:
        return None

    remove_sql = create_sql  # type: ignore[assignment]

    def validate(self, *args: Any, **kwargs: Any) -> None:
        """Held by the database alone."""

    def deconstruct(self) -> Any:
        path, _, _ = super().deconstruct()
        return path, (), {"column": self.column, "name": self.name}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, WholeNumber) and self.deconstruct() == other.deconstruct()

    __hash__ = models.BaseConstraint.__hash__


class Guard(models.BaseConstraint):
    """A rule that triggers keep. Subclasses give the triggers of each engine."""

    def triggers(self, vendor: str) -> dict[str, str]:
        """Trigger name → the statement that creates it, with `%(table)s` for the quoted table."""
        raise NotImplementedError("each guard gives its own triggers")

    def constraint_sql(self, model: Any, schema_editor: Any) -> Any:
        """A trigger cannot stand inside CREATE TABLE: it is created after it, as Django does with indexes."""
        table = Table(model._meta.db_table, schema_editor.quote_name)
        for sql in self.triggers(schema_editor.connection.vendor).values():
            schema_editor.deferred_sql.append(Statement(sql, table=table))

    def create_sql(self, model: Any, schema_editor: Any) -> Any:
        table = Table(model._meta.db_table, schema_editor.quote_name)
        return Statement(";".join(self.triggers(schema_editor.connection.vendor).values()), table=table)

    def remove_sql(self, model: Any, schema_editor: Any) -> Any:
        table = Table(model._meta.db_table, schema_editor.quote_name)
        drops = [f"DROP TRIGGER IF EXISTS {name} ON %(table)s" for name in self.triggers("postgresql")]
        return Statement(";".join(drops), table=table)

    def validate(self, *args: Any, **kwargs: Any) -> None:
        """Held by the database alone."""

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.name == other.name  # type: ignore[attr-defined]

    __hash__ = models.BaseConstraint.__hash__


_REFUSE_FUNCTION = """
CREATE OR REPLACE FUNCTION rewards_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    RAISE EXCEPTION '%% is append-only: %% is refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'restrict_violation';
END $body$;
"""

_MIRROR_FUNCTION = """
CREATE OR REPLACE FUNCTION rewards_check_mirror() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    IF NOT EXISTS (
        SELECT 1 FROM rewards_transfer original
        WHERE original.id = NEW.reverses_id AND original.reverses_id IS NULL
          AND original.amount = NEW.amount AND original.currency_id = NEW.currency_id
          AND original.debit_account_id = NEW.credit_account_id
          AND original.credit_account_id = NEW.debit_account_id
    ) THEN
        RAISE EXCEPTION 'transfer %% does not mirror transfer %%', NEW.id, NEW.reverses_id
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $body$;
"""


class AppendOnly(Guard):
    """UPDATE, DELETE and TRUNCATE are refused by the database, on PostgreSQL also under replica mode."""

    def triggers(self, vendor: str) -> dict[str, str]:
        if vendor == "postgresql":
            return {
                self.name: _REFUSE_FUNCTION + f"DROP TRIGGER IF EXISTS {self.name} ON %(table)s;"
                f"CREATE TRIGGER {self.name} BEFORE UPDATE OR DELETE OR TRUNCATE ON %(table)s "
                "FOR EACH STATEMENT EXECUTE FUNCTION rewards_refuse_change();"
                f"ALTER TABLE %(table)s ENABLE ALWAYS TRIGGER {self.name}"
            }
        refuse = "BEGIN SELECT RAISE(ABORT, 'this table is append-only'); END"
        return {
            f"{self.name}_update": f"CREATE TRIGGER {self.name}_update BEFORE UPDATE ON %(table)s {refuse}",
            f"{self.name}_delete": f"CREATE TRIGGER {self.name}_delete BEFORE DELETE ON %(table)s {refuse}",
            # INSERT OR REPLACE deletes a row without firing its DELETE trigger.
            f"{self.name}_replace": f"CREATE TRIGGER {self.name}_replace BEFORE INSERT ON %(table)s "
            f"WHEN EXISTS (SELECT 1 FROM %(table)s WHERE id = NEW.id) {refuse}",
        }


class WrittenOnce(Guard):
    """A row is complete once `column` is filled: no UPDATE then, and no DELETE at any time."""

    def __init__(self, *, column: str, name: str) -> None:
        self.column = column
        super().__init__(name=name)

    def triggers(self, vendor: str) -> dict[str, str]:
        complete = f"OLD.{self.column} IS NOT NULL"
        if vendor == "postgresql":
            return {
                f"{self.name}_update": _REFUSE_FUNCTION + f"DROP TRIGGER IF EXISTS {self.name}_update ON %(table)s;"
                f"CREATE TRIGGER {self.name}_update BEFORE UPDATE ON %(table)s FOR EACH ROW WHEN ({complete}) "
                "EXECUTE FUNCTION rewards_refuse_change();"
                f"ALTER TABLE %(table)s ENABLE ALWAYS TRIGGER {self.name}_update",
                f"{self.name}_delete": _REFUSE_FUNCTION + f"DROP TRIGGER IF EXISTS {self.name}_delete ON %(table)s;"
                f"CREATE TRIGGER {self.name}_delete BEFORE DELETE OR TRUNCATE ON %(table)s "
                "FOR EACH STATEMENT EXECUTE FUNCTION rewards_refuse_change();"
                f"ALTER TABLE %(table)s ENABLE ALWAYS TRIGGER {self.name}_delete",
            }
        refuse = "BEGIN SELECT RAISE(ABORT, 'this row is complete and stays as it is'); END"
        return {
            f"{self.name}_update": f"CREATE TRIGGER {self.name}_update BEFORE UPDATE ON %(table)s "
            f"WHEN {complete} {refuse}",
            f"{self.name}_delete": f"CREATE TRIGGER {self.name}_delete BEFORE DELETE ON %(table)s {refuse}",
            # INSERT OR REPLACE deletes a row without firing its DELETE trigger.
            f"{self.name}_replace": f"CREATE TRIGGER {self.name}_replace BEFORE INSERT ON %(table)s "
            f"WHEN EXISTS (SELECT 1 FROM %(table)s WHERE id = NEW.id) {refuse}",
        }

    def deconstruct(self) -> Any:
        path, _, _ = super().deconstruct()
        return path, (), {"column": self.column, "name": self.name}


class MirrorsReversed(Guard):
    """A transfer that reverses another is its exact mirror, and does not reverse a reversal."""

    def triggers(self, vendor: str) -> dict[str, str]:
        if vendor == "postgresql":
            return {
                self.name: _MIRROR_FUNCTION + f"DROP TRIGGER IF EXISTS {self.name} ON %(table)s;"
                f"CREATE TRIGGER {self.name} AFTER INSERT ON %(table)s FOR EACH ROW "
                "WHEN (NEW.reverses_id IS NOT NULL) EXECUTE FUNCTION rewards_check_mirror();"
                f"ALTER TABLE %(table)s ENABLE ALWAYS TRIGGER {self.name}"
            }
        return {
            self.name: f"CREATE TRIGGER {self.name} BEFORE INSERT ON %(table)s WHEN NEW.reverses_id IS NOT NULL "
            "AND NOT EXISTS (SELECT 1 FROM %(table)s original WHERE original.id = NEW.reverses_id "
            "AND original.reverses_id IS NULL AND original.amount = NEW.amount "
            "AND original.currency_id = NEW.currency_id AND original.debit_account_id = NEW.credit_account_id "
            "AND original.credit_account_id = NEW.debit_account_id) "
            "BEGIN SELECT RAISE(ABORT, 'this transfer does not mirror the one it reverses'); END"
        }


def guarded_models() -> Iterator[tuple[type[models.Model], Guard]]:
    for model in apps.get_models():
        for constraint in model._meta.constraints:
            if isinstance(constraint, Guard):
                yield model, constraint


def standing_triggers(using: str = "default") -> set[str]:
    """Names of the triggers that are in force: on PostgreSQL only those enabled ALWAYS count."""
    queries = {
        "postgresql": "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND tgenabled = 'A'",
        "sqlite": "SELECT name FROM sqlite_master WHERE type = 'trigger'",
    }
    with connections[using].cursor() as cursor:
        cursor.execute(queries[connections[using].vendor])
        return {name for (name,) in cursor.fetchall()}


def missing_guards(using: str = "default") -> list[str]:
    """Triggers that should stand and do not."""
    standing, vendor = standing_triggers(using), connections[using].vendor
    return sorted(name for _, guard in guarded_models() for name in guard.triggers(vendor) if name not in standing)


def drop_guards(using: str = "default") -> None:
    """Lift every guard. For the tests that commit and must clean up; nothing in the product calls it."""
    vendor = connections[using].vendor
    quote = connections[using].ops.quote_name
    with connections[using].cursor() as cursor:
        for model, guard in guarded_models():
            for name in guard.triggers(vendor):
                on_table = f" ON {quote(model._meta.db_table)}" if vendor == "postgresql" else ""
                cursor.execute(f"DROP TRIGGER IF EXISTS {name}{on_table}")


def create_missing_guards(using: str = "default", **kwargs: Any) -> None:
    """Put back every guard that does not stand. Runs after each migrate."""
    missing, vendor = set(missing_guards(using)), connections[using].vendor
    if not missing:
        return
    existing_tables = set(connections[using].introspection.table_names())
    with connections[using].cursor() as cursor:
        for model, guard in guarded_models():
            if model._meta.db_table not in existing_tables:
                continue
            table = connections[using].ops.quote_name(model._meta.db_table)
            for name, sql in guard.triggers(vendor).items():
                if name in missing:
                    cursor.execute(sql % {"table": table})
