"""The language of recipes against exact fractions, over whatever expression; and against whatever text."""

from __future__ import annotations

import operator
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from math import ceil, floor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewards.claims.expressions import ExpressionError, compile_expression

pytestmark = pytest.mark.once

Exact = Fraction | bool
Tree = tuple[str, Exact]  # the expression, and its value by fractions

NAMES: dict[str, Any] = {"floor": 7, "share": 0.25, "minus": -3, "price": Decimal("12.5"), "none": 0}
SIGNS = {"+": operator.add, "-": operator.sub, "*": operator.mul, "//": operator.floordiv, "%": operator.mod}
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
MODEST = 10**9  # so that four of them, multiplied, keep all their digits


@st.composite
def trees(draw: Any, depth: int = 3) -> Tree:
    if depth == 0 or draw(st.integers(0, 3)) == 0:
        return draw(literals())
    grow = draw(st.sampled_from([signed, calculated, rounded, one_of_two, chosen, powered]))
    grown = grow(draw, draw(trees(depth - 1)), draw(trees(depth - 1)))
    modest = abs(grown[1]) < MODEST and grown[1].denominator < MODEST
    return grown if modest and len(grown[0]) < 200 else draw(literals())


def literals() -> st.SearchStrategy[Tree]:
    whole = st.integers(0, 999).map(lambda number: (str(number), Fraction(number)))
    places = st.integers(0, 9999).map(lambda number: (f"{number / 100:.2f}", Fraction(number, 100)))
    names = st.sampled_from(sorted(NAMES)).map(lambda name: (name, Fraction(NAMES[name])))
    return whole | places | names


def signed(draw: Any, one: Tree, other: Tree) -> Tree:
    return f"-({one[0]})", -one[1]


def calculated(draw: Any, left: Tree, right: Tree) -> Tree:
    sign = draw(st.sampled_from(sorted(SIGNS)))
    if sign in ("//", "%") and not right[1]:
        right = ("1", Fraction(1))
    return f"({left[0]}) {sign} ({right[0]})", Fraction(SIGNS[sign](left[1], right[1]))


def rounded(draw: Any, one: Tree, other: Tree) -> Tree:
    name, function = draw(st.sampled_from([("floor", floor), ("ceil", ceil)]))
    return f"{name}({one[0]})", Fraction(function(one[1]))


def one_of_two(draw: Any, one: Tree, other: Tree) -> Tree:
    name, function = draw(st.sampled_from([("min", min), ("max", max)]))
    return f"{name}({one[0]}, {other[0]})", function(one[1], other[1])


def chosen(draw: Any, left: Tree, right: Tree) -> Tree:
    sign = draw(st.sampled_from(sorted(COMPARISONS)))
    holds = COMPARISONS[sign](left[1], right[1])
    return f"(({right[0]}) if ({left[0]}) {sign} ({right[0]}) else 5)", right[1] if holds else Fraction(5)


def powered(draw: Any, base: Tree, other: Tree) -> Tree:
    exponent = draw(st.integers(0 if base[1] else 1, 3))
    return f"({base[0]}) ** {exponent}", Fraction(base[1] ** exponent)


def value(source: str, **names: Any) -> Any:
    return compile_expression(source).evaluate(names, {}.__getitem__)


@settings(max_examples=400)
@given(trees())
def test_calculating_agrees_with_fractions(tree):
    source, exact = tree
    found = value(source, **NAMES)
    assert type(found) is Decimal
    assert Fraction(found) == exact


@settings(max_examples=300)
@given(st.integers(-(10**12), 10**12), st.integers(-(10**6), 10**6).filter(bool))
def test_a_quotient_is_right_to_fifty_digits_and_its_floor_is_exact(numerator, denominator):
    exact = Fraction(numerator, denominator)
    names = {"a": numerator, "b": denominator}
    assert abs(Fraction(value("a / b", **names)) - exact) <= abs(exact) / 10**49
    assert value("a // b", **names) * denominator + value("a % b", **names) == numerator
    assert value("floor(a / b)", **names) == numerator // denominator
    assert value("ceil(a / b)", **names) == -(-numerator // denominator)


@settings(max_examples=300)
@given(st.integers(1, 10**6), st.integers(1, 30), st.integers(1, 20))
def test_a_floored_power_is_the_largest_number_that_is_not_above_it(base, tenths, factor):
    """n <= factor × base ** (tenths / 10) < n + 1, in whole numbers."""
    n = int(value(f"floor({factor} * base ** {tenths / 10})", base=base))
    exact = factor**10 * base**tenths
    assert n**10 <= exact < (n + 1) ** 10


@settings(max_examples=300)
@given(st.lists(st.integers(0, 9), min_size=2, max_size=6), st.data())
def test_logic_and_chains_agree_with_python(numbers, data):
    names = {f"n{place}": number for place, number in enumerate(numbers)}
    signs = st.sampled_from([*COMPARISONS])
    chain = "n0" + "".join(f" {data.draw(signs)} n{place}" for place in range(1, len(numbers)))
    other = f"n0 {data.draw(signs)} n1"
    for source in (
        chain,
        f"not ({chain})",
        f"({chain}) and ({other})",
        f"({chain}) or ({other})",
        f"{chain} or {other}",
    ):
        assert value(source, **names) is eval(source, {"__builtins__": {}}, names)


# ----------------------------------------------------------------------------------------------------- whatever is sent

CONTEXTS: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    st.sampled_from(["a", "b", "floor", "kind"]),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.decimals(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=4,
    ),
)
WORDS = (
    """** // == if else and or not in is floor kind lookup( param( "k" default= min( lambda 9**9 1e40 __class__ None"""
)
FRAGMENTS = st.sampled_from("ab()+-*/%<>=.,[]{}:'\"0189_ \\é٣\x00") | st.sampled_from(
    [f" {word} " for word in WORDS.split()]
)


def outcome(source: str, context: dict[str, Any], table: Any) -> str:
    """What came of an expression; any exception but `ExpressionError` goes through."""
    try:
        found = compile_expression(source).evaluate(context, {"k": table}.get)
    except ExpressionError as error:
        return "refused" if error.sentence else "refused without a word"
    if type(found) is Decimal:
        return "number" if found.is_finite() else "no number"
    return type(found).__name__


@settings(max_examples=1500)
@given(st.one_of(st.lists(FRAGMENTS, max_size=30).map("".join), st.text(max_size=60)), CONTEXTS, CONTEXTS)
def test_whatever_text_is_a_value_or_an_expression_error(source, context, table):
    assert outcome(source, context, table) in ("refused", "number", "str", "bool")


@settings(max_examples=500)
@given(trees(), CONTEXTS)
def test_a_sound_expression_over_whatever_context_is_a_number_or_an_expression_error(tree, context):
    assert outcome(tree[0], context, None) in ("refused", "number", "str", "bool")
