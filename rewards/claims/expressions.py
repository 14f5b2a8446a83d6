"""The language of recipes: small expressions over the context of a claim and over parameters. Pure.

    floor(param("claims.ascension_victory.lumees_base") * floor ** param("claims.ascension_victory.lumees_exponent"))
    lookup(param("drop_system.class_bonus"), player_class, default=1)
    2 if boss and sector > 3 else 1

Values are numbers (Decimal, 50 digits, no larger than 41 digits before the point), texts, and yes or no. Operators:
`+ - * / // % **`, comparisons, `and or not`, `x if condition else y`; `+` also joins texts. Functions: `floor`, `ceil`,
`min`, `max`, `param("key")`, `lookup(param("key"), value, …, default=x)`. A name is a name of the context, also where a
function has the same name. There is nothing else: no attributes, no indexes, no way out of the expression.

Python's parser reads the text, and nothing of it is ever run by Python: each node that is known becomes a closure,
each other node is refused. What is refused, when compiled or when evaluated, is an `ExpressionError` with its place.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import (
    ROUND_CEILING,
    ROUND_FLOOR,
    ROUND_HALF_EVEN,
    Context,
    Decimal,
    DecimalException,
    DivisionByZero,
    InvalidOperation,
    Overflow,
    Underflow,
)
from functools import lru_cache
from typing import Any

LONGEST_SOURCE = 500
MOST_NODES = 200
DEEPEST_NESTING = 40
LONGEST_TEXT = 500
LARGEST_EXPONENT = 100  # of **
DIGITS = 50
LARGEST_POWER_OF_TEN = 40  # numbers stay below 10 ** 41

_CONTEXT = Context(
    prec=DIGITS,
    rounding=ROUND_HALF_EVEN,
    Emin=-LARGEST_POWER_OF_TEN,
    Emax=LARGEST_POWER_OF_TEN,
    traps=[DivisionByZero, InvalidOperation, Overflow, Underflow],
)
_DECIMAL_TEXT = re.compile(r"[+-]?[0-9]{1,40}(\.[0-9]{1,40})?")
_LITERAL = re.compile(r"([0-9][0-9_]*(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
_ZERO = Decimal(0)
_MISSING = object()

Value = Decimal | str | bool
Names = Mapping[str, Any]
ReadParameter = Callable[[str], Any]
Step = Callable[[Names, ReadParameter], Value]


class ExpressionError(ValueError):
    """The expression cannot be read, or has no value for this context. `column` counts characters from 1."""

    def __init__(self, sentence: str, column: int | None = None) -> None:
        self.sentence = sentence
        self.column = column
        super().__init__(f"{sentence} (column {column})" if column else sentence)


@dataclass(frozen=True)
class Expression:
    """A compiled expression, with the names of the context and the keys of the parameters that it may read."""

    source: str
    names: frozenset[str]
    parameters: frozenset[str]
    _step: Step = field(repr=False)

    def evaluate(self, names: Names, param: ReadParameter) -> Value:
        """Its value. `names` and what `param` returns are JSON values. Raises `ExpressionError`."""
        return self._step(names, param)


def compile_expression(source: str) -> Expression:
    """Check an expression and turn it into closures. Raises `ExpressionError`."""
    reading = _Reading(source)
    step = reading.step(reading.tree(), depth=1)
    return Expression(source, frozenset(reading.names), frozenset(reading.parameters), step)


def text_of(value: Value) -> str:
    """A value as the key of a table: 50, 1.5, true, or the text itself."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else plain_number(value)


def plain_number(number: Decimal) -> str:
    """No exponent, no trailing zeros, no minus zero."""
    text = f"{number:f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


# -------------------------------------------------------------------------------------------------------------- values


class _Refused(Exception):
    """Something has no value; whoever knows the place turns it into an `ExpressionError`."""


