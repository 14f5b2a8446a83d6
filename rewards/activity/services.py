"""Writing activity: events exactly once, counters in step with them, stretches of time closed for payouts.

The order inside a call is always the same, so that two calls never wait for each other: the gates, then users, events
and counters, each in the order of its unique key.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import transaction

from rewards.activity.checks import CheckedEvent, NewEvent, Reason, check_events
from rewards.activity.counters import add_to_counters, rebuild_counters
from rewards.activity.followers import tell_followers
from rewards.activity.gates import hold_gate, pass_gates
from rewards.activity.models import ActivityEvent, ClosedStretch
from rewards.activity.queries import Stretch, all_closed_stretches, closed_stretches, find_users, is_within
from rewards.activity.rows import Columns, column_values, insert_rows
from rewards.common.database import refresh_statistics, sql_instant
from rewards.common.errors import ensure
from rewards.common.periods import Month
from rewards.users.models import NO_PASSWORD, User

__all__ = [
    "MONTHS",
    "NewEvent",
    "Outcome",
    "close_stretch",
    "closed_stretches",
    "rebuild_counters",
    "record_checked",
    "record_events",
]

MONTHS = "*month"
"""Stands for the months of all metrics: `close_stretch(MONTHS, …)`, and later events count in the totals only."""


MANY_USERS = 100
"""From so many new users in a call on, the database is told: else it looks up the user of each event as if the table
were as small as before, by reading all of it."""


@dataclass(frozen=True)
class Outcome:
    """What became of a call's events. `rejected` is (index in the call, reason), by index; `late` ones are accepted."""

    accepted: int = 0
    duplicates: int = 0
    rejected: list[tuple[int, str]] = field(default_factory=list)
    late: int = 0
    users_created: int = 0


# -------------------------------------------------------------------------------------------------------------- events


def record_events(events: Sequence[NewEvent], *, create_users: bool = False, at: datetime) -> Outcome:
    """Write events and move the counters, in one transaction; each `event_id` once, however often it is sent.

    `at` is now. Bad events are rejected with a reason, the others are written. A username that is not known is a
    reason, unless `create_users`. An event is late when its time was closed by `close_stretch` before. Meant for ten
    thousand events a call, or a few times that: they are in memory together.
    """
    checked, rejected = check_events(events, at)
    outcome = record_checked(checked, create_users=create_users, at=at)
    return replace(outcome, rejected=sorted(rejected + outcome.rejected))


def record_checked(checked: Sequence[CheckedEvent], *, create_users: bool = False, at: datetime) -> Outcome:
    """`record_events` for events that `check_event` has passed; they are rejected under the `number` they carry."""
    outcome, rejected = Outcome(), []
    while checked:
        try:
            with transaction.atomic():
                outcome = _write(checked, create_users, at)
            break
        except _TotalsTooLarge as error:
            rejected += [(event.number, Reason.TOTAL_TOO_LARGE) for event in checked if event.total in error.totals]
            checked = [event for event in checked if event.total not in error.totals]
    return replace(outcome, rejected=sorted(rejected + outcome.rejected))


class _TotalsTooLarge(Exception):
    """The totals of these (username, metric) would leave 64 bits: the call starts again without them."""

    def __init__(self, totals: set[tuple[str, str]]) -> None:
        super().__init__(totals)
        self.totals = totals


def _write(checked: Sequence[CheckedEvent], create_users: bool, at: datetime) -> Outcome:
    pass_gates({MONTHS, *(event.metric for event in checked)})
    user_ids, users_created = _find_or_create_users({event.user for event in checked}, create_users, at)
    known = [event for event in checked if event.user in user_ids]
    written = _insert_events(known, user_ids, at)
    too_large = add_to_counters((row.user_id, row.metric, row.quantity, row.counted_month) for row in written)
    if too_large:
        raise _TotalsTooLarge({event.total for event in known if (user_ids[event.user], event.metric) in too_large})
    tell_followers({row.user_id for row in written}, {row.metric for row in written}, at)
    return Outcome(
        accepted=len(written),
        duplicates=len(known) - len(written),
        rejected=[(event.number, Reason.UNKNOWN_USER) for event in checked if event.user not in user_ids],
        late=sum(row.late for row in written),
        users_created=users_created,
    )


