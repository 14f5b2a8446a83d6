"""The allocation engine: an amount, a rule and participants in, exact minor units per participant out.

Pools, campaigns, monthly rankings and cases all come through `allocate`. At each level the amount is cut into whole
minor units by largest remainder, ties in the listed order (slices, tiers) or to the better position (members). What
finds nobody, or nothing to weigh, stays unpaid and is reported, never moved to someone else.

**Ties.** Positions are those of the whole ranking, in nested slices too; equals are neighbours with the same score.

* `earliest`: the positions decide as they are.
* `shared`: equals split the sum of their places. Where a place-based boundary (`top`, `top_percent`, the end of a tier
  by position) runs through equals, what their places together get is split equally among all of them that are
  eligible, whole units, the units left over to the better positions.
* `same`: each equal holds the better place: a slice takes in all equals of its last place, and in tiers each of them
  gets what the best placed gets. Tiers that would then pay more than there is raise `BudgetExceeded`.

The rule `fixed` pays rows, not places: no tie policy touches it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rewards.allocation.apportion import apportion, capped_shares, equal_shares
from rewards.allocation.errors import BudgetExceeded, NothingToWeigh, RuleError, ensure_sum
from rewards.allocation.integers import INT64_MAX, Column, exact_integers, exact_sum, whole_amount
from rewards.allocation.language import (
    Equal,
    Fixed,
    Proportional,
    Rule,
    Slices,
    Tiers,
    WeightCap,
    check_rule,
    parse_rule,
)
from rewards.allocation.participants import (
    Field,
    Measure,
    Participants,
    Ranking,
    everyone,
    narrow,
    rows_between,
)
from rewards.allocation.ranks import run_of_equals
from rewards.allocation.shares import Allocation, SliceShare
from rewards.allocation.tiers import pay_tiers

__all__ = [
    "Allocation",
    "BudgetExceeded",
    "Measure",
    "NothingToWeigh",
    "Participants",
    "RuleError",
    "SliceShare",
    "allocate",
    "amount_needed",
    "check_rule",
]

Facts = dict[str, str | int]


def allocate(
    rule: object, amount: int, participants: Participants, *, decimals: int, tie_policy: str = "earliest"
) -> Allocation:
    """Share `amount` minor units among the participants by a rule of the rule language.

    `decimals` is the currency's number of decimals, for the amounts written in the rule. Raises `RuleError` for a
    rule that does not make sense or names a measure or group that is not there, `BudgetExceeded` when fixed amounts
    or tiers pay more than there is, `NothingToWeigh` when the whole amount is to be shared by weights that are all
    zero (in a slice the same pays nothing), and `ValueError` for a negative amount or weight. Without participants
    everything is unpaid.
    """
    amount = whole_amount(amount)
    parsed = parse_rule(rule, decimals)
    ranking = Ranking(participants, tie_policy)
    facts: Facts = {}
    field = everyone(ranking)
    slices = tuple(_pay(parsed, type(parsed).__name__.lower(), amount, field, ranking, facts))
    if isinstance(parsed, Proportional):
        _refuse_no_weight(parsed, slices[0], ranking)
    amounts = _added_up(slices, len(participants))
    unpaid = amount - sum(part.paid for part in slices)
    if unpaid < 0:
        raise BudgetExceeded("", amount - unpaid, amount)
    ensure_sum(amount, exact_sum(amounts) + unpaid, "rows and what is unpaid")
    return Allocation(amounts, slices, unpaid, facts)


def amount_needed(rule: object, participants: Participants, *, decimals: int, tie_policy: str = "earliest") -> int:
    """The minor units that a rule pays which names its own amounts: `fixed`, or `tiers` that all say `each`.

    Raises `RuleError` for any other rule: they share out an amount and need none.
    """
    parsed = parse_rule(rule, decimals)
    names_amounts = isinstance(parsed, Tiers) and all(tier.each_minor is not None for tier in parsed.tiers)
    if not names_amounts and not isinstance(parsed, Fixed):
        raise RuleError("rule", "only fixed, and tiers that say each, need an amount of their own")
    allocation = allocate(rule, INT64_MAX, participants, decimals=decimals, tie_policy=tie_policy)
    return INT64_MAX - allocation.unpaid


def _refuse_no_weight(rule: Proportional, paid: SliceShare, ranking: Ranking) -> None:
    if paid.members and not paid.paid and not _weights(rule, paid.rows, ranking)[0].any():
        raise NothingToWeigh


def _added_up(slices: tuple[SliceShare, ...], rows: int) -> NDArray[np.int64]:
    amounts = np.zeros(rows, dtype=np.int64)
    for part in slices:
        amounts[part.rows] += part.shares  # the rows of one slice are distinct
    return amounts


# --- from the rule to its slices -------------------------------------------------------------------------------


def _pay(rule: Rule, name: str, amount: int, field: Field, ranking: Ranking, facts: Facts) -> Iterator[SliceShare]:
    """The leaves under a rule that was given `amount`, in listed order."""
    if isinstance(rule, Tiers):
        yield from pay_tiers(rule, amount, field, ranking)
    elif isinstance(rule, Slices):
        parts = apportion(amount, _whole_weights([part.weight for part in rule.slices]))
        for part, given in zip(rule.slices, parts.tolist(), strict=True):
            members = narrow(field, part.members, ranking)
            yield from _pay(part.rule, part.name, given, members, ranking, facts)
    else:
        rows, shares = _pay_members(rule, name, amount, field, ranking, facts)
        yield SliceShare(name, amount, exact_sum(shares), len(rows), rows, shares)


def _whole_weights(weights: list[Fraction]) -> list[int]:
    """The same weights as whole numbers: over their common denominator."""
    scale = math.lcm(*(weight.denominator for weight in weights))
    return [int(weight * scale) for weight in weights]


def _pay_members(
    rule: Fixed | Equal | Proportional, name: str, amount: int, field: Field, ranking: Ranking, facts: Facts
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Rows and minor units of one leaf, ties settled."""
    rows = field.placed
    if isinstance(rule, Fixed):
        return rows, _fixed_amounts(rule, amount, rows, ranking)
    if len(rows) == 0:
        return rows, np.zeros(0, dtype=np.int64)
    if isinstance(rule, Equal):
        shares = equal_shares(amount, len(rows))
    else:
        shares = _proportional_shares(rule, name, amount, rows, ranking, facts)
    if ranking.tie_policy == "shared":
        return _split_last_place(rows, shares, field, ranking)
    return rows, shares


