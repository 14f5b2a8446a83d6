"""Figures over amounts: worked out by hand, and against their definitions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.allocation.figures import curve_places, decimal_text, figures_of

amounts = st.lists(st.integers(0, 2**62) | st.integers(0, 20), max_size=60)


def test_nine_get_one_and_the_tenth_gets_ninety_one():
    figures = figures_of([91, *[1] * 9])
    assert (figures.recipients, figures.total) == (10, 100)
    assert figures.quantiles == {
        "min": 1, "10": 1, "25": 1, "50": 1, "75": 1, "90": 1, "99": 91, "max": 91,
    }  # fmt: skip
    assert figures.top_1_percent == figures.top_10_percent == Fraction(91, 100)
    assert figures.gini == Fraction(81, 100)


def test_quantiles_are_amounts_that_somebody_gets():
    """Of 1 … 200, half get at most 100, a quarter at most 50, and so on; nothing is worked out in between."""
    figures = figures_of(np.arange(200, 0, -1))
    assert figures.quantiles == {
        "min": 1, "10": 20, "25": 50, "50": 100, "75": 150, "90": 180, "99": 198, "max": 200,
    }  # fmt: skip
    assert figures.top_1_percent == Fraction(199 + 200, 20100)
    assert figures.top_10_percent == Fraction(sum(range(181, 201)), 20100)


def test_who_gets_nothing_is_no_recipient():
    assert figures_of([0, 5, 0, 5]) == figures_of([5, 5])
    assert figures_of([5, 5]).gini == 0


def test_nobody_gets_anything():
    for nobody in ([], [0, 0]):
        figures = figures_of(nobody)
        assert (figures.recipients, figures.total) == (0, 0)
        assert set(figures.quantiles.values()) == {0}
        assert (figures.top_1_percent, figures.top_10_percent, figures.gini) == (0, 0, 0)


def test_the_best_paid_per_cent_are_at_least_one():
    assert figures_of([60, 40]).top_1_percent == Fraction(3, 5)


@given(amounts)
def test_gini_is_the_mean_difference_whatever_the_size_of_the_amounts(column):
    paid = [amount for amount in column if amount]
    figures = figures_of(column)
    if paid:
        differences = sum(abs(one - other) for one in paid for other in paid)
        assert figures.gini == Fraction(differences, 2 * len(paid) * sum(paid))
        assert 0 <= figures.gini < 1
        assert 0 < figures.top_1_percent <= figures.top_10_percent <= 1
    assert list(figures.quantiles.values()) == sorted(figures.quantiles.values())


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (Fraction(1, 3), "0.333333"),
        (Fraction(2, 3), "0.666667"),
        (Fraction(1, 2_000_000), "0.000001"),
        (Fraction(0), "0.000000"),
        (Fraction(1), "1.000000"),
    ],
)
def test_six_decimals(number, text):
    assert decimal_text(number) == text


def test_a_curve_has_the_first_and_the_last_place():
    assert curve_places(0) == []
    assert curve_places(1) == [1]
    assert curve_places(3) == [1, 2, 3]
    many = curve_places(1_000_000)
    assert (many[0], many[-1]) == (1, 1_000_000)
    assert len(many) <= 61
    assert many == sorted(set(many))
