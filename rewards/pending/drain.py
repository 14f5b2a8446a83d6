"""Paying the queue, by priority, the oldest first; any number of processes share it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from time import monotonic

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from rewards.audit.services import new_event, record_many
from rewards.common.database import in_batches, is_passing, is_postgresql
from rewards.ledger.errors import PayoutsPaused
from rewards.ledger.services import require_payouts_running
from rewards.parameters.services import param
from rewards.pending.models import PendingReward
from rewards.pending.owed import Owed
from rewards.pending.paying import facts_of, lock_for_payment, pay_rows
from rewards.pending.services import (
    accrued_rewards,
    distribute_pending_rewards,
    is_foreseen,
    note_failure,
    record_failure,
    sentence_of,
)

ACCRUED_AT_ONCE = 500

Status, Priority = PendingReward.Status, PendingReward.Priority

logger = logging.getLogger(__name__)


@dataclass
class Drained:
    """What became of rewards that were taken from the queue."""

    paid: int = 0
    failed: int = 0
    expired: int = 0

    def __bool__(self) -> bool:
        return self.paid + self.failed + self.expired > 0

    def add(self, other: Drained) -> None:
        self.paid, self.failed = self.paid + other.paid, self.failed + other.failed
        self.expired += other.expired

    def figures(self) -> dict[str, int]:
        return asdict(self)


def drain(
    at: datetime,
    keep_going: Callable[[], bool] = lambda: True,
    count: Callable[[int, int], object] = lambda successes, failures: None,
) -> Drained:
    """Pay what is due in the queue at `at`, a batch a transaction, until nothing is left that nobody else has taken.

    While payouts are paused nothing is touched. `count` is told of each batch how many were done, and how many failed.
    """
    total = Drained()
    try:
        while keep_going() and (step := drain_some(at)):
            total.add(step)
            count(step.paid + step.expired, step.failed)
    except PayoutsPaused as paused:
        logger.info("The queue waits: %s", paused, extra={"event": "pending_waits", "code": paused.code})
    return total


def drain_some(at: datetime) -> Drained:
    """Pay the next batch. A reward that cannot be paid holds up none of the others: it is put off, or given up."""
    require_payouts_running()
    with transaction.atomic():
        expired: list[PendingReward] = []
        due: list[PendingReward] = []
        for row in _take(at, param("pending.batch_rows")):
            (expired if row.expires_at is not None and row.expires_at <= at else due).append(row)
        _expire(expired, at)
        lock_for_payment([(row.user, row.currency) for row in due])
        failed = _pay_piece_by_piece(due, at)
    return Drained(paid=len(due) - failed, failed=failed, expired=len(expired))


def due_rows(at: datetime) -> QuerySet[PendingReward]:
    """The rows of the queue that a drainer would take at `at`; expired ones too, to be marked as such."""
    return PendingReward.objects.filter(Q(not_before=None) | Q(not_before__lte=at), status=Status.QUEUED)


def _take(at: datetime, limit: int) -> list[PendingReward]:
    """Lock the first rows of the queue, passing over those that another drainer has."""
    taken: list[PendingReward] = []
    for priority in (Priority.HIGH, Priority.NORMAL, Priority.LOW):
        rows = due_rows(at).filter(priority=priority).order_by("queued_at", "pk").select_related("user", "currency")
        locked = rows.select_for_update(no_key=True, skip_locked=is_postgresql(), of=("self",))
        taken += locked[: limit - len(taken)]
        if len(taken) == limit:
            break
    return taken


def _expire(rows: Sequence[PendingReward], at: datetime) -> None:
    PendingReward.objects.filter(pk__in=[row.pk for row in rows]).update(status=Status.EXPIRED, processed_at=at)
    record_many(new_event("pending_reward_expired", success=False, **facts_of(row)) for row in rows)


def _pay_piece_by_piece(rows: Sequence[PendingReward], at: datetime) -> int:
    """Pay all of them at once; if that fails, each half by itself, down to the single ones that cannot be paid.

    Each piece is a savepoint. Returns how many could not be paid.
    """
    if not rows:
        return 0
    try:
        with transaction.atomic():
            pay_rows(rows, at)
    except Exception as error:
        if isinstance(error, PayoutsPaused) or is_passing(error):
            raise
        if len(rows) > 1:
            middle = len(rows) // 2
            return _pay_piece_by_piece(rows[:middle], at) + _pay_piece_by_piece(rows[middle:], at)
        _put_off(rows[0], error, at)
        return 1
    return 0


def _put_off(row: PendingReward, error: Exception, at: datetime) -> None:
    sentence = sentence_of(error)
    note_failure(PendingReward.objects.filter(pk=row.pk), sentence, at)
    record_failure(Owed.of(row), sentence, rewards=1)
    stack = None if is_foreseen(error) else error
    logger.error("%s was not paid: %s", row, sentence, exc_info=stack, extra={"event": "pending_failed"})


# ------------------------------------------------------------------------------------------------- before a worker ends


def drain_before_shutdown() -> None:
    """Pay what is pending, for a moment: a worker that ends in good order leaves as little as it can to others.

    The queue first, then what has accrued. What fails, or is not reached, stays as it is and is paid by the next one.
    Never raises: a worker must come to its end.
    """
    try:
        _drain_until(monotonic() + param("pending.shutdown_seconds"), timezone.now())
    except Exception as error:
        _say_intervention_needed(f"what is pending was not paid before the shutdown: {sentence_of(error)}")


def _drain_until(until: float, at: datetime) -> None:
    drained = drain(at, keep_going=lambda: monotonic() < until)
    if drained.failed:
        _say_intervention_needed(f"{drained.failed} pending rewards could not be paid before the shutdown")
    if param("payouts_paused") or monotonic() >= until:
        return
    for some in in_batches(accrued_rewards(at=at), ACCRUED_AT_ONCE):
        if monotonic() >= until:
            return
        result = distribute_pending_rewards(some, at=at)
        if not result.success:
            _say_intervention_needed(f"what has accrued was not paid before the shutdown: {result.error_message}")


def _say_intervention_needed(what: str) -> None:
    logger.critical(
        "%s: manual intervention required. Nothing is lost; see the pending rewards in the admin.",
        what[0].upper() + what[1:],
        extra={"event": "shutdown_drain_failed"},
    )
