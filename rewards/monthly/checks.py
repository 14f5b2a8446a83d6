"""Whether a category makes sense as it stands, field by field."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from rewards.activity.checks import is_metric
from rewards.allocation.errors import RuleError
from rewards.allocation.language import Fixed, Proportional, Rule, Slices, Tiers, parse_rule
from rewards.allocation.participants import TIE_POLICIES
from rewards.common.amounts import InvalidAmount, parse_decimal, to_minor
from rewards.ledger.models import Currency
from rewards.ledger.queries import may_pay
from rewards.monthly.errors import CategoryInvalid
from rewards.monthly.models import RankingCategory

MOST_METRICS = 20
LONGEST_WEIGHT = 30


def check_category(category: RankingCategory) -> None:
    """Raise `CategoryInvalid` with a sentence for each field that is wrong."""
    errors: dict[str, str] = {}
    for field, sentence in _problems(category):
        errors.setdefault(field, sentence)
    if errors:
        raise CategoryInvalid(errors)


def names_amounts(rule: Rule) -> bool:
    """Whether every place is told its own amount: then nothing is shared out, and no amount is needed."""
    return isinstance(rule, Tiers) and all(tier.each_minor is not None for tier in rule.tiers)


def _problems(category: RankingCategory) -> Iterator[tuple[str, str]]:
    yield from _problems_of_score(category.score)
    if category.tie_policy not in TIE_POLICIES:
        yield "tie_policy", f"write one of {', '.join(TIE_POLICIES)}"
    currency = Currency.objects.filter(code=category.currency).first()
    if currency is None:
        yield "currency", f"there is no currency {category.currency!r}"
        return
    if not currency.active:
        yield "currency", f"{currency} is not active"
    if not may_pay(category.source, currency):
        yield "source", f"there is no system account {category.source!r} in {currency}: fund it first"
    yield from _problems_of_rule(category, currency)


def _problems_of_score(score: object) -> Iterator[tuple[str, str]]:
    if not isinstance(score, dict) or not score:
        yield "score", 'write metrics and their weights, such as {"tests_completed": "15"}'
        return
    if len(score) > MOST_METRICS:
        yield "score", f"a score has at most {MOST_METRICS} metrics"
    for metric, weight in score.items():
        if not is_metric(metric):
            yield "score", f"{metric!r} is no name of a metric"
        elif not _is_weight(weight):
            yield "score", f'the weight of {metric} is a number above zero with at most six decimals, such as "15"'


def _is_weight(weight: object) -> bool:
    if isinstance(weight, bool) or not isinstance(weight, str | int) or len(str(weight)) > LONGEST_WEIGHT:
        return False
    try:
        number = parse_decimal(str(weight), what="weight")
        return 0 < number < Decimal(10**12) and to_minor(number, 6, what="weight") > 0
    except InvalidAmount:
        return False


def _problems_of_rule(category: RankingCategory, currency: Currency) -> Iterator[tuple[str, str]]:
    try:
        rule = parse_rule(category.tiers, currency.decimals)
    except RuleError as error:
        yield "tiers", str(error)
        return
    yield from (("tiers", sentence) for sentence in _not_given(rule, set(category.score or {})))
    if category.amount is None and not names_amounts(rule):
        yield "amount", "this rule shares out an amount: say how much"
    for field in ("amount", "approval_limit"):
        if sentence := _problem_of_amount(getattr(category, field), currency):
            yield field, sentence


def _problem_of_amount(amount: Decimal | str | None, currency: Currency) -> str:
    if amount is None:
        return ""
    try:
        return "" if to_minor(amount, currency.decimals, what="amount") > 0 else "it must be above zero"
    except InvalidAmount as error:
        return error.message


def _not_given(rule: Rule, metrics: set[str]) -> Iterator[str]:
    """What a rule asks for that a ranking does not have."""
    if isinstance(rule, Fixed):
        yield "nobody here has an amount of his own: write another rule than fixed"
    if isinstance(rule, Proportional) and rule.by is not None and rule.by not in metrics:
        yield f"{rule.path}: {rule.by!r} is none of the score's metrics"
    if isinstance(rule, Slices):
        for part in rule.slices:
            if part.members.group is not None:
                yield f"{part.members.path}: a ranking has one group: name members by place"
            yield from (f"{part.members.path}: {name!r} is none of the score's metrics"
                        for name, _ in part.members.at_least if name not in metrics)  # fmt: skip
            yield from _not_given(part.rule, metrics)
