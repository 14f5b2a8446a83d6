"""The language of rules: JSON as operators write it, checked and turned into the small records below.

One grammar for campaigns, pools, monthly rankings and cases. Amounts and fractions are decimal text in currency
units; places are whole numbers. Unknown keys are refused, so a slip of the pen never pays by another rule than meant.
Every refusal is a `RuleError` with the path of the culprit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeVar

from rewards.allocation.errors import RuleError

DEEPEST_NESTING = 5
MOST_PARTS = 1000
LONGEST_NAME = 64
LARGEST_PLACE = 2**53 - 1  # what canonical JSON can hold
LARGEST_UNITS = 2**63 - 1

_DECIMAL = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?")
_ONE_HUNDRED = Fraction(100)


@dataclass(frozen=True)
class Fixed:
    """Each row its own amount."""

    path: str


@dataclass(frozen=True)
class Equal:
    """The same to everyone in."""

    path: str


@dataclass(frozen=True)
class WeightCap:
    """Weights count up to `times` the mean weight of the first `top_percent` of all places."""

    times: Fraction
    top_percent: Fraction


@dataclass(frozen=True)
class Proportional:
    """By the score, or by the measure named `by`; limits on what one row is paid, in minor units."""

    path: str
    by: str | None
    max_share: Fraction | None
    max_minor: int | None
    min_minor: int | None
    weight_cap: WeightCap | None


@dataclass(frozen=True)
class Tier:
    """The places after the tier before, up to `to` (None: all that follow): `each_minor` for each or one `share`."""

    path: str
    name: str
    to: int | None
    each_minor: int | None
    share: Fraction | None


@dataclass(frozen=True)
class Tiers:
    """By place: `by` is `position` or `rank`."""

    path: str
    by: str
    tiers: tuple[Tier, ...]


@dataclass(frozen=True)
class Members:
    """Who is in a slice: one of the first three (or all), and above the thresholds."""

    path: str
    top: int | None
    top_percent: Fraction | None
    group: str | None
    min_score: Fraction | None
    at_least: tuple[tuple[str, Fraction], ...]


@dataclass(frozen=True)
class Slice:
    """A named part of the amount with members and a rule of its own."""

    path: str
    name: str
    weight: Fraction
    members: Members
    rule: Rule


@dataclass(frozen=True)
class Slices:
    """Parts."""

    path: str
    slices: tuple[Slice, ...]


Value = TypeVar("Value")
Rule = Fixed | Equal | Proportional | Tiers | Slices


def check_rule(rule: object, decimals: int) -> None:
    """Raise `RuleError` unless `rule` makes sense for a currency with that many decimals."""
    parse_rule(rule, decimals)


def parse_rule(rule: object, decimals: int) -> Rule:
    """The rule as records. `decimals` is the currency's number of decimals. Raises `RuleError`."""
    parsed = _rule(rule, "", decimals, depth=1, tier_prefix="")
    _refuse_repeated_names(parsed)
    return parsed


def _refuse_repeated_names(rule: Rule) -> None:
    parts = list(_named_parts(rule))
    if len(parts) > MOST_PARTS:
        raise RuleError(parts[MOST_PARTS][1], f"a rule has at most {MOST_PARTS} slices and tiers in all")
    seen: set[str] = set()
    for name, path, its_slice in parts:
        if name in seen and name != its_slice:
            raise RuleError(f"{path}.name", f"the name {name!r} is taken already: give each slice and tier its own")
        seen.add(name)


def _named_parts(rule: Rule, within: str = "") -> Iterator[tuple[str, str, str]]:
    """Name and path of each slice and tier, and of a tier the slice whose name it may share: they are one part then."""
    if isinstance(rule, Tiers):
        yield from ((tier.name, tier.path, within) for tier in rule.tiers)
    elif isinstance(rule, Slices):
        for part in rule.slices:
            yield part.name, part.path, ""
            yield from _named_parts(part.rule, part.name)


# --- one function per rule -------------------------------------------------------------------------------------


def _rule(value: object, path: str, decimals: int, *, depth: int, tier_prefix: str) -> Rule:
    rule = _object(value, path)
    kind = rule.get("rule")
    if kind == "fixed":
        _keys(rule, path, required={"rule"})
        return Fixed(path)
    if kind == "equal":
        _keys(rule, path, required={"rule"})
        return Equal(path)
    if kind == "proportional":
        return _proportional(rule, path, decimals)
    if kind == "tiers":
        return _tiers(rule, path, decimals, tier_prefix)
    if kind == "slices":
        return _slices(rule, path, decimals, depth)
    raise RuleError(_join(path, "rule"), "say which rule: fixed, equal, proportional, tiers or slices")


