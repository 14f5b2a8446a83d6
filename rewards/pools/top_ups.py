"""Adding units to one period of a pool by hand."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from rewards.common.errors import RewardsError
from rewards.distributions.models import Distribution
from rewards.ledger.models import ISSUANCE, Journal
from rewards.ledger.services import Move, post, system_account
from rewards.pools.models import Pool
from rewards.pools.periods import PoolPeriod
from rewards.pools.queries import TOP_UP, calendar_of, first_vote_at
from rewards.users.models import User


class UnknownPeriod(RewardsError):
    """This is no period of the pool. Hours are written 2026-11-21T07, days 2026-11-21."""

    code = "unknown_period"
    http_status = 400


class PeriodFrozen(RewardsError):
    """This period is frozen: nothing can be added to it. Top up a later one."""

    code = "period_frozen"
    http_status = 409


class PeriodNeverPaid(RewardsError):
    """This period lies before the first vote: it is never paid. Top up a later one."""

    code = "period_never_paid"


def top_up(
    pool: Pool, amount_minor: int, period_key: str, key: str, reason: str, actor: User | None, *, at: datetime
) -> Journal:
    """Add minor units from issuance to a pool's period, counted as accrued in it. Opens its own transaction.

    `key` is the caller's own: the same key with the same content returns the first journal, even when the period is
    frozen by now. Raises `UnknownPeriod`, `PeriodFrozen`, `PeriodNeverPaid`, and like `ledger.services.post`.
    """
    period = _period(pool, period_key)
    journal_key = f"{TOP_UP}:{pool.slug}:{key}"
    with transaction.atomic():
        pool = Pool.objects.select_for_update(no_key=True, of=["self"]).select_related("currency").get(pk=pool.pk)
        if not Journal.objects.filter(key=journal_key).exists():
            _refuse_frozen(pool, period)
            _refuse_never_paid(period, at)
        issuance = system_account(ISSUANCE, pool.currency)
        move = Move(issuance, system_account(pool.account_code, pool.currency), amount_minor)
        metadata = {"pool": pool.slug, "period": period.key}
        return post(
            journal_key, TOP_UP, [move], reason=reason, actor=actor, source=f"{pool.programme} {period.key}",
            metadata=metadata,
        )  # fmt: skip


def _period(pool: Pool, period_key: str) -> PoolPeriod:
    try:
        return calendar_of(pool).parse(period_key)
    except ValueError as error:
        raise UnknownPeriod(f"{period_key!r} is no period of {pool.title}. {UnknownPeriod().message}") from error


def _refuse_frozen(pool: Pool, period: PoolPeriod) -> None:
    frozen = Distribution.objects.filter(programme=pool.programme, period_key=period.key).exclude(frozen_at=None)
    if frozen.exists():
        raise PeriodFrozen(f"{pool.title}: {period.key} is frozen, nothing can be added to it. Top up a later period.")


def _refuse_never_paid(period: PoolPeriod, at: datetime) -> None:
    first_vote = first_vote_at()
    if period.end <= at and (first_vote is None or period.end <= first_vote):
        raise PeriodNeverPaid(f"{period.key} lies before the first vote: it is never paid. Top up a later period.")
