"""What parameters may be: numbers, tables, steps and lists, each refused with a sentence."""

from __future__ import annotations

from typing import Any

import pytest

from rewards.parameters.checks import decimal_number, list_of, name_out_of, steps_to, table_of, whole_number

EXPONENT = decimal_number(0, 10)
KINDS = steps_to(name_out_of("bronze", "gold"))
MILESTONES = table_of(table_of(whole_number(0, 9), "bronze", "gold"))
COUNTS = list_of(whole_number(1, 100))


@pytest.mark.parametrize("value", [0, 10, 1.1, "1.1", "0", "10.000", "1.23456789012345678901234567890"])
def test_numbers_are_whole_or_decimal(value):
    assert EXPONENT(value) == ""


@pytest.mark.parametrize(
    "value",
    [-1, 11, "10.0001", "-0.1", "", "x", "1e1", "٣", "NaN", True, None, [], {}, float("nan"), float("inf"),
     0.1 + 0.2, 10**5000],
    ids=range(17),
)  # fmt: skip
def test_other_numbers_are_refused(value):
    assert EXPONENT(value) == 'It must be a number from 0 to 10, such as 2 or "1.1".'


@pytest.mark.parametrize(
    ("check", "value"),
    [
        (KINDS, [[10, "bronze"], ["12.5", "gold"], [None, "bronze"]]),
        (KINDS, [[None, "gold"]]),
        (KINDS, [[10, "gold"]]),
        (MILESTONES, {}),
        (MILESTONES, {"50": {"gold": 3, "bronze": 0}, "100": {}}),
        (COUNTS, [10]),
        (COUNTS, [1, 10, 100]),
    ],
)
def test_tables_steps_and_lists(check, value):
    assert check(value) == ""


@pytest.mark.parametrize(
    ("check", "value", "sentence"),
    [
        (KINDS, {}, "a list of 1 to 200 rows"),
        (KINDS, [], "a list of 1 to 200 rows"),
        (KINDS, [[10, "bronze"]] * 201, "a list of 1 to 200 rows"),
        (KINDS, [10], "Row 1 must be [up to, result]"),
        (KINDS, [[10, "bronze", 1]], "Row 1 must be [up to, result]"),
        (KINDS, [[10, "bronze"], [10, "gold"]], "Row 2: its number must be above"),
        (KINDS, [[10, "bronze"], [9, "gold"]], "Row 2: its number must be above"),
        (KINDS, [[None, "bronze"], [9, "gold"]], "Row 1: only the last row is open"),
        (KINDS, [["ten", "bronze"]], "Row 1: the row goes up to a number"),
        (KINDS, [[True, "bronze"]], "Row 1: the row goes up to a number"),
        (KINDS, [[10, "wood"]], "Row 1: It must be one of bronze, gold"),
        (MILESTONES, [], "a JSON object"),
        (MILESTONES, {"50": 3}, "'50': It must be a JSON object"),
        (MILESTONES, {"50": {"wood": 3}}, "'50': 'wood' is not a name for it: one of bronze, gold"),
        (MILESTONES, {"50": {"gold": 10}}, "'50': 'gold': It must be a whole number from 0 to 9"),
        (MILESTONES, {"x" * 61: {}}, "at most 60 characters"),
        (COUNTS, [], "a list of 1 to 200 values"),
        (COUNTS, 10, "a list of 1 to 200 values"),
        (COUNTS, [10, 0], "Value 2: It must be a whole number from 1 to 100"),
        (COUNTS, [10, True], "Value 2: It must be a whole number"),
        (COUNTS, [10, 10], "twice"),
    ],
)
def test_a_table_that_is_not_right_says_where(check: Any, value: Any, sentence: str):
    assert sentence in check(value)
