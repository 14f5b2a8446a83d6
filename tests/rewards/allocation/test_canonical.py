"""Canonical JSON: the examples of RFC 8785, and what is refused."""

from __future__ import annotations

import pytest

from rewards.allocation.canonical import canonical_json


def test_the_strings_and_literals_of_the_rfc():
    value = {"string": "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"/", "literals": [None, True, False]}
    assert (
        canonical_json(value) == b'{"literals":[null,true,false],"string":"\xe2\x82\xac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )


def test_keys_are_sorted_by_utf16_code_units_as_in_the_rfc():
    value = {
        "\u20ac": "Euro Sign",
        "\r": "Carriage Return",
        "\ufb33": "Hebrew Letter Dalet With Dagesh",
        "1": "One",
        "\U0001f600": "Emoji: Grinning Face",
        "\u0080": "Control",
        "\u00f6": "Latin Small Letter O With Diaeresis",
    }
    expected = (
        '{"\\r":"Carriage Return","1":"One","\u0080":"Control","ö":"Latin Small Letter O With Diaeresis",'
        '"€":"Euro Sign","😀":"Emoji: Grinning Face","\ufb33":"Hebrew Letter Dalet With Dagesh"}'
    )
    assert canonical_json(value) == expected.encode()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, b"null"),
        (True, b"true"),
        (0, b"0"),
        (-7, b"-7"),
        (2**53 - 1, b"9007199254740991"),
        ("", b'""'),
        ([], b"[]"),
        ({}, b"{}"),
        ([1, [2, {"b": 1, "a": [None]}]], b'[1,[2,{"a":[null],"b":1}]]'),
        ("\b\t\n\f\r\x00\x1f\x7f\u2028/", b'"\\b\\t\\n\\f\\r\\u0000\\u001f\x7f\xe2\x80\xa8/"'),
    ],
)
def test_values(value, expected):
    assert canonical_json(value) == expected


@pytest.mark.parametrize(
    "value", [1.5, 1.0, float("nan"), [0.1], {"a": 2.0}, (1, 2), b"x", {1: "a"}, {None: 1}, object()]
)
def test_types_without_a_canonical_form_are_refused(value):
    with pytest.raises(TypeError):
        canonical_json(value)


def test_a_float_is_told_to_become_text():
    with pytest.raises(TypeError, match="as text"):
        canonical_json({"amount": 12.5})


@pytest.mark.parametrize("value", [2**53, -(2**53), 10**30])
def test_integers_that_other_readers_would_round_are_refused(value):
    with pytest.raises(ValueError, match="beyond"):
        canonical_json([value])


@pytest.mark.parametrize("value", ["\ud800", {"\udfff": 1}, {"a": ["\ud83d"]}])
def test_lone_surrogates_are_refused(value):
    with pytest.raises(ValueError, match="lone surrogate"):
        canonical_json(value)
