"""Fields that take one JSON type each, and serializers that take the fields they know and no others.

The same fields read query parameters, which are always text: `ApiView.query` says so in the context.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from rewards.activity.checks import MAX_USERNAME_LENGTH, is_username
from rewards.common.amounts import InvalidAmount, parse_decimal
from rewards.common.periods import parse_instant

FROM_QUERY = "from_query"
MAX_WHOLE = 2**63 - 1
MAX_REASON_LENGTH = 2_000

_WHOLE = re.compile(r"-?[0-9]{1,20}")
_PLAIN_DECIMAL = re.compile(r"[0-9]{1,40}(\.[0-9]{1,40})?")
PLAIN = rf"^{_PLAIN_DECIMAL.pattern}$"
ABOVE_ZERO = r"^(?=.*[1-9])[0-9]{1,40}(\.[0-9]{1,40})?$"


class StrictSerializer(serializers.Serializer[Any]):
    """A JSON object with known fields. Unknown ones, and those that are only read, are errors of their own."""

    default_error_messages = {"invalid": "Send a JSON object."}

    def to_internal_value(self, data: Any) -> Any:
        errors = _strangers(data, self.fields) if isinstance(data, Mapping) else {}
        try:
            value = super().to_internal_value(data)
        except serializers.ValidationError as error:
            raise serializers.ValidationError({**error.detail, **errors}) from error  # type: ignore[dict-item]
        if errors:
            raise serializers.ValidationError(errors)
        return value


def _strangers(data: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, list[str]]:
    errors = {}
    for name in data:
        if name not in fields:
            errors[str(name)[:80]] = ["There is no such field here."]
        elif fields[name].read_only:
            errors[name] = ["This can be read, not written."]
    return errors


# -------------------------------------------------------------------------------------------------------------- fields


class TextField(serializers.CharField):
    """Text, kept exactly as it is. A number or a boolean is no text."""

    default_error_messages = {"invalid": "This must be text."}

    def __init__(self, **options: Any) -> None:
        # The least length is for the schema: an empty text is refused before, where it is not allowed.
        least = {} if options.get("allow_blank") else {"min_length": 1}
        super().__init__(**{"trim_whitespace": False, **least, **options})

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class WholeNumberField(serializers.IntegerField):
    """A whole JSON number (in a query: its digits). Neither "5" nor 5.0 nor true is one."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"min_value": -MAX_WHOLE - 1, "max_value": MAX_WHOLE, **options})

    def to_internal_value(self, data: Any) -> int:
        if self.context.get(FROM_QUERY):
            data = int(data) if isinstance(data, str) and _WHOLE.fullmatch(data) else None
        if type(data) is not int:
            self.fail("invalid")
        return data


class FlagField(serializers.BooleanField):
    """true or false (in a query: their text)."""

    default_error_messages = {"invalid": "This must be true or false."}

    def to_internal_value(self, data: Any) -> bool:
        if self.context.get(FROM_QUERY):
            data = {"true": True, "false": False}.get(data)
        if type(data) is not bool:
            self.fail("invalid")
        return data


class InstantField(serializers.DateTimeField):
    """ISO 8601 with an offset."""

    default_error_messages = {"invalid": "This must be a time with its offset, such as 2026-11-21T07:30:00Z."}

    def to_internal_value(self, value: Any) -> datetime:
        try:
            if isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None:
                return parse_instant(value)
        except ValueError:
            pass
        return self.fail("invalid")


@extend_schema_field(OpenApiTypes.OBJECT)
class ObjectField(serializers.Field[Any, Any, Any, Any]):
    """Any JSON object, as the parser took it."""

    default_error_messages = {"invalid": "This must be a JSON object."}

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, dict):
            self.fail("invalid")
        return data

    def to_representation(self, value: Any) -> Any:
        return value


@extend_schema_field(
    {
        "oneOf": [{"type": "string", "pattern": ABOVE_ZERO}, {"type": "integer", "minimum": 1, "maximum": MAX_WHOLE}],
        "example": "125.50",
    }
)
class AmountField(serializers.Field[Any, Any, Any, Any]):
    """An amount above zero in currency units: decimal text or a whole JSON number. How many decimals it may have the
    currency says, which this field does not know."""

    default_error_messages = {
        "fraction": 'A JSON number with a fraction is not exact everywhere: send it as text, such as "12.50".',
        "not_plain": 'As text an amount is digits alone, such as "12" or "12.50".',
        "not_positive": "The amount must be above zero.",
    }

    def to_internal_value(self, data: Any) -> Decimal:
        if isinstance(data, float):
            self.fail("fraction")
        if isinstance(data, str) and not _PLAIN_DECIMAL.fullmatch(data):
            self.fail("not_plain")
        try:
            amount = parse_decimal(data)
        except InvalidAmount as error:
            raise serializers.ValidationError(error.message, code=error.code) from error
        if not self.is_taken(amount):
            self.fail("not_positive")
        return amount

    def is_taken(self, amount: Decimal) -> bool:
        return amount > 0

    def to_representation(self, value: Any) -> str:
        return str(value)


@extend_schema_field(
    {
        "oneOf": [{"type": "string", "pattern": PLAIN}, {"type": "integer", "minimum": 0, "maximum": MAX_WHOLE}],
        "example": "1000",
    }
)
class LimitField(AmountField):
    """An amount that may be zero."""

    def is_taken(self, amount: Decimal) -> bool:
        return amount >= 0


@extend_schema_field(
    {
        "type": "string",
        "pattern": r"^[^\s\u0000-\u001f\u007f]([^\u0000-\u001f\u007f]*[^\s\u0000-\u001f\u007f])?$",
        "minLength": 1,
        "maxLength": MAX_USERNAME_LENGTH,
        "example": "alice",
    }
)
class UsernameField(TextField):
    """A username as one may be. Whether there is such a user is another question."""

    default_error_messages = {
        "invalid_username": f"A username is 1 to {MAX_USERNAME_LENGTH} printable characters "
        "and neither starts nor ends with a space."
    }

    def to_internal_value(self, data: Any) -> str:
        username = super().to_internal_value(data)
        if not is_username(username):
            self.fail("invalid_username")
        return username


@extend_schema_field({"type": "string", "pattern": r"\S", "minLength": 1, "maxLength": MAX_REASON_LENGTH})
class ReasonField(TextField):
    """Why something is done: more than white space."""

    default_error_messages = {"reason_missing": "Say why: a reason is needed."}

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=MAX_REASON_LENGTH, **options)

    def to_internal_value(self, data: Any) -> str:
        reason = super().to_internal_value(data)
        if not reason.strip():
            self.fail("reason_missing")
        return reason


class PageQuery(StrictSerializer):
    """The query of a list; lists with filters derive theirs from it."""

    limit = WholeNumberField(min_value=1, max_value=500, default=50, help_text="How many results a page has")
    cursor = TextField(required=False, help_text="Where the page starts: take it from `next` or `previous`")


class EntrySerializer(serializers.Serializer[Any]):
    """An amount of a user, in answers."""

    user = serializers.CharField()
    currency = serializers.CharField()
    amount = serializers.CharField(help_text="Decimal text in currency units")


class ProblemSerializer(serializers.Serializer[Any]):
    """RFC 9457."""

    type = serializers.CharField(help_text="/problems/<code>: a page that explains it")
    code = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    errors = serializers.DictField(  # type: ignore[assignment]
        child=serializers.ListField(child=serializers.CharField()), required=False, help_text="Sentences per field"
    )
