"""What a rule can be tried on: a frozen snapshot, or what is paid next; by its name in an address."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db.models import Model, Q
from django.http import Http404, HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from rewards.admin.campaign_page import run_in_view
from rewards.admin.common.display import amount, badge, grouped
from rewards.admin.common.tables import Table
from rewards.admin.ranking_categories import takes_part_too_many
from rewards.admin.rule_owners import (
    ANY_RULE,
    Owner,
    owner_campaign,
    owner_category,
    owner_of,
    owner_pool,
)
from rewards.campaigns.models import Campaign
from rewards.campaigns.sources import UPLOAD
from rewards.common.periods import Month
from rewards.distributions.models import Distribution
from rewards.distributions.preview import Preview, preview_of
from rewards.distributions.programmes import Draft
from rewards.ledger.models import Currency
from rewards.monthly.models import RankingCategory
from rewards.pools.models import Pool
from rewards.pools.queries import next_payout

LARGEST_SIMULATED = 200_000
SNAPSHOTS_OFFERED = 20
CAMPAIGNS_OFFERED = 10


@dataclass(frozen=True)
class Subject:
    """A period of a programme, frozen or still to come; `page` is whose page it belongs to.

    `rule` is the one that the period itself has; `owner` keeps the rule that the next ones are paid by.
    """

    page: Model
    programme: str
    period_key: str
    currency: Currency
    rule: dict[str, Any]
    tie_policy: str
    owner: Owner | None
    is_frozen: bool
    too_large: bool = False

    def __str__(self) -> str:
        return f"{self.programme} {self.period_key}"

    @property
    def asks(self) -> Any:
        return self.owner.asks if self.owner else ANY_RULE

    @property
    def rule_now(self) -> tuple[dict[str, Any], str]:
        """The rule that would be replaced; where nothing keeps one, that of the period."""
        return (self.owner.rule, self.owner.tie_policy) if self.owner else (self.rule, self.tie_policy)

    @property
    def has_another_rule(self) -> bool:
        """Whether the period was frozen with another rule than the one that is kept now."""
        return self.owner is not None and self.owner.is_changed_by(self.rule, self.tie_policy)

    def by_rule(self, draft: Draft, rule: Any, tie_policy: str) -> Preview:
        """What it would pay. Raises `AllocationError`."""
        if self.owner:
            return self.owner.by_rule(self.period_key, draft, rule, tie_policy)
        return preview_of(self.programme, self.period_key, draft, rule=rule, tie_policy=tie_policy)


def address_of(name: str) -> str:
    """The simulator's page on what has that name."""
    return f"{reverse('admin:rewards_distribution_simulator')}?snapshot={name}"


def subject_named(name: str, request: HttpRequest, at: datetime) -> Subject:
    """`17` is the distribution of that id, `pool:hourly`, `monthly:students` and `campaign:grants` what they pay next.

    Raises `Http404`, and `PermissionDenied` for what the user may not look at.
    """
    kind, _, slug = name.partition(":")
    if kind.isascii() and kind.isdecimal() and len(kind) < 19:
        subject = _frozen(int(kind), at)
    else:
        coming = {"pool": _next_of_pool, "monthly": _running_month, "campaign": _next_run}.get(kind)
        subject = coming(slug, at) if coming else None
    if subject is None:
        raise Http404
    if not may_view(request, type(subject.page)):
        raise PermissionDenied
    return subject


def may_view(request: HttpRequest, model: type[Model]) -> bool:
    may: bool = request.user.has_perm(f"rewards.view_{model._meta.model_name}")  # type: ignore[union-attr]
    return may


def _frozen(pk: int, at: datetime) -> Subject | None:
    distribution = Distribution.objects.select_related("currency").filter(pk=pk).first()
    return None if distribution is None else Subject(
        distribution, distribution.programme, distribution.period_key, distribution.currency, distribution.rule,
        distribution.tie_policy, owner_of(distribution.programme), distribution.allocated_at is not None,
        distribution.participants > LARGEST_SIMULATED,
    )  # fmt: skip


