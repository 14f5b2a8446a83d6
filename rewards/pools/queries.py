"""Reading what the pools are about: votes, rates, what accrued to a period, and which periods are left to do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models import CharField, F, Min, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast, Coalesce

from rewards.activity.models import ActivityEvent
from rewards.common.errors import InvariantBroken, RewardsError
from rewards.common.reading import found_by_any
from rewards.distributions.models import Distribution
from rewards.ledger.models import Transfer
from rewards.pools.models import Accrual, CarryOver, CcRate, Pool
from rewards.pools.periods import Calendar, DailyCalendar, HourlyCalendar, PoolPeriod, periods_due

CC_VOTE = "cc_vote"
TOP_UP = "pool_top_up"

Status = Distribution.Status
SETTLED = [Status.PAID, Status.CANCELLED, Status.REVERSED]


class NoPools(RewardsError):
    """There are no pools yet. Run `manage.py setup_pools --currency CODE --decimals N --cc-rate R`."""

    code = "no_pools"


def both_pools() -> tuple[Pool, Pool]:
    """The hourly and the daily pool, with their currencies. Raises `NoPools`."""
    pools = {pool.slug: pool for pool in Pool.objects.select_related("currency")}
    if len(pools) < len(Pool.Slug):
        raise NoPools
    return pools[Pool.Slug.HOURLY], pools[Pool.Slug.DAILY]


def calendar_of(pool: Pool) -> Calendar:
    return HourlyCalendar() if pool.slug == Pool.Slug.HOURLY else DailyCalendar(settings.REWARDS_TIME_ZONE)


def stretch_of(distribution: Distribution) -> tuple[datetime, datetime]:
    """The hours that a payout of a pool is about: start, and end (excluded)."""
    starts_at, ends_at = distribution.starts_at, distribution.ends_at
    if starts_at is None or ends_at is None:
        raise InvariantBroken(f"{distribution} is a payout of a pool and has no period.")
    return starts_at, ends_at


# --------------------------------------------------------------------------------------------------------------- votes


def votes_between(starts_at: datetime, ends_at: datetime | None = None) -> QuerySet[ActivityEvent]:
    """The votes that count for payouts and happened from `starts_at` on, before `ends_at`."""
    votes = ActivityEvent.objects.filter(metric=CC_VOTE, late=False, occurred_at__gte=starts_at)
    return votes if ends_at is None else votes.filter(occurred_at__lt=ends_at)


def late_votes() -> QuerySet[ActivityEvent]:
    return ActivityEvent.objects.filter(metric=CC_VOTE, late=True)


def next_vote_at(instant: datetime, before: datetime | None = None) -> datetime | None:
    """When the first vote from `instant` on happened."""
    return votes_between(instant, before).order_by("occurred_at").values_list("occurred_at", flat=True).first()


def first_vote_at() -> datetime | None:
    votes = ActivityEvent.objects.filter(metric=CC_VOTE, late=False)
    return votes.order_by("occurred_at").values_list("occurred_at", flat=True).first()


def rate_before(instant: datetime) -> CcRate | None:
    """The CC rate, and with it the bonus rate, in force right before `instant`."""
    return CcRate.objects.filter(starts_at__lt=instant).order_by("-starts_at").first()


# --------------------------------------------------------------------------------------------------- a period's amount


def accrued_to(pool: Pool, starts_at: datetime, ends_at: datetime, currency_id: int) -> int:
    """Minor units that the votes of these hours brought into the pool, as far as they are recorded."""
    accruals = Accrual.objects.filter(hour__gte=starts_at, hour__lt=ends_at, currency=currency_id)
    return accruals.aggregate(total=Sum(f"{pool.slug}_amount"))["total"] or 0


def top_ups_of(pool: Pool) -> QuerySet[Any]:
    """What operators added to periods of a pool, without what was reversed; `period_key` says to which."""
    return top_ups([pool.account_code])


def top_ups(account_codes: Sequence[str]) -> QuerySet[Any]:
    """The same for the pools with these accounts."""
    transfers = Transfer.objects.filter(
        journal__kind=TOP_UP, credit_account__code__in=account_codes, reverses=None, reversals=None
    )
    return transfers.annotate(period_key=Cast(KeyTextTransform("period", "journal__metadata"), CharField()))


def topped_up(pool: Pool, period_key: str, currency_id: int) -> int:
    """Minor units that operators added to a period."""
    transfers = top_ups_of(pool).filter(period_key=period_key, currency=currency_id)
    return transfers.aggregate(total=Sum("amount"))["total"] or 0


def untaken_carries(programme: str, starts_at: datetime, currency_id: int) -> list[tuple[int, int]]:
    """(distribution id, minor units) of what earlier periods could not pay and no later one has taken up yet."""
    earlier = Distribution.objects.filter(
        programme=programme, starts_at__lt=starts_at, currency=currency_id, carried_over__gt=0
    ).exclude(allocated_at=None)
    taken = CarryOver.objects.filter(source=OuterRef("pk")).order_by().values("source").annotate(total=Sum("amount"))
    left = earlier.annotate(left=F("carried_over") - Coalesce(Subquery(taken.values("total")), 0)).filter(left__gt=0)
    return list(left.order_by("starts_at").values_list("pk", "left"))


# ------------------------------------------------------------------------------------------------- which periods to do


def first_instants(pools: Iterable[Pool]) -> dict[int, datetime | None]:
    """By the pool's id when its periods begin: with the first vote, or with an earlier period that was topped up."""
    first_vote = first_vote_at()
    wanted = {pool.account_code: pool for pool in pools}
    keys = (
        top_ups(list(wanted))
        .values_list("credit_account__code")
        .annotate(first=Min("period_key"))
        .values_list("credit_account__code", "first")
    )
    topped = {code: calendar_of(wanted[code]).parse(key).start for code, key in keys}
    return {
        pool.pk: min((each for each in (first_vote, topped.get(code)) if each is not None), default=None)
        for code, pool in wanted.items()
    }


