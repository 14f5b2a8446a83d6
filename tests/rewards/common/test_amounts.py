"""Text and decimals in, whole minor units inside, decimal text out."""

from __future__ import annotations

from decimal import Decimal

import pytest

from rewards.common.amounts import (
    MAX_MINOR,
    InvalidAmount,
    canonical_decimal,
    parse_decimal,
    to_minor,
    to_positive_minor,
    to_units,
)


@pytest.mark.parametrize(
    ("value", "decimals", "minor"),
    [
        ("12.50", 2, 1250),
        ("12.5", 2, 1250),
        ("12.5000", 2, 1250),
        (" 7 ", 2, 700),
        ("+7", 0, 7),
        ("-0.01", 2, -1),
        ("-0", 2, 0),
        ("007", 0, 7),
        (7, 8, 700_000_000),
        (Decimal("0.00000001"), 8, 1),
        (Decimal("1E+3"), 2, 100_000),
        ("92233720368547758.07", 2, MAX_MINOR),
        (str(MAX_MINOR), 0, MAX_MINOR),
    ],
)
def test_an_amount_becomes_whole_minor_units(value, decimals, minor):
    assert to_minor(value, decimals) == minor


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        ".5",
        "5.",
        "1,5",
        "1_000",
        "1e3",
        "1E400",
        "0x10",
        "１２３",
        "٣",
        "5 000",
        "--5",
        "5\n6",
        "NaN",
        "Infinity",
        1.5,
        float("nan"),
        float("inf"),
        True,
        None,
        [],
        b"5",
        Decimal("NaN"),
        Decimal("sNaN"),
        Decimal("-Infinity"),
        "1" * 41,
        pytest.param("9" * 100_000, id="100,000 digits of text"),
        pytest.param(10**30_000, id="30,000 digits"),
        pytest.param(Decimal("1E+900000000"), id="a decimal of 900 million digits"),
        pytest.param(Decimal("1E-900000000"), id="a decimal of 900 million places"),
    ],
)
def test_what_is_not_a_plain_decimal_is_refused_with_a_short_sentence(value):
    with pytest.raises(InvalidAmount, match="amount") as refusal:
        to_minor(value, 2)
    assert refusal.value.code == "invalid_amount"
    assert len(refusal.value.message) < 150


@pytest.mark.parametrize(("value", "decimals"), [("0.001", 2), ("1.5", 0), ("0.000000001", 8), ("-0.005", 2)])
def test_more_decimals_than_the_currency_has_are_refused_and_not_rounded(value, decimals):
    with pytest.raises(InvalidAmount, match=f"more than the {decimals} decimals"):
        to_minor(value, decimals)


@pytest.mark.parametrize(("value", "decimals"), [(MAX_MINOR + 1, 0), ("92233720368547758.08", 2), ("-1" + "0" * 30, 0)])
def test_what_does_not_fit_64_bits_is_refused(value, decimals):
    with pytest.raises(InvalidAmount, match="64 bits"):
        to_minor(value, decimals)


@pytest.mark.parametrize("value", ["0", "0.00", "-0", "-5", "-0.01"])
def test_where_it_has_to_be_above_zero_it_is(value):
    with pytest.raises(InvalidAmount, match="The prize must be above zero"):
        to_positive_minor(value, 2, what="prize")


def test_no_digit_is_lost_on_the_way():
    assert parse_decimal("1234567890123456789012345678901234567890.0123456789") == Decimal(
        "1234567890123456789012345678901234567890.0123456789"
    )


@pytest.mark.parametrize(
    ("minor", "decimals", "text"),
    [
        (12550, 2, "125.50"),
        (5, 2, "0.05"),
        (-5, 2, "-0.05"),
        (-12550, 2, "-125.50"),
        (0, 2, "0.00"),
        (7, 0, "7"),
        (-7, 0, "-7"),
        (1, 8, "0.00000001"),
        (MAX_MINOR, 8, "92233720368.54775807"),
    ],
)
def test_units_always_show_all_decimals_and_read_back(minor, decimals, text):
    assert to_units(minor, decimals) == text
    assert to_minor(text, decimals) == minor


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("1.50", "1.5"),
        ("100", "100"),
        ("1E+3", "1000"),
        ("-0.00", "0"),
        ("0E-9", "0"),
        ("-1.10", "-1.1"),
        ("1E-7", "0.0000001"),
    ],
)
def test_equal_decimals_have_one_text(value, text):
    assert canonical_decimal(Decimal(value)) == text
