"""JSON that is refused, and JSON that is taken exactly as it was sent."""

from __future__ import annotations

import io
import json

import pytest
from django.core.exceptions import RequestDataTooBig
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.exceptions import UnsupportedMediaType

from rewards.api.parsers import MAX_DEPTH, MalformedJson, StrictJSONParser, strict_json

MALFORMED = {
    "nothing": b"",
    "half": b'{"a":',
    "trailing garbage": b'{"a": 1} x',
    "two values": b"{}{}",
    "a comment": b'{"a": 1 /* one */}',
    "a trailing comma": b'{"a": 1,}',
    "single quotes": b"{'a': 1}",
    "a bare name": b"{a: 1}",
    "a bare word": b"nope",
    "a byte order mark": b'\xef\xbb\xbf{"a": 1}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "Latin-1": '{"a": "é"}'.encode("latin-1"),
    "a surrogate in UTF-8": b'"\xed\xa0\x80"',
    "an overlong character": b'"\xc0\x80"',
    "the same key twice": b'{"amount": 1, "amount": 999}',
    "the same key twice, once escaped": b'{"amount": 1, "\\u0061mount": 999}',
    "the same key twice, deep inside": b'[{"a": {"b": 1, "b": 1}}]',
    "NaN": b'{"a": NaN}',
    "Infinity": b"[Infinity]",
    "minus Infinity": b"[-Infinity]",
    "a number beyond floats": b"[1e400]",
    "a number beyond floats, negative": b"[-1e400]",
    "a number that a float takes for zero": b"[1e-400]",
    "a fraction that a float does not keep": b"[0.12345678901234567890]",
    "a whole number with an exponent that a float does not keep": b"[12345678901234567890e0]",
    "41 digits": b"1" * 41,
    "5000 digits": b"1" * 5000,
    "5000 digits behind the point": b"0." + b"1" * 5000,
    "a leading zero": b"[01]",
    "a leading plus": b"[+1]",
    "hexadecimal": b"[0x10]",
    "full-width digits": "[１２３]".encode(),
    "NUL escaped": b'{"a": "x\\u0000y"}',
    "NUL escaped in a key": b'{"a\\u0000": 1}',
    "NUL itself": b'{"a": "x\x00y"}',
    "a line break in a text": b'{"a": "x\ny"}',
    "half of a pair": b'["\\ud83d"]',
    "the other half": b'["\\ude00"]',
    "halves in the wrong order": b'["\\ude00\\ud83d"]',
    "half of a pair in a key": b'{"\\ud800": 1}',
    "half of a pair in upper case": b'["\\uD800"]',
    "33 levels": b"[" * 33 + b"]" * 33,
    "33 levels of objects": b'{"a":' * 33 + b"1" + b"}" * 33,
    "10000 levels": b"[" * 10_000 + b"]" * 10_000,
    "100000 levels, open": b"[" * 100_000,
    "a million levels of objects": b'{"a":' * 1_000_000,
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
def test_malformed(body: bytes) -> None:
    with pytest.raises(MalformedJson) as refusal:
        strict_json(body)

    assert refusal.value.get_codes() == "malformed_json"
    assert str(refusal.value.detail).endswith(".") or "column" in str(refusal.value.detail)


TAKEN = {
    "white space": (b' {"a" : 1 }\r\n', {"a": 1}),
    "40 digits": (b"9" * 40, int("9" * 40)),
    "40 digits, negative": (b"-" + b"9" * 40, -int("9" * 40)),
    "a fraction": (b"[0.1, 2.50, 1e3, 1E-7, -0.0]", [0.1, 2.5, 1000.0, 1e-7, -0.0]),
    "an emoji": ('["🏆"]'.encode(), ["🏆"]),
    "an emoji, escaped": (b'["\\ud83c\\udfc6"]', ["🏆"]),
    "backslash and u0000": (b'["\\\\u0000"]', ["\\u0000"]),
    "bidi": ('["a\u202eb"]'.encode(), ["a\u202eb"]),
    "both forms of an accent": ('["\u00e9", "e\u0301"]'.encode(), ["\u00e9", "e\u0301"]),
    "32 levels": (b"[" * 32 + b"]" * 32, json.loads("[" * 32 + "]" * 32)),
    "many brackets in a row": (b"[" + b"[]," * 99 + b"[]]", [[]] * 100),
    "brackets in a text": (b'["' + b"[" * 99 + b'"]', ["[" * 99]),
    "keys alike in other objects": (b'[{"a": 1}, {"a": 2}]', [{"a": 1}, {"a": 2}]),
    "keys that look alike": ('{"\u00e9": 1, "e\u0301": 2}'.encode(), {"\u00e9": 1, "e\u0301": 2}),
}


@pytest.mark.parametrize(("body", "value"), TAKEN.values(), ids=TAKEN)
def test_taken_as_it_is(body: bytes, value: object) -> None:
    found = strict_json(body)

    assert (found, repr(found)) == (value, repr(value))


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
numbers = st.integers(-(10**39), 10**39) | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    max_leaves=20,
)


@given(json_values, st.booleans())
def test_whatever_can_be_kept_comes_back(value: object, escaped: bool) -> None:
    assert repr(strict_json(json.dumps(value, ensure_ascii=escaped).encode())) == repr(value)


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(body: bytes) -> None:
    try:
        value = strict_json(body)
    except MalformedJson:
        return
    assert json.loads(body) == value


@given(st.text(alphabet='{}[]",:\\u0d8e1.-eE+ naNIfity', max_size=60))
def test_no_text_like_json_raises_anything_else(text: str) -> None:
    try:
        value = strict_json(text.encode())
    except MalformedJson:
        return
    json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    assert json.loads(text) == value


def parse(body: bytes, media_type: str = "application/json", limit: int | None = None) -> object:
    view = type("View", (), {"body_limit_bytes": limit})()
    return StrictJSONParser().parse(io.BytesIO(body), media_type, {"view": view})


@pytest.mark.parametrize("charset", ["utf-8", "UTF-8", '"utf-8"', "utf8"])
def test_charset_may_be_named(charset: str) -> None:
    assert parse(b"{}", f"application/json; charset={charset}") == {}


@pytest.mark.parametrize("charset", ["utf-16", "latin-1", "utf-7", "bz2", "nonsense", "utf-8-sig", "\x00"])
def test_other_charsets_are_refused(charset: str) -> None:
    with pytest.raises(UnsupportedMediaType):
        parse(b"{}", f"application/json; charset={charset}")


def test_a_body_beyond_the_limit_of_its_view() -> None:
    assert parse(b'"1234"', limit=6) == "1234"
    with pytest.raises(RequestDataTooBig):
        parse(b'"12345"', limit=6)


def test_depth_is_counted_however_wide_the_body_is() -> None:
    deep = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    wide = f"[{','.join(['{}'] * 5000)}, {deep}]"

    with pytest.raises(MalformedJson, match="nested"):
        strict_json(wide.encode())
