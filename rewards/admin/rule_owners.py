"""Who keeps a rule: the pool, ranking category or campaign by which the next payouts are made; and saving it there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest
from django.urls import reverse_lazy

from rewards.admin.campaign_form import ASKS as CAMPAIGN_ASKS
from rewards.admin.campaign_form import PATH, as_sentence
from rewards.admin.common.rule_form import Asks, Check
from rewards.admin.pools import ASKS as POOL_ASKS
from rewards.admin.ranking_categories import asks_of, by_rule
from rewards.allocation.errors import RuleError
from rewards.allocation.rules import check_rule
from rewards.campaigns.errors import CampaignInvalid
from rewards.campaigns.models import Campaign
from rewards.campaigns.queries import has_begun
from rewards.campaigns.services import change_campaign
from rewards.common.errors import RewardsError
from rewards.distributions.preview import Preview, preview_of
from rewards.distributions.programmes import Draft
from rewards.monthly.errors import CategoryInvalid
from rewards.monthly.models import PROGRAMME as MONTHLY
from rewards.monthly.models import RankingCategory
from rewards.monthly.services import save_category
from rewards.pools.inputs import MEASURES, check_pool_rule
from rewards.pools.models import Pool
from rewards.users.models import User

Kept = Pool | RankingCategory | Campaign

# What a rule may name depends on the programme: the pools' measures are offered, others are written as JSON.
ANY_RULE = Asks(reverse_lazy("admin:rewards_distribution_rule"), measures=MEASURES)


class RuleChanged(RewardsError):
    """Somebody has changed this rule since you looked at it. Look at it as it is now, simulate again, then save."""

    code = "rule_changed"
    http_status = 409


class RuleNotSaved(RewardsError):
    """It cannot be saved with this rule."""

    code = "rule_not_saved"


@dataclass(frozen=True)
class Owner:
    """What keeps the rule of a programme. `stands_against` says why its rule cannot be changed; empty: it can.

    `consequence` says who does not approve what comes of a changed rule.
    """

    kept: Kept
    rule: dict[str, Any]
    tie_policy: str
    asks: Asks
    consequence: str
    check: Check = check_rule
    stands_against: str = ""

    @property
    def name(self) -> str:
        return str(getattr(self.kept, "title", "") or self.kept)

    @property
    def version(self) -> str:
        return version_of(self.rule, self.tie_policy)

    def is_changed_by(self, rule: Any, tie_policy: str) -> bool:
        return self.version != version_of(rule, tie_policy)

    def by_rule(self, period_key: str, draft: Draft, rule: Any, tie_policy: str) -> Preview:
        """What it would pay for a draft by a rule. Raises `AllocationError`.

        Where the tiers of a category say how much, another rule comes to another amount.
        """
        if isinstance(self.kept, RankingCategory):
            return by_rule(self.kept, period_key, draft, rule, tie_policy)
        return preview_of(self.kept.programme, period_key, draft, rule=rule, tie_policy=tie_policy)


def version_of(rule: Any, tie_policy: str) -> str:
    """What is the same for the same rule, in whatever order its JSON is written: it says what somebody looked at."""
    return sha256(json.dumps([rule, tie_policy], sort_keys=True).encode()).hexdigest()


def owner_of(programme: str) -> Owner | None:
    """What keeps the rule of a programme; nothing for one that makes its rules itself."""
    kind, _, slug = programme.partition(":")
    if kind == MONTHLY:
        category = RankingCategory.objects.filter(slug=slug).select_related("group").first()
        return None if category is None else owner_category(category)
    if kind == "campaign":
        campaign = Campaign.objects.filter(slug=slug).select_related("currency").first()
        return None if campaign is None else owner_campaign(campaign)
    pool = Pool.objects.filter(slug=kind.removeprefix("pool_")).select_related("currency").first()
    return owner_pool(pool) if pool is not None and pool.programme == programme else None


def owner_pool(pool: Pool) -> Owner:
    return Owner(
        pool, pool.rule, pool.tie_policy, POOL_ASKS, check=check_pool_rule,
        consequence="Periods that are not frozen yet are paid by it.",
    )  # fmt: skip


def owner_category(category: RankingCategory) -> Owner:
    return Owner(
        category, category.tiers, category.tie_policy, asks_of(category),
        consequence="Months that are not started yet are paid by it. You have prepared it then: a month that somebody "
        "starts by hand is not approved by you.",
    )  # fmt: skip


def owner_campaign(campaign: Campaign) -> Owner:
    return Owner(
        campaign, campaign.rule, campaign.tie_policy, CAMPAIGN_ASKS, stands_against=_against(campaign),
        consequence="What it pays next is paid by it. You have prepared it then, and do not approve it.",
    )  # fmt: skip


def _against(campaign: Campaign) -> str:
    if campaign.status == Campaign.Status.CANCELLED:
        return f"{campaign} was cancelled: its rule stays as it is."
    if campaign.corrects_id is not None:
        return f"{campaign} is a correction: it pays what was worked out, and its rule stays."
    if campaign.status == Campaign.Status.DONE or has_begun(campaign):
        return f"{campaign} has been run: its rule stays as it is. Make another campaign."
    return ""


def may_change(owner: Owner, request: HttpRequest) -> bool:
    return request.user.has_perm(f"rewards.change_{owner.kept._meta.model_name}")  # type: ignore[union-attr]


# --------------------------------------------------------------------------------------------------------------- saving


def save_rule(
    owner: Owner, rule: Any, tie_policy: str, *, version: str, actor: User, reason: str, at: datetime
) -> None:
    """Store the rule where it is kept, through the checks and into the history that its own page has.

    Raises `RuleChanged` when it is not the one of `version` any more, `RuleError` and `RuleNotSaved` for what the
    checks refuse, and what a campaign refuses.
    """
    saving: dict[type[Any], Callable[..., None]] = {
        Pool: _save_pool, RankingCategory: _save_category, Campaign: _save_campaign,
    }  # fmt: skip
    with transaction.atomic():
        kept = type(owner.kept)._default_manager.select_for_update(no_key=True).get(pk=owner.kept.pk)
        stands = kept.tiers if isinstance(kept, RankingCategory) else kept.rule
        if version_of(stands, kept.tie_policy) != version:
            raise RuleChanged
        saving[type(kept)](kept, rule, tie_policy, actor, reason, at)


def _save_pool(pool: Pool, rule: Any, tie_policy: str, actor: User, reason: str, at: datetime) -> None:
    check_pool_rule(rule, pool.currency.decimals)
    pool.rule, pool.tie_policy = rule, tie_policy
    try:
        pool.full_clean()
    except ValidationError as error:
        raise RuleNotSaved(" ".join(error.messages)) from error
    pool._change_reason = reason  # type: ignore[attr-defined]  # for its history
    pool._history_user = actor  # type: ignore[attr-defined]
    pool.save()


def _save_category(
    category: RankingCategory, rule: Any, tie_policy: str, actor: User, reason: str, at: datetime
) -> None:
    category.tiers, category.tie_policy = rule, tie_policy
    with _refused_at("tiers"):
        save_category(category, actor, reason)


def _save_campaign(campaign: Campaign, rule: Any, tie_policy: str, actor: User, reason: str, at: datetime) -> None:
    with _refused_at("rule"):
        change_campaign(campaign.pk, actor, at, reason=reason, rule=rule, tie_policy=tie_policy)


@contextmanager
def _refused_at(field: str) -> Iterator[None]:
    """What is wrong with the rule as a `RuleError`; what else is wrong, as a sentence that names where."""
    try:
        yield
    except (CampaignInvalid, CategoryInvalid) as error:
        errors = error.facts["errors"]
        if field in errors:
            found = PATH.fullmatch(errors[field])
            raise RuleError(*(found.groups() if found else ("", errors[field]))) from error
        name, sentence = next(iter(errors.items()))
        raise RuleNotSaved(f"{name.capitalize()}: {as_sentence(sentence)}") from error
