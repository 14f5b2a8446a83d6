"""What an event must look like before it is written. Pure: neither clock nor database."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, NamedTuple

from rewards.activity.models import QUANTITY_SCALE
from rewards.common.amounts import MAX_MINOR, InvalidAmount, parse_decimal
from rewards.common.csv_lines import LineRefused
from rewards.users.models import printable_username

MAX_USERNAME_LENGTH = 150
MILLIONTH = Decimal(1).scaleb(-QUANTITY_SCALE)
MAX_QUANTITY = MAX_MINOR * MILLIONTH
MAX_DIGITS = 40
MAX_ATTRIBUTES_LENGTH = 4_000
MAX_ATTRIBUTES_DEPTH = 20
MAX_AHEAD = timedelta(minutes=5)
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)

# Control characters and halves of surrogate pairs. An asterisk at the start is kept for what stands for all metrics.
_EVENT_ID = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,120}")
_METRIC = re.compile(r"(?!\*)[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,60}")
_USERNAME = re.compile(printable_username.regex.pattern)  # type: ignore[union-attr]
_NUL_IN_JSON = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")

_to_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


class NewEvent(NamedTuple):
    """An event as its sender knows it. `user` is a username; text as `quantity` is read as a plain decimal number."""

    event_id: str
    user: str
    metric: str
    quantity: Decimal | int | str
    occurred_at: datetime
    attributes: dict[str, Any] = {}  # never changed


class CheckedEvent(NamedTuple):
    """An event fit to be written: `quantity` in millionths, `attributes` as JSON text. `number` is the sender's."""

    number: int
    event_id: str
    user: str
    metric: str
    quantity: int
    occurred_at: datetime
    attributes: str

    @property
    def total(self) -> tuple[str, str]:
        """Whose total it adds to: (username, metric)."""
        return self.user, self.metric


class Reason(StrEnum):
    """Why an event is refused."""

    EVENT_ID = "event_id must be 1 to 120 characters without control characters"
    USER = "the user must be 1 to 150 printable characters that neither start nor end with a space"
    UNKNOWN_USER = "there is no user of this name"
    METRIC = "the metric must be 1 to 60 characters without control characters, the first no asterisk"
    NOT_A_NUMBER = "the quantity is not a plain decimal number such as 12 or 12.5"
    NOT_ABOVE_ZERO = "the quantity is not above zero"
    TOO_MANY_DECIMALS = f"the quantity has more than {QUANTITY_SCALE} decimals"
    TOO_LARGE = f"the quantity is above {MAX_QUANTITY}"
    TOTAL_TOO_LARGE = f"with this quantity the user's total would be above {MAX_QUANTITY}"
    NOT_AN_INSTANT = "occurred_at is not a time such as 2026-11-21T07:30:00Z"
    NO_OFFSET = "occurred_at has no UTC offset"
    BEFORE_1970 = "occurred_at is before 1970"
    IN_THE_FUTURE = "occurred_at is more than 5 minutes ahead"
    ATTRIBUTES = (
        f"the attributes must be a JSON object of at most {MAX_ATTRIBUTES_LENGTH} characters and "
        f"{MAX_ATTRIBUTES_DEPTH} levels, without NUL, NaN or infinity"
    )


class Refused(LineRefused):
    """This event is not taken."""

    code = "event_refused"
    http_status = 400


def check_events(events: Sequence[NewEvent], at: datetime) -> tuple[list[CheckedEvent], list[tuple[int, str]]]:
    """The events fit to be written, and (index, reason) of the others. `at` is now."""
    checked, refused, latest = [], [], at + MAX_AHEAD
    for index, event in enumerate(events):
        try:
            checked.append(check_event(index, event, latest))
        except Refused as error:
            refused.append((index, error.message))
    return checked, refused


def check_event(number: int, event: NewEvent, latest: datetime) -> CheckedEvent:
    """Raises `Refused` with the first `Reason` that holds; `latest` is the last instant an event may have."""
    event_id, user, metric, quantity, occurred_at, attributes = event
    if not (isinstance(event_id, str) and _EVENT_ID.fullmatch(event_id)):
        raise Refused(Reason.EVENT_ID)
    if not (isinstance(user, str) and is_username(user)):
        raise Refused(Reason.USER)
    if not (isinstance(metric, str) and is_metric(metric)):
        raise Refused(Reason.METRIC)
    check_instant(occurred_at, latest)
    return CheckedEvent(
        number, event_id, user, metric, scaled_quantity(quantity), occurred_at, attributes_text(attributes)
    )


def is_username(text: str) -> bool:
    return len(text) <= MAX_USERNAME_LENGTH and _USERNAME.match(text) is not None and _is_encodable(text)


def is_metric(text: str) -> bool:
    return _METRIC.fullmatch(text) is not None


def check_instant(instant: datetime, latest: datetime) -> None:
    if not isinstance(instant, datetime):
        raise Refused(Reason.NOT_AN_INSTANT)
    if instant.utcoffset() is None:
        raise Refused(Reason.NO_OFFSET)
    if instant < EARLIEST:
        raise Refused(Reason.BEFORE_1970)
    if instant > latest:
        raise Refused(Reason.IN_THE_FUTURE)


def scaled_quantity(quantity: Decimal | int | str) -> int:
    """The quantity in millionths, from 1 to 2^63 - 1."""
    if isinstance(quantity, Decimal) and quantity.is_finite() and abs(quantity.adjusted()) > MAX_DIGITS:
        # Written out, a number such as 1E+999999999 would fill the memory.
        raise Refused(Reason.TOO_LARGE if quantity.adjusted() > 0 else Reason.TOO_MANY_DECIMALS)
    try:
        exact = parse_decimal(quantity)
    except (InvalidAmount, ValueError) as error:  # ValueError: Python writes out no whole number of 4,300 digits
        raise Refused(Reason.NOT_A_NUMBER) from error
    if exact <= 0:
        raise Refused(Reason.NOT_ABOVE_ZERO)
    if exact > MAX_QUANTITY:
        raise Refused(Reason.TOO_LARGE)
    rounded = exact.quantize(MILLIONTH)
    if rounded != exact:
        raise Refused(Reason.TOO_MANY_DECIMALS)
    return int(rounded.scaleb(QUANTITY_SCALE))


def attributes_text(attributes: dict[str, Any]) -> str:
    """Attributes as JSON text that both engines take."""
    if not isinstance(attributes, dict):
        raise Refused(Reason.ATTRIBUTES)
    try:
        text = _to_json(attributes)
    except (TypeError, ValueError, RecursionError) as error:
        raise Refused(Reason.ATTRIBUTES) from error
    if len(text) > MAX_ATTRIBUTES_LENGTH or _NUL_IN_JSON.search(text) or not _is_encodable(text):
        raise Refused(Reason.ATTRIBUTES)
    brackets = text.count("{") + text.count("[")
    if brackets > MAX_ATTRIBUTES_DEPTH and _is_deeper_than(MAX_ATTRIBUTES_DEPTH, attributes):
        raise Refused(Reason.ATTRIBUTES)
    return text


def _is_deeper_than(levels: int, value: Any) -> bool:
    if not isinstance(value, dict | list | tuple):
        return False
    parts = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper_than(levels - 1, part) for part in parts)


def _is_encodable(text: str) -> bool:
    """False for text with half a surrogate pair, which is no UTF-8."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
