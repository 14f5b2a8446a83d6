"""JSON as the API takes it: what two readers could understand differently, or a database could not keep, is refused.

One pass of the standard library's scanner does it. Only a body with escapes, or with more brackets than may be nested,
is walked through a second time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import IO, Any

from django.core.exceptions import RequestDataTooBig
from rest_framework.exceptions import ParseError, UnsupportedMediaType
from rest_framework.parsers import JSONParser

from rewards.common.json_names import NameTwice, each_name_once

MAX_DEPTH = 32
MAX_DIGITS = 40
UTF_8 = frozenset({"", "utf-8", "utf8"})


class MalformedJson(ParseError):
    default_code = "malformed_json"
    default_detail = "The body is not JSON."


class StrictJSONParser(JSONParser):
    """Bodies of `application/json`. What a view takes at most it says in `body_limit_bytes`."""

    def parse(self, stream: IO[Any], media_type: str | None = None, parser_context: Any = None) -> Any:
        """Raises `MalformedJson`, `UnsupportedMediaType` for a charset other than UTF-8, `RequestDataTooBig`."""
        if media_type is not None and charset_of(media_type) not in UTF_8:
            raise UnsupportedMediaType(media_type, "JSON is sent as UTF-8: leave the charset out.")
        body = stream.read()
        limit = getattr((parser_context or {}).get("view"), "body_limit_bytes", None)
        if limit is not None and len(body) > limit:
            raise RequestDataTooBig(f"This body has {len(body)} bytes; here at most {limit} are taken.")
        return strict_json(body)


def charset_of(media_type: str) -> str:
    """`utf-16` of `application/json; charset="UTF-16"`; nothing where none is named."""
    for parameter in media_type.split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return value.strip().strip('"').lower()
    return ""


def strict_json(body: bytes) -> Any:
    """The value of a JSON text. Raises `MalformedJson` with a sentence.

    Whole numbers are ints of at most `MAX_DIGITS` digits. Numbers with a fraction or an exponent are floats, but only
    those that a float writes out again as the same number: a recipe, a database and whoever reads it later see exactly
    what was sent.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise MalformedJson(f"The body is not UTF-8: see its byte {error.start}.") from error
    if text.startswith("\ufeff"):
        raise MalformedJson("The body starts with a byte order mark: leave it out.")
    try:
        value = _decoder.decode(text)
    except json.JSONDecodeError as error:
        raise MalformedJson(
            f"The body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        ) from error
    except NameTwice as error:
        raise MalformedJson(f"The key {error.name[:60]!r} stands twice in one object.") from error
    except RecursionError as error:
        raise MalformedJson(TOO_DEEP) from error
    if "\\u" in text or text.count("{") + text.count("[") > MAX_DEPTH:
        _refuse_what_cannot_be_kept(value)
    return value


TOO_DEEP = f"The body is nested more than {MAX_DEPTH} levels deep."


def _whole(text: str) -> int:
    if len(text) > MAX_DIGITS and len(text.lstrip("-")) > MAX_DIGITS:
        raise MalformedJson(f"A number has more than {MAX_DIGITS} digits.")
    return int(text)


def _fraction(text: str) -> float:
    number = float(text)
    # Infinity writes itself out as no number of JSON at all.
    if len(text) > MAX_DIGITS or number in (float("inf"), float("-inf")) or Decimal(text) != Decimal(repr(number)):
        raise MalformedJson(f"The number {text[:60]} cannot be kept exactly: send it as text.")
    return number


def _constant(text: str) -> Any:
    raise MalformedJson(f"{text} is not a number of JSON.")


_decoder = json.JSONDecoder(
    object_pairs_hook=each_name_once, parse_int=_whole, parse_float=_fraction, parse_constant=_constant
)


def _refuse_what_cannot_be_kept(value: Any) -> None:
    """Level by level, so that no depth can exhaust the stack. Escapes stand in the texts as characters by now."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        for text in level:
            if type(text) is str:
                _refuse_text(text)
        nested = [part for part in level if type(part) in (dict, list)]
        if not nested:
            return
        level = [*_parts(nested)]
    raise MalformedJson(TOO_DEEP)


def _parts(nested: list[Any]) -> Iterator[Any]:
    """What stands in these objects and lists, the keys too."""
    for each in nested:
        yield from each
        if type(each) is dict:
            yield from each.values()


def _refuse_text(text: str) -> None:
    if "\x00" in text:
        raise MalformedJson("A text contains NUL (\\u0000), which cannot be stored.")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise MalformedJson("A text contains half of a surrogate pair (\\ud800 to \\udfff).") from error