def _number(raw: int | float | Decimal | str, what: str) -> Decimal:
    """Exactly the number that was written: of a float the digits that show it."""
    if isinstance(raw, int) and abs(raw) >= 10 ** (LARGEST_POWER_OF_TEN + 1):
        raise _Refused(f"{what} is too large to calculate with.")
    number = Decimal(repr(raw) if isinstance(raw, float) else raw)
    if not number.is_finite():
        raise _Refused(f"{what} is no number to calculate with.")
    if not number:
        return _ZERO
    if len(number.as_tuple().digits) > DIGITS or abs(number.adjusted()) > LARGEST_POWER_OF_TEN:
        raise _Refused(f"{what} is too large, too small, or has too many digits to calculate with.")
    return number


def _value(raw: Any, what: str) -> Value:
    """A JSON value as a value of the language. Text stays text."""
    if isinstance(raw, bool | str):
        return raw
    if isinstance(raw, int | float | Decimal):
        return _number(raw, what)
    if raw is None:
        raise _Refused(f"{what} is empty (null).")
    raise _Refused(f"{what} is {'a list' if isinstance(raw, list) else 'an object'}, not a number, text, or yes or no.")


def _parameter_value(raw: Any, what: str) -> Value:
    """The same, but decimal text is the number it says: that is how parameters keep what is not whole."""
    if isinstance(raw, str) and _DECIMAL_TEXT.fullmatch(raw):
        return _number(raw, what)
    return _value(raw, what)


def _kind(value: Value) -> str:
    if isinstance(value, bool):
        return "yes or no"
    return "text" if isinstance(value, str) else "a number"


# ------------------------------------------------------------------------------------------------------------- reading


class _Reading:
    """One expression while it is compiled."""

    def __init__(self, source: str) -> None:
        self.names: set[str] = set()
        self.parameters: set[str] = set()
        self._nodes = 0
        if len(source) > LONGEST_SOURCE:
            raise ExpressionError(f"An expression has at most {LONGEST_SOURCE} characters.")
        for position, character in enumerate(source, start=1):
            if not character.isprintable() or character == "\\":
                raise ExpressionError("Write plain characters on one line, without backslashes.", position)
        self._text = source.lstrip()
        self._indent = len(source) - len(self._text)
        self._encoded = self._text.encode()

    def tree(self) -> ast.expr:
        if not self._text:
            raise ExpressionError("An expression is missing.")
        try:
            return ast.parse(self._text, mode="eval").body
        except SyntaxError as error:
            column = self._indent + min(max(error.offset or 1, 1), len(self._text))
            raise ExpressionError(f"This is not an expression: {error.msg}.", column) from None
        except (ValueError, MemoryError, RecursionError):
            raise ExpressionError("This is nested too deeply, or is not an expression.") from None

    def column(self, node: ast.AST) -> int:
        """Of its first character. The parser counts bytes."""
        before = self._encoded[: node.col_offset]  # type: ignore[attr-defined]
        return self._indent + len(before.decode()) + 1

    def written(self, node: ast.expr) -> str:
        return self._encoded[node.col_offset : node.end_col_offset].decode()

    def refused(self, sentence: str, node: ast.AST) -> ExpressionError:
        return ExpressionError(sentence, self.column(node))

    def step(self, node: ast.expr, depth: int) -> Step:
        """The closure of a node. Raises `ExpressionError` for each kind of node that is not part of the language."""
        self._nodes += 1
        if depth > DEEPEST_NESTING or self._nodes > MOST_NODES:
            raise self.refused("The expression is too long or nested too deeply: simplify it, or use a table.", node)
        build = _BUILDERS.get(type(node))
        if build is None:
            raise self.refused(f"{self.written(node)[:40]!r} is not part of the language of recipes.", node)
        return build(self, node, depth + 1)

    def steps(self, nodes: Sequence[ast.expr], depth: int) -> list[Step]:
        return [self.step(node, depth) for node in nodes]


def _constant(reading: _Reading, node: ast.Constant, depth: int) -> Step:
    value: Value
    if isinstance(node.value, bool | str):
        value = node.value
    elif isinstance(node.value, int | float) and _LITERAL.fullmatch(reading.written(node)):
        try:
            value = _number(reading.written(node).replace("_", ""), "The number")
        except _Refused as refusal:
            raise reading.refused(str(refusal), node) from None
    else:
        raise reading.refused("Write numbers as 12 or 1.5, and texts in quotation marks.", node)
    return lambda names, param: value


