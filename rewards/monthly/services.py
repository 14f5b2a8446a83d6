"""Paying the rewards of a month.

A job is a row, unique for its month: whoever creates it first has started it. Working at it is safe to repeat: each
category is one distribution, whose unique row and chunks pay once, whoever pays. Who works at it writes his name and a
heartbeat into the row; without a heartbeat for a while another takes over, and the first finds his name gone.
"""

from __future__ import annotations

import logging
import os
import socket
import traceback
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import DatabaseError, transaction
from django.db.models import Q, QuerySet, Sum
from django.db.models.functions import Now
from django.utils import timezone

from rewards.activity.services import MONTHS, close_stretch
from rewards.alerts.services import CRITICAL, raise_alert, resolve_alert
from rewards.audit.services import record
from rewards.common.amounts import to_minor
from rewards.common.database import insert_if_absent, is_passing
from rewards.common.errors import RewardsError
from rewards.common.periods import Month
from rewards.distributions import services as distributions
from rewards.distributions.models import Distribution
from rewards.distributions.stages import require_right
from rewards.jobs.progress import RunLost, Steps, Unwatched
from rewards.jobs.services import heartbeat
from rewards.ledger.queries import currency_named
from rewards.ledger.services import system_account
from rewards.monthly.checks import check_category
from rewards.monthly.errors import MonthNotOver, NoSuchMonth, NotFailed, UnknownJob
from rewards.monthly.late import count_late_events
from rewards.monthly.models import PROGRAMME, MonthlyRewardJob, RankingCategory, no_results
from rewards.monthly.queries import distributions_of, due_months
from rewards.parameters.services import param
from rewards.users.models import User

SCHEDULE = "schedule"
FAILED_ALERT = "monthly_rewards_failed"
FIRST_YEAR, LAST_YEAR = 1970, 9998

Status = MonthlyRewardJob.Status
Paid = Distribution.Status

logger = logging.getLogger(__name__)


# ---------------------------------------------------------------------------------------------------------- categories


def save_category(category: RankingCategory, actor: User | None, reason: str = "") -> RankingCategory:
    """Store a category that makes sense; who changes it has prepared what it pays. Raises `CategoryInvalid`.

    One that is switched on again is not paid for the months in between.
    """
    check_category(category)
    if category.active and RankingCategory.objects.filter(pk=category.pk, active=False).exists():
        category.active_since = timezone.now()
    category.prepared_by = actor or category.prepared_by
    category._change_reason = reason  # type: ignore[attr-defined]  # for its history
    category._history_user = actor  # type: ignore[attr-defined]
    category.save()
    return category


# ---------------------------------------------------------------------------------------------------- start and retry


def start_job(
    year: int, month: int, *, by: str, at: datetime, actor: User | None = None
) -> tuple[MonthlyRewardJob, bool]:
    """The job of a month, and whether this call started it; a worker does the rest.

    It pays the categories that are active now, as they are now. A month that had none is started anew once there are
    some. `by` names who asks, for people. Raises `NoSuchMonth`, `MonthNotOver`, and `NotAllowed` for an actor without
    the right to run it.
    """
    period = _month(year, month)
    if period.end > at:
        raise MonthNotOver(f"{month}/{year} ends at {period.end:%Y-%m-%d %H:%M} UTC: it is not over yet.")
    if actor is not None:
        require_right(actor, "run_monthlyrewardjob")
    categories = {category.slug: category.kept() for category in RankingCategory.objects.filter(active=True)}
    new = {"results": no_results(), "actor": actor, "started_by": by[:150], "categories": categories}
    job = MonthlyRewardJob(year=year, month=month, **new)
    with transaction.atomic():
        started = insert_if_absent(job, unique=["year", "month"])
        if not started and categories:
            empty = MonthlyRewardJob.objects.filter(year=year, month=month, status=Status.COMPLETED, categories={})
            started = bool(empty.update(**new, **_AGAIN, started_at=timezone.now()))
        if started:
            record("monthly_rewards_started", actor=actor, data={"month": job.period_key, "by": by})
    return MonthlyRewardJob.objects.get(year=year, month=month), started


def retry_job(job_id: int, actor: User | None, at: datetime) -> MonthlyRewardJob:
    """Put a failed job back to work: it continues where it stopped. Raises `UnknownJob`, `NotFailed`, `NotAllowed`.

    What is not allocated yet goes by the categories as they are now; whoever retries has opened it then.
    """
    if actor is not None:
        require_right(actor, "run_monthlyrewardjob")
    job = MonthlyRewardJob.objects.filter(pk=job_id).first()
    if job is None:
        raise UnknownJob
    with transaction.atomic():
        again = _AGAIN | {"categories": _mended(job), "actor": actor or job.actor}
        if not MonthlyRewardJob.objects.filter(pk=job_id, status=Status.FAILED).update(**again):
            raise NotFailed(f"{job} is {job.status}: only a failed one can be retried.")
        record("monthly_rewards_retried", actor=actor, data={"month": job.period_key})
    job.refresh_from_db()
    return job


