"""Columns of exact whole numbers: NumPy's int64 where every value fits, Python integers where one does not.

NumPy alone would quietly wrap around, or fall back to floats. Everything here keeps each digit.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

INT64_MAX = 2**63 - 1

Column = NDArray[Any]  # one dimension; dtype int64, or object holding Python ints
Integers = Sequence[int] | NDArray[Any]


def exact_integers(values: Integers) -> Column:
    """The values as an int64 column, or as a column of Python ints when one needs more than 64 bits.

    Raises `TypeError` for anything that is not a whole number: floats, booleans, text, nested lists.
    """
    if isinstance(values, np.ndarray):
        if values.ndim != 1:
            raise TypeError(f"A column of whole numbers has one dimension, not {values.ndim}.")
        if values.dtype.kind == "i":
            return values.astype(np.int64, copy=False)
        if values.dtype.kind not in "uO":
            raise TypeError(f"Whole numbers are needed, not {values.dtype}.")
        values = values.tolist()
    if set(map(type, values)) - {int}:
        values = [_whole(value) for value in values]
    try:
        return np.fromiter(values, dtype=np.int64, count=len(values))
    except OverflowError:
        return np.array(list(values), dtype=object)


def _whole(value: object) -> int:
    if isinstance(value, bool | np.bool_):
        raise TypeError("Whole numbers are needed, not booleans.")
    return operator.index(value)  # type: ignore[arg-type]  # raises TypeError itself


def exact_sum(column: Column) -> int:
    """The sum as a Python int; never wraps around."""
    if column.dtype != object and len(column) * largest_magnitude(column) <= INT64_MAX:
        return int(column.sum())
    return sum(column.tolist())


def largest_magnitude(column: Column) -> int:
    """The largest absolute value, as a Python int; 0 of an empty column."""
    if len(column) == 0:
        return 0
    return max(abs(int(column.max())), abs(int(column.min())))


def whole_amount(amount: int) -> int:
    """The amount itself when it is a whole number of minor units that 64 bits hold.

    Raises `TypeError` or `ValueError`.
    """
    if isinstance(amount, bool) or not isinstance(amount, int | np.integer):
        raise TypeError(f"An amount is a whole number of minor units, not {type(amount).__name__}.")
    if not 0 <= amount <= INT64_MAX:
        raise ValueError(f"An amount to share out lies between 0 and {INT64_MAX} minor units, not {amount}.")
    return int(amount)
