"""The language of recipes: what it says, and what it refuses."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from rewards.claims.expressions import (
    DEEPEST_NESTING,
    LONGEST_SOURCE,
    ExpressionError,
    Value,
    compile_expression,
    plain_number,
)

PARAMETERS: dict[str, Any] = {
    "base": 15,
    "exponent": "1.1",
    "fraction": 0.1,
    "kind": "bronze",
    "switch": True,
    "nothing": None,
    "bonus": {"alchemist": "1.5", "miner": 2, "none": None},
    "kinds": [[10, "bronze"], ["25.5", "silver"], [None, "gold"]],
    "closed": [[10, 1]],
    "deep": {"50": {"gold": 3, "platinum": 1}, "100": {"platinum": [[5, "x"]]}},
    "counts": [1, 10, "2.5"],
    "names": ["red", "blue"],
    "broken": [[1, 2, 3]],
    "by_switch": {"true": 1, "false": 0},
}


def value(source: str, **names: Any) -> Value:
    return compile_expression(source).evaluate(names, PARAMETERS.__getitem__)


def short(source: str) -> str:
    """For the name of a test."""
    return ascii(source)[:40]


def refusal(source: str, **names: Any) -> ExpressionError:
    with pytest.raises(ExpressionError) as caught:
        value(source, **names)
    return caught.value


# ------------------------------------------------------------------------------------------------------------- numbers


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("1 + 2 * 3", "7"),
        ("(1 + 2) * 3", "9"),
        ("2 ** 3 ** 2", "512"),
        ("-2 ** 2", "-4"),
        ("7 / 2", "3.5"),
        ("7 // 2", "3"),
        ("-7 // 2", "-4"),
        ("7 // -2", "-4"),
        ("7 % 3", "1"),
        ("-7 % 3", "2"),
        ("7 % -3", "-2"),
        ("-6 % 3", "0"),
        ("5.5 % 2", "1.5"),
        ("0.1 + 0.2", "0.3"),
        ("1.10 * 3", "3.3"),
        (".5 + 1.", "1.5"),
        ("1_000 + 1e3", "2000"),
        ("floor(2.7)", "2"),
        ("floor(-2.1)", "-3"),
        ("ceil(2.1)", "3"),
        ("ceil(-2.9)", "-2"),
        ("min(3, 1, 2)", "1"),
        ("max(3, 1.5)", "3"),
        ("+5 - -5", "10"),
        ("100 ** 0.5", "10"),
        ("2 ** -2", "0.25"),
        ("-0", "0"),
        ("12345678901234567890123456789012345 + 1", "12345678901234567890123456789012346"),
        ("-12345678901234567890123456789012345", "-12345678901234567890123456789012345"),
    ],
)
def test_numbers_are_decimal_and_exact(source, expected):
    found = value(source)
    assert type(found) is Decimal
    assert found == Decimal(expected)


def test_a_power_of_a_fraction_is_right_to_the_last_of_fifty_digits():
    """The square root of 2, from a table."""
    assert str(value("2 ** 0.5")) == "1.4142135623730950488016887242096980785696718753769"
    # Whole roots come out whole, so that nothing is lost when they are rounded down.
    for root in (2, 3, 7, 10, 999):
        for degree in (2, 4, 5, 8):
            assert value("floor((root ** degree) ** (1 / degree))", root=root, degree=degree) == root


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (5, "5"),
        (-5, "-5"),
        (1.1, "1.1"),
        (0.1, "0.1"),
        (1e22, "1e22"),
        (5.0, "5"),
        (-0.0, "0"),
        (Decimal("2.50"), "2.5"),
    ],
)
def test_numbers_of_the_context_are_what_was_written(raw, expected):
    assert value("amount", amount=raw) == Decimal(expected)


@pytest.mark.parametrize(
    "raw",
    [
        float("nan"),
        float("inf"),
        1e300,
        5e-324,
        10**41,
        -(10**5000),
        Decimal("NaN"),
        Decimal("sNaN"),
        Decimal("1e99999"),
    ],
    ids=lambda raw: type(raw).__name__,
)
def test_numbers_beyond_all_amounts_are_refused(raw):
    assert "amount is" in refusal("amount + 1", amount=raw).sentence


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("1 / 0", "divides by zero"),
        ("1 // 0", "divides by zero"),
        ("1 % 0", "divides by zero"),
        ("0 ** -1", "divides by zero"),
        ("0 / 0", "no value"),
        ("0 ** 0", "no value"),
        ("(-8) ** 0.5", "no value"),
        ("9 ** 9 ** 9", "between -100 and 100"),
        ("2 ** 101", "between -100 and 100"),
        ("2 ** -101", "between -100 and 100"),
        ("9 ** 99", "too large"),
        ("10 ** 40 * 10", "too large"),
        ("0.0001 ** 100", "too close to zero"),
        ("1e-40 / 3e40", "too close to zero"),
        ("10 ** 40 // 1e-40", "no value"),
    ],
)
def test_what_has_no_value_says_why(source, sentence):
    assert sentence in refusal(source).sentence


# ------------------------------------------------------------------------------------------------------ texts and logic


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('"token_" + kind', "token_gold"),
        ("'a' + \"b\" + 'c'", "abc"),
        ('kind == "gold"', True),
        ('kind != "gold"', False),
        ("1 < floor <= 10", True),
        ("1 < floor < 5 < undefined", False),
        ("floor % 5 == 0 and floor > 1", True),
        ("not boss", False),
        ("boss or undefined", True),
        ("not boss and undefined", False),
        ('"yes" if boss else undefined', "yes"),
        ("True", True),
        ("boss == True", True),
        ("1 == 1.0", True),
        ('"é" + "ß"', "éß"),
    ],
)
def test_texts_and_logic(source, expected):
    found = value(source, kind="gold", floor=5, boss=True)
    assert (type(found), found) == (type(expected), expected)


@pytest.mark.parametrize(
    ("source", "sentence", "column"),
    [
        ("boss + 1", "yes or no and a number", 1),
        ("2 * boss", "a number and yes or no", 1),
        ("-boss", "A number is needed", 1),
        ("floor(boss)", "A number is needed", 1),
        ("max(1, kind)", "A number is needed", 1),
        ("kind + 1", "text and a number", 1),
        ("kind * 3", "text and a number", 1),
        ("1 if floor else 2", "A yes or no is needed", 6),
        ("1 and boss", "A yes or no is needed", 1),
        ("not kind", "A yes or no is needed", 1),
        ('floor == "5"', "do not compare", 1),
        ("boss == 1", "do not compare", 1),
        ('kind < "z"', "do not compare", 1),
        ("1 + missing", "The context has no 'missing'", 5),
        ("  1 + missing", "The context has no 'missing'", 7),
        ('"é" + missing', "The context has no 'missing'", 7),
        ("1 + empty", "empty is empty (null)", 5),
        ("list", "list is a list", 1),
        ("object", "object is an object", 1),
        ("long + kind", "at most 500 characters", 1),
    ],
)
def test_what_does_not_fit_says_what_and_where(source, sentence, column):
    error = refusal(source, boss=True, kind="gold", floor=5, empty=None, list=[1], object={}, long="x" * 498)
    assert (sentence in error.sentence, error.column) == (True, column)


def test_a_context_may_name_things_as_functions_are_named():
    assert value("floor(floor) + max(max, min)", floor=2.5, max=7, min=1) == 9
    assert value("param + lookup", param=1, lookup=2) == 3


# ----------------------------------------------------------------------------------------------- parameters and tables


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('param("base") * 2', Decimal(30)),
        ('param("exponent")', Decimal("1.1")),
        ('param("fraction")', Decimal("0.1")),
        ('param("kind") + "!"', "bronze!"),
        ('param("switch")', True),
        ('lookup(param("bonus"), "alchemist")', Decimal("1.5")),
        ('lookup(param("bonus"), "bard", default=1)', Decimal(1)),
        ('lookup(param("bonus"), "none", default=7)', Decimal(7)),
        ('lookup(param("bonus"), "miner", default=undefined)', Decimal(2)),
        ('lookup(param("kinds"), 1)', "bronze"),
        ('lookup(param("kinds"), 10)', "bronze"),
        ('lookup(param("kinds"), 10.01)', "silver"),
        ('lookup(param("kinds"), 25.5)', "silver"),
        ('lookup(param("kinds"), 10000)', "gold"),
        ('lookup(param("closed"), 11, default=0)', Decimal(0)),
        ('lookup(param("deep"), 50, "gold")', Decimal(3)),
        ('lookup(param("deep"), 50.0, "gold")', Decimal(3)),
        ('lookup(param("deep"), 51, "gold", default=0)', Decimal(0)),
        ('lookup(param("deep"), 50, "wood", default=0)', Decimal(0)),
        ('lookup(param("deep"), 100, "platinum", 4)', "x"),
        ('lookup(param("counts"), 5 * 2)', Decimal(10)),
        ('lookup(param("counts"), 2.5)', Decimal("2.5")),
        ('lookup(param("counts"), 3, default=0)', Decimal(0)),
        ('lookup(param("names"), "blue")', "blue"),
        ('lookup(param("by_switch"), 1 > 0)', Decimal(1)),
    ],
)
def test_parameters_and_tables(source, expected):
    found = value(source)
    assert (type(found), found) == (type(expected), expected)


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ('lookup(param("bonus"), "bard")', "bonus has nothing for 'bard'; it has alchemist, miner"),
        ('lookup(param("closed"), 11)', "closed has nothing for 11"),
        ('lookup(param("counts"), 3)', "counts has nothing for 3; it has 1, 10, 2.5"),
        ('lookup(param("deep"), 50)', "an object, not a number"),
        ('lookup(param("deep"), 50, "gold", 1)', "not one this deep"),
        ('lookup(param("base"), 1)', "base is not a table"),
        ('lookup(param("kinds"), "x")', "goes by numbers, not by text"),
        ('lookup(param("broken"), 1)', "not [up to, result]"),
        ('param("bonus")', "is a table: look a value up"),
        ('param("nothing")', "is empty (null)"),
    ],
)
def test_tables_say_what_they_do_not_have(source, sentence):
    assert sentence in refusal(source).sentence


def test_an_expression_tells_what_it_reads():
    expression = compile_expression('floor(param("a.b") * floor) + lookup(param("t"), kind, default=x) if boss else 1')
    assert expression.names == {"floor", "kind", "x", "boss"}
    assert expression.parameters == {"a.b", "t"}


# -------------------------------------------------------------------------------------------------------------- attacks


@pytest.mark.parametrize(
    "source",
    [
        "().__class__",
        "floor.__globals__",
        "context.secret",
        "a[0]",
        "a['x']",
        '__import__("os")',
        'eval("1")',
        'open("/etc/passwd")',
        "lambda: 1",
        "[x for x in y]",
        "{x: 1 for x in y}",
        "(x for x in y)",
        "{1, 2}",
        "{'a': 1}",
        "[1, 2]",
        "(1, 2)",
        "()",
        "(a := 1)",
        "await x",
        "yield x",
        "*a",
        "f'{x}'",
        "f'x'",
        "b'x'",
        "None",
        "...",
        "1j",
        "0x10",
        "0b1",
        "0o7",
        "1 if x",
        "x = 1",
        "x; y",
        "import os",
        "pass",
        "a @ b",
        "a << b",
        "a & b",
        "~a",
        "a is b",
        "a in b",
        "a not in b",
        "floor()",
        "floor(1, 2)",
        "floor(*a)",
        "floor(x=1)",
        "floor(1)(2)",
        "min()",
        "max(default=1)",
        "param()",
        "param(key)",
        'param("a" + "b")',
        'param("a", "b")',
        'param(key="a")',
        "param(1)",
        "lookup(x, 1)",
        'lookup(param("t"))',
        'lookup(param("t"), 1, other=2)',
        'lookup(param("t"), 1, default=2, default=3)',
        'lookup(param("t"), 1, **x)',
        'lookup({"a": 1}, "a")',
        "round(1)",
        "",
        " ",
        "#",
        "1 +",
        ")",
        '"',
        "1 2",
        "\x00",
        "1 + \x00",
        "1\n+ 1",
        "1\t+ 1",
        "1 + \u00a01",
        "\ud800",
        '"\ud800"',
        '"\\ud800"',
        '"\\x00"',
        "1 + \\",
        "١ + 1",
        "１ + 1",
        "１２",
        "ｆloor(1)",
        "ﬂoor(1)",
        "ﬂoor",
        "é",
        "а",
        "2²",
        "1__0",
        "01",
        "1e9999",
        "1e41",
        "9" * 60,
        "1" * 400 + "." + "1" * 50,
        "1." + "3" * 60,
    ],
    ids=short,
)
def test_whatever_is_not_of_the_language_is_refused_when_compiled(source):
    with pytest.raises(ExpressionError) as caught:
        compile_expression(source)
    assert caught.value.sentence


@pytest.mark.parametrize(
    "source",
    [
        "(" * 10_000,
        "(" * 400,
        "-" * 10_000 + "1",
        "-" * 499 + "1",
        "not " * 120 + "x",
        "[" * 450,
        "floor(" * 80 + "1" + ")" * 80,
        "+".join("1" * 250),
        "1 if a else " * 40 + "1",
        "1" + "<1" * 240,
        "min(" + ",".join("1" * 240) + ")",
        "x" * (LONGEST_SOURCE + 1),
        "1" + " " * 10**6,
        "9**" * 160 + "9",
        "a." * 240 + "a",
    ],
    ids=short,
)
def test_long_and_deep_expressions_are_refused_at_once(source):
    with pytest.raises(ExpressionError):
        compile_expression(source)


def test_a_hundred_terms_that_are_not_nested_are_fine():
    assert value("max(" + ",".join(str(number) for number in range(100)) + ")") == 99
    assert value("(" * (DEEPEST_NESTING * 2) + "1" + ")" * (DEEPEST_NESTING * 2)) == 1


def test_a_refusal_names_the_place():
    assert refusal("1 + os.path").column == 5
    assert refusal('"é" + ~x').column == 7
    assert refusal("  1 + + * 2").column == 9
    assert str(refusal("1 + os.path")) == "'os.path' is not part of the language of recipes. (column 5)"


def test_a_name_is_never_looked_up_anywhere_but_in_the_context():
    for name in ("__builtins__", "True_", "Decimal", "names", "self", "__class__"):
        assert "The context has no" in refusal(name).sentence
    assert value("__class__", __class__=3) == 3


@pytest.mark.parametrize(
    ("number", "text"),
    [("50", "50"), ("50.00", "50"), ("1E+2", "100"), ("0.10", "0.1"), ("-0", "0"), ("0E+3", "0"), ("-1.50", "-1.5")],
)
def test_a_number_has_one_text(number, text):
    assert plain_number(Decimal(number)) == text
