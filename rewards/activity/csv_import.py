"""Events from a CSV file of any size: streamed, the good lines written, the bad ones set aside with a reason."""

from __future__ import annotations

import collections
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple, TypeVar

from rewards.activity.checks import MAX_AHEAD, CheckedEvent, NewEvent, Reason, Refused, check_event
from rewards.activity.services import Outcome
from rewards.common.csv_lines import (
    WRONG_WIDTH,
    LineRefused,
    WrongColumns,
    numbered_lines,
    place_of,
    read_header,
    split_line,
)
from rewards.common.periods import parse_instant

CC_VOTE = "cc_vote"
LINES_PER_TRANSACTION = 20_000


@dataclass(frozen=True)
class Layout:
    """The columns of a kind of file, and the event that their texts, in this order, make. `to_event` may refuse."""

    required: tuple[str, ...]
    optional: tuple[str, ...]
    to_event: Callable[..., NewEvent]


class BadLine(NamedTuple):
    number: int
    reason: str
    line: str


@dataclass
class Figures:
    """What became of the lines read so far."""

    lines: int = 0
    accepted: int = 0
    duplicates: int = 0
    late: int = 0
    users_created: int = 0
    refused: collections.Counter[str] = field(default_factory=collections.Counter)

    def add(self, lines: int, outcome: Outcome, bad_lines: Sequence[BadLine]) -> None:
        self.lines += lines
        self.accepted += outcome.accepted
        self.duplicates += outcome.duplicates
        self.late += outcome.late
        self.users_created += outcome.users_created
        self.refused.update(bad.reason for bad in bad_lines)


# ------------------------------------------------------------------------------------------------------------- layouts


def _vote(event_id: str, partner: str, cc_amount: str, vote_type: str, occurred_at: str) -> NewEvent:
    return NewEvent(event_id, partner, CC_VOTE, cc_amount, _instant(occurred_at), {"vote_type": vote_type})


def _activity(event_id: str, user: str, metric: str, quantity: str, occurred_at: str, attributes: str = "") -> NewEvent:
    return NewEvent(event_id, user, metric, quantity, _instant(occurred_at), _attributes(attributes))


VOTES = Layout(("event_id", "partner", "cc_amount", "vote_type", "occurred_at"), (), _vote)
ACTIVITY = Layout(("event_id", "user", "metric", "quantity", "occurred_at"), ("attributes",), _activity)


def _instant(text: str) -> datetime:
    try:
        return parse_instant(text)
    except (ValueError, OverflowError) as error:
        raise Refused(Reason.NOT_AN_INSTANT) from error


def _attributes(text: str) -> dict:
    if not text.strip():
        return {}
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Refused(Reason.ATTRIBUTES) from error


# --------------------------------------------------------------------------------------------------------------- files


@dataclass(frozen=True)
class CsvFile:
    """A file that was read to its end once: it is whole, it is UTF-8, and it has the columns of its layout."""

    path: Path
    layout: Layout
    header: list[str]
    positions: list[int]
    lines: int


def open_csv(path: Path, layout: Layout, names: Mapping[str, str]) -> CsvFile:
    """Look a file over before anything is written. `names` are the file's own names of columns, where they differ.

    Raises `UnreadableFile`, `WrongColumns`.
    """
    name, lines = str(path), numbered_lines(path)
    header = read_header(lines, name)
    positions = _positions(name, layout, header, names)
    return CsvFile(path, layout, header, positions, lines=sum(1 for _ in lines))


def _positions(file: str, layout: Layout, header: list[str], names: Mapping[str, str]) -> list[int]:
    columns = layout.required + layout.optional
    unknown = sorted(names.keys() - set(columns))
    if unknown:
        raise WrongColumns(f"There is no column {unknown[0]!r} to map; the columns are {', '.join(columns)}.")
    wanted = [
        name
        for column in columns
        if (name := names.get(column, column)) in header or column in layout.required or column in names
    ]
    return [place_of(name, header, file) for name in wanted]


# -------------------------------------------------------------------------------------------------------------- import


class _Batch(NamedTuple):
    lines: dict[int, str]
    events: list[CheckedEvent]
    refused: list[tuple[int, str]]


def import_lines(
    file: CsvFile,
    write: Callable[[list[CheckedEvent]], Outcome],
    *,
    at: datetime,
    report: Callable[[int, Sequence[BadLine]], None],
) -> Figures:
    """Hand the good lines to `write`, a transaction at a time; after each `report` how many lines, and the bad ones.

    `at` is now. The events' `number` is that of their line.
    """
    figures = Figures()
    for batch in _one_ahead(_batches(file, at)):
        outcome = write(batch.events)
        refused = sorted(batch.refused + outcome.rejected)
        bad_lines = [BadLine(number, reason, batch.lines[number]) for number, reason in refused]
        figures.add(len(batch.lines), outcome, bad_lines)
        report(len(batch.lines), bad_lines)
    return figures


def _batches(file: CsvFile, at: datetime) -> Iterator[_Batch]:
    lines = numbered_lines(file.path)
    next(lines, None)  # the names of the columns
    while some := dict(islice(lines, LINES_PER_TRANSACTION)):
        yield _parse(file, some, latest=at + MAX_AHEAD)


def _parse(file: CsvFile, lines: dict[int, str], latest: datetime) -> _Batch:
    events, refused = [], []
    width, pick, to_event = len(file.header), itemgetter(*file.positions), file.layout.to_event
    for number, line in lines.items():
        try:
            values = split_line(line)
            if len(values) != width:
                raise LineRefused(WRONG_WIDTH)
            events.append(check_event(number, to_event(*pick(values)), latest))
        except LineRefused as error:
            refused.append((number, error.message))
    return _Batch(lines, events, refused)


T = TypeVar("T")


def _one_ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items; while the database works on one, the next is being read in a thread of its own."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        following = thread.submit(next, items, None)
        while (item := following.result()) is not None:
            following = thread.submit(next, items, None)
            yield item


def error_row(bad: BadLine) -> list[str | int]:
    """A bad line for the file of errors: its number, the reason, and the line's own values as far as it has any."""
    try:
        values = split_line(bad.line)
    except LineRefused:
        values = [bad.line]
    return [bad.number, bad.reason, *values]