_AGAIN: dict[str, Any] = {
    "status": Status.PROCESSING, "tries_failed": True, "heartbeat_at": None, "worker": "", "completed_at": None,
    "duration": None, "error_message": "", "error_stack": "",
}  # fmt: skip


def _mended(job: MonthlyRewardJob) -> dict[str, Any]:
    """The job's categories: those that are allocated as they were, others as they are now, if they are still active."""
    opened = dict(distributions_of(job).values_list("programme", "allocated_at"))
    now = {category.slug: category for category in RankingCategory.objects.filter(slug__in=job.categories)}
    mended = {}
    for slug, kept in job.categories.items():
        category, programme = now.get(slug), f"{PROGRAMME}:{slug}"
        if category is None or opened.get(programme) is not None:
            mended[slug] = kept
        elif category.active or programme in opened:
            mended[slug] = category.kept()
    return mended


def _month(year: int, month: int) -> Month:
    if not (1 <= month <= 12 and FIRST_YEAR <= year <= LAST_YEAR):
        raise NoSuchMonth
    return Month(year, month, settings.REWARDS_TIME_ZONE)


# ---------------------------------------------------------------------------------------------------------- what is due


@dataclass
class DueResult:
    """What a run of all that is due did: months as keys."""

    completed: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)

    def figures(self) -> dict[str, Any]:
        """For the row of the job run: JSON."""
        return {key: months for key, months in vars(self).items() if months}


def run_due(at: datetime, *, progress: Steps | None = None) -> DueResult:
    """Start the months that are due and have no job, and work at every job that nobody works at, oldest first."""
    progress = progress or Unwatched()
    for month in due_months(at):
        start_job(month.year, month.month, by=SCHEDULE, at=at)
    result, seen = DueResult(), set[int]()
    # Asked again after each job: another may have been started meanwhile, and its poke found this run under way.
    while progress.keep_going() and (job := _left().exclude(pk__in=seen).order_by("year", "month").first()):
        seen.add(job.pk)
        run_job(job, at, progress=progress, result=result)
    count_late_events(at)
    return result


def run_job(
    job: MonthlyRewardJob, at: datetime, *, progress: Steps | None = None, result: DueResult | None = None
) -> DueResult:
    """Work at a job if nobody else does, until it is completed, has failed, waits, or the time is over."""
    progress, result = progress or Unwatched(), result or DueResult()
    worker = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
    if not _left().filter(pk=job.pk).update(worker=worker, heartbeat_at=Now()):
        result.elsewhere.append(job.period_key)
        return result
    job.refresh_from_db()
    with heartbeat(str(job), lambda: _mine(job).update(heartbeat_at=Now())):
        try:
            _pay_categories(job, at, progress)
        except RunLost:
            _let_go(job)
            raise
        except Exception as error:
            if is_passing(error):
                _let_go(job)
                raise
            _add_error(job, "", error)
        _finish(job)
    told = {Status.COMPLETED: result.completed, Status.FAILED: result.failed}
    told.get(Status(job.status), result.waiting).append(job.period_key)
    return result


def _let_go(job: MonthlyRewardJob) -> None:
    """Leave it to the next run. Without the database it waits until the heartbeat is old."""
    with suppress(DatabaseError):
        _mine(job).update(worker="", heartbeat_at=None)


def _left() -> QuerySet[MonthlyRewardJob]:
    """The jobs that are not done and that nobody works at."""
    lost = Now() - timedelta(seconds=param("monthly.lost_after_seconds"))
    free = Q(heartbeat_at=None) | Q(heartbeat_at__lt=lost)
    return MonthlyRewardJob.objects.filter(free, status=Status.PROCESSING)


def _mine(job: MonthlyRewardJob) -> QuerySet[MonthlyRewardJob]:
    """The job's row as long as this worker has it: one that was taken over finds nothing to write to."""
    return MonthlyRewardJob.objects.filter(pk=job.pk, worker=job.worker, status=Status.PROCESSING)


# ------------------------------------------------------------------------------------------------------------ the work


def _pay_categories(job: MonthlyRewardJob, at: datetime, progress: Steps) -> None:
    """Pay one category after the other; one that fails stops no other. What each came to goes into the results."""
    month = _month(job.year, job.month)
    with transaction.atomic():
        close_stretch(MONTHS, month.start, month.end)
    job.results, job.error_stack = no_results(), ""
    for slug in sorted(job.categories):
        errors = len(job.results["errors"])
        try:
            _add_result(job, slug, _payout(slug, job, month, at, progress))
        except Exception as error:
            if is_passing(error):
                raise
            _add_error(job, slug, error)
        failed = len(job.results["errors"]) > errors
        progress.step(successes=int(not failed), failures=int(failed))
        if not _mine(job).update(results=job.results, heartbeat_at=Now()):
            return


