"""Who takes part in a category's ranking of a month, and in which order. Pure reads, set-based.

Positions: score, then the earlier last scoring event, then the username. A counter that is missing counts as zero:
whoever belongs to the group takes part.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from rewards.activity.models import QUANTITY_SCALE, ActivityEvent, Counter
from rewards.allocation.integers import INT64_MAX, Column, exact_integers, largest_magnitude
from rewards.allocation.rules import Measure
from rewards.common.columns import read_columns
from rewards.common.database import in_code_point_order, marks, sql_instant, sql_microseconds, table_of
from rewards.common.periods import Month
from rewards.distributions.programmes import Snapshot
from rewards.monthly.models import RankingCategory
from rewards.users.models import User

ROWS_AT_ONCE = 20_000


def ranking(category: RankingCategory, month: Month, *, with_late: bool = False) -> Snapshot:
    """The category's active users in position order; a measure for each metric of the score, whether it scored or not.

    Exact for a month that is closed; before, what it has come to so far. `with_late`: as if what came when the month
    was closed had come in time.
    """
    counted = _happened if with_late else _counted
    user_ids, usernames = _participants(category)
    in_order = np.argsort(user_ids)
    sorted_ids = user_ids[in_order]
    measures = {
        metric: _spread(counted(metric, month), sorted_ids, in_order, missing=0) for metric in sorted(category.score)
    }
    score = weighed(category.score, measures, len(user_ids))
    last_scored = _spread(_last_events(category.score, month, with_late), sorted_ids, in_order, missing=INT64_MAX)
    places = _places(exact_integers(score.values), last_scored)
    return Snapshot(
        user_ids=user_ids[places],
        usernames=[usernames[place] for place in places.tolist()],
        scores=Measure(np.asarray(score.values)[places], score.decimals),
        measures={metric: Measure(column[places], QUANTITY_SCALE) for metric, column in measures.items()},
    )


def weighed(weights: Mapping[str, Any], measures: Mapping[str, Column], rows: int) -> Measure:
    """The sum of each row's quantities (millionths) times their weights (decimal text), exact."""
    fractions = {metric: Fraction(str(weight)) for metric, weight in weights.items()}
    decimals = max((_decimals(weight) for weight in fractions.values()), default=0)
    whole = {metric: int(weight * 10**decimals) for metric, weight in fractions.items()}
    largest = sum(abs(whole[metric]) * largest_magnitude(column) for metric, column in measures.items())
    total: Column = np.zeros(rows, dtype=np.int64 if largest <= INT64_MAX else object)
    for metric, column in measures.items():
        total = total + column.astype(total.dtype) * whole[metric]
    return Measure(total, QUANTITY_SCALE + decimals)


def _decimals(weight: Fraction) -> int:
    """How many decimals a finite decimal number has."""
    return max(_exponent(weight.denominator, 2), _exponent(weight.denominator, 5))


def _exponent(number: int, prime: int) -> int:
    exponent = 0
    while math.gcd(number, prime) > 1:
        number, exponent = number // prime, exponent + 1
    return exponent


def _participants(category: RankingCategory) -> tuple[Column, list[str]]:
    """Ids and names of who takes part, in code-point order of the names."""
    users = User.objects.filter(is_active=True)
    if category.group_id is not None:
        users = users.filter(groups=category.group_id)
    rows = users.order_by(in_code_point_order("username")).values_list("pk", "username")
    user_ids, usernames = [], []
    for user_id, username in rows.iterator(chunk_size=ROWS_AT_ONCE):
        user_ids.append(user_id)
        usernames.append(username)
    return np.array(user_ids, dtype=np.int64), usernames


def _counted(metric: str, month: Month) -> list[Column]:
    """User ids and quantities (millionths) of the month's counters of a metric."""
    sql = f"SELECT user_id, quantity FROM {table_of(Counter)} WHERE metric = %s AND month = %s"
    return read_columns(sql, [metric, month.key], 2)


def _happened(metric: str, month: Month) -> list[Column]:
    """The same of all its events in the month, those that came late included."""
    sql = f"""
        SELECT user_id, CAST(sum(quantity) AS bigint) FROM {table_of(ActivityEvent)}
        WHERE metric = %s AND occurred_at >= %s AND occurred_at < %s GROUP BY user_id
    """
    return read_columns(sql, [metric, sql_instant(month.start), sql_instant(month.end)], 2)


def _last_events(metrics: Mapping[str, Any], month: Month, with_late: bool) -> list[Column]:
    """User ids, and the instant (microseconds) of the last event that counts in the month for one of the metrics."""
    last, counts = sql_microseconds("max(occurred_at)"), "" if with_late else "AND counted_month IS NOT NULL"
    sql = f"""
        SELECT user_id, {last} FROM {table_of(ActivityEvent)}
        WHERE metric IN {marks(len(metrics), 1)} AND occurred_at >= %s AND occurred_at < %s {counts}
        GROUP BY user_id
    """
    return read_columns(sql, [*metrics, sql_instant(month.start), sql_instant(month.end)], 2)


def _spread(found: list[Column], sorted_ids: Column, in_order: Column, *, missing: int) -> Column:
    """Of (user ids, values) the value of each participant, in his row; `missing` for who has none."""
    ids, values = found
    column = np.full(len(sorted_ids), missing, dtype=np.int64)
    if not len(sorted_ids):
        return column
    places = np.minimum(np.searchsorted(sorted_ids, ids), len(sorted_ids) - 1)
    known = sorted_ids[places] == ids
    column[in_order[places[known]]] = values[known]
    return column


def _places(scores: Column, last_scored: Column) -> Column:
    """The rows in position order. They come in the order of their names, which decides last: sorts are stable."""
    by_time = np.argsort(last_scored, kind="stable")
    if scores.dtype == object:
        return np.array(sorted(by_time.tolist(), key=scores.__getitem__, reverse=True), dtype=np.int64)
    return by_time[np.argsort(-scores[by_time], kind="stable")]