def _proportional(rule: dict[str, Any], path: str, decimals: int) -> Proportional:
    _keys(rule, path, required={"rule"}, optional={"max_share", "max_amount", "min_amount", "by", "weight_cap"})
    max_amount = _optional(rule, "max_amount", path, _positive)
    min_amount = _optional(rule, "min_amount", path, _not_negative)
    max_minor = None if max_amount is None else _floor(max_amount * 10**decimals)
    min_minor = None if min_amount is None else _ceil(min_amount * 10**decimals)
    if max_minor == 0:
        raise RuleError(_join(path, "max_amount"), "less than one unit of the currency: nobody could be paid")
    if max_minor is not None and min_minor is not None and max_minor < min_minor:
        raise RuleError(_join(path, "min_amount"), "the minimum is above max_amount: nobody could be paid")
    return Proportional(
        path=path,
        by=_optional(rule, "by", path, _name),
        max_share=_optional(rule, "max_share", path, _positive_share),
        max_minor=max_minor,
        min_minor=min_minor,
        weight_cap=_optional(rule, "weight_cap", path, _weight_cap),
    )


def _weight_cap(value: object, path: str) -> WeightCap:
    cap = _object(value, path)
    _keys(cap, path, required={"times", "mean_of_top_percent"})
    return WeightCap(
        times=_positive(cap["times"], _join(path, "times")),
        top_percent=_percent(cap["mean_of_top_percent"], _join(path, "mean_of_top_percent")),
    )


def _tiers(rule: dict[str, Any], path: str, decimals: int, prefix: str) -> Tiers:
    _keys(rule, path, required={"rule", "tiers"}, optional={"by"})
    by = rule.get("by", "position")
    if by not in ("position", "rank"):
        raise RuleError(_join(path, "by"), "write position or rank")
    entries = _list(rule["tiers"], _join(path, "tiers"))
    tiers = tuple(
        _tier(entry, f"{_join(path, 'tiers')}[{index}]", decimals, f"{prefix}tier{index + 1}")
        for index, entry in enumerate(entries)
    )
    _check_ends(tiers)
    if sum(tier.share or 0 for tier in tiers) > 1:
        raise RuleError(_join(path, "tiers"), "the shares add up to more than 1: lower them")
    return Tiers(path, by, tiers)


def _check_ends(tiers: tuple[Tier, ...]) -> None:
    before: int | None = 0
    for tier in tiers:
        if before is None or (tier.to is not None and tier.to <= before):
            raise RuleError(f"{tier.path}.to", "each tier ends after the one before; only the last may be open (null)")
        before = tier.to


def _tier(value: object, path: str, decimals: int, default_name: str) -> Tier:
    tier = _object(value, path)
    _keys(tier, path, required={"to"}, optional={"each", "share", "name"})
    if ("each" in tier) == ("share" in tier):
        raise RuleError(path, "write either each (an amount for every place) or share (a part of the whole)")
    return Tier(
        path=path,
        name=_name(tier["name"], f"{path}.name") if "name" in tier else default_name,
        to=None if tier["to"] is None else _place(tier["to"], f"{path}.to"),
        each_minor=_minor_units(tier["each"], f"{path}.each", decimals) if "each" in tier else None,
        share=_share(tier["share"], f"{path}.share") if "share" in tier else None,
    )


def _slices(rule: dict[str, Any], path: str, decimals: int, depth: int) -> Slices:
    _keys(rule, path, required={"rule", "slices"})
    entries = _list(rule["slices"], _join(path, "slices"))
    if depth > DEEPEST_NESTING:
        raise RuleError(path, f"slices lie in slices at most {DEEPEST_NESTING} deep")
    return Slices(
        path,
        tuple(
            _slice(entry, f"{_join(path, 'slices')}[{index}]", decimals, depth) for index, entry in enumerate(entries)
        ),
    )


def _slice(value: object, path: str, decimals: int, depth: int) -> Slice:
    part = _object(value, path)
    _keys(part, path, required={"name", "weight", "members", "rule"})
    name = _name(part["name"], f"{path}.name")
    return Slice(
        path=path,
        name=name,
        weight=_positive(part["weight"], f"{path}.weight"),
        members=_members(part["members"], f"{path}.members"),
        rule=_rule(part["rule"], f"{path}.rule", decimals, depth=depth + 1, tier_prefix=f"{name}."),
    )


