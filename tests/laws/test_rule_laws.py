"""What holds for every rule, whoever takes part and however they are tied."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import groupby, pairwise
from math import ceil

import numpy as np
import pytest
from hypothesis import assume, given, settings

from rewards.allocation.rules import Allocation, BudgetExceeded, Measure, NothingToWeigh, Participants, allocate
from tests.laws.reference import Part, Refused, Rulebook
from tests.laws.strategies import AMOUNTS, PEOPLE, PERCENT, Payout, payouts

pytestmark = pytest.mark.once

KINDS = ("equal", "proportional", "tiers", "fixed")


def allocated(payout: Payout) -> Allocation | None:
    """What the engine says; None where it refuses to pay by the rule."""
    try:
        return payout.allocate()
    except (BudgetExceeded, NothingToWeigh):
        return None


def specified(payout: Payout) -> list[Part] | None:
    """What the specification says; None where the rule must not be paid by."""
    try:
        return Rulebook(payout.people, payout.decimals, payout.tie_policy).parts(payout.rule, payout.amount)
    except Refused:
        return None


def units_by_place(allocation: Allocation) -> list[dict[int, int]]:
    """By slice, the minor units of each place that it pays."""
    return [dict(zip(part.rows.tolist(), part.shares.tolist(), strict=True)) for part in allocation.slices]


# --- every rule ------------------------------------------------------------------------------------------------


@given(
    payouts(*KINDS)
    | payouts("proportional", depth=1)
    | payouts("tiers", depth=1)
    | payouts("tiers", depth=0, tie_policies=("same",))
)
@settings(max_examples=800)
def test_every_rule_pays_what_the_specification_says(payout):
    allocation, parts = allocated(payout), specified(payout)
    assert (allocation is None) == (parts is None)
    if allocation is None or parts is None:
        return
    assert [part.name for part in allocation.slices] == [part.name for part in parts]
    for units, part in zip(units_by_place(allocation), parts, strict=True):
        for place in units.keys() | part.exact.keys():
            assert abs(units.get(place, 0) - part.exact.get(place, 0)) < 1
        assert {place: own for place, own in units.items() if own} == {
            place: own for place, own in part.units.items() if own
        }


@given(payouts(*KINDS))
@settings(max_examples=200)
def test_every_rule_accounts_for_every_unit(payout):
    allocation = allocated(payout)
    assume(allocation is not None)
    amounts = allocation.amounts.tolist()
    assert min(amounts, default=0) >= 0
    assert sum(amounts) + allocation.unpaid == payout.amount
    assert allocation.unpaid >= 0
    for part in allocation.slices:
        assert part.paid == int(part.shares.sum()) <= part.amount
        assert part.members == len(part.rows) == len(set(part.rows.tolist()))
        assert sorted(part.rows.tolist()) == part.rows.tolist()
    breakdowns = list(allocation.breakdowns())
    assert [sum(breakdown.values()) for breakdown in breakdowns] == amounts
    assert all(share > 0 for breakdown in breakdowns for share in breakdown.values())


# --- weights ---------------------------------------------------------------------------------------------------


@given(payouts("equal", "proportional"))
def test_in_each_slice_more_weight_never_gets_less(payout):
    allocation, parts = allocated(payout), specified(payout)
    assume(allocation is not None and parts is not None)
    for units, part in zip(units_by_place(allocation), parts, strict=True):
        by_weight = [(part.weights[place], -place, own) for place, own in units.items() if place not in part.settled]
        for (lighter, _, less), (heavier, _, more) in pairwise(sorted(by_weight)):
            assert less <= more  # of equal weights, too: the better place is paid first
            assert lighter < heavier or more <= less + 1
        assert all(own == 0 for weight, _, own in by_weight if weight == 0)


@given(payouts("proportional"))
def test_in_each_slice_nobody_passes_the_cap_or_gets_less_than_the_minimum(payout):
    allocation, parts = allocated(payout), specified(payout)
    assume(allocation is not None and parts is not None)
    for units, part in zip(units_by_place(allocation), parts, strict=True):
        cap, minimum = part.limits
        for place, own in units.items():
            assert cap is None or own <= cap
            assert own == 0 or own >= minimum or place in part.settled  # equals may split one minimum


# --- ties ------------------------------------------------------------------------------------------------------


@given(payouts("equal", "proportional", "tiers", tie_policies=("earliest",)))
def test_sharing_places_pays_each_slice_what_the_places_got(payout):
    earliest, shared = allocated(payout), allocated(replace(payout, tie_policy="shared"))
    assert (earliest is None) == (shared is None)
    assume(earliest is not None and shared is not None)
    assert [part.paid for part in shared.slices] == [part.paid for part in earliest.slices]


@given(payouts("tiers", depth=0, tie_policies=("shared", "same")))
def test_equals_who_share_their_places_differ_by_a_unit_at_most(payout):
    allocation = allocated(payout)
    assume(allocation is not None)
    places = zip(payout.people, allocation.amounts.tolist(), strict=True)
    for _, run in groupby(places, key=lambda place: place[0].score):
        equals = [own for _, own in run]
        assert max(equals) - min(equals) <= 1
        assert equals == sorted(equals, reverse=True)


@given(payouts("tiers", depth=0))
def test_where_better_tiers_pay_each_no_less_a_better_place_never_gets_less(payout):
    tiers = [tier for tier in payout.rule["tiers"] if "each" in tier]
    assume(tiers)
    prizes = sorted((tier["each"] for tier in tiers), key=Fraction, reverse=True)
    falling = [tier | {"each": prize} for tier, prize in zip(tiers, prizes, strict=True)]
    allocation = allocated(replace(payout, rule=payout.rule | {"tiers": falling}))
    assume(allocation is not None)
    amounts = allocation.amounts.tolist()
    assert amounts == sorted(amounts, reverse=True)


@given(AMOUNTS, PEOPLE, PERCENT)
def test_a_percentage_finds_the_exact_number_of_places(amount, crowd, percent):
    members = {"top_percent": percent}
    rule = {"rule": "slices", "slices": [{"name": "a", "weight": "1", "members": members, "rule": {"rule": "equal"}}]}
    allocation = Payout(rule, amount, crowd, 0, "earliest").allocate()
    assert allocation.slices[0].members == ceil(Fraction(percent) * len(crowd) / 100)


# --- a million rows --------------------------------------------------------------------------------------------

MANY = 1_000_000


def many_weights(seed: int, count: int = MANY) -> np.ndarray:
    """Weights as they are found: a few are enormous, many are equal, one in ten is zero; the heaviest first."""
    weights = (np.random.default_rng(seed).pareto(0.9, count) * 1000).astype(np.int64) % 10**12
    weights[::10] = 0
    return np.sort(weights)[::-1]


def level(amount: int, weights: np.ndarray, cap: int, minimum: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Who gets the cap, who shares the rest by weight, and that rest: the specification, round by round."""
    paid, at_cap = weights > 0, np.zeros(len(weights), dtype=bool)
    while True:
        rest, others = amount - cap * int(at_cap.sum()), int(weights[paid & ~at_cap].sum())
        passing = paid & ~at_cap & (weights > cap * others // rest)
        small = paid & ~at_cap & (weights < -(-minimum * others // rest))
        if passing.any():
            at_cap |= passing
        elif small.any():
            paid &= ~small
        else:
            return at_cap, paid & ~at_cap, rest


@pytest.mark.parametrize(("cap", "minimum"), [(10**14, 10**9), (7 * 10**12, 10**12)])
def test_a_million_weights_are_shared_exactly_within_their_limits(cap, minimum):
    weights, amount = many_weights(cap), 10**18
    rule = {"rule": "proportional", "max_amount": str(cap), "min_amount": str(minimum)}
    allocation = allocate(rule, amount, Participants(Measure(weights, 3)), decimals=0)
    at_cap, sharing, rest = level(amount, weights, cap, minimum)
    assert at_cap.any()
    assert sum(allocation.amounts.tolist()) + allocation.unpaid == amount
    assert allocation.unpaid == (0 if sharing.any() else rest)
    assert (allocation.amounts[at_cap] == cap).all()
    assert (allocation.amounts[~at_cap & ~sharing] == 0).all()
    shared = allocation.amounts[sharing]
    assert (np.diff(shared) <= 0).all()  # the heaviest come first
    assert ((shared >= minimum) & (shared <= cap)).all()
    assert within_one_unit(shared, weights[sharing], rest)


def within_one_unit(shares: np.ndarray, weights: np.ndarray, amount: int) -> bool:
    """Of amount × weight ÷ sum of weights, compared without a division."""
    total = sum(weights.tolist())
    return bool((np.abs(shares.astype(object) * total - weights.astype(object) * amount) < total).all())


def test_weights_of_thirty_digits_are_shared_exactly():
    digits = np.random.default_rng(30).integers(0, 10**15, (100_000, 2)).astype(object)
    weights = np.sort(digits[:, 0] * 10**15 + digits[:, 1])[::-1]
    allocation = allocate({"rule": "proportional"}, 10**18, Participants(Measure(weights, 30)), decimals=2)
    assert sum(allocation.amounts.tolist()) == 10**18
    assert (np.diff(allocation.amounts) <= 0).all()
    assert within_one_unit(allocation.amounts, weights, 10**18)


@pytest.mark.parametrize("tie_policy", ["earliest", "shared", "same"])
def test_a_million_places_of_which_hundreds_are_equals_are_paid_by_the_tie_policy(tie_policy):
    scores = np.sort(np.random.default_rng(5).integers(0, 2000, MANY))[::-1]
    tiers = [{"to": 1, "each": "1000"}, {"to": 100_000, "each": "7"}, {"to": 300_000, "share": "0.5"}]
    people = Participants(Measure(scores, 0))
    rule = {"rule": "tiers", "tiers": tiers}
    allocation = allocate(rule, 10**12, people, decimals=0, tie_policy=tie_policy)
    assert int(allocation.amounts.sum()) + allocation.unpaid == 10**12

    places = np.zeros(MANY, dtype=np.int64)
    places[0], places[1:100_000], places[100_000:300_000] = 1000, 7, 5 * 10**11 // 200_000
    first, run, equals = np.unique(-scores, return_index=True, return_inverse=True, return_counts=True)[1:]
    if tie_policy == "earliest":
        assert (allocation.amounts == places).all()
    elif tie_policy == "same":
        assert (allocation.amounts == places[first][run]).all()
    else:
        together = np.add.reduceat(places, first)
        assert (np.add.reduceat(allocation.amounts, first) == together).all()
        assert np.isin(allocation.amounts - (together // equals)[run], [0, 1]).all()
