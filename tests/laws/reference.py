"""The rules as the specification words them, in fractions and one person at a time: what the laws compare with.

Slow and plain on purpose; nothing here comes from `rewards.allocation`. A level is given whole units; the exact share
of each person is a fraction of them; largest remainder makes the fractions whole and hands them to the next level.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import groupby
from math import ceil, floor
from typing import Any, NamedTuple


class Refused(Exception):
    """The rule pays more than there is, or everything goes by weights that are all zero."""


@dataclass(frozen=True)
class Person:
    """Somebody who takes part; `measures` has the score under None, `amount` is minor units for the rule `fixed`."""

    measures: Mapping[str | None, Fraction]
    group: str
    amount: int

    @property
    def score(self) -> Fraction:
        return self.measures[None]


@dataclass
class Part:
    """A slice or tier: the exact share of each place, the whole units, and by what weight they were shared.

    `weights` is None where places are paid, not weights; `settled` are places whose tie was settled by the policy.
    """

    name: str
    exact: dict[int, Fraction]
    units: dict[int, int]
    weights: dict[int, Fraction] | None = None
    limits: tuple[int | None, int] = (None, 0)
    settled: set[int] = field(default_factory=set)


class Eligible(NamedTuple):
    """Whom a rule is for: places (0 is the best) that meet its conditions, of which those before `end` are in."""

    places: list[int]
    end: int

    @property
    def within(self) -> list[int]:
        return [place for place in self.places if place < self.end]


def whole_units(exact: Mapping[int, Fraction]) -> dict[int, int]:
    """Floors, and the missing units to the largest remainders, ties to whoever is listed first."""
    units = {key: floor(share) for key, share in exact.items()}
    missing = sum(exact.values()) - sum(units.values())
    by_remainder = sorted(exact, key=lambda key: (units[key] - exact[key], key))
    for key in by_remainder[: int(missing)]:
        units[key] += 1
    return units


def exact_shares(amount: int, weights: list[Any], cap: int | None, minimum: int) -> list[Fraction]:
    """The rule of the specification, word for word, in fractions: fill to the cap, drop the small, share again."""
    shares = [Fraction(0)] * len(weights)
    paid = {row for row, weight in enumerate(weights) if weight}
    while True:
        at_cap: set[int] = set()
        while True:
            others = paid - at_cap
            rest = amount - sum(cap or 0 for _ in at_cap)
            total = sum(weights[row] for row in others)
            for row in others:
                shares[row] = Fraction(rest * weights[row], total)
            passing = {row for row in others if cap is not None and shares[row] > cap}
            if not passing:
                break
            at_cap |= passing
            for row in passing:
                shares[row] = Fraction(cap or 0)
        small = {row for row in paid if shares[row] < minimum}
        if not small:
            return shares
        paid -= small
        for row in small:
            shares[row] = Fraction(0)


class Rulebook:
    """The rule language over a ranking of people, best first, in a currency with so many decimals."""

    def __init__(self, people: list[Person], decimals: int, tie_policy: str) -> None:
        self.people = people
        self.minor = 10**decimals
        self.tie_policy = tie_policy
        self.runs = [list(run) for _, run in groupby(range(len(people)), key=lambda place: people[place].score)]

    def parts(self, rule: Mapping[str, Any], amount: int) -> list[Part]:
        """Who is paid what by which slice or tier. Raises `Refused`."""
        everyone = Eligible(list(range(len(self.people))), len(self.people))
        parts = self._parts(rule, amount, everyone, rule["rule"], "")
        if rule["rule"] == "proportional" and everyone.places and not any((parts[0].weights or {}).values()):
            raise Refused
        return parts

    def _parts(self, rule: Any, amount: int, eligible: Eligible, name: str, prefix: str) -> list[Part]:
        if rule["rule"] == "slices":
            return self._slices(rule["slices"], amount, eligible)
        if rule["rule"] == "tiers":
            return self._tiers(rule, amount, eligible, prefix)
        if rule["rule"] == "fixed":
            return [self._fixed(amount, eligible, name)]
        weights, limits = dict.fromkeys(eligible.within, Fraction(1)), (None, 0)
        if rule["rule"] == "proportional":
            weights, limits = self._weights(rule, eligible), self._limits(rule, amount)
        exact = dict(zip(weights, exact_shares(amount, [*weights.values()], *limits), strict=True))
        part = Part(name, exact, whole_units(exact), weights, limits)
        if self.tie_policy == "shared":
            self._share_the_last_places(part, eligible)
        return [part]

    # ------------------------------------------------------------------------------------------------------- slices

    def _slices(self, slices: list[Any], amount: int, eligible: Eligible) -> list[Part]:
        weights = [Fraction(part["weight"]) for part in slices]
        given = whole_units({number: amount * weight / sum(weights) for number, weight in enumerate(weights)})
        parts = []
        for number, part in enumerate(slices):
            members = self._members(part["members"], eligible)
            parts += self._parts(part["rule"], given[number], members, part["name"], part["name"] + ".")
        return parts

    def _members(self, members: Mapping[str, Any], eligible: Eligible) -> Eligible:
        end = count = len(self.people)
        if "top" in members:
            end = min(members["top"], count)
        elif "top_percent" in members:
            end = ceil(Fraction(members["top_percent"]) * count / 100)
        if self.tie_policy == "same":  # equals of the last place hold the better place too
            end = next((run[-1] + 1 for run in self.runs if end - 1 in run), end)
        places = [place for place in eligible.places if self._meets(self.people[place], members)]
        return Eligible(places, min(eligible.end, end))

    def _meets(self, person: Person, members: Mapping[str, Any]) -> bool:
        least = {None: members.get("min_score", person.score)} | members.get("at_least", {})
        return members.get("group", person.group) == person.group and all(
            person.measures[name] >= Fraction(threshold) for name, threshold in least.items()
        )

    # ------------------------------------------------------------------------------------------------------- leaves

    def _fixed(self, amount: int, eligible: Eligible, name: str) -> Part:
        units = {place: self.people[place].amount for place in eligible.within}
        if sum(units.values()) > amount:
            raise Refused
        return Part(name, {place: Fraction(own) for place, own in units.items()}, units)

    def _weights(self, rule: Mapping[str, Any], eligible: Eligible) -> dict[int, Fraction]:
        column = [person.measures[rule.get("by")] for person in self.people]
        if "weight_cap" in rule and column:
            best = column[: ceil(Fraction(rule["weight_cap"]["mean_of_top_percent"]) * len(column) / 100)]
            cap = Fraction(rule["weight_cap"]["times"]) * sum(best) / len(best)
            column = [min(weight, cap) for weight in column]
        return {place: column[place] for place in eligible.within}

    def _limits(self, rule: Mapping[str, Any], amount: int) -> tuple[int | None, int]:
        """The cap floored to the minor unit, the minimum raised to it."""
        caps = [
            Fraction(rule[key]) * by for key, by in (("max_share", amount), ("max_amount", self.minor)) if key in rule
        ]
        return min(map(floor, caps), default=None), ceil(Fraction(rule.get("min_amount", 0)) * self.minor)

    def _share_the_last_places(self, part: Part, eligible: Eligible) -> None:
        """Equals of the last place, in or out, split what their places got."""
        run = next((run for run in self.runs if eligible.end - 1 in run and eligible.end in run), [])
        equals = [place for place in run if place in eligible.places]
        held = [part.units[place] for place in equals if place in part.units]
        if held:
            part.exact |= dict.fromkeys(equals, Fraction(sum(held), len(equals)))
            part.units |= whole_units({place: part.exact[place] for place in equals})
            part.settled |= set(equals)

    # -------------------------------------------------------------------------------------------------------- tiers

    def _tiers(self, rule: Mapping[str, Any], amount: int, eligible: Eligible, prefix: str) -> list[Part]:
        tiers = rule["tiers"]
        shares = {number: amount * Fraction(tier.get("share", 0)) for number, tier in enumerate(tiers)}
        given = whole_units(shares | {len(tiers): amount - sum(shares.values())})
        parts = []
        for number, tier in enumerate(tiers):
            members = [place for place in eligible.within if self._tier_of(place, rule) == number]
            each = Fraction(tier["each"]) * self.minor if "each" in tier else Fraction(given[number], len(members) or 1)
            exact = dict.fromkeys(members, each)
            parts.append(Part(tier.get("name", f"{prefix}tier{number + 1}"), exact, whole_units(exact)))
        for run in self.runs:
            equals = [place for place in run if place in eligible.places]
            sides = {(self._tier_of(place, rule), place < eligible.end) for place in run}
            if equals and len(sides) > 1 and self.tie_policy != "earliest":
                self._settle(parts, equals)
        if sum(sum(part.units.values()) for part in parts) > amount:
            raise Refused
        return self._by_name(parts)

    def _by_name(self, parts: list[Part]) -> list[Part]:
        """Tiers that are named like their slice are one part with it: who is paid by several of them gets the sum."""
        named: dict[str, Part] = {}
        for part in parts:
            one = named.setdefault(part.name, Part(part.name, {}, {}))
            for place, share in part.exact.items():
                one.exact[place] = one.exact.get(place, Fraction(0)) + share
            for place, units in part.units.items():
                one.units[place] = one.units.get(place, 0) + units
        return list(named.values())

    def _tier_of(self, place: int, rule: Mapping[str, Any]) -> int | None:
        standing = place + 1
        if rule.get("by") == "rank":
            standing = next(run[0] + 1 for run in self.runs if place in run)
        ends = [tier["to"] for tier in rule["tiers"]]
        return next((number for number, end in enumerate(ends) if end is None or standing <= end), None)

    def _settle(self, parts: list[Part], equals: list[int]) -> None:
        """A boundary runs through equals: `same` pays all like the best, `shared` deals their units out like cards."""
        best = min((place for part in parts for place in part.units if place in equals), default=None)
        turn = 0
        for part in parts:
            held = {place: part.units.pop(place) for place in equals if place in part.units}
            part.exact = {place: share for place, share in part.exact.items() if place not in equals}
            if self.tie_policy == "shared":
                together = sum(held.values())
                part.exact |= dict.fromkeys(equals, Fraction(together, len(equals)))
                part.units |= dict.fromkeys(equals, together // len(equals))
                for _ in range(together % len(equals)):
                    part.units[equals[turn % len(equals)]] += 1
                    turn += 1
            elif best in held:
                part.exact |= dict.fromkeys(equals, Fraction(held[best]))
                part.units |= dict.fromkeys(equals, held[best])