def _name(reading: _Reading, node: ast.Name, depth: int) -> Step:
    name, column = node.id, reading.column(node)
    if not name.isascii() or reading.written(node) != name:
        raise reading.refused("Names are written in ASCII letters, digits and underscores.", node)
    reading.names.add(name)

    def step(names: Names, param: ReadParameter) -> Value:
        raw = names.get(name, _MISSING)
        if raw is _MISSING:
            raise ExpressionError(f"The context has no {name!r}.", column)
        try:
            return _value(raw, name)
        except _Refused as refusal:
            raise ExpressionError(str(refusal), column) from None

    return step


# ---------------------------------------------------------------------------------------------------------- arithmetic


def _floored_quotient(left: Decimal, right: Decimal) -> Decimal:
    """As Python's //, towards minus infinity; Decimal's own goes towards zero."""
    if not right:
        raise ZeroDivisionError
    quotient, rest = _CONTEXT.divmod(left, right)
    return _CONTEXT.subtract(quotient, Decimal(1)) if rest and (rest < 0) != (right < 0) else quotient


def _floored_rest(left: Decimal, right: Decimal) -> Decimal:
    if not right:
        raise ZeroDivisionError
    rest = _CONTEXT.remainder(left, right)
    return _CONTEXT.add(rest, right) if rest and (rest < 0) != (right < 0) else rest


@lru_cache(maxsize=1024)  # a fractional exponent costs a hundred times a multiplication, and floors come again
def _power(base: Decimal, exponent: Decimal) -> Decimal:
    if exponent.copy_abs() > LARGEST_EXPONENT:
        raise _Refused(f"An exponent lies between -{LARGEST_EXPONENT} and {LARGEST_EXPONENT}.")
    if not base and exponent < 0:
        raise ZeroDivisionError
    return _CONTEXT.power(base, exponent)


_ARITHMETIC: dict[type[ast.operator], Callable[[Decimal, Decimal], Decimal]] = {
    ast.Add: _CONTEXT.add,
    ast.Sub: _CONTEXT.subtract,
    ast.Mult: _CONTEXT.multiply,
    ast.Div: _CONTEXT.divide,
    ast.FloorDiv: _floored_quotient,
    ast.Mod: _floored_rest,
    ast.Pow: _power,
}


def _reason(error: Exception) -> str:
    if isinstance(error, ZeroDivisionError):  # Decimal's is one of these
        return "This divides by zero."
    if isinstance(error, Overflow):
        return "The result is too large."
    if isinstance(error, Underflow):
        return "The result is too close to zero."
    return "This has no value." if isinstance(error, InvalidOperation) else str(error)


def _binary(reading: _Reading, node: ast.BinOp, depth: int) -> Step:
    calculate = _ARITHMETIC.get(type(node.op))
    if calculate is None:
        raise reading.refused("The operators are + - * / // % and **.", node)
    left, right = reading.step(node.left, depth), reading.step(node.right, depth)
    column = reading.column(node)
    joins = isinstance(node.op, ast.Add)

    def step(names: Names, param: ReadParameter) -> Value:
        first, second = left(names, param), right(names, param)
        if not (type(first) is Decimal and type(second) is Decimal):
            return _joined(first, second, joins, column)
        try:
            return calculate(first, second)
        except (_Refused, DecimalException, ZeroDivisionError) as error:
            raise ExpressionError(_reason(error), column) from None

    return step


def _joined(first: Value, second: Value, joins: bool, column: int) -> str:
    if not (joins and isinstance(first, str) and isinstance(second, str)):
        raise ExpressionError(f"This does not go with {_kind(first)} and {_kind(second)}.", column)
    if len(first) + len(second) > LONGEST_TEXT:
        raise ExpressionError(f"A text has at most {LONGEST_TEXT} characters.", column)
    return first + second


