"""The lines of a list: what a weight, an amount and a group look like, and the digest that names a list. Pure."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from hashlib import sha256

from rewards.allocation.language import LONGEST_NAME
from rewards.common.amounts import MAX_MINOR, InvalidAmount
from rewards.common.csv_lines import LineRefused

MOST_DIGITS = 30
MOST_PLACES = 60  # digits of a weight may stand so far behind the point
MOST_AMOUNT_DIGITS = 60  # before it is scaled; with the smallest scale it would still be beyond 64 bits
SCALE_PLACES = 30
BEYOND_ALL_DIGITS = 200

NO_WEIGHT = ""
"""The weight of a list that has no weights. A blank weight in one that has some is "0"."""

_NUMBER = re.compile(r"([+-]?)(?:([0-9]+)(?:\.([0-9]*))?|\.([0-9]+))(?:[eE]([+-]?[0-9]{1,9}))?")


class Reason(StrEnum):
    """Why a line is refused."""

    USER = "the user must be 1 to 150 printable characters that neither start nor end with a space"
    UNKNOWN_USER = "there is no user of this name"
    WEIGHT_NOT_A_NUMBER = "the weight is not a decimal number such as 12, 0.5 or 8.16e-05"
    WEIGHT_NEGATIVE = "the weight is negative"
    WEIGHT_DIGITS = f"the weight has more than {MOST_DIGITS} digits"
    AMOUNT_NOT_A_NUMBER = "the amount is not a decimal number such as 12 or 12.50"
    AMOUNT_NEGATIVE = "the amount is negative"
    AMOUNT_DECIMALS = "the amount has more decimals than the currency"
    AMOUNT_TOO_LARGE = "the amount does not fit 64 bits of minor units"
    AMOUNT_MISSING = "the amount is missing: the rule pays each line its own"
    GROUP = f"the group must be at most {LONGEST_NAME} printable characters that neither start nor end with a space"


class _NotANumber(ValueError):
    """This text is no decimal number."""


class Listed:
    """What the lines of a list come to, whatever their order: how many, their amounts together, and their digest."""

    def __init__(self) -> None:
        self.rows = self.total = self._hashes = 0
        self.has_weight = False  # one above zero

    def add(self, username: str, weight: str, amount: int | None, group: str) -> None:
        """Count a line: its weight canonical, its amount in minor units."""
        self.rows += 1
        self.total += amount or 0
        self.has_weight = self.has_weight or weight not in (NO_WEIGHT, "0")
        # None of the texts holds a control character.
        line = f"{username}\n{weight}\n{'' if amount is None else amount}\n{group}"
        self._hashes += int.from_bytes(sha256(line.encode()).digest(), "big")

    @property
    def digest(self) -> str:
        """The sum of the lines' SHA-256 modulo 2^256, as hex: the same lines in another order are the same list."""
        return f"{self._hashes % (1 << 256):064x}"


def canonical_weight(text: str) -> str:
    """The one text of a weight; blank is "0". Raises `LineRefused`."""
    try:
        negative, digits, places = _parse(text.strip() or "0")
    except _NotANumber:
        raise LineRefused(Reason.WEIGHT_NOT_A_NUMBER) from None
    if digits and negative:
        raise LineRefused(Reason.WEIGHT_NEGATIVE)
    if len(digits) + max(0, -places) > MOST_DIGITS or places > MOST_PLACES:
        raise LineRefused(Reason.WEIGHT_DIGITS)
    if places <= 0:
        return digits + "0" * -places or "0"
    padded = digits.zfill(places + 1)
    return f"{padded[:-places]}.{padded[-places:]}"


def checked_group(text: str) -> str:
    """The group itself; empty for none. Raises `LineRefused`."""
    if len(text) > LONGEST_NAME or text != text.strip() or not text.isprintable():
        raise LineRefused(Reason.GROUP)
    return text


class Amounts:
    """Amounts as a file writes them, in units of `scale`, into minor units of a currency."""

    def __init__(self, scale: Decimal, decimals: int, *, needed: bool) -> None:
        """`needed`: a blank amount is refused instead of being none."""
        _, digits, exponent = scale.as_tuple()
        self.factor = int("".join(map(str, digits)))
        self.shift = int(exponent) + decimals
        self.needed = needed

    def minor_units(self, text: str) -> int | None:
        """Exact minor units; None for a blank amount. Raises `LineRefused`."""
        text = text.strip()
        if not text and not self.needed:
            return None
        if not text:
            raise LineRefused(Reason.AMOUNT_MISSING)
        try:
            negative, digits, places = _parse(text)
        except _NotANumber:
            raise LineRefused(Reason.AMOUNT_NOT_A_NUMBER) from None
        if not digits:
            return 0
        if negative:
            raise LineRefused(Reason.AMOUNT_NEGATIVE)
        return self._scaled(digits, places)

    def _scaled(self, digits: str, places: int) -> int:
        shift = self.shift - places
        if len(digits) + max(0, -places) > MOST_AMOUNT_DIGITS:
            # Written out it might fill the memory.
            raise LineRefused(Reason.AMOUNT_TOO_LARGE if places <= 0 else Reason.AMOUNT_DECIMALS)
        if shift < -BEYOND_ALL_DIGITS:
            raise LineRefused(Reason.AMOUNT_DECIMALS)
        minor = int(digits) * self.factor
        if shift >= 0:
            minor *= 10**shift
        else:
            minor, rest = divmod(minor, 10**-shift)
            if rest:
                raise LineRefused(Reason.AMOUNT_DECIMALS)
        if minor > MAX_MINOR:
            raise LineRefused(Reason.AMOUNT_TOO_LARGE)
        return minor


def parse_scale(text: str) -> Decimal:
    """What the amounts of a file are written in, such as `1e-18`: exact, above zero. Raises `InvalidAmount`."""
    try:
        scale = Decimal(text.strip()) if text.isascii() and "_" not in text else Decimal("NaN")
    except InvalidOperation:
        scale = Decimal("NaN")
    if not scale.is_finite() or scale <= 0:
        raise InvalidAmount(f"The scale {text[:40]!r} is not a decimal number above zero such as 0.01 or 1e-18.")
    if len(scale.as_tuple().digits) > MOST_DIGITS or abs(scale.adjusted()) > SCALE_PLACES:
        raise InvalidAmount(f"The scale {text[:40]!r} must lie between 1e-{SCALE_PLACES} and 1e{SCALE_PLACES}.")
    return scale


def _parse(text: str) -> tuple[bool, str, int]:
    """(is it negative, its digits without zeros at either end, how far behind the point the last of them stands).

    The value is digits × 10^-places. Zero has no digits and 0 places. Only ASCII digits are taken.
    """
    sign, whole, fraction, exponent = _split_number(text)
    digits = (whole + fraction).lstrip("0")
    significant = digits.rstrip("0")
    if not significant:
        return False, "", 0
    places = len(fraction) - int(exponent) - (len(digits) - len(significant))
    return sign == "-", significant, places


def _split_number(text: str) -> tuple[str, str, str, str]:
    """(sign, digits before the point, digits behind it, exponent)."""
    if text.isascii() and text.isdigit():  # as most are
        return "", text, "", "0"
    found = _NUMBER.fullmatch(text)
    if found is None:
        raise _NotANumber
    sign, whole, fraction, bare_fraction, exponent = found.groups()
    return sign, whole or "", fraction or bare_fraction or "", exponent or "0"
