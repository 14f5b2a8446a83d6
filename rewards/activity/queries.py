"""Reading for those who write activity: known users, known events, closed stretches."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Sequence
from datetime import datetime

from django.db import connection

from rewards.activity.models import ActivityEvent, ClosedStretch
from rewards.activity.rows import incoming
from rewards.common.database import table_of
from rewards.users.models import User

Stretch = tuple[datetime, datetime]


def find_users(usernames: Collection[str]) -> dict[str, int]:
    """Username → id, of those that exist."""
    source, parameters = incoming(User, {"username": [*usernames]})
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT username, id FROM {source} JOIN {table_of(User)} USING (username)", parameters)
        return dict(cursor.fetchall())


def find_event_ids(event_ids: Collection[str]) -> set[str]:
    """Those that are recorded."""
    source, parameters = incoming(ActivityEvent, {"event_id": [*event_ids]})
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT event_id FROM {source} JOIN {table_of(ActivityEvent)} USING (event_id)", parameters)
        return {event_id for (event_id,) in cursor.fetchall()}


def closed_stretches(metric: str) -> list[Stretch]:
    """The half-open stretches (start, end) that are closed for a metric, oldest first; no two of them touch."""
    return all_closed_stretches().get(metric, [])


def all_closed_stretches() -> dict[str, list[Stretch]]:
    """Metric → its closed stretches. Neighbours are merged, so there are few."""
    closed: dict[str, list[Stretch]] = {}
    for stretch in ClosedStretch.objects.order_by("metric", "starts_at"):
        closed.setdefault(stretch.metric, []).append((stretch.starts_at, stretch.ends_at))
    return closed


def is_within(stretches: Sequence[Stretch], instant: datetime) -> bool:
    """Whether one of these stretches, which are in order, holds the instant."""
    if not stretches:
        return False
    place = bisect_right(stretches, instant, key=lambda stretch: stretch[0])
    return place > 0 and instant < stretches[place - 1][1]
