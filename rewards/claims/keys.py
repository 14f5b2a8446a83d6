"""The key of a claim names the deed. Where a claim type has a pattern, the context gives the key. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from rewards.claims.errors import InvalidKey, KeyMismatch, KeyMissing
from rewards.claims.expressions import plain_number

LONGEST_KEY = 200
TODAY = "today"

_PLACEHOLDER = re.compile(r"<([A-Za-z_][A-Za-z0-9_]*)>")


def names_in(pattern: str) -> list[str]:
    """The names of the context that a pattern asks for. Raises `ValueError` with a sentence when it is malformed."""
    if not pattern:
        return []
    if re.search(r"[<>]", _PLACEHOLDER.sub("", pattern)):
        raise ValueError("A name of the context stands in angle brackets, as in floor_<floor>_<encounter_id>.")
    fixed_part = _PLACEHOLDER.sub("x", pattern)
    if not is_key(fixed_part):
        raise ValueError("A key has printable characters only and neither starts nor ends with a space.")
    return [name for name in _PLACEHOLDER.findall(pattern) if name != TODAY]


def is_key(key: object) -> bool:
    return isinstance(key, str) and 0 < len(key) <= LONGEST_KEY and key.isprintable() and key == key.strip()


def key_for(pattern: str, context: Mapping[str, Any], given: str | None, today: date) -> str:
    """The key that `pattern` gives for a context; without a pattern the `given` one. `today`: a date in the zone.

    Raises `KeyMissing`, `InvalidKey`, and `KeyMismatch` when a given key is not the one of the context.
    """
    if not pattern and given in (None, ""):
        raise KeyMissing()
    if given not in (None, "") and not is_key(given):
        raise InvalidKey()
    if not pattern:
        return str(given)
    key = _PLACEHOLDER.sub(lambda placeholder: _part(placeholder[1], context, today), pattern)
    if not is_key(key):
        raise InvalidKey(f"The context gives no usable key. {InvalidKey.__doc__}")
    if given not in (None, "", key):
        raise KeyMismatch(f"The claim_key is {given!r}, but this context gives {key!r}.", expected=key)
    return key


def _part(name: str, context: Mapping[str, Any], today: date) -> str:
    """One deed has one text: 5 and 5.0 are the same floor."""
    if name == TODAY:
        return today.isoformat()
    value = context.get(name)
    if isinstance(value, str) and value:
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return plain_number(Decimal(repr(value)))
    raise InvalidKey(f"The claim key is made of {name}, which must be a text or a number in the context.")