def _payout(slug: str, job: MonthlyRewardJob, month: Month, at: datetime, progress: Steps) -> Distribution:
    """The category's distribution for the month, as far as it can be brought now.

    One that failed is tried again where the job was started or retried since, by the category as the job keeps it.
    """
    category = job.category(slug)
    standing = Distribution.objects.filter(programme=category.programme, period_key=month.key)
    distribution = standing.first()
    if distribution is None or (job.tries_failed and distribution.allocated_at is None):
        terms = _terms(category, job)
        if distribution is not None:
            standing.filter(allocated_at=None, status__in=[Paid.OPEN, Paid.FAILED]).update(**terms)
        else:
            distribution, _ = distributions.open_distribution(
                category.programme, month.key, starts_at=month.start, ends_at=month.end, at=at, **terms
            )
    if distribution.status == Paid.FAILED and job.tries_failed:
        distributions.resume(distribution.pk)
    return distributions.advance(distribution.pk, progress.keep_going)


def _terms(category: RankingCategory, job: MonthlyRewardJob) -> dict[str, Any]:
    """By what a category is paid. What the schedule or a machine started, any approver may approve; else neither who
    started or retried it nor who changed the category. Raises `CategoryInvalid`.
    """
    check_category(category)
    currency, limit = currency_named(category.currency), category.approval_limit
    with transaction.atomic():
        source = system_account(category.source, currency)
    return {
        "currency": currency,
        "source_account": source,
        "rule": category.tiers,
        "rule_version": job.categories[category.slug]["version"],
        "tie_policy": category.tie_policy,
        "approval_limit": None if limit is None else to_minor(limit, currency.decimals, what="approval_limit"),
        "actor": job.actor,
        "prepared_by": category.prepared_by if job.actor else None,
    }


def _add_result(job: MonthlyRewardJob, category: str, distribution: Distribution) -> None:
    """What a category has come to, also one that failed after it had paid a part. Coins are a JSON number, for people;
    `amount` beside it is exact.
    """
    stands = distribution.status != Paid.REVERSED
    paid = distribution.chunks.exclude(journal=None).aggregate(recipients=Sum("recipients", default=0))
    units = distribution.currency.to_units(distribution.paid_amount if stands else 0)
    categories = job.results["categories"]
    categories[category] = {
        "status": distribution.status,
        "distribution": distribution.pk,
        "participants": distribution.participants,
        "rewardsAwarded": paid["recipients"] if stands else 0,
        "coinsAwarded": _number(Decimal(units)),
        "amount": units,
        "currency": distribution.currency.code,
    }
    if distribution.status == Paid.FAILED:
        job.error_stack = distribution.error_stack
        job.results["errors"].append({"category": category, "error": distribution.error})
    job.results["totalRewardsAwarded"] = sum(each["rewardsAwarded"] for each in categories.values())
    job.results["totalCoinsAwarded"] = _number(sum(Decimal(each["amount"]) for each in categories.values()))


def _number(units: Decimal | int) -> int | float:
    return int(units) if units == int(units) else float(units)


def _add_error(job: MonthlyRewardJob, category: str, error: Exception) -> None:
    message = error.message if isinstance(error, RewardsError) else str(error) or type(error).__name__
    job.error_stack = "".join(traceback.format_exception(error)).replace("\x00", "\ufffd")
    job.results["errors"].append({"category": category, "error": message.replace("\x00", "\ufffd")})
    logger.error("%s, %s: %s", job, category, message, exc_info=error, extra={"event": "monthly_category_failed"})


def _finish(job: MonthlyRewardJob) -> None:
    """Write how it ended: completed, failed with what stands paid, or not yet, for the next run to go on."""
    errors = job.results["errors"]
    done = (Paid.PAID, Paid.CANCELLED, Paid.REVERSED)
    open_ones = [each for each in job.results["categories"].values() if each["status"] not in (*done, Paid.FAILED)]
    values: dict[str, Any] = {
        "results": job.results,
        "worker": "",
        "heartbeat_at": None,
        "tries_failed": False,
        "error_message": "; ".join(f"{each['category'] or job}: {each['error']}" for each in errors),
        "error_stack": job.error_stack,
    }
    if not open_ones:
        now = timezone.now()
        values |= {"completed_at": now, "duration": round(max(0.0, (now - job.started_at).total_seconds()), 3)}
        values["status"] = Status.FAILED if errors else Status.COMPLETED
    with transaction.atomic():
        if not _mine(job).update(**values):
            logger.warning("%s was taken over", job, extra={"event": "monthly_job_lost"})
        else:
            _tell(job, values.get("status", Status.PROCESSING), values["error_message"])
    job.refresh_from_db()


def _tell(job: MonthlyRewardJob, status: str, error: str) -> None:
    totals = {key: job.results[key] for key in ("totalRewardsAwarded", "totalCoinsAwarded")}
    data = {"month": job.period_key, **totals}
    if error:
        raise_alert(FAILED_ALERT, job.period_key, error, CRITICAL)
    if status == Status.FAILED:
        record("monthly_rewards_failed", actor=job.actor, success=False, error_message=error, data=data)
    elif status == Status.COMPLETED:
        record("monthly_rewards_completed", actor=job.actor, data=data)
        resolve_alert(FAILED_ALERT, job.period_key)
