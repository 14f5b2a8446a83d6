"""Texts of a list as exact numbers: what is taken, what is refused and why."""

from __future__ import annotations

from decimal import Decimal

import pytest

from rewards.campaigns.lines import Amounts, Listed, Reason, canonical_weight, checked_group, parse_scale
from rewards.common.amounts import InvalidAmount
from rewards.common.csv_lines import LineRefused


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("1", "1"),
        ("0012.50", "12.5"),
        (" 7 ", "7"),
        ("+3", "3"),
        (".5", "0.5"),
        ("5.", "5"),
        ("", "0"),
        ("   ", "0"),
        ("0.000", "0"),
        ("-0", "0"),
        ("8.16e-05", "0.0000816"),
        ("1.5E+3", "1500"),
        ("0e999999999", "0"),
        ("1e29", "1" + "0" * 29),
        ("9" * 30, "9" * 30),
        ("1." + "0" * 90, "1"),
        ("7.901574389054136e-09", "0.000000007901574389054136"),
        ("1e-60", "0." + "0" * 59 + "1"),
    ],
)
def test_a_weight_has_one_text(text, canonical):
    assert canonical_weight(text) == canonical


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("-1", Reason.WEIGHT_NEGATIVE),
        ("-1e-9", Reason.WEIGHT_NEGATIVE),
        *((text, Reason.WEIGHT_NOT_A_NUMBER) for text in (
            "NaN", "inf", "-Infinity", "abc", "0,5", "1 000", "1_000", "１２", "٣", "−1", "0x10", "1/2", "e5", ".",
            "1e", "1e1.5", "--1", "1e99999999999",
        )),
        *((text, Reason.WEIGHT_DIGITS) for text in (
            "1" + "0" * 30, "9" * 31, "0." + "1" * 31, "1e30", "1e400", "1e-400", "1e-61", "1" + "0" * 5000,
            "1e999999999", "1e-999999999",
        )),
    ],
)  # fmt: skip
def test_a_weight_is_refused(text, reason):
    with pytest.raises(LineRefused) as refusal:
        canonical_weight(text)
    assert refusal.value.message == reason


@pytest.mark.parametrize(
    ("text", "scale", "decimals", "minor"),
    [
        ("12.5", "1", 2, 1250),
        ("5", "1", 0, 5),
        ("1.20", "1", 1, 12),
        ("400000000000000000000", "1e-18", 6, 400_000_000),
        ("250", "0.01", 2, 250),
        ("3", "1000", 2, 300_000),
        ("0", "1", 0, 0),
        ("2.5e3", "1", 0, 2500),
        ("9223372036854775807", "1", 0, 2**63 - 1),
        ("9223372036854775807000000000000000000", "1e-18", 0, 2**63 - 1),
        ("0.00001", "100000", 0, 1),
    ],
)
def test_an_amount_is_exact(text, scale, decimals, minor):
    assert Amounts(parse_scale(scale), decimals, needed=True).minor_units(text) == minor


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("-1", Reason.AMOUNT_NEGATIVE),
        ("NaN", Reason.AMOUNT_NOT_A_NUMBER),
        ("1,5", Reason.AMOUNT_NOT_A_NUMBER),
        ("0.001", Reason.AMOUNT_DECIMALS),
        ("1e-400", Reason.AMOUNT_DECIMALS),
        ("1e-999999999", Reason.AMOUNT_DECIMALS),
        ("92233720368547758.08", Reason.AMOUNT_TOO_LARGE),
        ("1e400", Reason.AMOUNT_TOO_LARGE),
        ("1e999999999", Reason.AMOUNT_TOO_LARGE),
        ("1" + "0" * 5000, Reason.AMOUNT_TOO_LARGE),
        ("", Reason.AMOUNT_MISSING),
    ],
)
def test_an_amount_is_refused(text, reason):
    with pytest.raises(LineRefused) as refusal:
        Amounts(Decimal(1), 2, needed=True).minor_units(text)
    assert refusal.value.message == reason


def test_a_blank_amount_is_none_where_no_rule_asks_for_it():
    assert Amounts(Decimal(1), 2, needed=False).minor_units(" ") is None


@pytest.mark.parametrize("text", ["", "0", "-1", "NaN", "inf", "abc", "1_0", "１", "1e-31", "1e31", "1" * 31])
def test_a_scale_is_a_number_above_zero(text):
    with pytest.raises(InvalidAmount):
        parse_scale(text)


@pytest.mark.parametrize("text", [" a", "a ", "a\tb", "a\x00b", "x" * 65])
def test_a_group_is_a_name_that_a_rule_can_write(text):
    with pytest.raises(LineRefused):
        checked_group(text)
    assert checked_group("Gruppe 1 – Süd") == "Gruppe 1 – Süd"


def listed(*lines):
    total = Listed()
    for line in lines:
        total.add(*line)
    return total


def test_the_digest_names_the_lines_and_not_their_order():
    alice, bob = ("alice", "1", None, ""), ("bob", "2", 5, "x")

    assert listed(alice, bob).digest == listed(bob, alice).digest
    assert len(listed(alice).digest) == 64
    others = [
        [alice],
        [alice, ("bob", "2", 6, "x")],
        [alice, ("bob", "3", 5, "x")],
        [alice, ("bob", "2", 5, "y")],
        [alice, ("bobby", "2", 5, "x")],
        [("alice", "1", 0, ""), bob],
        [("alice", "2", None, ""), ("bob", "1", 5, "x")],
        [alice, bob, bob],
    ]
    assert len({listed(*lines).digest for lines in [*others, [alice, bob]]}) == len(others) + 1
