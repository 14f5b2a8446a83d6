"""What amounts look like as a whole: who gets how much of it, how unevenly. Exact whole numbers and fractions."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from operator import mul

import numpy as np
from numpy.typing import NDArray

from rewards.allocation.integers import Integers, exact_integers, exact_sum

QUANTILES = (10, 25, 50, 75, 90, 99)
PLACES_OF_A_CURVE = 60
ROWS_AT_ONCE = 16_384


@dataclass(frozen=True)
class Figures:
    """About those who get something, in minor units.

    `quantiles` holds `min`, `10`, `25`, `50`, `75`, `90`, `99` and `max`: the least amount that so many per cent of
    the recipients do not get more than. `top_1_percent` and `top_10_percent` are what the best paid of them, rounded
    up to whole recipients, get of the total; `gini` is 0 where all get the same and close to 1 where one gets all.
    """

    recipients: int
    total: int
    quantiles: dict[str, int]
    top_1_percent: Fraction
    top_10_percent: Fraction
    gini: Fraction


def figures_of(amounts: Integers) -> Figures:
    """The figures of a column of amounts, none of them negative, in any order. Without recipients all of them are 0."""
    column = exact_integers(amounts)
    ascending = np.sort(column[column > 0])
    total = exact_sum(ascending)
    return Figures(
        recipients=len(ascending),
        total=total,
        quantiles=quantiles(ascending),
        top_1_percent=share_of_top(ascending, total, 1),
        top_10_percent=share_of_top(ascending, total, 10),
        gini=gini(ascending, total),
    )


def quantiles(ascending: NDArray[np.int64]) -> dict[str, int]:
    """The least amount, those at each of `QUANTILES` (the nearest one that stands, never one between), the largest."""
    last = len(ascending) - 1
    if last < 0:
        return dict.fromkeys(("min", *map(str, QUANTILES), "max"), 0)
    between = {str(percent): int(ascending[_part(last + 1, percent) - 1]) for percent in QUANTILES}
    return {"min": int(ascending[0]), **between, "max": int(ascending[last])}


def share_of_top(ascending: NDArray[np.int64], total: int, percent: int) -> Fraction:
    """What the best paid `percent` per cent, at least one, get of the total."""
    if not total:
        return Fraction(0)
    return Fraction(exact_sum(ascending[len(ascending) - _part(len(ascending), percent) :]), total)


def gini(ascending: NDArray[np.int64], total: int) -> Fraction:
    """Half the mean difference between two amounts, by their mean: Σ (2i − n − 1) xᵢ ÷ (n Σ xᵢ)."""
    count = len(ascending)
    if not total:
        return Fraction(0)
    weighted = sum(
        sum(map(mul, range(first + 1, count + 1), ascending[first : first + ROWS_AT_ONCE].tolist()))
        for first in range(0, count, ROWS_AT_ONCE)
    )
    return Fraction(2 * weighted - (count + 1) * total, count * total)


def curve_places(last: int, points: int = PLACES_OF_A_CURVE) -> list[int]:
    """About so many places from 1 to `last`, closer together at the top; none where there is no place."""
    if last < 1:
        return []
    return sorted({max(1, round(last ** (point / points))) for point in range(points + 1)})


def decimal_text(number: Fraction, places: int = 6) -> str:
    """The number with that many decimals, halves rounded up: `0.333333`."""
    scaled = (2 * number.numerator * 10**places + number.denominator) // (2 * number.denominator)
    whole, fraction = divmod(abs(scaled), 10**places)
    return f"{'-' if scaled < 0 else ''}{whole}.{fraction:0{places}d}"


def _part(count: int, percent: int) -> int:
    """So many per cent of `count`, rounded up as the rules do it for places."""
    return -(-count * percent // 100)