def _next_of_pool(slug: str, at: datetime) -> Subject | None:
    pool = Pool.objects.select_related("currency").filter(slug=slug).first()
    return None if pool is None else Subject(
        pool, pool.programme, next_payout(pool, at).key, pool.currency, pool.rule, pool.tie_policy, owner_pool(pool),
        is_frozen=False,
    )  # fmt: skip


def _running_month(slug: str, at: datetime) -> Subject | None:
    category = RankingCategory.objects.select_related("group").filter(slug=slug).first()
    currency = None if category is None else Currency.objects.filter(code=category.currency).first()
    if category is None or currency is None:
        return None
    month = Month.containing(at, settings.REWARDS_TIME_ZONE)
    return Subject(
        category, category.programme, month.key, currency, category.tiers, category.tie_policy,
        owner_category(category), is_frozen=False, too_large=takes_part_too_many(category),
    )  # fmt: skip


def _next_run(slug: str, at: datetime) -> Subject | None:
    campaign = Campaign.objects.select_related("currency").filter(slug=slug).first()
    return None if campaign is None else Subject(
        campaign, campaign.programme, run_in_view(campaign, at), campaign.currency, campaign.rule, campaign.tie_policy,
        owner_campaign(campaign), is_frozen=False, too_large=campaign.rows > LARGEST_SIMULATED,
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------------ to choose from


def snapshots_found(term: str) -> Table:
    """The newest frozen snapshots, of those whose programme or period begins with each word of `term`."""
    found = Distribution.objects.select_related("currency").exclude(allocated_at=None).order_by("-pk")
    for word in term.split():
        found = found.filter(Q(period_key__startswith=word) | Q(programme__startswith=word))
    rows = [
        (
            link_to_simulator(str(each.pk), str(each)), badge(each.status), grouped(each.participants),
            amount(each.paid_amount, each.currency),
        )
        for each in found[:SNAPSHOTS_OFFERED]
    ]  # fmt: skip
    columns = ["Snapshot", "Status", "Participants", "Paid"]
    empty = "No frozen snapshot begins with that." if term else "Nothing has been allocated yet."
    return Table(columns, rows, frozenset(columns[2:]), empty)


def coming_next(request: HttpRequest, at: datetime) -> Table:
    """What pools, ranking categories and campaigns pay next, as far as the user may look at them."""
    rows = [
        row
        for model, found in ((Pool, _pools), (RankingCategory, _categories), (Campaign, _campaigns))
        if may_view(request, model)
        for row in found(at)
    ]
    return Table(["What is paid next", "Period", "Kind"], rows, empty="There are no pools, categories or campaigns.")


def _pools(at: datetime) -> Iterator[tuple[Any, ...]]:
    for pool in Pool.objects.order_by("slug"):
        yield link_to_simulator(f"pool:{pool.slug}", pool.title), next_payout(pool, at).key, "pool"


def _categories(at: datetime) -> Iterator[tuple[Any, ...]]:
    month = Month.containing(at, settings.REWARDS_TIME_ZONE).key
    for category in RankingCategory.objects.filter(active=True):
        name = category.title or category.slug
        yield link_to_simulator(category.programme, name), f"{month}, as far as it has come", "ranking category"


def _campaigns(at: datetime) -> Iterator[tuple[Any, ...]]:
    """The newest that have somebody to pay and have not been run; of a schedule the next run."""
    newest = Campaign.objects.filter(status__in=["draft", "active"], corrects=None).order_by("-pk")
    newest = newest.exclude(participants__source=UPLOAD, rows=0)[:CAMPAIGNS_OFFERED]
    programmes = [campaign.programme for campaign in newest]
    run = set(Distribution.objects.filter(programme__in=programmes).values_list("programme", flat=True).distinct())
    for campaign in newest:
        if campaign.schedule or campaign.programme not in run:
            yield link_to_simulator(campaign.programme, campaign.title or campaign.slug), "the next run", "campaign"


def link_to_simulator(name: str, text: str) -> SafeString:
    return format_html('<a class="rewards-link" href="{}">{}</a>', address_of(name), text)
