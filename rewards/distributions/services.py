"""The life of a distribution.

    open ──► frozen ──► allocated ──► approved ──► paying ──► paid ──► reversed
                          └► cancelled                failed (from any stage, with error and stack)

Each stage is one transaction that looks at the status under a lock and moves it on, so any number of processes may
work on one distribution: each step is done once, and a process that dies is continued by the next. Freezing and
allocating are one stage, so that each row is written once.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import OperationalError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from rewards.alerts.services import open_subjects, raise_alert, resolve_alert
from rewards.allocation.figures import evenness_of
from rewards.allocation.merkle import leaf_hash, root_from_subtrees, root_of
from rewards.audit.services import record
from rewards.common.database import (
    MANY_ROWS,
    column_values,
    expect_many_rows,
    insert_if_absent,
    refresh_statistics,
    require_transaction,
    write_rows,
)
from rewards.common.errors import RewardsError, ensure
from rewards.distributions import rows
from rewards.distributions.corrections import reverse as reverse
from rewards.distributions.errors import (
    DigestMismatch,
    NotFailed,
    NotWaitingForApproval,
    NotYet,
    OwnApproval,
    PeriodNotOver,
)
from rewards.distributions.models import Distribution, DistributionChunk, Reward
from rewards.distributions.programmes import programme_of
from rewards.distributions.queries import unfinished_states
from rewards.distributions.stages import lock_row, require_reason, require_right, update_row
from rewards.ledger import services as ledger
from rewards.ledger.errors import PayoutsPaused
from rewards.ledger.models import Account, Currency
from rewards.parameters.services import param
from rewards.users.models import User

Status = Distribution.Status

logger = logging.getLogger(__name__)

PERIOD_STUCK = "period_stuck"

# A stage that another process is working on is not taken for abandoned before this.
ABANDONED_AFTER = timedelta(minutes=2)

# How long a request pays along; what is left is continued by the next job.
PAY_ALONG_SECONDS = 5.0


def open_distribution(
    programme: str,
    period_key: str,
    *,
    starts_at: datetime | None,
    ends_at: datetime | None,
    currency: Currency,
    source_account: Account,
    rule: dict[str, Any],
    at: datetime,
    rule_version: int | None = None,
    tie_policy: str = "earliest",
    payout: str = "ledger",
    approval_limit: int | None = None,
    actor: User | None = None,
    prepared_by: User | None = None,
) -> tuple[Distribution, bool]:
    """The distribution of a programme for a period, and whether this call opened it.

    Its unique row is the lock: a second caller gets the first one's. By `payout` the users are paid (`ledger`), or
    claim what they get (`chain`). Raises `PeriodNotOver` when the period ends
    after `at`.
    """
    if ends_at is not None and ends_at > at:
        raise PeriodNotOver(f"{programme} {period_key} ends at {ends_at:%Y-%m-%d %H:%M} UTC: it is not over yet.")
    distribution = Distribution(
        programme=programme, period_key=period_key, starts_at=starts_at, ends_at=ends_at, currency=currency,
        source_account=source_account, rule=rule, rule_version=rule_version, tie_policy=tie_policy,
        payout=payout, approval_limit=approval_limit, actor=actor, prepared_by=prepared_by,
    )  # fmt: skip
    with transaction.atomic():
        opened = insert_if_absent(distribution, unique=["programme", "period_key"])
        if opened:
            record("distribution_started", distribution=distribution, actor=actor, currency=currency)
    if not opened:
        distribution = Distribution.objects.get(programme=programme, period_key=period_key)
    return distribution, opened


def advance(distribution_id: int, keep_going: Callable[[], bool] = lambda: True) -> Distribution:
    """Take every step that can be taken now: until it is paid, waits for an approval, is paused, or has failed.

    `keep_going` is asked before each step, for callers whose time is limited.
    """
    distribution = Distribution.objects.select_related("currency", "source_account__currency").get(pk=distribution_id)
    while keep_going() and step(distribution):
        pass
    return distribution


def pay_along(distribution_id: int) -> Distribution:
    """Advance it for a moment: a small payout is done when its approver looks again, a large one goes on in a job."""
    until = time.monotonic() + PAY_ALONG_SECONDS
    return advance(distribution_id, lambda: time.monotonic() < until)


def step(distribution: Distribution) -> bool:
    """Take the next step and bring `distribution` up to date; False when there is none to take now.

    A step that fails changes nothing but the status: `failed`, with the error, its stack and the stage it continues
    from. A lost connection or a deadlock is no failure of the distribution and is raised to the caller.
    """
    stages = {
        Status.OPEN: _freeze_and_allocate,
        Status.FROZEN: _freeze_and_allocate,
        Status.APPROVED: _pay_one_chunk,
        Status.PAYING: _pay_one_chunk,
    }
    take = stages.get(Status(distribution.status))
    if take is None:
        return False
    try:
        return take(distribution)
    except (NotYet, PayoutsPaused) as waiting:
        logger.info("%s waits: %s", distribution, waiting, extra={"event": "distribution_waits", "code": waiting.code})
    except OperationalError:
        raise
    except Exception as error:
        _fail(distribution, error)
    return False


def pay_at_once(distribution: Distribution, *, own_events: bool = False) -> None:
    """Take an open distribution to its end in the caller's transaction. What goes wrong is raised and takes all back.

    For what is paid whole or not at all, beside other things that happen with it. It must not need an approval. With
    `own_events` the caller writes an audit event for each reward, instead of one for each chunk. Raises
    `PayoutsPaused` before anything is written, and whatever a stage fails with.
    """
    ledger.require_payouts_running()
    require_transaction()
    _freeze_and_allocate(distribution)
    ensure(distribution.status != Status.ALLOCATED, f"{distribution} would wait for an approval: not paid at once")
    while distribution.status != Status.PAID:
        ensure(_pay_one_chunk(distribution, own_events=own_events), f"{distribution} is {distribution.status}")


# ------------------------------------------------------------------------------------------------- freeze and allocate


def _freeze_and_allocate(distribution: Distribution) -> bool:
    """Fix who takes part and what each of them gets; write the rows, their chunks and the digest."""
    started = time.monotonic()
    with transaction.atomic():
        if not lock_row(distribution, Status.OPEN, Status.FROZEN):
            return True
        expect_many_rows()
        programme = programme_of(distribution)
        programme.require_standing(distribution)
        distribution.amount, snapshot = programme.freeze(distribution)
        frozen_at, frozen = timezone.now(), time.monotonic()
        allocation = rows.shared_out(
            distribution.rule, distribution.amount, snapshot, distribution.currency, distribution.tie_policy
        )
        writer = rows.RowWriter(distribution, snapshot, allocation, param("distributions.chunk_rows"))
        write_rows(Reward._meta.db_table, rows.REWARD_COLUMNS, writer.rows())
        if len(snapshot) >= MANY_ROWS:
            refresh_statistics(Reward)
        _write_chunks(distribution, writer.chunks)
        paid = sum(chunk.amount for chunk in writer.chunks)
        ensure(
            paid + allocation.unpaid == distribution.amount, f"{distribution}: rows and remainder are not the amount"
        )
        allocated_at, waits = timezone.now(), paid > 0 and needs_approval(distribution)
        update_row(
            distribution,
            status=Status.ALLOCATED if waits else Status.APPROVED,
            amount=distribution.amount,
            participants=len(snapshot),
            recipients=sum(chunk.recipients for chunk in writer.chunks),
            carried_over=allocation.unpaid,
            digest=root_from_subtrees([chunk.root for chunk in writer.chunks]).hex(),
            results={
                "slices": [
                    {"name": part.name, "amount": part.amount, "paid": part.paid, "members": part.members}
                    for part in allocation.slices
                ],
                "facts": allocation.facts,
                "unpaid": allocation.unpaid,
                "evenness": evenness_of(allocation.amounts),
            },
            frozen_at=frozen_at,
            allocated_at=allocated_at,
            approved_at=None if waits else allocated_at,
            seconds=_seconds(distribution, freeze=frozen - started, allocate=time.monotonic() - frozen),
        )
    return True


def _write_chunks(distribution: Distribution, chunks: Sequence[rows.ChunkTotals]) -> None:
    DistributionChunk.objects.bulk_create(
        DistributionChunk(
            distribution=distribution,
            number=chunk.number,
            first_position=chunk.first_position,
            last_position=chunk.last_position,
            recipients=chunk.recipients,
            amount=chunk.amount,
            root=chunk.root.hex(),
            # A chunk that pays nobody is done.
            paid_at=None if chunk.recipients else timezone.now(),
        )
        for chunk in chunks
    )


# ------------------------------------------------------------------------------------------------------------- approve


def needs_approval(distribution: Distribution) -> bool:
    """Whether a person approves it: there is a limit, and the amount is not below it."""
    return distribution.approval_limit is not None and distribution.amount >= distribution.approval_limit


def approve(distribution_id: int, actor: User, digest: str | None = None) -> Distribution:
    """Approve what the digest says. Nothing is paid yet: `advance` does that.

    Raises `NotAllowed` without the right, `OwnApproval` for whoever opened or last changed it,
    `NotWaitingForApproval`, `DigestMismatch` when `digest` (what the approver has seen) is not the one stored, and what
    its programme has against it.
    """
    require_right(actor, "approve_distribution")
    with transaction.atomic():
        distribution = _waiting_for_approval(distribution_id)
        # What the schedule opened has neither: any approver may approve it.
        if actor.pk in (distribution.actor_id, distribution.prepared_by_id):
            raise OwnApproval()
        if digest is not None and digest != distribution.digest:
            raise DigestMismatch("The distribution has changed since you looked at it. Look again, then approve.")
        programme_of(distribution).require_standing(distribution)
        update_row(distribution, status=Status.APPROVED, approved_at=timezone.now(), approved_by=actor)
        record(
            "approved", distribution=distribution, actor=actor, amount=distribution.amount,
            currency=distribution.currency, data={"digest": distribution.digest},
        )  # fmt: skip
    return distribution


def reject(distribution_id: int, actor: User, reason: str) -> Distribution:
    """Cancel a distribution that waits for approval; its whole amount is carried over. Raises like `approve`."""
    require_right(actor, "approve_distribution")
    require_reason(reason)
    with transaction.atomic():
        distribution = _waiting_for_approval(distribution_id)
        update_row(distribution, status=Status.CANCELLED, carried_over=distribution.amount, reason=reason)
        programme_of(distribution).rejected(distribution)
        record(
            "rejected", distribution=distribution, actor=actor, amount=distribution.amount,
            currency=distribution.currency, reason=reason, data={"digest": distribution.digest},
        )  # fmt: skip
    return distribution


def _waiting_for_approval(distribution_id: int) -> Distribution:
    distribution = Distribution.objects.select_related("currency").get(pk=distribution_id)
    if not lock_row(distribution, Status.ALLOCATED):
        raise NotWaitingForApproval(f"{distribution} is {distribution.status}: it does not wait for approval.")
    return distribution


# ----------------------------------------------------------------------------------------------------------------- pay


def _pay_one_chunk(distribution: Distribution, own_events: bool = False) -> bool:
    """Pay the first chunk that nobody is paying, in one transaction with one journal.

    The rows are hashed again before: paying refuses rows that are not the approved ones.
    """
    ledger.require_payouts_running()
    started = time.monotonic()
    with transaction.atomic():
        unpaid = DistributionChunk.objects.filter(distribution=distribution, paid_at=None).order_by("number")
        chunk = unpaid.select_for_update(no_key=True, skip_locked=True).first()
        if chunk is not None:
            expect_many_rows()
            _check_rows(distribution, chunk)
            _post_chunk(distribution, chunk)
            if not own_events:
                _record_chunk(distribution, chunk)
            programme_of(distribution).require_standing(distribution)
        elif unpaid.exists():
            return False  # others are paying what is left
        # The distribution's row is locked as late as can be: until here, chunks are paid side by side.
        if not lock_row(distribution, Status.APPROVED, Status.PAYING):
            ensure(chunk is None, f"{distribution} was stopped while one of its chunks was being paid")
            return False
        distribution.paid_amount += chunk.amount if chunk else 0
        update_row(
            distribution,
            status=Status.PAYING if unpaid.exists() else Status.PAID,
            paid_amount=distribution.paid_amount,
            paying_at=distribution.paying_at or timezone.now(),
            seconds=_seconds(distribution, pay=distribution.seconds.get("pay", 0) + time.monotonic() - started),
        )
        if distribution.status == Status.PAID:
            _complete(distribution)
    return True


def _check_rows(distribution: Distribution, chunk: DistributionChunk) -> None:
    """Raise `DigestMismatch` unless the chunk's rows hash to its root and the chunks' roots to the digest."""
    leaves = rows.chunk_leaves(distribution, chunk.first_position, chunk.last_position)
    roots = distribution.chunks.order_by("number").values_list("root", flat=True)
    if root_of(leaves).hex() != chunk.root:
        raise DigestMismatch(
            f"{distribution}: rows {chunk.first_position} to {chunk.last_position} are not what was approved."
        )
    if root_from_subtrees([bytes.fromhex(root) for root in roots]).hex() != distribution.digest:
        raise DigestMismatch(f"{distribution}: its chunks do not make up the approved digest.")


def _post_chunk(distribution: Distribution, chunk: DistributionChunk) -> None:
    paid_rows = Reward.objects.filter(
        distribution=distribution, position__range=(chunk.first_position, chunk.last_position), amount__gt=0
    )
    chunk.journal = ledger.pay_many(
        f"{distribution.programme}:{distribution.period_key}:{chunk.number}",
        "distribution",
        distribution.source_account,
        paid_rows.values("user_id", "amount"),
        count=chunk.recipients,
        total=chunk.amount,
        content=chunk.root,
        code=distribution.paid_into,
        source=f"distribution:{distribution.pk}:{chunk.number}",
    )
    chunk.paid_at = timezone.now()
    chunk.save(update_fields=["journal", "paid_at"])


def _record_chunk(distribution: Distribution, chunk: DistributionChunk) -> None:
    record(
        "reward_distributed", distribution=distribution, amount=chunk.amount, currency=distribution.currency,
        data={"chunk": chunk.number, "recipients": chunk.recipients, "root": chunk.root},
    )  # fmt: skip


def _complete(distribution: Distribution) -> None:
    due = distribution.amount - distribution.carried_over
    ensure(distribution.paid_amount == due, f"{distribution} paid {distribution.paid_amount} of {due} minor units")
    update_row(distribution, paid_at=timezone.now())
    programme_of(distribution).paid(distribution)
    if distribution.failed_at is not None:
        resolve_alert("distribution_failed", str(distribution))
    logger.info("%s is paid", distribution, extra={"event": "distribution_paid", "amount": due})


# --------------------------------------------------------------------------------------------------------- fail, retry


def _fail(distribution: Distribution, error: Exception) -> None:
    """Keep what went wrong. The stage it was in stays whole, and is where a retry continues."""
    message = error.message if isinstance(error, RewardsError) else str(error) or type(error).__name__
    logger.error("%s failed: %s", distribution, message, exc_info=error, extra={"event": "distribution_failed"})
    with transaction.atomic():
        unfinished = [Status.OPEN, Status.FROZEN, Status.ALLOCATED, Status.APPROVED, Status.PAYING]
        if not lock_row(distribution, *unfinished):
            return
        update_row(
            distribution,
            status=Status.FAILED,
            failed_from=distribution.status,
            failed_at=timezone.now(),
            error=message,
            error_stack="".join(traceback.format_exception(error)),
        )
        record("distribution_failed", distribution=distribution, success=False, error_message=message)
        raise_alert("distribution_failed", str(distribution), message, severity="critical")


def retry(distribution_id: int, actor: User | None = None) -> Distribution:
    """Continue a failed distribution from the stage it failed in, and advance it. Raises `NotAllowed`, `NotFailed`."""
    resume(distribution_id, actor)
    return advance(distribution_id)


def resume(distribution_id: int, actor: User | None = None) -> Distribution:
    """Put a failed distribution back into the stage it failed in: `advance` goes on from there. Raises like `retry`."""
    if actor is not None:
        require_right(actor, "run_distribution")
    with transaction.atomic():
        distribution = Distribution.objects.get(pk=distribution_id)
        if not lock_row(distribution, Status.FAILED):
            raise NotFailed(f"{distribution} is {distribution.status}: only a failed one can be retried.")
        update_row(distribution, status=distribution.failed_from, failed_from="", error="", error_stack="")
        record("retried", distribution=distribution, actor=actor)
    return distribution


# ----------------------------------------------------------------------------------------------------------- in numbers


def record_empty(
    programme: str,
    periods: Sequence[tuple[str, datetime, datetime]],
    *,
    currency: Currency,
    source_account: Account,
    rule: dict[str, Any],
    rule_version: int | None = None,
) -> int:
    """Record periods in which nobody took part and nothing was there to pay, set-based. Those that stand, stay.

    `periods` are (key, start, end), neighbours in order. Returns how many were written.
    """
    now = timezone.now()
    empty = Distribution(
        programme=programme, currency=currency, source_account=source_account, rule=rule, rule_version=rule_version,
        status=Status.PAID, results={"slices": [], "facts": {}, "unpaid": 0},
        opened_at=now, frozen_at=now, allocated_at=now, approved_at=now, paid_at=now,
    )  # fmt: skip
    fields = [field for field in Distribution._meta.concrete_fields if not field.primary_key]
    with transaction.atomic():
        standing = set(
            Distribution.objects.filter(
                programme=programme, starts_at__gte=periods[0][1], starts_at__lt=periods[-1][2]
            ).values_list("period_key", flat=True)
        )
        missing = [period for period in periods if period[0] not in standing]
        write_rows(
            Distribution._meta.db_table,
            [str(field.column) for field in fields],
            (column_values(_as_empty(empty, *period), fields) for period in missing),
        )
    return len(missing)


def _as_empty(empty: Distribution, key: str, starts_at: datetime, ends_at: datetime) -> Distribution:
    empty.period_key, empty.starts_at, empty.ends_at = key, starts_at, ends_at
    empty.digest = root_of([leaf_hash(rows.header_of(empty))]).hex()
    return empty


def abandoned(at: datetime) -> QuerySet[Distribution]:
    """What nobody waits for and is not done, oldest first, opened too long ago for its opener to be still at it."""
    return Distribution.objects.filter(
        status__in=[Status.OPEN, Status.FROZEN, Status.APPROVED, Status.PAYING],
        opened_at__lt=at - ABANDONED_AFTER,
    ).order_by("starts_at", "pk")


def continue_unfinished(at: datetime, keep_going: Callable[[], bool] = lambda: True) -> int:
    """Advance what a process left unfinished; one that fails does not stop the others. Returns how many were tried."""
    tried = 0
    for distribution_id in abandoned(at).values_list("pk", flat=True):
        if not keep_going():
            break
        advance(distribution_id, keep_going)
        tried += 1
    _alert_stuck(at)
    return tried


def _alert_stuck(at: datetime) -> None:
    """One open alert for each payout that stands still without having failed; resolved when it has gone on."""
    stuck = {str(each.distribution): each.note for each in unfinished_states(at) if each.state == "stuck"}
    failed = Distribution.objects.filter(status=Status.FAILED)  # these have an alert of their own
    for subject in stuck.keys() - {str(distribution) for distribution in failed}:
        raise_alert(PERIOD_STUCK, subject, f"It is {stuck[subject]} and has not moved on.")
    for subject in open_subjects(PERIOD_STUCK) - stuck.keys():
        resolve_alert(PERIOD_STUCK, subject)


# -------------------------------------------------------------------------------------------------------------- helpers


def _seconds(distribution: Distribution, **stages: float) -> dict[str, float]:
    return {**distribution.seconds, **{name: round(value, 3) for name, value in stages.items()}}
