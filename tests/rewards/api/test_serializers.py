"""Fields take one type of JSON each, and nothing that they do not know."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from rewards.api.problems import flattened
from rewards.api.serializers import (
    FROM_QUERY,
    AmountField,
    FlagField,
    InstantField,
    ObjectField,
    PageQuery,
    StrictSerializer,
    TextField,
    UsernameField,
    WholeNumberField,
)
from rewards.api.views import ApiView


class Inner(StrictSerializer):
    number = WholeNumberField(required=False)


class Everything(StrictSerializer):
    text = TextField(required=False, allow_blank=True)
    number = WholeNumberField(required=False)
    flag = FlagField(required=False)
    at = InstantField(required=False)
    facts = ObjectField(required=False)
    amount = AmountField(required=False)
    user = UsernameField(required=False)
    inner = Inner(required=False)
    many = Inner(many=True, required=False)
    balance = AmountField(read_only=True)


def read(**sent: Any) -> dict[str, Any]:
    serializer = Everything(data=sent)
    serializer.is_valid(raise_exception=True)
    return serializer.validated_data


def errors(sent: Any, context: dict[str, Any] | None = None) -> dict[str, list[str]]:
    serializer = Everything(data=sent, context=context or {})
    assert not serializer.is_valid()
    return flattened(serializer.errors)


NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)

TAKEN = [
    ("text", "  as it is\n", "  as it is\n"),
    ("text", "", ""),
    ("number", -(2**63), -(2**63)),
    ("number", 2**63 - 1, 2**63 - 1),
    ("flag", False, False),
    ("at", "2026-11-21T12:00:00Z", NOON),
    ("at", "2026-11-21T13:00:00+01:00", NOON),
    ("facts", {"a": [1, {"b": None}]}, {"a": [1, {"b": None}]}),
    ("amount", "12.50", Decimal("12.50")),
    ("amount", 2**62, Decimal(2**62)),
    ("user", "O'Neil 🏆", "O'Neil 🏆"),
    ("inner", {"number": 1}, {"number": 1}),
]


@pytest.mark.parametrize(("field", "sent", "value"), TAKEN)
def test_taken(field: str, sent: Any, value: Any) -> None:
    assert read(**{field: sent}) == {field: value}


REFUSED = {
    "text": [7, 1.5, True, None, [], {}, "a\x00"],
    "number": ["5", 5.0, 1.5, True, None, [], {}, "", 2**63, -(2**63) - 1],
    "flag": ["true", "false", 1, 0, None, [], {}, "", "on"],
    "at": ["2026-11-21T12:00:00", "2026-11-21", "noon", 7, None, [], "", "0001-01-01T00:00:00+14:00",
           "9999-12-31T23:59:59-14:00"],
    "facts": ["x", 7, None, [], True],
    "amount": [1.0, 12.5, True, None, [], {}, "", "1e3", "NaN", "１２３", " 5", "+5", "-5", "5\n", 0, -1,
               "0.00", "1" * 41],
    "user": ["", " alice", "alice ", "x" * 151, "a\nb", 7, None, True, ["alice"], {}],
    "inner": ["x", [], 7, None],
    "many": ["x", {}, 7, None, [7]],
}  # fmt: skip


@pytest.mark.parametrize(("field", "sent"), [(field, sent) for field, values in REFUSED.items() for sent in values])
def test_refused(field: str, sent: Any) -> None:
    ((path, sentences),) = errors({field: sent}).items()

    assert path.partition("[")[0] == field
    assert sentences


def test_unknown_and_read_only_fields_beside_the_bad_ones() -> None:
    found = errors(
        {
            "colour": 1,
            "balance": "7",
            "number": "x",
            "inner": {"x": 1},
            "many": [{"number": 1}, {"y": 1, "number": "z"}],
        }
    )

    assert {*found} == {"colour", "balance", "number", "inner.x", "many[1].y", "many[1].number"}


@pytest.mark.parametrize("sent", [[], "x", 7, None, True])
def test_only_objects(sent: Any) -> None:
    assert [*errors(sent)] == ["body"]


# -------------------------------------------------------------------------------------------------------------- query


def query(raw: str) -> dict[str, Any]:
    view = ApiView()
    view.request = Request(APIRequestFactory().get("/", QUERY_STRING=raw))
    return view.query(Everything)


def test_a_query_is_text() -> None:
    found = query("number=-5&flag=true&text=%F0%9F%8F%86+x&at=2026-11-21T12:00:00Z&amount=5")

    assert found == {"number": -5, "flag": True, "text": "🏆 x", "at": NOON, "amount": Decimal(5)}


@pytest.mark.parametrize(
    "raw",
    ["colour=1", "number=5&number=6", "number=", "number=1_000", "number=%EF%BC%91", "number=1.0", "number=1e3",
     "number=%205", "flag=1", "flag=True", "flag=", "text=%ff", "text=%00", "%ff=1", "facts={}", "number=" + "9" * 5000,
     "&".join(f"text{number}=" for number in range(51)), "text=\xff"],
)  # fmt: skip
def test_queries_that_are_refused(raw: str) -> None:
    with pytest.raises(ValidationError):
        query(raw)


def test_flags_of_a_query_are_no_flags_of_a_body() -> None:
    assert Everything(data={"flag": "true"}, context={FROM_QUERY: True}).is_valid()
    assert [*errors({"flag": "true"})] == ["flag"]


def test_limits_of_pages() -> None:
    assert PageQuery(data={}).is_valid()
    for limit, good in (("1", True), ("500", True), ("0", False), ("501", False)):
        assert PageQuery(data={"limit": limit}, context={FROM_QUERY: True}).is_valid() is good
