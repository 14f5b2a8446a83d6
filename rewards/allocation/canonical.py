"""Canonical JSON (RFC 8785): one byte string per value, so that everyone hashes the same.

Only what distributions are made of: null, booleans, whole numbers, text, lists, objects. Standard library only.
"""

from __future__ import annotations

from json.encoder import encode_basestring  # type: ignore[attr-defined]  # escapes exactly what RFC 8785 escapes

LARGEST_INTEGER = 2**53 - 1  # beyond it, JSON readers that use doubles would see another number


def canonical_json(value: object) -> bytes:
    """The value as canonical UTF-8 bytes: no spaces, keys sorted by UTF-16 code units, shortest escapes.

    Raises `TypeError` for floats and every other type that is not listed above (write decimals as text), and
    `ValueError` for integers beyond ±(2**53 - 1) and for lone surrogates.
    """
    try:
        return canonical_text(value).encode()
    except UnicodeEncodeError as error:
        raise ValueError("Text with a lone surrogate has no UTF-8 form and cannot be hashed.") from error


def canonical_text(value: object) -> str:
    """Like `canonical_json`, before it is encoded."""
    if isinstance(value, str):
        return encode_basestring(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return _integer(value)
    if isinstance(value, list):
        return f"[{','.join(map(canonical_text, value))}]"
    if isinstance(value, dict):
        return _object(value)
    raise TypeError(f"A {type(value).__name__} has no canonical form here; write decimals and other values as text.")


def utf16_order(key: str) -> bytes:
    """Sort key for object keys: their UTF-16 code units. Raises `UnicodeEncodeError` for lone surrogates."""
    return key.encode("utf-16-be")


def _integer(value: int) -> str:
    if abs(value) > LARGEST_INTEGER:
        raise ValueError(f"{value} is beyond ±(2**53 - 1); write it as text.")
    return int.__repr__(value)


def _object(value: dict[object, object]) -> str:
    for key in value:
        if not isinstance(key, str):
            raise TypeError(f"Keys of an object are text, not {type(key).__name__}.")
    members = (f"{encode_basestring(key)}:{canonical_text(value[key])}" for key in sorted(value, key=utf16_order))  # type: ignore[arg-type]
    return f"{{{','.join(members)}}}"
