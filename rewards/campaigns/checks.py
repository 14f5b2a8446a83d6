"""Whether a campaign makes sense as it stands, field by field."""

from __future__ import annotations

from collections.abc import Iterator

from django.core.exceptions import ValidationError

from rewards.allocation.errors import RuleError
from rewards.allocation.language import Fixed, Proportional, Rule, Slices, parse_rule
from rewards.allocation.participants import TIE_POLICIES
from rewards.campaigns.errors import CampaignInvalid
from rewards.campaigns.models import CORRECTION, Campaign
from rewards.campaigns.sources import check_participants, source_of
from rewards.common.errors import RewardsError
from rewards.ledger.queries import may_pay


def check_campaign(campaign: Campaign) -> None:
    """Raise `CampaignInvalid` with a sentence for each field that is wrong. Its list is looked at when it is run."""
    errors: dict[str, str] = {}
    for field, sentence in _problems(campaign):
        errors.setdefault(field, sentence)
    if errors:
        raise CampaignInvalid(errors)


def names_amounts(rule: object) -> bool:
    """Whether each participant gets an amount of his own: then the campaign's amount is a ceiling."""
    return isinstance(rule, dict) and rule.get("rule") == "fixed"


def needs_amounts(rule: object) -> bool:
    """Whether the rule, or a part of it, asks for an amount of each participant."""
    if isinstance(rule, dict):
        return names_amounts(rule) or any(needs_amounts(part) for part in rule.values())
    return isinstance(rule, list) and any(map(needs_amounts, rule))


def same_rule(one: object, other: object, decimals: int) -> bool:
    """Whether both say the same, however it is written: `"0.50"` is `"0.5"`, and null is nothing."""
    try:
        return parse_rule(one, decimals) == parse_rule(other, decimals)
    except RuleError:
        return one == other


def _problems(campaign: Campaign) -> Iterator[tuple[str, str]]:
    """(field, sentence), those first that say most."""
    yield from _problems_of_participants(campaign)
    yield from _problems_of_rule(campaign)
    yield from _problems_of_amount(campaign)
    if campaign.tie_policy not in TIE_POLICIES:
        yield "tie_policy", f"write one of {', '.join(TIE_POLICIES)}"
    if not campaign.currency.active:
        yield "currency", f"{campaign.currency} is not active"
    if not may_pay(campaign.source, campaign.currency):
        yield "source", f"there is no system account {campaign.source!r} in {campaign.currency}: fund it first"
    if campaign.schedule and campaign.starts_at is None:
        yield "starts_at", "a schedule needs its first instant"
    if campaign.starts_at is not None and not 1970 <= campaign.starts_at.year < 9999:
        yield "starts_at", "the start lies between the years 1970 and 9998"
    if campaign.slug.startswith(CORRECTION) and campaign.corrects_id is None:
        yield "slug", f"names that begin with {CORRECTION} are those of corrections: choose another"
    yield from _problems_of_columns(campaign)


def _problems_of_participants(campaign: Campaign) -> Iterator[tuple[str, str]]:
    try:
        check_participants(campaign.participants)
    except RewardsError as error:
        yield "participants", _sentence(error, "participants")


def _problems_of_rule(campaign: Campaign) -> Iterator[tuple[str, str]]:
    try:
        rule = parse_rule(campaign.rule, campaign.currency.decimals)
    except RuleError as error:
        yield "rule", str(error)
        return
    try:
        source = source_of(campaign.participants)
    except (RewardsError, AttributeError):  # said of the participants already
        return
    for path, sentence in _not_given(rule, amounts=source.gives_amounts, groups=source.gives_groups):
        yield "rule", f"{path}: {sentence}" if path else sentence


def _not_given(rule: Rule, *, amounts: bool, groups: bool) -> Iterator[tuple[str, str]]:
    """What a rule asks for that participants do not have: (path, sentence)."""
    if isinstance(rule, Fixed) and not amounts:
        yield rule.path, "these participants have no amounts of their own: write another rule than fixed"
    if isinstance(rule, Proportional) and rule.by is not None:
        yield rule.path, f"participants of a campaign have one weight and no {rule.by!r}: leave out by"
    if isinstance(rule, Slices):
        for part in rule.slices:
            if part.members.group is not None and not groups:
                yield part.members.path, "these participants have no groups: name members by place"
            if part.members.at_least:
                yield part.members.path, "participants of a campaign have one weight: write min_score, not at_least"
            yield from _not_given(part.rule, amounts=amounts, groups=groups)


def _problems_of_amount(campaign: Campaign) -> Iterator[tuple[str, str]]:
    if campaign.amount is None and not names_amounts(campaign.rule):
        yield "amount", "this rule shares out an amount: say how much"
    if campaign.amount is not None and campaign.amount <= 0:
        yield "amount", "the amount must be above zero"
    if campaign.approval_limit is not None and campaign.approval_limit < 0:
        yield "approval_limit", "the approval limit must not be negative"


def _problems_of_columns(campaign: Campaign) -> Iterator[tuple[str, str]]:
    """What the columns of the table do not take: too long, no slug, not one of the choices."""
    try:
        campaign.clean_fields(exclude=["rule", "participants", "tie_policy", "currency"])
    except ValidationError as error:
        for field, messages in error.message_dict.items():
            yield field, " ".join(messages)


def _sentence(error: RewardsError, field: str) -> str:
    """What an error says of a field, without naming it."""
    told = error.facts.get("errors")
    return str(told.get(field, error.message)) if isinstance(told, dict) else error.message
