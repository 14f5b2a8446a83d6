"""Exports that spreadsheets open: CSV as RFC 4180 has it, in UTF-8, and safe to open."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import islice
from typing import Any

from rewards.common.amounts import canonical_decimal

# What a spreadsheet takes for the start of a formula, full-width forms included.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
ROWS_IN_A_BLOCK = 1_000

INCOMPLETE = "INCOMPLETE: this file ends here because of an error. Export it again."
"""What the last line of a file says that could not be written to its end. A complete file has no such line."""


def spreadsheet_safe(value: object) -> object:
    """Text that a spreadsheet would run as a formula gets an apostrophe before it; numbers stay numbers."""
    if isinstance(value, str) and value.startswith(_FORMULA_STARTS) and not _is_number(value):
        return f"'{value}"
    return value


def _is_number(text: str) -> bool:
    return text.removeprefix("-").replace(".", "", 1).isdecimal()


def cell(value: Any) -> object:
    """How a value stands in a file: instants as ISO 8601 in UTC, JSON as it is, nothing for None; guarded."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return canonical_decimal(value)
    if isinstance(value, dict | list):
        return spreadsheet_safe(json.dumps(value, ensure_ascii=False, sort_keys=True))
    return spreadsheet_safe(value)


def csv_blocks(columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> Iterator[tuple[str, int]]:
    """The text of a file, a block of rows at a time with how many rows it holds; no more than one is kept in memory.

    When the rows end with an error, a last block says so (`INCOMPLETE`), and then the error is raised: whoever sends
    the blocks on breaks the connection.
    """
    yield _text([columns]), 0
    remaining = iter(rows)
    try:
        while block := [[cell(value) for value in row] for row in islice(remaining, ROWS_IN_A_BLOCK)]:
            yield _text(block), len(block)
    except Exception:
        yield _text([[INCOMPLETE]]), 0
        raise


def _text(rows: Iterable[Iterable[Any]]) -> str:
    file = io.StringIO(newline="")
    csv.writer(file).writerows(rows)
    return file.getvalue()
