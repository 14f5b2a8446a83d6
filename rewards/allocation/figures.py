"""What amounts look like as a whole: who gets how much of it, how unevenly. Exact whole numbers and fractions."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from operator import mul
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewards.allocation.integers import Column, Integers, exact_integers, exact_sum

QUANTILES = (10, 25, 50, 75, 90, 99)
PLACES_OF_A_CURVE = 60
POINTS_OF_LORENZ = 50
ROWS_AT_ONCE = 16_384
HALF_BITS = 31


@dataclass(frozen=True)
class Figures:
    """About those who get something, in minor units.

    `quantiles` holds `min`, `10`, `25`, `50`, `75`, `90`, `99` and `max`: the least amount that so many per cent of
    the recipients do not get more than. `top_1_percent` and `top_10_percent` are what the best paid of them, rounded
    up to whole recipients, get of the total; `gini` is that of the recipients: who gets nothing is not in it.
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
        gini=gini(ascending),
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


def gini(amounts: Integers) -> Fraction:
    """How unevenly the amounts are spread over everybody in the column, whoever has nothing included.

    Half the mean absolute difference of two of them, by their mean (C. Gini 1912; the form used here, over amounts in
    ascending order, is that of A. Sen, On Economic Inequality, 1973):

        G = Σᵢ Σⱼ |xᵢ − xⱼ| ÷ (2 n Σ x)  =  Σ (2i − n − 1) xᵢ ÷ (n Σ x)

    0 where all have the same, (n − 1) ÷ n where one has all; 0 where there is nothing, or nobody. It is twice the area
    between the Lorenz curve and the line of equality. None of the amounts is negative.
    """
    ascending = np.sort(exact_integers(amounts))
    count, total = len(ascending), exact_sum(ascending)
    if not total:
        return Fraction(0)
    return Fraction(2 * _sum_by_place(ascending) - (count + 1) * total, count * total)


def lorenz(amounts: Integers, points: int = POINTS_OF_LORENZ) -> list[Fraction]:
    """The Lorenz curve: at k of `points` it says what part of the total the k ÷ `points` with the least have together.

    From 0 to 1 in `points` steps of equal width, straight between one person and the next (M. O. Lorenz, Methods of
    Measuring the Concentration of Wealth, 1905). Where all have the same it is the line of equality. Without a total
    there is no curve: the list is empty. None of the amounts is negative.
    """
    ascending = np.sort(exact_integers(amounts))
    count, total = len(ascending), exact_sum(ascending)
    if not total:
        return []
    curve, reached, below = [Fraction(0)], 0, 0
    for point in range(1, points + 1):
        whole, part = divmod(count * point, points)
        below, reached = below + exact_sum(ascending[reached:whole]), whole
        begun = int(ascending[whole]) * part if part else 0
        curve.append(Fraction(below * points + begun, total * points))
    return curve


def evenness_of(amounts: Integers) -> dict[str, Any]:
    """Gini and Lorenz curve of everybody in the column as texts with 6 decimals, to be kept; {} without a total."""
    curve = lorenz(amounts)
    if not curve:
        return {}
    return {"gini": decimal_text(gini(amounts)), "lorenz": [decimal_text(share) for share in curve]}


def _sum_by_place(ascending: Column) -> int:
    """Σ i xᵢ, the first place counted 1. In blocks, and in halves of 31 bits: so nothing outgrows 64 bits."""
    if ascending.dtype == object:
        return sum(map(mul, range(1, len(ascending) + 1), ascending.tolist()))
    weighted = 0
    for first in range(0, len(ascending), ROWS_AT_ONCE):
        block = ascending[first : first + ROWS_AT_ONCE]
        places = np.arange(1, len(block) + 1, dtype=np.int64)
        low, high = block & (2**HALF_BITS - 1), block >> HALF_BITS
        weighted += first * (int(low.sum()) + (int(high.sum()) << HALF_BITS))
        weighted += int(places @ low) + (int(places @ high) << HALF_BITS)
    return weighted


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