def _members(value: object, path: str) -> Members:
    members = _object(value, path)
    _keys(members, path, optional={"top", "top_percent", "group", "all", "min_score", "at_least"})
    if len(members.keys() & {"top", "top_percent", "group", "all"}) != 1:
        raise RuleError(path, "name exactly one of top, top_percent, group and all")
    if "all" in members and members["all"] is not True:
        raise RuleError(f"{path}.all", "write true, or name the members by top, top_percent or group")
    return Members(
        path=path,
        top=_place(members["top"], f"{path}.top") if "top" in members else None,
        top_percent=_percent(members["top_percent"], f"{path}.top_percent") if "top_percent" in members else None,
        group=_name(members["group"], f"{path}.group") if "group" in members else None,
        min_score=_decimal(members["min_score"], f"{path}.min_score") if "min_score" in members else None,
        at_least=_thresholds(members["at_least"], f"{path}.at_least") if "at_least" in members else (),
    )


def _thresholds(value: object, path: str) -> tuple[tuple[str, Fraction], ...]:
    thresholds = _object(value, path)
    if not thresholds:
        raise RuleError(path, 'name at least one measure, such as {"votes": "10"}')
    return tuple((_name(name, path), _decimal(least, f"{path}.{name}")) for name, least in thresholds.items())


# --- values ----------------------------------------------------------------------------------------------------


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _object(value: object, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RuleError(path, "write a JSON object here, in braces")
    return value


def _list(value: object, path: str) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise RuleError(path, "write a list with at least one entry")
    if len(value) > MOST_PARTS:
        raise RuleError(path, f"a rule has at most {MOST_PARTS} slices and tiers in all")
    return value


def _keys(
    value: dict[str, Any], path: str, *, required: set[str] | None = None, optional: set[str] | None = None
) -> None:
    required = required or set()
    known = required | (optional or set())
    for key in value:
        if key not in known:
            raise RuleError(_join(path, str(key)), f"not known here; known are {', '.join(sorted(known))}")
    for key in sorted(required):
        if key not in value:
            raise RuleError(_join(path, key), "missing")


def _optional(rule: dict[str, Any], key: str, path: str, read: Callable[[object, str], Value]) -> Value | None:
    """The value under `key` as `read` understands it; None where it is left out or null."""
    return None if rule.get(key) is None else read(rule[key], _join(path, key))


def _name(value: object, path: str) -> str:
    if not isinstance(value, str) or not value or value != value.strip() or not value.isprintable():
        raise RuleError(path, "write a name: text without control characters or spaces around it")
    if len(value) > LONGEST_NAME:
        raise RuleError(path, f"a name has at most {LONGEST_NAME} characters")
    return value


def _place(value: object, path: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= LARGEST_PLACE:
        raise RuleError(path, "write a whole number of places, 1 or more, without quotes")
    return value


def _decimal(value: object, path: str) -> Fraction:
    if not isinstance(value, str) or not _DECIMAL.fullmatch(value):
        raise RuleError(path, 'write a plain decimal number as text, such as "12.5"')
    return Fraction(value)


def _not_negative(value: object, path: str) -> Fraction:
    number = _decimal(value, path)
    if number < 0:
        raise RuleError(path, "must not be negative")
    return number


def _positive(value: object, path: str) -> Fraction:
    number = _decimal(value, path)
    if number <= 0:
        raise RuleError(path, "must be above zero; leave out what is not wanted")
    return number


def _share(value: object, path: str) -> Fraction:
    number = _not_negative(value, path)
    if number > 1:
        raise RuleError(path, 'a share of the whole is at most "1"')
    return number


def _positive_share(value: object, path: str) -> Fraction:
    _positive(value, path)
    return _share(value, path)


def _percent(value: object, path: str) -> Fraction:
    number = _positive(value, path)
    if number > _ONE_HUNDRED:
        raise RuleError(path, 'a percentage is above "0" and at most "100"')
    return number


def _minor_units(value: object, path: str, decimals: int) -> int:
    minor = _not_negative(value, path) * 10**decimals
    if minor.denominator != 1:
        raise RuleError(path, f"the currency has only {decimals} decimals: write an amount it can pay")
    return _bounded(int(minor), path)


def _bounded(minor: int, path: str) -> int:
    if minor > LARGEST_UNITS:
        raise RuleError(path, "more than 64 bits of minor units can hold: write a smaller amount")
    return minor


def _floor(value: Fraction) -> int:
    return value.numerator // value.denominator


def _ceil(value: Fraction) -> int:
    return -(-value.numerator // value.denominator)
