"""POST /api/activity: events in, each once. Bad ones are told apart by their index; the others are written."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from rewards.access.models import Right
from rewards.activity.services import NewEvent, record_events
from rewards.api.permissions import machine
from rewards.api.serializers import ABOVE_ZERO, FlagField, StrictSerializer, TextField, UsernameField
from rewards.api.views import ApiView

MOST_EVENTS = 10_000

FIELDS = frozenset(NewEvent._fields)
REQUIRED = tuple(name for name in NewEvent._fields if name not in NewEvent._field_defaults)


class EventsField(serializers.ListField):
    """JSON objects. What stands in them is looked at one by one, later: a bad event does not stop the others."""

    default_error_messages = {"not_a_list": "This must be a list of events.", "not_an_object": "Must be a JSON object."}

    def to_internal_value(self, data: Any) -> list[dict[str, Any]]:
        if not isinstance(data, list):
            self.fail("not_a_list")
        if len(data) > MOST_EVENTS:
            raise ValidationError(f"At most {MOST_EVENTS} events are taken at once, not {len(data)}.")
        errors = {place: ["An event is a JSON object."] for place, event in enumerate(data) if type(event) is not dict}
        if errors:
            raise ValidationError(errors)  # type: ignore[arg-type]
        return data


@extend_schema_field(
    {
        "oneOf": [
            {"type": "string", "pattern": ABOVE_ZERO},
            {"type": "number", "minimum": 0, "exclusiveMinimum": True},
        ],
        "example": "2.5",
    }
)
class QuantityField(serializers.CharField):
    """For the schema alone."""


# For the schema alone: ten thousand serializers would take longer than the database.
class EventSchema(serializers.Serializer[Any]):
    """What a user did. An event that is not like this is told in `rejected`; the others are written."""

    event_id = TextField(max_length=120)
    user = UsernameField()
    metric = TextField(max_length=60)
    quantity = QuantityField(help_text="Above zero, at most 6 decimals: text or a JSON number")
    occurred_at = serializers.DateTimeField(help_text="ISO 8601 with offset, at most 5 minutes ahead")
    attributes = serializers.DictField(required=False, help_text="A JSON object of at most 4,000 characters")


class ActivityRequest(StrictSerializer):
    events = EventsField(child=EventSchema(), max_length=MOST_EVENTS)
    create_users = FlagField(default=False, help_text="Create users who are not known, instead of rejecting the event")


class RejectedEvent(serializers.Serializer[Any]):
    index = serializers.IntegerField(help_text="Place in `events`, from 0")
    error = serializers.CharField()


class ActivityAnswer(serializers.Serializer[Any]):
    accepted = serializers.IntegerField()
    duplicates = serializers.IntegerField(help_text="Their event_id was there before: nothing changed")
    rejected = RejectedEvent(many=True)


class Activity(ApiView):
    access = {"POST": [machine(Right.ACTIVITY_WRITE)]}
    idempotency_key = "optional"
    body_limit_bytes = 12_000_000

    @extend_schema(
        operation_id="record_activity",
        summary="Record what users did",
        request=ActivityRequest,
        responses={200: ActivityAnswer},
        examples=[
            OpenApiExample(
                "A vote",
                request_only=True,
                value={
                    "events": [
                        {
                            "event_id": "vote-815",
                            "user": "alice",
                            "metric": "votes",
                            "quantity": 1,
                            "occurred_at": "2026-11-21T07:30:00Z",
                            "attributes": {"case": "c-12"},
                        }
                    ]
                },
            )
        ],
    )
    def post(self, request: Request) -> Response:
        """At most 10,000 events a call, each once by its `event_id`, however often it is sent."""
        wanted, now = self.body(ActivityRequest), timezone.now()
        return self.once(request, lambda: record(wanted["events"], wanted["create_users"], now))


def record(sent: list[dict[str, Any]], create_users: bool, at: datetime) -> Response:
    events, places, rejected = [], [], []
    for place, fields in enumerate(sent):
        misfit = _misfit(fields)
        if misfit:
            rejected.append((place, misfit))
        else:
            events.append(_event(fields))
            places.append(place)
    outcome = record_events(events, create_users=create_users, at=at)
    rejected += [(places[number], reason) for number, reason in outcome.rejected]
    answer = {
        "accepted": outcome.accepted,
        "duplicates": outcome.duplicates,
        "rejected": [{"index": place, "error": str(reason)} for place, reason in sorted(rejected)],
    }
    return Response(answer)


def _misfit(fields: dict[str, Any]) -> str:
    """What is wrong with the fields themselves; empty when nothing is."""
    unknown = [name for name in fields if name not in FIELDS]
    if unknown:
        return f"there is no field {unknown[0][:60]!r} in an event"
    missing = [name for name in REQUIRED if name not in fields]
    return f"{missing[0]} is missing" if missing else ""


def _event(fields: dict[str, Any]) -> NewEvent:
    """Whatever is not as it must be is refused by `record_events`, with a sentence."""
    quantity = fields["quantity"]
    if type(quantity) is float:
        quantity = Decimal(repr(quantity))  # the parser takes only floats that are exact as they are written out
    return NewEvent(**{**fields, "quantity": quantity, "occurred_at": _instant(fields["occurred_at"])})


def _instant(text: Any) -> Any:
    try:
        return datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
