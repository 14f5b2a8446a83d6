"""Files of comma-separated values, line by line: plain or gzip, UTF-8, streamed, with errors that people understand.

One line is one row: a quoted value does not run over several lines, so an open quote spoils its own line only.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any, BinaryIO, TextIO

from rewards.common.errors import RewardsError

MAX_LINE_LENGTH = 100_000

NOT_CSV = "the line is not CSV: a quote is open or out of place"
WRONG_WIDTH = "the line has more or fewer columns than the first line"

CsvSource = Path | BinaryIO | IO[bytes]


class UnreadableFile(RewardsError):
    """This file cannot be read."""

    code = "unreadable_file"
    http_status = 400


class WrongColumns(RewardsError):
    """This file lacks a column."""

    code = "wrong_columns"
    http_status = 400


class LineRefused(RewardsError):
    """This line is not taken."""

    code = "line_refused"
    http_status = 400


def name_of(source: CsvSource) -> str:
    """What its errors call it."""
    return str(source) if isinstance(source, Path) else "The file"


def numbered_lines(source: CsvSource) -> Iterator[tuple[int, str]]:
    """(number as an editor counts, line without its break), the empty ones left out. A stream is read from where it is.

    Compressed files are recognised by their content; lines end at a line feed alone. Raises `UnreadableFile`, also in
    the middle of a file.
    """
    name = name_of(source)
    with _explained(name), _open(source) as binary, _as_text(binary) as file:
        for number, line in enumerate(iter(partial(file.readline, MAX_LINE_LENGTH), ""), start=1):
            if len(line) == MAX_LINE_LENGTH:
                raise UnreadableFile(f"{name} is not CSV: line {number} has {MAX_LINE_LENGTH} characters or more.")
            text = line.rstrip("\r\n")
            if text:
                yield number, text


def read_header(lines: Iterator[tuple[int, str]], name: str) -> list[str]:
    """The names of the columns, from the first of `numbered_lines`. Raises `UnreadableFile`."""
    number, line = next(lines, (0, ""))
    if number != 1:
        raise UnreadableFile(f"{name} does not begin with a line of column names.")
    if "\x00" in line:
        raise UnreadableFile(f"{name} is not UTF-8 text.")
    try:
        return [column.strip() for column in split_line(line)]
    except LineRefused as error:
        raise UnreadableFile(f"{name} does not begin with a line of column names: {error.message}.") from error


def place_of(column: str, header: Sequence[str], name: str) -> int:
    """Where a column stands. Raises `WrongColumns` where there is none of this name, or more than one."""
    if column not in header:
        raise WrongColumns(f"{name} has no column {column!r}. Its columns are: {', '.join(header)}.")
    if header.count(column) > 1:
        raise WrongColumns(f"{name} has more than one column {column!r}.")
    return header.index(column)


def split_line(line: str) -> list[str]:
    """The values of a CSV line without its line break. Raises `LineRefused`."""
    if '"' not in line:
        return line.split(",")
    try:
        return next(csv.reader([line], strict=True))
    except csv.Error as error:
        raise LineRefused(NOT_CSV) from error


def _open(source: CsvSource) -> io.BufferedReader:
    return source.open("rb") if isinstance(source, Path) else io.BufferedReader(_Readable(source))


def _as_text(binary: io.BufferedReader) -> TextIO:
    is_compressed = binary.peek(2)[:2] == b"\x1f\x8b"
    unpacked: Any = gzip.GzipFile(fileobj=binary) if is_compressed else binary
    return io.TextIOWrapper(unpacked, encoding="utf-8-sig", newline="\n")


class _Readable(io.RawIOBase):
    """A stream that somebody else opened: what it gives is passed on, and it is not closed."""

    def __init__(self, stream: BinaryIO | IO[bytes]) -> None:
        self.stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fills the buffer, however little the stream gives at a time: its first two bytes are looked at together."""
        filled = 0
        while filled < len(buffer) and (found := self.stream.read(len(buffer) - filled)):
            buffer[filled : filled + len(found)] = found
            filled += len(found)
        return filled


@contextmanager
def _explained(name: str) -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError as error:
        raise UnreadableFile(f"{name} is not UTF-8 text.") from error
    except EOFError as error:
        raise UnreadableFile(f"{name} is cut off: its compressed data ends early.") from error
    except (OSError, zlib.error) as error:
        raise UnreadableFile(f"{name} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