def _split_last_place(
    rows: NDArray[np.int32], shares: NDArray[np.int64], field: Field, ranking: Ranking
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Where the last place is tied with the next: the eligible equals split what their places together get."""
    if not 0 < field.places < len(ranking):
        return rows, shares
    first, end = run_of_equals(ranking.ranks, field.places - 1)
    inside = int(np.searchsorted(rows, first))
    equals = rows_between(field.rows, first, end)
    if end <= field.places or inside == len(rows):
        return rows, shares
    split = equal_shares(exact_sum(shares[inside:]), len(equals))
    return np.concatenate([rows[:inside], equals]), np.concatenate([shares[:inside], split])


# --- the leaves ------------------------------------------------------------------------------------------------


def _fixed_amounts(rule: Fixed, amount: int, rows: NDArray[np.int32], ranking: Ranking) -> NDArray[np.int64]:
    given = ranking.participants.amounts
    if given is None:
        raise RuleError(f"{rule.path}.rule" if rule.path else "rule", "fixed needs an amount for each row")
    amounts = exact_integers(given)[rows]
    if len(amounts) and amounts.min() < 0:
        raise ValueError(f"Row {int(rows[amounts.argmin()])} has a negative amount.")
    needed = exact_sum(amounts)
    if needed > amount:
        raise BudgetExceeded(rule.path, needed, amount)
    return amounts.astype(np.int64)


def _proportional_shares(
    rule: Proportional, name: str, amount: int, rows: NDArray[np.int32], ranking: Ranking, facts: Facts
) -> NDArray[np.int64]:
    weights, total, cap_text = _weights(rule, rows, ranking)
    facts[f"{name}.weights"] = total
    if cap_text is not None:
        facts["weight_cap" if "weight_cap" not in facts else f"{name}.weight_cap"] = cap_text
    if not weights.any():
        return np.zeros(len(rows), dtype=np.int64)
    shares, _ = capped_shares(amount, weights, _payout_cap(rule, amount), rule.min_minor)
    return shares


def _payout_cap(rule: Proportional, amount: int) -> int | None:
    """The most that one row is paid, floored to the minor unit; the lower of both limits counts."""
    caps = [] if rule.max_minor is None else [rule.max_minor]
    if rule.max_share is not None:
        caps.append(amount * rule.max_share.numerator // rule.max_share.denominator)
    return min(caps, default=None)


def _weights(rule: Proportional, rows: NDArray[np.int32], ranking: Ranking) -> tuple[Column, str, str | None]:
    """Whole weights of these rows; as exact text what they add up to and, where weights are capped, the cap."""
    path = f"{rule.path}.by" if rule.path else "by"
    column = ranking.column(rule.by, path)
    scale = 10 ** ranking.measure(rule.by, path).decimals
    if rule.weight_cap is None:
        return column[rows], exact_text(Fraction(exact_sum(column[rows]), scale)), None
    cap = _weight_cap(rule.weight_cap, column, ranking)
    weights, factor = _capped(column[rows], cap)
    return weights, exact_text(Fraction(exact_sum(weights), scale * factor)), exact_text(cap / scale)


def _weight_cap(rule: WeightCap, column: Column, ranking: Ranking) -> Fraction:
    """times × the mean of the column over the first places, in scaled units; 0 without participants."""
    best = ranking.places_in_percent(rule.top_percent)
    return rule.times * Fraction(exact_sum(column[:best]), max(best, 1))


def _capped(weights: Column, cap: Fraction) -> tuple[Column, int]:
    """min(weight, cap), multiplied by the denominator of the cap where that keeps them whole; and by what."""
    whole = -(-cap.numerator // cap.denominator)
    if len(weights) == 0 or weights.max() < whole:
        return weights, 1
    scaled = weights.astype(object) * cap.denominator
    return exact_integers(np.minimum(scaled, cap.numerator)), cap.denominator


def exact_text(number: Fraction) -> str:
    """A plain decimal where the number has a finite one, else a fraction: `0.25`, `12`, `100/3`."""
    denominator, places = number.denominator, 0
    while denominator % 10 == 0:
        denominator, places = denominator // 10, places + 1
    for factor in (2, 5):
        while denominator % factor == 0:
            denominator, places = denominator // factor, places + 1
    if denominator != 1:
        return f"{number.numerator}/{number.denominator}"
    digits = str(number.numerator * 10**places // number.denominator).zfill(places + 1)
    return f"{digits[:-places]}.{digits[-places:]}" if places else digits