def first_instant(pool: Pool) -> datetime | None:
    return first_instants([pool])[pool.pk]


def waiting_for_approval() -> Q:
    return Q(status=Status.ALLOCATED, approval_limit__isnull=False, amount__gte=F("approval_limit"))


def periods_left(pool: Pool, at: datetime) -> list[PoolPeriod]:
    """Periods that are due at `at` and neither settled nor waiting for an approval, oldest first."""
    settled = Q(status__in=SETTLED) | waiting_for_approval()
    return _periods_without(pool, Distribution.objects.filter(settled), at)


def periods_not_opened(pool: Pool, at: datetime) -> list[PoolPeriod]:
    """Periods that are due at `at` and have no distribution, oldest first."""
    return _periods_without(pool, Distribution.objects.all(), at)


def _periods_without(pool: Pool, distributions: QuerySet[Distribution], at: datetime) -> list[PoolPeriod]:
    first = first_instant(pool)
    if first is None:
        return []
    done = set(distributions.filter(programme=pool.programme).values_list("period_key", flat=True))
    return [period for period in periods_due(calendar_of(pool), first, at) if period.key not in done]


def is_allocated(pool: Pool, period: PoolPeriod) -> bool:
    of_period = Distribution.objects.filter(programme=pool.programme, period_key=period.key)
    return of_period.exclude(allocated_at=None).exists()


def earlier_one_missing(pool: Pool, period: PoolPeriod) -> PoolPeriod | None:
    """The period before, where there is one and it is not allocated yet: this one has to wait for it."""
    before = calendar_of(pool).before(period)
    if is_allocated(pool, before):
        return None
    first = first_instant(pool)
    return before if first is not None and first < before.end else None


def next_payout(pool: Pool, at: datetime) -> PoolPeriod:
    """The period that is paid next; before the first vote, the one that holds `at`."""
    return next_in_line(pool) or calendar_of(pool).containing(at)


def next_in_line(pool: Pool) -> PoolPeriod | None:
    """The oldest period that is opened and not done, else the one after the newest; found by index, not by walking."""
    of_pool = Distribution.objects.filter(programme=pool.programme)
    found = list(found_by_any(oldest_unfinished(of_pool), newest_opened(of_pool)).order_by("starts_at"))
    standing = found[0] if found else None  # where one is not done and another is the newest, it is the older one
    return period_in_line(pool, standing) if standing else first_period(pool, first_instant(pool))


def first_period(pool: Pool, first: datetime | None) -> PoolPeriod | None:
    """The period that holds the instant with which the pool's periods begin."""
    return calendar_of(pool).containing(first) if first else None


def period_in_line(pool: Pool, standing: Distribution) -> PoolPeriod:
    """The period that is next: that of `standing` while it is not done, else the one after it.

    `standing` is the pool's oldest distribution that is not done, else its newest one.
    """
    calendar = calendar_of(pool)
    period = calendar.parse(standing.period_key)
    return calendar.after(period) if is_settled(standing) else period


def oldest_unfinished(of_pool: QuerySet[Distribution]) -> QuerySet[Distribution]:
    """Of a pool's distributions the oldest that is neither done nor waits for an approval."""
    return of_pool.exclude(status__in=SETTLED).exclude(waiting_for_approval()).order_by("starts_at")[:1]


def newest_opened(of_pool: QuerySet[Distribution]) -> QuerySet[Distribution]:
    return of_pool.order_by("-starts_at")[:1]


def is_settled(distribution: Distribution) -> bool:
    """Whether it is done, or waits for an approval, so that the period after it is next."""
    limit = distribution.approval_limit
    waits = distribution.status == Status.ALLOCATED and limit is not None and distribution.amount >= limit
    return distribution.status in SETTLED or waits
