"""The programme of the month's rewards, as the engine asks for it: `monthly:<category>`, a payout for each month."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db.models import Q

from rewards.allocation.language import parse_rule
from rewards.allocation.rules import amount_needed
from rewards.common.amounts import to_minor
from rewards.common.periods import Month
from rewards.distributions.errors import NotYet
from rewards.distributions.late import changes
from rewards.distributions.models import Distribution
from rewards.distributions.programmes import Draft, LateChange, NoPreview, Programme, Snapshot, register
from rewards.distributions.rows import participants_of
from rewards.ledger.models import Currency
from rewards.ledger.queries import currency_named
from rewards.monthly.checks import names_amounts
from rewards.monthly.errors import UnknownCategory
from rewards.monthly.models import PROGRAMME, MonthlyRewardJob, RankingCategory
from rewards.monthly.queries import due_months, slug_of
from rewards.monthly.ranking import ranking


@dataclass(frozen=True)
class CategoryMonth:
    """A month of a category, as a period of its programme."""

    programme: str
    month: Month

    @property
    def key(self) -> str:
        return self.month.key

    @property
    def start(self) -> datetime:
        return self.month.start

    @property
    def end(self) -> datetime:
        return self.month.end


class MonthlyProgramme(Programme):
    """What a category pays for a month: what its tiers say, or its amount shared out."""

    def amount(self, distribution: Distribution) -> int:
        return self.freeze(distribution)[0]

    def snapshot(self, distribution: Distribution) -> Snapshot:
        return self.freeze(distribution)[1]

    def freeze(self, distribution: Distribution) -> tuple[int, Snapshot]:
        """The month is closed by whoever opened it. Raises `NotYet` while a month before it is not allocated."""
        month = _month(distribution.period_key)
        before = _earlier_month_left(distribution.programme, month)
        if before is not None:
            raise NotYet(f"{distribution} waits: {before} is not allocated yet. Retry that month first.")
        category = kept_category(distribution.programme, month)
        snapshot = ranking(category, month)
        return _amount(category, snapshot, distribution.currency, distribution.rule, distribution.tie_policy), snapshot

    def due_periods(self, at: datetime) -> list[CategoryMonth]:
        programmes = [category.programme for category in RankingCategory.objects.filter(active=True)]
        return [CategoryMonth(programme, month) for month in due_months(at) for programme in programmes]

    def draft(self, name: str, period_key: str, at: datetime) -> Draft:
        """A month that is not over: what it has come to so far."""
        category = _category(name)
        try:
            month = _month(period_key)
        except ValueError as error:
            raise NoPreview(f"{name} has no month {period_key!r}: write one such as 2026-10.") from error
        if month.start > at:
            raise NoPreview(f"{name} {period_key} has not begun yet.")
        currency = currency_named(category.currency)
        snapshot = ranking(category, month)
        amount = _amount(category, snapshot, currency, category.tiers, category.tie_policy)
        return Draft(currency, amount, snapshot, category.tiers, category.tie_policy)

    def late_changes(self, distribution: Distribution) -> list[LateChange]:
        """By the category as its job keeps it."""
        month = _month(distribution.period_key)
        category = kept_category(distribution.programme, month)
        snapshot = ranking(category, month, with_late=True)
        amount = _amount(category, snapshot, distribution.currency, distribution.rule, distribution.tie_policy)
        return changes(distribution, amount, snapshot)


def register_programme() -> None:
    register(PROGRAMME, MonthlyProgramme())


def _amount(category: RankingCategory, snapshot: Snapshot, currency: Currency, rule: object, tie_policy: str) -> int:
    """Minor units: what the tiers come to, or what there is to share out."""
    if category.amount is not None:
        return to_minor(category.amount, currency.decimals, what="amount")
    if not names_amounts(parse_rule(rule, currency.decimals)):
        return 0  # the check of the category asks for an amount before it comes to this
    return amount_needed(rule, participants_of(snapshot), decimals=currency.decimals, tie_policy=tie_policy)


def _earlier_month_left(programme: str, month: Month) -> str | None:
    """The oldest month before this one whose job pays the category too and has not allocated it."""
    earlier = Q(year__lt=month.year) | Q(year=month.year, month__lt=month.month)
    unfinished = MonthlyRewardJob.objects.filter(earlier).exclude(status=MonthlyRewardJob.Status.COMPLETED)
    of_category = [job.period_key for job in unfinished if slug_of(programme) in job.categories]
    settled = Q(allocated_at__isnull=False) | Q(status=Distribution.Status.CANCELLED)
    done = Distribution.objects.filter(settled, programme=programme, period_key__in=of_category)
    return min(set(of_category) - set(done.values_list("period_key", flat=True)), default=None)


def kept_category(programme: str, month: Month) -> RankingCategory:
    """The category as the month's job keeps it. Raises `UnknownCategory`."""
    job = MonthlyRewardJob.objects.filter(year=month.year, month=month.month).first()
    slug = slug_of(programme)
    return job.category(slug) if job is not None and slug in job.categories else _category(programme)


def _category(programme: str) -> RankingCategory:
    """Raises `UnknownCategory`."""
    slug = slug_of(programme)
    category = RankingCategory.objects.filter(slug=slug).first()
    if category is None:
        raise UnknownCategory(f"There is no ranking category {slug!r}.")
    return category


def _month(period_key: str) -> Month:
    """Raises `ValueError`."""
    month = Month.parse(period_key, settings.REWARDS_TIME_ZONE)
    if month.key != period_key:
        raise ValueError(f"A month is written as {month.key}.")
    return month
