"""Doing every period that is due and not done, oldest first. The schedule only pokes; what is due stands here."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from django.db import transaction

from rewards.alerts.services import CRITICAL, raise_alert, resolve_alert
from rewards.common.errors import RewardsError
from rewards.distributions.errors import NotYet
from rewards.distributions.models import Distribution
from rewards.distributions.services import advance, open_distribution, record_empty, retry
from rewards.jobs.progress import Steps, Unwatched
from rewards.ledger.models import Account, Currency
from rewards.ledger.services import system_account
from rewards.parameters.services import param
from rewards.pools.accrual import accrue
from rewards.pools.late import count_late_votes
from rewards.pools.models import Accrual, Pool
from rewards.pools.periods import PoolPeriod
from rewards.pools.programmes import CC_MARKET
from rewards.pools.queries import (
    both_pools,
    earlier_one_missing,
    next_vote_at,
    periods_left,
    top_ups_of,
    untaken_carries,
)
from rewards.pools.reports import report_empty

MOST_EMPTY_AT_ONCE = 10_000
POOL_FAILED = "pool_failed"

Status = Distribution.Status
UNFINISHED = [Status.OPEN, Status.FROZEN, Status.ALLOCATED, Status.APPROVED, Status.PAYING, Status.FAILED]

logger = logging.getLogger("rewards.pools")


class Failure(NamedTuple):
    period_key: str
    sentence: str


@dataclass
class RunResult:
    """What a run did. Amounts in minor units of `currency`."""

    programme: str
    currency: Currency
    periods: int = 0
    empty_periods: int = 0
    recipients: int = 0
    paid_minor: int = 0
    bonus_minor: int = 0
    bonus_recipients: int = 0
    waiting: list[str] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    bonus_failures: list[Failure] = field(default_factory=list)
    paused: bool = False
    inactive: bool = False
    unfinished: bool = False

    def figures(self) -> dict[str, object]:
        """For the row of the job: JSON, amounts as text in currency units."""
        return {
            "programme": self.programme,
            "periods": self.periods,
            "empty_periods": self.empty_periods,
            "recipients": self.recipients,
            "paid": self.currency.to_units(self.paid_minor),
            "currency": self.currency.code,
            "waiting_for_approval": self.waiting,
            "failures": [f"{period_key}: {sentence}" for period_key, sentence in self.failures + self.bonus_failures],
            "paused": self.paused,
        }


def run_hourly(at: datetime, *, progress: Steps | None = None) -> RunResult:
    """Accrue and pay every hour that is due at `at` and not done, oldest first, from the first vote on.

    Never raises for a period that cannot be paid: the result names it, an alert is raised, and later periods wait.
    """
    hourly, _ = both_pools()
    result = _run_pool(hourly, at, progress or Unwatched())
    count_late_votes(hourly)
    return result


def run_daily(at: datetime, *, progress: Steps | None = None) -> RunResult:
    """The same for days; then the market bonus of every day that is paid."""
    _, daily = both_pools()
    result = _run_pool(daily, at, progress or Unwatched())
    count_late_votes(daily)
    if not result.paused:
        _pay_market_bonuses(result)
    return result


# --------------------------------------------------------------------------------------------------------------- a pool


def _run_pool(pool: Pool, at: datetime, progress: Steps) -> RunResult:
    result = RunResult(pool.programme, pool.currency, inactive=not pool.active)
    periods = periods_left(pool, at) if pool.active else []
    opened = set(
        Distribution.objects.filter(programme=pool.programme, status__in=UNFINISHED).values_list(
            "period_key", flat=True
        )
    )
    index = 0
    while index < len(periods) and _may_go_on(progress, result):
        done = _do_next(pool, _quiet_run(periods, index, opened) or [periods[index]], at, result)
        progress.step(successes=done, failures=int(not done))
        if not done:
            break
        index += done
    return result


def _may_go_on(progress: Steps, result: RunResult) -> bool:
    result.paused = bool(param("payouts_paused"))
    result.unfinished = not result.paused and not progress.keep_going()
    return not result.paused and not result.unfinished


def _quiet_run(periods: Sequence[PoolPeriod], index: int, opened: set[str]) -> list[PoolPeriod]:
    """The neighbouring periods from `index` on in which, so far, nobody voted and that nobody has opened."""
    vote = next_vote_at(periods[index].start)
    run: list[PoolPeriod] = []
    for position in range(index, min(index + MOST_EMPTY_AT_ONCE, len(periods))):
        period = periods[position]
        neighbours = not run or run[-1].end == period.start
        if not neighbours or period.key in opened or (vote is not None and vote < period.end):
            break
        run.append(period)
    return run


def _do_next(pool: Pool, periods: list[PoolPeriod], at: datetime, result: RunResult) -> int:
    """Record these periods as empty if they are, else settle the first; how many were done, 0 when it failed."""
    subject = f"{pool.programme} {periods[0].key}"
    try:
        empty = len(periods) > 1 and _record_empty(pool, periods, at)
        distribution = None if empty else _settle(pool, periods[0], at)
    except Exception as error:
        _say_failed(subject, error)
        result.failures.append(Failure(periods[0].key, sentence_of(error)))
        return 0
    resolve_alert(POOL_FAILED, subject)
    if distribution is not None:
        return _count(distribution, result)
    result.periods += len(periods)
    result.empty_periods += len(periods)
    return len(periods)


def _count(distribution: Distribution, result: RunResult) -> int:
    if distribution.status == Status.FAILED:  # the engine has raised the alert
        result.failures.append(Failure(distribution.period_key, distribution.error))
        return 0
    result.periods += 1
    if distribution.status == Status.PAID:
        result.empty_periods += not distribution.participants
        result.recipients += distribution.recipients
        result.paid_minor += distribution.paid_amount
    else:
        result.waiting.append(distribution.period_key)
    return 1


def _say_failed(subject: str, error: Exception) -> None:
    unexpected = None if isinstance(error, RewardsError) and error.http_status < 500 else error
    logger.error("%s: %s", subject, sentence_of(error), exc_info=unexpected, extra={"event": POOL_FAILED})
    raise_alert(POOL_FAILED, subject, sentence_of(error), CRITICAL)


def sentence_of(error: Exception) -> str:
    return error.message if isinstance(error, RewardsError) else f"{type(error).__name__}: {error}"


# ------------------------------------------------------------------------------------------------------------- a period


def _settle(pool: Pool, period: PoolPeriod, at: datetime) -> Distribution:
    """Accrue, open and advance one period, in transactions of their own; one that failed before is tried again.

    Accruing comes first, on its own, so that those who write votes wait for it alone and not for the payout.
    """
    accrue(period.start, period.end, at)
    _refuse_before_its_turn(pool, period)
    version = pool.history.order_by("-history_id").first()
    distribution, _ = open_distribution(
        pool.programme,
        period.key,
        starts_at=period.start,
        ends_at=period.end,
        currency=pool.currency,
        source_account=_account(pool),
        rule=pool.rule,
        at=at,
        rule_version=version and version.history_id,
        tie_policy=pool.tie_policy,
        approval_limit=pool.approval_limit,
    )
    if distribution.status == Status.FAILED:
        return retry(distribution.pk)
    return advance(distribution.pk)


def _record_empty(pool: Pool, periods: Sequence[PoolPeriod], at: datetime) -> bool:
    """Record neighbouring periods as paid and empty, if nobody voted in them and nothing is there to pay."""
    first, last = periods[0], periods[-1]
    if _something_to_pay(pool, first, last):
        return False
    accrue(first.start, last.end, at)
    with transaction.atomic():
        Pool.objects.select_for_update(no_key=True).get(pk=pool.pk)
        _refuse_before_its_turn(pool, first)
        if _something_to_pay(pool, first, last):  # a vote, a top-up or a rejection has come in between
            return False
        version = pool.history.order_by("-history_id").first()
        record_empty(
            pool.programme,
            [(period.key, period.start, period.end) for period in periods],
            currency=pool.currency,
            source_account=_account(pool),
            rule=pool.rule,
            rule_version=version and version.history_id,
        )
        report_empty(pool.programme, pool.slug, periods)
    return True


def _something_to_pay(pool: Pool, first: PoolPeriod, last: PoolPeriod) -> bool:
    if untaken_carries(pool.programme, first.start, pool.currency_id):
        return True
    if top_ups_of(pool).filter(period_key__gte=first.key, period_key__lte=last.key).exists():
        return True
    return Accrual.objects.filter(hour__gte=first.start, hour__lt=last.end, votes__gt=0).exists()


def _refuse_before_its_turn(pool: Pool, period: PoolPeriod) -> None:
    before = earlier_one_missing(pool, period)
    if before is not None:
        raise NotYet(f"{pool.programme} {period.key} waits: {before.key} is not allocated yet.")


def _account(pool: Pool) -> Account:
    with transaction.atomic():
        return system_account(pool.account_code, pool.currency)


# -------------------------------------------------------------------------------------------------------- market bonus


def _pay_market_bonuses(result: RunResult) -> None:
    """Pay the bonuses that were opened with their days. One that fails waits for a retry; the days are untouched."""
    opened = Distribution.objects.filter(programme=CC_MARKET, status__in=UNFINISHED).exclude(status=Status.FAILED)
    for distribution_id in opened.order_by("starts_at").values_list("pk", flat=True):
        bonus = advance(distribution_id)
        if bonus.status == Status.FAILED:
            result.bonus_failures.append(Failure(bonus.period_key, bonus.error))
        elif bonus.status == Status.PAID:
            result.bonus_minor += bonus.paid_amount
            result.bonus_recipients += bonus.recipients
