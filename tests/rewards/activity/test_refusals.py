"""Every reason for which an event is refused, and what is just good enough."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from rewards.activity.checks import MAX_ATTRIBUTES_LENGTH, Reason
from rewards.activity.models import ActivityEvent
from rewards.activity.services import Outcome, record_events
from tests.rewards.activity.conftest import NOON, event, instant, total

pytestmark = pytest.mark.django_db


def nested(levels: int) -> dict[str, Any]:
    inner: dict[str, Any] = {}
    for _ in range(levels - 1):
        inner = {"in": inner}
    return inner


CIRCLE: dict[str, Any] = {}
CIRCLE["self"] = CIRCLE

BAD = [
    (Reason.EVENT_ID, {"event_id": ""}),
    (Reason.EVENT_ID, {"event_id": "x" * 121}),
    (Reason.EVENT_ID, {"event_id": "a\x00b"}),
    (Reason.EVENT_ID, {"event_id": "a\nb"}),
    (Reason.EVENT_ID, {"event_id": "a\x85b"}),
    (Reason.EVENT_ID, {"event_id": "half \ud83d"}),
    (Reason.EVENT_ID, {"event_id": 17}),
    (Reason.EVENT_ID, {"event_id": None}),
    (Reason.USER, {"user": ""}),
    (Reason.USER, {"user": " alice"}),
    (Reason.USER, {"user": "alice\t"}),
    (Reason.USER, {"user": "a\x00lice"}),
    (Reason.USER, {"user": "x" * 151}),
    (Reason.USER, {"user": "\udc80lice"}),
    (Reason.USER, {"user": 5}),
    (Reason.UNKNOWN_USER, {"user": "zoe"}),
    (Reason.METRIC, {"metric": ""}),
    (Reason.METRIC, {"metric": "x" * 61}),
    (Reason.METRIC, {"metric": "a\x1fb"}),
    (Reason.METRIC, {"metric": "*month"}),
    (Reason.METRIC, {"metric": None}),
    (Reason.NOT_A_NUMBER, {"quantity": ""}),
    (Reason.NOT_A_NUMBER, {"quantity": "ten"}),
    (Reason.NOT_A_NUMBER, {"quantity": "1e3"}),
    (Reason.NOT_A_NUMBER, {"quantity": "1,5"}),
    (Reason.NOT_A_NUMBER, {"quantity": "NaN"}),
    (Reason.NOT_A_NUMBER, {"quantity": Decimal("NaN")}),
    (Reason.NOT_A_NUMBER, {"quantity": Decimal("sNaN")}),
    (Reason.NOT_A_NUMBER, {"quantity": Decimal("Infinity")}),
    (Reason.NOT_A_NUMBER, {"quantity": 1.5}),
    (Reason.NOT_A_NUMBER, {"quantity": True}),
    (Reason.NOT_A_NUMBER, {"quantity": "٣"}),
    (Reason.NOT_A_NUMBER, {"quantity": 10**5000}),
    (Reason.NOT_ABOVE_ZERO, {"quantity": "0"}),
    (Reason.NOT_ABOVE_ZERO, {"quantity": "-0.000000"}),
    (Reason.NOT_ABOVE_ZERO, {"quantity": "-5"}),
    (Reason.TOO_MANY_DECIMALS, {"quantity": "0.0000001"}),
    (Reason.TOO_MANY_DECIMALS, {"quantity": "1.00000000000000000000000000000000000001"}),
    (Reason.TOO_MANY_DECIMALS, {"quantity": Decimal("1E-999999999")}),
    (Reason.TOO_LARGE, {"quantity": "9223372036854.775808"}),
    (Reason.TOO_LARGE, {"quantity": str(10**30)}),
    (Reason.TOO_LARGE, {"quantity": Decimal("1E+30")}),
    (Reason.TOO_LARGE, {"quantity": Decimal("1E+999999999")}),
    (Reason.NOT_AN_INSTANT, {"occurred_at": "2026-03-14T07:10:00Z"}),
    (Reason.NO_OFFSET, {"occurred_at": datetime(2026, 3, 14, 7, 10)}),  # noqa: DTZ001  what is refused
    (Reason.BEFORE_1970, {"occurred_at": instant("1969-12-31T23:59:59.999999")}),
    (Reason.BEFORE_1970, {"occurred_at": datetime.min.replace(tzinfo=NOON.tzinfo)}),
    (Reason.IN_THE_FUTURE, {"occurred_at": NOON + timedelta(minutes=5, microseconds=1)}),
    (Reason.IN_THE_FUTURE, {"occurred_at": datetime.max.replace(tzinfo=NOON.tzinfo)}),
    (Reason.ATTRIBUTES, {"attributes": None}),
    (Reason.ATTRIBUTES, {"attributes": [1]}),
    (Reason.ATTRIBUTES, {"attributes": {"text": "a\x00b"}}),
    (Reason.ATTRIBUTES, {"attributes": {"\x00": 1}}),
    (Reason.ATTRIBUTES, {"attributes": {"text": "\\\x00"}}),
    (Reason.ATTRIBUTES, {"attributes": {"text": "half \ud83d"}}),
    (Reason.ATTRIBUTES, {"attributes": {"number": float("nan")}}),
    (Reason.ATTRIBUTES, {"attributes": {"number": float("inf")}}),
    (Reason.ATTRIBUTES, {"attributes": {"amount": Decimal(1)}}),
    (Reason.ATTRIBUTES, {"attributes": {"long": "x" * MAX_ATTRIBUTES_LENGTH}}),
    (Reason.ATTRIBUTES, {"attributes": nested(21)}),
    (Reason.ATTRIBUTES, {"attributes": nested(2000)}),
    (Reason.ATTRIBUTES, {"attributes": CIRCLE}),
]

GOOD = [
    {"event_id": "x" * 120},
    {"event_id": "€ \u2028 \U0001f3c6"},
    {"metric": "x" * 60},
    {"metric": "a*"},
    {"quantity": "0.000001"},
    {"quantity": "+1.50000000000000000000"},
    {"quantity": "9223372036854.775807"},
    {"quantity": Decimal("1E+3")},
    {"quantity": 3},
    {"occurred_at": instant("1970-01-01T00:00")},
    {"occurred_at": NOON + timedelta(minutes=5)},
    {"attributes": nested(20)},
    {"attributes": {str(number): [{}] for number in range(100)}},
    {"attributes": {"text": "x" * (MAX_ATTRIBUTES_LENGTH - len('{"text": ""}'))}},
]


@pytest.mark.parametrize(("reason", "fields"), BAD)
def test_a_bad_event_is_refused_with_its_reason_and_its_neighbour_goes_in(people, reason, fields):
    bad = event(**fields)
    good = event("bob")

    for order, index in (((bad, good), 0), ((good, bad), 1)):
        assert record_events(order, at=NOON).rejected == [(index, reason)]
    assert list(ActivityEvent.objects.values_list("event_id", flat=True)) == [good.event_id]


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason is not Reason.TOTAL_TOO_LARGE])
def test_no_reason_is_left_out_above(reason):
    assert reason in {reason for reason, _ in BAD}


@pytest.mark.parametrize("fields", GOOD)
def test_what_is_just_good_enough_goes_in(people, fields):
    good = event(**fields)

    assert record_events([good], at=NOON) == Outcome(accepted=1)
    stored = ActivityEvent.objects.get()
    assert stored.quantity == Decimal(good.quantity)
    assert stored.attributes == good.attributes


def test_a_total_that_would_leave_64_bits_refuses_that_user_s_events_of_the_metric_alone(people):
    record_events([event("alice", "9223372036854")], at=NOON)
    fits, breaks, other_metric = event("alice", "0.5"), event("alice", "2"), event("alice", "2", metric="logins")

    outcome = record_events([fits, breaks, other_metric, event("bob", "2")], at=NOON)

    assert outcome.rejected == [(0, Reason.TOTAL_TOO_LARGE), (1, Reason.TOTAL_TOO_LARGE)]
    assert outcome.accepted == 2
    assert (total("alice"), total("alice", "logins"), total("bob")) == (9223372036854, 2, 2)


def test_a_total_may_break_in_a_single_call(people):
    outcome = record_events([event("alice", "9000000000000"), event("alice", "9000000000000"), event("bob")], at=NOON)

    assert [index for index, _ in outcome.rejected] == [0, 1]
    assert (outcome.accepted, total("bob")) == (1, 1)