def _unary(reading: _Reading, node: ast.UnaryOp, depth: int) -> Step:
    operand, column = reading.step(node.operand, depth), reading.column(node)
    if isinstance(node.op, ast.Not):
        return lambda names, param: not _truth(operand(names, param), column)
    if isinstance(node.op, ast.UAdd):
        return lambda names, param: _numeric(operand(names, param), column)
    if isinstance(node.op, ast.USub):
        return lambda names, param: _CONTEXT.minus(_numeric(operand(names, param), column)) or _ZERO
    raise reading.refused("The operators are + - * / // % and **.", node)


def _numeric(value: Value, column: int) -> Decimal:
    if type(value) is not Decimal:
        raise ExpressionError(f"A number is needed here, not {_kind(value)}.", column)
    return value


# ----------------------------------------------------------------------------------------------- comparisons and logic

_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


def _comparison(reading: _Reading, node: ast.Compare, depth: int) -> Step:
    if not all(type(each) in _COMPARISONS for each in node.ops):
        raise reading.refused("The comparisons are == != < <= > and >=.", node)
    first = reading.step(node.left, depth)
    compares = [_COMPARISONS[type(each)] for each in node.ops]
    rest = list(zip(compares, reading.steps(node.comparators, depth), strict=True))
    column = reading.column(node)

    def step(names: Names, param: ReadParameter) -> bool:
        left = first(names, param)
        for compare, operand in rest:
            right = operand(names, param)
            if type(left) is not type(right) or (
                type(left) is not Decimal and compare not in (operator.eq, operator.ne)
            ):
                raise ExpressionError(
                    f"{_kind(left)} and {_kind(right)} do not compare like this.".capitalize(), column
                )
            if not compare(left, right):
                return False
            left = right
        return True

    return step


def _logic(reading: _Reading, node: ast.BoolOp, depth: int) -> Step:
    operands, column = reading.steps(node.values, depth), reading.column(node)
    decides = isinstance(node.op, ast.Or)  # the first operand of this value is the result

    def step(names: Names, param: ReadParameter) -> bool:
        for operand in operands:
            if _truth(operand(names, param), column) is decides:
                return decides
        return not decides

    return step


def _choice(reading: _Reading, node: ast.IfExp, depth: int) -> Step:
    condition, column = reading.step(node.test, depth), reading.column(node.test)
    chosen, other = reading.step(node.body, depth), reading.step(node.orelse, depth)

    def step(names: Names, param: ReadParameter) -> Value:
        return (chosen if _truth(condition(names, param), column) else other)(names, param)

    return step


def _truth(value: Value, column: int) -> bool:
    if type(value) is not bool:
        raise ExpressionError(f"A yes or no is needed here, such as a comparison, not {_kind(value)}.", column)
    return value


# ----------------------------------------------------------------------------------------------------------- functions


def _call(reading: _Reading, node: ast.Call, depth: int) -> Step:
    function = reading.written(node.func)
    build = _FUNCTIONS.get(function)
    if build is None:
        raise reading.refused(f"The functions are {', '.join(sorted(_FUNCTIONS))}.", node)
    if node.keywords and function != "lookup":
        raise reading.refused(f"{function} takes no names with =.", node)
    return build(reading, node, depth)


def _to_whole(rounding: str) -> Callable[[_Reading, ast.Call, int], Step]:
    def build(reading: _Reading, node: ast.Call, depth: int) -> Step:
        if len(node.args) != 1:
            raise reading.refused("This takes one number.", node)
        operand, column = reading.step(node.args[0], depth), reading.column(node)
        return lambda names, param: _numeric(operand(names, param), column).to_integral_value(rounding) or _ZERO

    return build


def _one_of(choose: Callable[[list[Decimal]], Decimal]) -> Callable[[_Reading, ast.Call, int], Step]:
    def build(reading: _Reading, node: ast.Call, depth: int) -> Step:
        if not node.args:
            raise reading.refused("This takes numbers, at least one.", node)
        operands, column = reading.steps(node.args, depth), reading.column(node)
        return lambda names, param: choose([_numeric(operand(names, param), column) for operand in operands])

    return build


