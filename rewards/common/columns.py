"""Reading whole numbers of many rows into NumPy columns, without a Python object for each."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from django.db import connection
from numpy.typing import NDArray

from rewards.common.database import is_postgresql
from rewards.common.errors import ensure

Column = NDArray[np.int64]

_HEADER_BYTES = 19  # of the binary format of COPY: signature, flags, length of an extension that there is none of
_END = b"\xff\xff"
_ROWS_AT_ONCE = 50_000


def read_columns(sql: str, parameters: Sequence[Any], columns: int) -> list[Column]:
    """The `columns` columns of a SELECT that gives whole numbers of 64 bits and no NULL, each as int64.

    On PostgreSQL each column of the SELECT must be a bigint: `CAST(… AS bigint)`.
    """
    return _copied(sql, parameters, columns) if is_postgresql() else _fetched(sql, parameters, columns)


def _copied(sql: str, parameters: Sequence[Any], columns: int) -> list[Column]:
    stream = io.BytesIO()
    with connection.cursor() as cursor, connection.wrap_database_errors:
        query = cursor.cursor.mogrify(sql, parameters).decode()
        cursor.cursor.copy_expert(f"COPY ({query}) TO STDOUT (FORMAT binary)", stream)
    content = stream.getbuffer()
    ensure(content[-2:] == _END, "COPY did not come to its end.")
    row = np.dtype([("fields", ">i2"), *((f"{kind}{n}", size) for n in range(columns) for kind, size in _FIELD)])
    content = content[_HEADER_BYTES:-2]
    ensure(len(content) % row.itemsize == 0, "A column is NULL or no bigint.")
    rows = np.frombuffer(content, dtype=row)
    ensure(all((rows[f"bytes{n}"] == 8).all() for n in range(columns)), "A column is NULL or no bigint.")
    return [rows[f"value{n}"].astype(np.int64) for n in range(columns)]


_FIELD = (("bytes", ">i4"), ("value", ">i8"))


def _fetched(sql: str, parameters: Sequence[Any], columns: int) -> list[Column]:
    parts: list[NDArray[np.int64]] = [np.zeros((0, columns), dtype=np.int64)]
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        while rows := cursor.fetchmany(_ROWS_AT_ONCE):
            parts.append(np.array(rows, dtype=np.int64))
    together = np.concatenate(parts)
    return [np.ascontiguousarray(together[:, number]) for number in range(columns)]
