"""What a pool can give to its rule: places, and the measures of votes. Pure.

The rule language serves every programme; a rule that asks a pool for more would fail with every payout.
"""

from __future__ import annotations

from collections.abc import Iterator

from rewards.allocation.errors import RuleError
from rewards.allocation.language import Fixed, Proportional, Rule, Slices, parse_rule

MEASURES = ("votes", "ecc")


def check_pool_rule(rule: object, decimals: int) -> None:
    """Raise `RuleError` unless the rule makes sense and asks for nothing but places, CC and `MEASURES`."""
    for refusal in _refusals(parse_rule(rule, decimals)):
        raise refusal


def _refusals(rule: Rule) -> Iterator[RuleError]:
    if isinstance(rule, Fixed):
        yield RuleError(rule.path, "votes name no amounts of their own: write equal, proportional, tiers or slices")
    if isinstance(rule, Proportional) and rule.by is not None:
        yield from _unknown([rule.by], _join(rule.path, "by"))
    if isinstance(rule, Slices):
        for part in rule.slices:
            if part.members.group is not None:
                yield RuleError(f"{part.members.path}.group", "voters have no groups: name members by place")
            yield from _unknown([name for name, _ in part.members.at_least], f"{part.members.path}.at_least")
            yield from _refusals(part.rule)


def _unknown(names: list[str], path: str) -> Iterator[RuleError]:
    for name in names:
        if name not in MEASURES:
            yield RuleError(path, f"a pool knows no {name!r}, only {' and '.join(MEASURES)}")


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