def _key_of_parameter(reading: _Reading, node: ast.expr) -> str:
    """The key in `param("key")`. It is written out, so that it can be checked, and so that no context chooses it."""
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "param"
        and len(node.args) == 1
        and not node.keywords
        and isinstance(node.args[0], ast.Constant)
        and isinstance(node.args[0].value, str)
    ):
        reading.parameters.add(node.args[0].value)
        return node.args[0].value
    raise reading.refused('Write param("key") with the key of one parameter in quotation marks.', node)


def _param(reading: _Reading, node: ast.Call, depth: int) -> Step:
    key, column = _key_of_parameter(reading, node), reading.column(node)

    def step(names: Names, param: ReadParameter) -> Value:
        raw = param(key)
        try:
            if isinstance(raw, list | dict):
                raise _Refused(f'{key} is a table: look a value up in it, lookup(param("{key}"), …).')
            return _parameter_value(raw, key)
        except _Refused as refusal:
            raise ExpressionError(str(refusal), column) from None

    return step


def _lookup(reading: _Reading, node: ast.Call, depth: int) -> Step:
    defaults = [keyword.value for keyword in node.keywords if keyword.arg == "default"]
    if len(node.args) < 2 or len(node.keywords) > 1 or len(defaults) != len(node.keywords):
        raise reading.refused('Write lookup(param("key"), value), with default=x where nothing fits.', node)
    key, column = _key_of_parameter(reading, node.args[0]), reading.column(node)
    operands = reading.steps(node.args[1:], depth)
    default = reading.step(defaults[0], depth) if defaults else None

    def step(names: Names, param: ReadParameter) -> Value:
        found = param(key)
        try:
            for operand in operands:
                table, value = found, operand(names, param)
                found = _entry(table, value, key)
                if found is None:
                    break
            else:
                return _parameter_value(found, f"What {key} has for {_shown(value)}")
            if default is None:
                raise _Refused(f"{key} has nothing for {_shown(value)}{_what_there_is(table)}.")
        except _Refused as refusal:
            raise ExpressionError(str(refusal), column) from None
        return default(names, param)

    return step


def _entry(table: Any, value: Value, key: str) -> Any:
    """What a table has for a value; None where it has nothing.

    An object is looked up by the value's text. In a list a row [up to, result] stands for all numbers up to it that
    no row before has (null: for all others), and a plain value for itself.
    """
    if isinstance(table, dict):
        return table.get(text_of(value))
    if not isinstance(table, list):
        raise _Refused(f"{key} is not a table, or not one this deep.")
    for row in table:
        if not isinstance(row, list):
            if _same(_parameter_value(row, key), value):
                return row
        elif len(row) != 2:
            raise _Refused(f"{key} has a row that is not [up to, result].")
        elif row[0] is None or _up_to(value, row[0], key):
            return row[1]
    return None


def _same(entry: Value, value: Value) -> bool:
    return type(entry) is type(value) and entry == value


def _up_to(value: Value, limit: Any, key: str) -> bool:
    number = _parameter_value(limit, f"A limit in {key}")
    if type(value) is not Decimal or type(number) is not Decimal:
        raise _Refused(f"{key} goes by numbers, not by {_kind(value)}.")
    return value <= number


def _shown(value: Value) -> str:
    text = text_of(value)
    return (text if len(text) <= 40 else f"{text[:40]}…") if type(value) is Decimal else repr(text[:40])


def _what_there_is(table: Any) -> str:
    entries = [str(entry)[:40] for entry in table if not isinstance(entry, list)]
    return f"; it has {', '.join(entries[:10])}{', …' if len(entries) > 10 else ''}" if entries else ""


_Builder = Callable[[_Reading, Any, int], Step]

_BUILDERS: dict[type[ast.AST], _Builder] = {
    ast.Constant: _constant,
    ast.Name: _name,
    ast.BinOp: _binary,
    ast.UnaryOp: _unary,
    ast.Compare: _comparison,
    ast.BoolOp: _logic,
    ast.IfExp: _choice,
    ast.Call: _call,
}

_FUNCTIONS: dict[str, _Builder] = {
    "floor": _to_whole(ROUND_FLOOR),
    "ceil": _to_whole(ROUND_CEILING),
    "min": _one_of(min),
    "max": _one_of(max),
    "param": _param,
    "lookup": _lookup,
}
