"""Paying by place: the tiers rule, and what a tie policy does where equals hold places in different tiers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from rewards.allocation.apportion import apportion, equal_shares
from rewards.allocation.errors import BudgetExceeded
from rewards.allocation.integers import exact_sum
from rewards.allocation.language import Tier, Tiers
from rewards.allocation.participants import Field, Ranking, rows_between
from rewards.allocation.ranks import run_of_equals
from rewards.allocation.shares import SliceShare, as_one


@dataclass(eq=False)
class _Paid:
    """A tier while ties are being settled: `part` is what it was given, `rows` and `shares` whom it pays what."""

    tier: Tier
    part: int
    rows: NDArray[np.int32]
    shares: NDArray[np.int64]

    def between(self, first: int, end: int) -> NDArray[np.int64]:
        start, stop = np.searchsorted(self.rows, (first, end))
        return self.shares[start:stop]

    def replace_between(self, first: int, end: int, rows: NDArray[np.int32], shares: NDArray[np.int64]) -> None:
        """Pay these rows these shares instead of what the tier pays from row `first` to before row `end`."""
        start, stop = np.searchsorted(self.rows, (first, end))
        self.rows = np.concatenate([self.rows[:start], rows, self.rows[stop:]])
        self.shares = np.concatenate([self.shares[:start], shares, self.shares[stop:]])


def pay_tiers(rule: Tiers, amount: int, field: Field, ranking: Ranking) -> list[SliceShare]:
    """One `SliceShare` per tier, in listed order; tiers of one name, which is that of their slice, are one.

    `each` pays every place the same; `share` is a part of the whole amount, split equally among the members of the
    tier, so a tier without members pays nothing. Shares are cut from the amount by largest remainder, what no tier
    claims being the last part. Raises `BudgetExceeded` when the tiers together pay more than `amount`.
    """
    ends = _tier_ends(rule, ranking)
    paid = _untied(rule, amount, field, ends)
    if ranking.tie_policy == "same":
        for first, end, equals in _ties(ends, field, ranking):
            _pay_all_like_the_best(paid, first, end, equals)
    needed = sum(exact_sum(tier.shares) for tier in paid)
    if needed > amount:
        raise BudgetExceeded(rule.path, needed, amount)
    if ranking.tie_policy == "shared":  # pays in all what the places pay
        for first, end, equals in _ties(ends, field, ranking):
            _deal_out(paid, first, end, equals)
    return as_one(_share_of(tier) for tier in paid)


def _tier_ends(rule: Tiers, ranking: Ranking) -> list[int]:
    """The row each tier ends before, by position or by rank."""
    lasts = [len(ranking) if tier.to is None else min(tier.to, len(ranking)) for tier in rule.tiers]
    if rule.by == "rank":
        return [int(np.searchsorted(ranking.ranks, last, side="right")) for last in lasts]
    return lasts


def _untied(rule: Tiers, amount: int, field: Field, ends: list[int]) -> list[_Paid]:
    """What the tiers pay by the places as they are."""
    parts = _parts(rule, amount)
    members = [rows_between(field.placed, first, end) for first, end in pairwise([0, *ends])]
    return [_pay_tier(tier, part, rows) for tier, part, rows in zip(rule.tiers, parts, members, strict=True)]


def _parts(rule: Tiers, amount: int) -> list[int]:
    """The minor units behind each tier's `share`; 0 for tiers that pay `each`."""
    shares = [tier.share or 0 for tier in rule.tiers]
    scale = 10**40  # more decimals than a rule can write
    weights = [int(share * scale) for share in shares]
    return apportion(amount, [*weights, scale - sum(weights)]).tolist()[:-1]


def _pay_tier(tier: Tier, part: int, rows: NDArray[np.int32]) -> _Paid:
    if tier.each_minor is not None:
        shares = np.full(len(rows), tier.each_minor, dtype=np.int64)
        return _Paid(tier, tier.each_minor * len(rows), rows, shares)
    if len(rows) == 0:
        return _Paid(tier, part, rows, np.zeros(0, dtype=np.int64))
    return _Paid(tier, part, rows, equal_shares(part, len(rows)))


def _ties(ends: list[int], field: Field, ranking: Ranking) -> Iterator[tuple[int, int, NDArray[np.int32]]]:
    """The runs of equals that a boundary cuts in two, in order: first row, row after the last, and who is eligible."""
    boundaries = [*ends, field.places]
    cut = {run_of_equals(ranking.ranks, end - 1) for end in boundaries if 0 < end < len(ranking)}
    for first, end in sorted(cut):
        if any(first < boundary < end for boundary in boundaries):
            yield first, end, rows_between(field.rows, first, end)


def _deal_out(paid: list[_Paid], first: int, end: int, equals: NDArray[np.int32]) -> None:
    """Equals split what their places together get.

    Each tier's units are split equally and the units left over are dealt round, the next tier going on where the
    one before stopped: so each tier pays what it paid, and no two equals differ by more than one unit in all.
    """
    turn = 0
    for tier in paid:
        together = exact_sum(tier.between(first, end))
        if together == 0:
            continue
        shares = np.roll(equal_shares(together, len(equals)), turn)
        turn = (turn + together) % len(equals)
        tier.replace_between(first, end, equals, shares)


def _pay_all_like_the_best(paid: list[_Paid], first: int, end: int, equals: NDArray[np.int32]) -> None:
    """Equals each get what the best placed of them gets, from the same tier."""
    best_found = False
    nobody = equals[:0]
    for tier in paid:
        own = tier.between(first, end)
        if len(own) and not best_found:
            best_found = True
            tier.replace_between(first, end, equals, np.full(len(equals), own[0], dtype=np.int64))
        else:
            tier.replace_between(first, end, nobody, own[:0])


def _share_of(paid: _Paid) -> SliceShare:
    total = exact_sum(paid.shares)
    return SliceShare(
        name=paid.tier.name,
        amount=max(paid.part, total),
        paid=total,
        members=len(paid.rows),
        rows=paid.rows,
        shares=paid.shares,
    )
