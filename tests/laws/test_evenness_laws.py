"""Gini and the Lorenz curve against their definitions, written out one pair and one person at a time."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from rewards.allocation.figures import evenness_of, gini, lorenz

few = st.lists(st.integers(0, 20) | st.integers(0, 2**62), min_size=1, max_size=40)
somebody_has_something = few.filter(any)


def mean_difference(amounts: list[int]) -> Fraction:
    """Half the mean difference of all ordered pairs, by the mean."""
    count, total = len(amounts), sum(amounts)
    apart = sum(abs(one - other) for one in amounts for other in amounts)
    return Fraction(apart, 2 * count * total) if total else Fraction(0)


def share_of_the_least(amounts: list[int], part: Fraction) -> Fraction:
    """What the `part` of all who have the least have of the total; of the person on the border, as much as is in it."""
    left, had = part * len(amounts), Fraction(0)
    for amount in sorted(amounts):
        taken = min(left, Fraction(1))
        had, left = had + taken * amount, left - taken
    return had / sum(amounts)


@given(few)
@example([2**63 - 1] * 3 + [0])
def test_gini_is_half_the_mean_difference_by_the_mean(amounts: list[int]) -> None:
    assert gini(amounts) == gini(np.array(amounts, dtype=object)) == mean_difference(amounts)


@given(few)
def test_gini_lies_between_all_the_same_and_one_who_has_all(amounts: list[int]) -> None:
    assert 0 <= gini(amounts) <= Fraction(len(amounts) - 1, len(amounts))


@given(st.integers(1, 2**40), st.integers(1, 60))
def test_the_ends_of_the_scale(amount: int, count: int) -> None:
    assert gini([amount] * count) == 0
    assert gini([amount, *[0] * (count - 1)]) == Fraction(count - 1, count)
    assert lorenz([amount] * count, 10) == [Fraction(point, 10) for point in range(11)]


@given(somebody_has_something.flatmap(lambda amounts: st.tuples(st.just(amounts), st.permutations(amounts))),
       st.integers(1, 1000))  # fmt: skip
def test_neither_order_nor_unit_changes_anything(both: tuple[list[int], list[int]], factor: int) -> None:
    amounts, another_order = both
    scaled = [amount * factor for amount in amounts]
    assert gini(amounts) == gini(another_order) == gini(scaled)
    assert lorenz(amounts) == lorenz(another_order) == lorenz(scaled)


@given(somebody_has_something, st.integers(1, 70))
def test_the_curve_says_what_those_with_the_least_have(amounts: list[int], points: int) -> None:
    curve = lorenz(amounts, points)
    assert curve == [share_of_the_least(amounts, Fraction(point, points)) for point in range(points + 1)]


@given(somebody_has_something, st.integers(1, 70))
def test_the_curve_rises_from_nothing_to_all_ever_faster_and_never_above_equality(
    amounts: list[int], points: int
) -> None:
    curve = lorenz(amounts, points)
    steps = [after - before for before, after in pairwise(curve)]
    assert (curve[0], curve[-1], len(curve)) == (0, 1, points + 1)
    assert steps == sorted(steps)
    assert steps[0] >= 0
    assert all(share <= Fraction(point, points) for point, share in enumerate(curve))


@given(somebody_has_something)
def test_gini_is_twice_the_area_between_curve_and_equality(amounts: list[int]) -> None:
    curve = lorenz(amounts, len(amounts))  # a point for each person: between them it is straight
    below = sum((before + after) / 2 for before, after in pairwise(curve)) / len(amounts)
    assert gini(amounts) == 1 - 2 * below


def test_over_many_rows_as_over_few() -> None:
    """More than one block of a column; 1 … n has a Gini of (n² − 1) ÷ 3n ÷ (n + 1)."""
    count = 40_000
    assert gini(np.arange(count, 0, -1)) == Fraction(count * count - 1, 3 * count * (count + 1))
    huge = np.full(count, 2**62, dtype=np.int64)
    assert gini(huge) == 0
    assert lorenz(huge, 4) == [0, Fraction(1, 4), Fraction(1, 2), Fraction(3, 4), 1]


def test_where_there_is_nothing_there_is_no_curve() -> None:
    for nothing in ([], [0], [0, 0]):
        assert (gini(nothing), lorenz(nothing), evenness_of(nothing)) == (0, [], {})


def test_what_is_kept_of_a_payout() -> None:
    kept = evenness_of([3, 1])
    assert kept["gini"] == "0.250000"
    assert (kept["lorenz"][0], kept["lorenz"][25], kept["lorenz"][-1]) == ("0.000000", "0.250000", "1.000000")
    assert len(kept["lorenz"]) == 51
