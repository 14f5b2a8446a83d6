"""Counters: the sum of a user's quantities of a metric, in all and per month. Events can rebuild them at any time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from django.db import connection, transaction

from rewards.activity.models import ActivityEvent, Counter
from rewards.activity.rows import insert_rows
from rewards.common.amounts import MAX_MINOR
from rewards.common.database import is_postgresql, table_of

IN_ALL = ""
"""The `month` of a counter over all time."""


def add_to_counters(quantities: Iterable[tuple[int, str, int, str | None]]) -> set[tuple[int, str]]:
    """Add (user id, metric, millionths, month or None) to the totals and to the months.

    Returns the (user id, metric) for which the sum would leave 64 bits; the caller must roll back if there are any.
    """
    sums: defaultdict[tuple[int, str, str], int] = defaultdict(int)
    for user_id, metric, quantity, month in quantities:
        sums[user_id, metric, IN_ALL] += quantity
        if month is not None:
            sums[user_id, metric, month] += quantity
    keys = sorted(key for key, quantity in sums.items() if quantity <= MAX_MINOR)
    table = table_of(Counter)
    moved = insert_rows(
        Counter,
        {
            "user_id": [user_id for user_id, _, _ in keys],
            "metric": [metric for _, metric, _ in keys],
            "month": [month for _, _, month in keys],
            "quantity": [sums[key] for key in keys],
        },
        on_conflict=f"(user_id, metric, month) DO UPDATE SET quantity = {table}.quantity + excluded.quantity "
        f"WHERE {table}.quantity <= {MAX_MINOR} - excluded.quantity",
        returning=["user_id", "metric", "month"],
    )
    return {(user_id, metric) for user_id, metric, _ in sums.keys() - moved}


def rebuild_counters() -> int:
    """Make every counter the sum of its events again; how many were wrong, missing or too many.

    Events may be recorded meanwhile: what is not seen here is added afterwards by who records it.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        if is_postgresql():
            # Writers come to the counters last: each is either done, and seen here, or waits and adds to our result.
            cursor.execute(f"LOCK TABLE {table_of(Counter)} IN SHARE ROW EXCLUSIVE MODE")
        changed = 0
        for statement in (_DELETE_STRAYS, _SET_SUMS):
            cursor.execute(statement.format(counters=table_of(Counter), events=table_of(ActivityEvent)))
            changed += cursor.rowcount
        return changed


_DELETE_STRAYS = """
    DELETE FROM {counters} WHERE NOT EXISTS (
        SELECT 1 FROM {events} AS event
        WHERE event.user_id = {counters}.user_id AND event.metric = {counters}.metric
        AND ({counters}.month = '' OR event.counted_month = {counters}.month)
    )
"""

_SET_SUMS = """
    INSERT INTO {counters} (user_id, metric, month, quantity)
    SELECT user_id, metric, month, CAST(SUM(quantity) AS bigint) FROM (
        SELECT user_id, metric, '' AS month, quantity FROM {events}
        UNION ALL
        SELECT user_id, metric, counted_month, quantity FROM {events} WHERE counted_month IS NOT NULL
    ) AS counted
    WHERE true GROUP BY user_id, metric, month
    ON CONFLICT (user_id, metric, month) DO UPDATE SET quantity = excluded.quantity
    WHERE {counters}.quantity <> excluded.quantity
"""
