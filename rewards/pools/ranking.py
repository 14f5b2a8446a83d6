"""Who voted in a stretch of time, in position order: one set-based query, streamed into columns."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
from django.db.models import BigIntegerField, CharField, Count, Min, QuerySet, Sum
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast

from rewards.activity.models import QUANTITY_SCALE
from rewards.allocation.integers import INT64_MAX, Column, exact_integers, largest_magnitude
from rewards.allocation.rules import Measure
from rewards.common.database import in_code_point_order
from rewards.distributions.programmes import Snapshot
from rewards.pools.models import VoteWeight

ROWS_AT_ONCE = 10_000

Votes = QuerySet[Any]  # of ActivityEvent

_CC = Sum(Cast("quantity", BigIntegerField()))


def ranking(votes: Votes, measures: set[str]) -> Snapshot:
    """Everybody who cast one of these votes, in position order.

    By Σ cc_amount descending, then the earlier first vote, then the username in code-point order. Scores are micro-CC
    with 6 decimals. Of `inputs.MEASURES`, those asked for are there: `votes` (number of votes) and `ecc` (Σ cc_amount ×
    weight of the vote type).
    """
    user_ids, counts = array("q"), array("q")
    usernames: list[str] = []
    micro_cc: list[int] = []
    for user_id, username, total, count in _voters(votes):
        user_ids.append(user_id)
        usernames.append(username)
        micro_cc.append(int(total))
        counts.append(count)
    ids, totals = np.array(user_ids, dtype=np.int64), exact_integers(micro_cc)
    columns = {}
    if "votes" in measures:
        columns["votes"] = Measure(np.array(counts, dtype=np.int64), 0)
    if "ecc" in measures:
        columns["ecc"] = _contribution(votes, ids, totals)
    return Snapshot(ids, usernames, Measure(totals, QUANTITY_SCALE), columns)


def measures_named(rule: object) -> set[str]:
    """The measures that a rule looks at, wherever in it."""
    if isinstance(rule, list):
        return set().union(*map(measures_named, rule))
    if not isinstance(rule, dict):
        return set()
    named = set(rule.get("at_least") or {})
    if rule.get("rule") == "proportional" and rule.get("by"):
        named.add(rule["by"])
    return named.union(*map(measures_named, rule.values()))


def vote_counts(votes: Votes) -> Iterator[tuple[str, str | None, int]]:
    """(username, vote type, number of votes), a partner's lines together."""
    by_type = _with_type(votes).values("user__username", "vote_type")
    counted = by_type.annotate(votes=Count("id")).order_by("user__username", "vote_type")
    return counted.values_list("user__username", "vote_type", "votes").iterator(chunk_size=ROWS_AT_ONCE)


# --------------------------------------------------------------------------------------------------------------- steps


def _voters(votes: Votes) -> Iterator[tuple[int, str, Any, int]]:
    voters = votes.values("user_id", "user__username")
    figures = voters.annotate(micro_cc=_CC, votes=Count("id"), first_vote=Min("occurred_at"))
    ordered = figures.order_by("-micro_cc", "first_vote", in_code_point_order("user__username"))
    return ordered.values_list("user_id", "user__username", "micro_cc", "votes").iterator(chunk_size=ROWS_AT_ONCE)


def _with_type(votes: Votes) -> Votes:
    return votes.annotate(vote_type=Cast(KeyTextTransform("vote_type", "attributes"), CharField()))


def _contribution(votes: Votes, user_ids: Column, micro_cc: Column) -> Measure:
    """ECC of each row: what all votes count with weight 1, and the difference that the listed types make."""
    weights = dict(VoteWeight.objects.values_list("vote_type", "weight"))
    places = max((_decimals(weight) for weight in weights.values()), default=0)
    scale = 10**places
    differences = {name: int(Fraction(weight) * scale) - scale for name, weight in weights.items() if weight != 1}
    if not differences or not len(user_ids):
        return Measure(micro_cc, QUANTITY_SCALE)
    ecc = _wide_enough(micro_cc, scale + max(map(abs, differences.values()))) * scale
    ids, changes = _changes(votes, differences)
    by_id = np.argsort(user_ids, kind="stable")
    rows = by_id[np.searchsorted(user_ids[by_id], ids)]
    np.add.at(ecc, rows, changes.astype(ecc.dtype))
    return Measure(ecc, QUANTITY_SCALE + places)


def _changes(votes: Votes, differences: Mapping[str, int]) -> tuple[Column, Column]:
    """User ids, and by how much one vote type changes that user's scaled ECC."""
    of_types = _with_type(votes).filter(vote_type__in=differences)
    by_type = of_types.values("user_id", "vote_type").annotate(micro_cc=_CC)
    ids, changes = array("q"), []
    for user_id, vote_type, total in (
        by_type.order_by().values_list("user_id", "vote_type", "micro_cc").iterator(chunk_size=ROWS_AT_ONCE)
    ):
        ids.append(user_id)
        changes.append(int(total) * differences[vote_type])
    return np.array(ids, dtype=np.int64), exact_integers(changes)


def _wide_enough(column: Column, factor: int) -> Column:
    """The column in a type that holds its values times `factor`: Python integers where 64 bits do not."""
    return column if largest_magnitude(column) * factor <= INT64_MAX else column.astype(object)


def _decimals(number: Decimal) -> int:
    return max(0, -int(number.as_tuple().exponent))