def _find_or_create_users(usernames: set[str], create: bool, at: datetime) -> tuple[dict[str, int], int]:
    """Username → id, and how many users this call created: not those that another call was creating meanwhile."""
    user_ids = find_users(usernames)
    missing = sorted(usernames - user_ids.keys())
    if not (create and missing):
        return user_ids, 0
    template = column_values(User(password=NO_PASSWORD, date_joined=at))
    columns = {column: [value] * len(missing) for column, value in template.items()} | {"username": missing}
    created = insert_rows(User, columns, on_conflict="(username) DO NOTHING", returning=["id"])
    if len(created) >= MANY_USERS:
        refresh_statistics(User)
    return find_users(usernames), len(created)


class _Written(NamedTuple):
    """What the database returns of an event that this call wrote."""

    user_id: int
    metric: str
    quantity: int
    counted_month: str | None
    late: bool


def _insert_events(events: Sequence[CheckedEvent], user_ids: Mapping[str, int], at: datetime) -> list[_Written]:
    """Write those whose ids are new; of several with the same id the first."""
    first: dict[str, CheckedEvent] = {}
    for event in events:
        first.setdefault(event.event_id, event)
    in_order = [first[event_id] for event_id in sorted(first)]
    # Read after the gates were passed, so it shows what every closer before us has committed.
    closed = all_closed_stretches()
    columns: Columns = {
        "event_id": [event.event_id for event in in_order],
        "user_id": [user_ids[event.user] for event in in_order],
        "metric": [event.metric for event in in_order],
        "quantity": [event.quantity for event in in_order],
        "occurred_at": [event.occurred_at for event in in_order],
        "attributes": [event.attributes for event in in_order],
        "counted_month": _counted_months([event.occurred_at for event in in_order], closed.get(MONTHS, [])),
        "late": [is_within(closed.get(event.metric, ()), event.occurred_at) for event in in_order],
        "recorded_at": [str(sql_instant(at))] * len(in_order),
    }
    on_conflict = "(event_id) DO NOTHING"
    written = insert_rows(ActivityEvent, columns, on_conflict=on_conflict, returning=_Written._fields)
    return [_Written._make(row) for row in written]


def _counted_months(instants: Sequence[datetime], closed: Sequence[Stretch]) -> list[str | None]:
    """The key of each instant's month, or None where the month is closed."""
    keys = month_keys(instants, settings.REWARDS_TIME_ZONE)
    return [None if is_within(closed, instant) else key for instant, key in zip(instants, keys, strict=True)]


def month_keys(instants: Sequence[datetime], zone: ZoneInfo) -> list[str]:
    """The key of each instant's month in the zone. The months are looked up, not worked out one by one."""
    if not instants:
        return []
    month, last = Month.containing(min(instants), zone), max(instants)
    starts, keys = [month.start], [month.key]
    while (month := month.next()).start <= last:
        starts.append(month.start)
        keys.append(month.key)
    return [keys[bisect_right(starts, instant) - 1] for instant in instants]


# --------------------------------------------------------------------------------------------------- closing stretches


def close_stretch(metric: str, starts_at: datetime, ends_at: datetime) -> None:
    """Close a half-open stretch of time for a metric: its events that are written from now on are late.

    Waits for the writers under way. What they wrote is visible to every statement after this call; new writers wait
    until the transaction, which the caller has opened, ends. Closing what is closed already changes nothing. Whoever
    closes stretches of several metrics in one transaction does so in one order, such as that of their names.
    """
    ensure(starts_at < ends_at, f"A stretch ends after it starts: {starts_at} to {ends_at}.")
    hold_gate(metric)
    touching = ClosedStretch.objects.filter(metric=metric, starts_at__lte=ends_at, ends_at__gte=starts_at)
    stretches = list(touching.values_list("starts_at", "ends_at"))
    merged = (
        min([starts_at, *(start for start, _ in stretches)]),
        max([ends_at, *(end for _, end in stretches)]),
    )
    if stretches != [merged]:
        touching.delete()
        ClosedStretch.objects.create(metric=metric, starts_at=merged[0], ends_at=merged[1])
