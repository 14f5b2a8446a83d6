"""Amounts, weights, rules and people of every kind that the laws run over."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import floor
from random import Random
from typing import Any

from hypothesis import strategies as st

from rewards.allocation.rules import Allocation, Measure, Participants, allocate
from tests.laws.reference import Person

AMOUNTS = st.one_of(st.integers(0, 1000), st.integers(0, 10**18))
WEIGHT = st.one_of(st.integers(0, 5), st.integers(0, 10**6), st.integers(0, 10**30 - 1))
WEIGHTS = st.lists(WEIGHT, min_size=1, max_size=30).filter(any)
TIE_POLICIES = ("earliest", "shared", "same")


def limits(amount: int) -> st.SearchStrategy[tuple[int | None, int | None]]:
    """A cap and a minimum for each row, where they bite: up to a part of the amount."""
    parts = st.integers(1, 40).map(lambda parts: amount // parts)
    return st.tuples(*[st.none() | st.integers(0, 50) | parts | parts.flatmap(lambda most: st.integers(0, most))] * 2)


# --- rules -----------------------------------------------------------------------------------------------------

Rule = dict[str, Any]
PERCENT = st.sampled_from(["0.1", "10", "33.4", "50", "100"])
THRESHOLD = st.sampled_from(["0", "1", "2.5", "3", "5.000000000000000001"])
MEMBERS = st.builds(
    lambda who, conditions: who | conditions,
    st.one_of(
        st.just({"all": True}),
        st.builds(lambda places: {"top": places}, st.integers(1, 15)),
        st.builds(lambda percent: {"top_percent": percent}, PERCENT),
        st.builds(lambda group: {"group": group}, st.sampled_from("ab")),
    ),
    st.one_of(
        st.just({}),
        st.builds(lambda least: {"min_score": least}, THRESHOLD),
        st.builds(lambda least: {"at_least": {"votes": least}}, THRESHOLD),
    ),
)
SLICE = st.fixed_dictionaries({"weight": st.sampled_from(["1", "0.333", "2"]), "members": MEMBERS})
SIZE = st.builds(Fraction, st.integers(0, 20), st.integers(30, 300))  # of an amount, as a part of the payout's


def tiers(ends: set[int], is_open: bool, pays: list[dict[str, Any]], by: str) -> Rule:
    listed: list[int | None] = sorted(ends)
    if is_open:
        listed[-1] = None
    return {"rule": "tiers", "tiers": [{"to": end} | pay for end, pay in zip(listed, pays, strict=False)], "by": by}


LEAVES: dict[str, st.SearchStrategy[Rule]] = {
    "fixed": st.just({"rule": "fixed"}),
    "equal": st.just({"rule": "equal"}),
    "proportional": st.fixed_dictionaries(
        {"rule": st.just("proportional")},
        optional={
            "by": st.just("votes"),
            "max_share": st.sampled_from(["0.01", "0.1", "0.333333333333333333333", "0.5"]),
            "max_amount": SIZE,
            "min_amount": SIZE,
            "weight_cap": st.fixed_dictionaries(
                {"times": st.sampled_from(["0.5", "1", "5"]), "mean_of_top_percent": PERCENT}
            ),
        },
    ),
    "tiers": st.builds(
        tiers,
        st.sets(st.integers(1, 12), min_size=1, max_size=4),
        st.booleans(),
        st.lists(
            st.fixed_dictionaries({"each": SIZE}, optional={"like_slice": st.just(True)})
            | st.fixed_dictionaries(
                {"share": st.sampled_from(["0", "0.07", "0.1", "0.25"])}, optional={"like_slice": st.just(True)}
            ),
            min_size=4,
            max_size=4,
        ),
        st.sampled_from(["position", "rank"]),
    ),
}


def rules(kinds: tuple[str, ...], depth: int) -> st.SearchStrategy[Rule]:
    """Rules of these kinds, and slices of them so many deep. Amounts in them are fractions: see `written`."""
    leaf = rule = st.sampled_from(kinds).flatmap(LEAVES.__getitem__)
    for _ in range(depth):
        rule = leaf | st.lists(st.tuples(SLICE, rule), min_size=1, max_size=4).map(slices)
    return rule


def slices(parts: list[tuple[dict[str, Any], Rule]]) -> Rule:
    return {"rule": "slices", "slices": [part | {"rule": rule} for part, rule in parts]}


def written(rule: Rule, amount: int, decimals: int, name: str = "s") -> Rule:
    """The rule with a name for each slice, and with amounts as text: fractions of `amount`, in currency units."""
    if rule["rule"] == "slices":
        parts = [
            part | {"name": f"{name}{number}", "rule": written(part["rule"], amount, decimals, f"{name}{number}.")}
            for number, part in enumerate(rule["slices"])
        ]
        return rule | {"slices": parts}
    if rule["rule"] == "tiers":
        each = [
            tier | {"each": units(floor(tier["each"] * amount), decimals)} if "each" in tier else tier
            for tier in rule["tiers"]
        ]
        return rule | {"tiers": [named_like_slice(tier, name) for tier in each]}
    sizes = {key: rule[key] * amount for key in ("max_amount", "min_amount") if key in rule}
    if "max_amount" in sizes:  # less than a unit, and a minimum above it, are refused
        sizes["max_amount"] = max(sizes["max_amount"], Fraction(1))
        sizes["min_amount"] = min(sizes.get("min_amount", Fraction(0)), Fraction(floor(sizes["max_amount"])))
    return rule | {key: units(size, decimals) for key, size in sizes.items()}


def named_like_slice(tier: dict[str, Any], name: str) -> dict[str, Any]:
    """A tier that wants it bears the name of its slice; where there is none, that of its place."""
    named = tier.get("like_slice") and name.endswith(".")
    return {key: value for key, value in tier.items() if key != "like_slice"} | ({"name": name[:-1]} if named else {})


def units(minor: Fraction | int, decimals: int) -> str:
    """Minor units as decimal text in currency units, with a digit or two too many where they are not whole."""
    return f"{Decimal(floor(minor * 1000)).scaleb(-decimals - 3):f}"


# --- people and what they are paid -----------------------------------------------------------------------------


def crowd(values: list[int], places: int, largest: int, count: int, pick: Random) -> list[Person]:
    people = [
        Person(
            {name: Fraction(pick.choice(values), 10**places) for name in (None, "votes")},
            pick.choice("ab"),
            pick.randint(0, largest),
        )
        for _ in range(count)
    ]
    return sorted(people, key=lambda person: person.score, reverse=True)


# Up to 25, the best first, many of them equals; with `votes`, a group, and an amount of their own. Picked by a seed:
# drawn one by one, most crowds would be empty or all the same.
PEOPLE = st.builds(
    crowd,
    values=st.sampled_from([[*range(7)], [0, 3, 10**29, 10**29 + 1], [0]]) | st.lists(WEIGHT, min_size=1, max_size=8),
    places=st.sampled_from([0, 2, 18]),
    largest=st.sampled_from([30, 10**16]),
    count=st.sampled_from([13, 25, 8, 5, 3, 1, 0]),
    pick=st.randoms(use_true_random=True),
)


@dataclass(frozen=True)
class Payout:
    """An amount of minor units, a rule, and people in position order."""

    rule: Rule
    amount: int
    people: list[Person]
    decimals: int
    tie_policy: str

    def allocate(self) -> Allocation:
        """What the engine makes of it: the same people in columns of scaled integers."""

        def measure(name: str | None) -> Measure:
            column = [one.measures[name] for one in self.people]
            places = 0 if all(value.denominator == 1 for value in column) else 18
            return Measure([int(value * 10**places) for value in column], places)

        participants = Participants(
            measure(None),
            {"votes": measure("votes")},
            groups=[one.group for one in self.people],
            amounts=[one.amount for one in self.people],
        )
        return allocate(self.rule, self.amount, participants, decimals=self.decimals, tie_policy=self.tie_policy)


def payouts(
    *kinds: str, depth: int = 2, tie_policies: tuple[str, ...] = TIE_POLICIES, decimals: tuple[int, ...] = (0, 1, 2)
) -> st.SearchStrategy[Payout]:
    """By rules of these kinds, and by slices of them `depth` deep."""

    def payout(rule: Rule, amount: int, people: list[Person], decimals: int, tie_policy: str) -> Payout:
        return Payout(written(rule, amount, decimals), amount, people, decimals, tie_policy)

    amounts = st.integers(1, 9) | st.integers(50, 1000) | st.integers(10**17, 10**18)
    policies, places = st.sampled_from(tie_policies), st.sampled_from(decimals)
    return st.builds(payout, rules(kinds, depth), amounts, PEOPLE, places, policies)
