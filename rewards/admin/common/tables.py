"""Tables for pages of our own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Cell:
    label: str
    value: Any
    numeric: bool


@dataclass(frozen=True)
class Table:
    """Columns and rows; `numeric` names the columns that are set to the right. `empty` stands in place of no rows."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    numeric: frozenset[str] = frozenset()
    empty: str = "Nothing yet."

    def headers(self) -> Iterator[Cell]:
        return (Cell(column, column, column in self.numeric) for column in self.columns)

    def lines(self) -> Iterator[list[Cell]]:
        for row in self.rows:
            yield [Cell(column, value, column in self.numeric) for column, value in zip(self.columns, row, strict=True)]
