"""Amounts: whole minor units inside, decimal text in currency units at the edge."""

from __future__ import annotations

import re
from decimal import Decimal

from rewards.common.errors import RewardsError

MAX_MINOR = 2**63 - 1
_MOST_DIGITS = 40
_PLAIN_DECIMAL = re.compile(rf"[+-]?[0-9]{{1,{_MOST_DIGITS}}}(\.[0-9]{{1,{_MOST_DIGITS}}})?")


class InvalidAmount(RewardsError):
    """The amount is not a plain decimal number that fits the currency."""

    code = "invalid_amount"
    http_status = 400


def parse_decimal(value: object, *, what: str = "amount") -> Decimal:
    """An exact, finite Decimal from a str, int or Decimal.

    Only ASCII digits with an optional sign and fraction are taken: no exponent, no NaN, no float, no bool.
    Raises `InvalidAmount`.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise InvalidAmount(f"The {what} must be a decimal number written as text or a whole number.")
    text = _digits(value).strip()
    if not _PLAIN_DECIMAL.fullmatch(text):
        raise InvalidAmount(f"The {what} {text[:40]!r} is not a plain decimal number such as 12 or 12.50.")
    return Decimal(text)


def _digits(value: str | int | Decimal) -> str:
    """Its text. Of a number far beyond any amount a short one: written out, it could have a billion digits."""
    if isinstance(value, Decimal) and value.is_finite():
        return f"{value:f}" if abs(value.adjusted()) <= _MOST_DIGITS else str(value)
    if isinstance(value, int) and abs(value) >= 10**_MOST_DIGITS:
        return f"a number of more than {_MOST_DIGITS} digits"
    return str(value)


def to_minor(value: object, decimals: int, *, what: str = "amount") -> int:
    """Minor units (int) of a value in currency units.

    Raises `InvalidAmount` when it has more decimals than the currency or does not fit 64 bits. The sign is kept.
    """
    exact = parse_decimal(value, what=what)
    sign, digits, exponent = exact.as_tuple()
    shift = int(exponent) + decimals
    coefficient = int("".join(map(str, digits)))
    if shift < 0:
        coefficient, rest = divmod(coefficient, 10**-shift)
        if rest:
            raise InvalidAmount(f"The {what} {exact} has more than the {decimals} decimals of the currency.")
    else:
        coefficient *= 10**shift
    if coefficient > MAX_MINOR:
        raise InvalidAmount(f"The {what} {exact} is too large: it must fit 64 bits of minor units.")
    return -coefficient if sign else coefficient


def to_positive_minor(value: object, decimals: int, *, what: str = "amount") -> int:
    """Like `to_minor`, and above zero."""
    minor = to_minor(value, decimals, what=what)
    if minor <= 0:
        raise InvalidAmount(f"The {what} must be above zero.")
    return minor


def to_units(minor: int, decimals: int) -> str:
    """Decimal text in currency units with exactly `decimals` digits: `to_units(12550, 2) == "125.50"`."""
    if decimals == 0:
        return str(minor)
    sign = "-" if minor < 0 else ""
    whole, fraction = divmod(abs(minor), 10**decimals)
    return f"{sign}{whole}.{fraction:0{decimals}d}"


def canonical_decimal(value: Decimal) -> str:
    """The one text of a decimal: no exponent, no trailing zeros, no minus zero."""
    text = f"{value:f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text
