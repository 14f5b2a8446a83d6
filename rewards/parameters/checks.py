"""What a parameter's value may be: each check gives a sentence that says what is wrong, empty when nothing is. Pure.

A number that is not whole is best written as decimal text, "1.1". A JSON fraction is taken for the digits that were
written, as far as a float keeps them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

from rewards.common.amounts import InvalidAmount, parse_decimal

Check = Callable[[Any], str]

MOST_ROWS = 200
LONGEST_NAME = 60


def problem_of_boolean(value: Any) -> str:
    return "" if isinstance(value, bool) else "It must be true or false."


def empty_or_instant(value: Any) -> str:
    if value == "":
        return ""
    try:
        with_offset = isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        with_offset = False
    return "" if with_offset else 'It must be empty text or an instant with its offset, such as "2026-12-31T23:00:00Z".'


def whole_number(minimum: int, maximum: int) -> Check:
    def problem(value: Any) -> str:
        if isinstance(value, int) and not isinstance(value, bool) and minimum <= value <= maximum:
            return ""
        return f"It must be a whole number from {minimum} to {maximum}."

    return problem


def power_of_two(minimum: int, maximum: int) -> Check:
    in_range = whole_number(minimum, maximum)

    def problem(value: Any) -> str:
        if in_range(value) or value & (value - 1):
            return f"It must be a power of two from {minimum} to {maximum}."
        return ""

    return problem


def decimal_number(minimum: int, maximum: int) -> Check:
    """A JSON number, or decimal text such as "1.1"."""

    def problem(value: Any) -> str:
        number = _number(value)
        if number is not None and minimum <= number <= maximum:
            return ""
        return f'It must be a number from {minimum} to {maximum}, such as 2 or "1.1".'

    return problem


def _number(value: Any) -> Decimal | None:
    """None for what is no number, or a fraction with more digits than a float keeps."""
    text = repr(value) if isinstance(value, float) else value
    try:
        number = parse_decimal(text)
    except InvalidAmount:
        return None
    return None if isinstance(value, float) and len(number.as_tuple().digits) > sys.float_info.dig else number


def name_out_of(*names: str) -> Check:
    def problem(value: Any) -> str:
        return "" if isinstance(value, str) and value in names else f"It must be one of {', '.join(names)}."

    return problem


def code_of(what: str) -> Check:
    """The code of something, such as of a currency; whether it exists is found out by whoever uses it."""

    def problem(value: Any) -> str:
        if isinstance(value, str) and re.fullmatch(r"[-a-zA-Z0-9_:]{1,80}", value):
            return ""
        return f"It must be the code of {what}: letters, digits, -, _ and colons."

    return problem


def table_of(problem_of_entry: Check, *names: str) -> Check:
    """An object: name (one of `names`, or any) → what passes `problem_of_entry`, which may be a table itself."""

    def problem(value: Any) -> str:
        if not isinstance(value, dict) or len(value) > MOST_ROWS:
            return f"It must be a JSON object of at most {MOST_ROWS} entries."
        for name, entry in value.items():
            if len(name) > LONGEST_NAME or (names and name not in names):
                allowed = f"one of {', '.join(names)}" if names else f"at most {LONGEST_NAME} characters"
                return f"{name[:LONGEST_NAME]!r} is not a name for it: {allowed}."
            if sentence := problem_of_entry(entry):
                return f"{name!r}: {sentence}"
        return ""

    return problem


def steps_to(problem_of_result: Check) -> Check:
    """A list of [up to, result] rows with growing numbers; the last may be open: null."""

    def problem(value: Any) -> str:
        if not isinstance(value, list) or not 1 <= len(value) <= MOST_ROWS:
            return f"It must be a list of 1 to {MOST_ROWS} rows [up to, result]."
        before: Decimal | None = None
        for number, row in enumerate(value, start=1):
            if not isinstance(row, list) or len(row) != 2:
                return f'Row {number} must be [up to, result], such as [10, "bronze"].'
            up_to, result = row
            if sentence := _problem_of_step(up_to, before, is_last=number == len(value)):
                return f"Row {number}: {sentence}"
            if sentence := problem_of_result(result):
                return f"Row {number}: {sentence}"
            before = _number(up_to)
        return ""

    return problem


def _problem_of_step(up_to: Any, before: Decimal | None, *, is_last: bool) -> str:
    if up_to is None:
        return "" if is_last else "only the last row is open (null)."
    number = _number(up_to)
    if number is None:
        return 'the row goes up to a number, such as 10 or "2.5".'
    return "" if before is None or number > before else "its number must be above that of the row before."


def list_of(problem_of_entry: Check) -> Check:
    """A list of different values, at least one, each of which passes `problem_of_entry`."""

    def problem(value: Any) -> str:
        if not isinstance(value, list) or not 1 <= len(value) <= MOST_ROWS:
            return f"It must be a list of 1 to {MOST_ROWS} values."
        for number, entry in enumerate(value, start=1):
            if sentence := problem_of_entry(entry):
                return f"Value {number}: {sentence}"
        return "" if len(set(map(str, value))) == len(value) else "A value is there twice."

    return problem
