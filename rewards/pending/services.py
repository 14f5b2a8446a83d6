"""What is owed to single users: finding it, paying it, and what happens when that fails.

Rewards that are asked for together are paid together, all or none. When one of them cannot be paid, everything is taken
back, and of the queue only its own row changes: how often it failed, why, and when to try again.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet, Sum
from django.utils import timezone

from rewards.alerts.services import raise_alert, resolve_alert
from rewards.audit.services import record, storable_text
from rewards.common.database import in_batches, insert_if_absent, is_passing
from rewards.common.errors import RewardsError
from rewards.distributions.errors import NotAllowed
from rewards.ledger.errors import PayoutsPaused, UnknownCurrency
from rewards.ledger.models import Currency
from rewards.parameters.services import param
from rewards.pending.accruals import AccrualSource, accrual_sources
from rewards.pending.errors import (
    InvalidReward,
    NotDead,
    ReservedRewardId,
    RewardDead,
    RewardMismatch,
    UnknownAccount,
)
from rewards.pending.models import PendingReward
from rewards.pending.owed import DistributionResult, Owed, sole_total, units
from rewards.pending.paying import ROWS_AT_ONCE, facts_of, lock_for_payment, pay_rows
from rewards.users.models import User

__all__ = [
    "DistributionResult",
    "Owed",
    "distribute_pending_rewards",
    "distribute_together",
    "get_pending_rewards",
    "queue_reward",
    "requeue",
]

REWARD_DEAD = "pending_reward_dead"
LONGEST_ID = 200
LONGEST_TYPE = 40

Status = PendingReward.Status

logger = logging.getLogger(__name__)


# --------------------------------------------------------------------------------------------------------- what is owed


def get_pending_rewards(user: User | None = None, deployment: Any = None, *, at: datetime | None = None) -> list[Owed]:
    """What is owed to a user, for a deployment (a `Deployment` or its id), or in all: the queue, then what accrued.

    A reward that waits for its next try is owed too; one that is dead or has expired is not. A pure read.
    """
    at = at or timezone.now()
    queue = _related(_owed_rows(user, deployment, at)).order_by("queued_at", "pk")
    return [Owed.of(row) for row in queue.iterator(chunk_size=5_000)] + accrued_rewards(user, deployment, at=at)


def accrued_rewards(user: User | None = None, deployment: Any = None, *, at: datetime) -> list[Owed]:
    """What has accrued by `at`. A pure read."""
    return [owed for source in accrual_sources() for owed in source.pending(user, deployment, at)]


def look_over_pending(
    user: User | None, deployment: Any, *, at: datetime, most: int
) -> tuple[list[Owed], dict[str, Decimal]]:
    """The first `most` of what `get_pending_rewards` gives, and what all of it comes to by currency."""
    queue = _owed_rows(user, deployment, at)
    accrued = accrued_rewards(user, deployment, at=at)
    totals: dict[str, Decimal] = defaultdict(Decimal)
    sums = queue.order_by("currency").values_list("currency").annotate(Sum("amount"))
    currencies = Currency.objects.in_bulk([pk for pk, _ in sums])
    for pk, total in sums:
        totals[currencies[pk].code] += Decimal(currencies[pk].to_units(int(total)))
    for owed in accrued:
        totals[owed.currency] += owed.amount
    first = [Owed.of(row) for row in _related(queue).order_by("queued_at", "pk")[:most]]
    return (first + accrued)[:most], dict(totals)


def _owed_rows(user: User | None, deployment: Any, at: datetime) -> QuerySet[PendingReward]:
    """The rows of the queue that have not expired, of a user, for a deployment (None: of any)."""
    rows = PendingReward.objects.filter(Q(expires_at=None) | Q(expires_at__gt=at), status=Status.QUEUED)
    if user is not None:
        rows = rows.filter(user=user)
    return rows if deployment is None else rows.filter(deployment=deployment)


def queue_reward(
    user: User,
    currency: Currency,
    amount: int,
    reward_id: str,
    *,
    at: datetime,
    reason: str = "",
    reward_type: str = "manual",
    deployment: Any = None,
    priority: str = PendingReward.Priority.NORMAL,
    max_retries: int = 3,
    not_before: datetime | None = None,
    expires_at: datetime | None = None,
    metadata: dict[str, Any] | None = None,
) -> PendingReward:
    """Put a reward of `amount` minor units into the queue, once: the same `reward_id` again returns the first row.

    Raises `InvalidAmount`, `ReservedRewardId` for an id of what accrues, and `RewardMismatch` where the id stands for
    another recipient, amount or currency.
    """
    currency.to_minor(currency.to_units(amount))
    if any(source.claims(reward_id) for source in accrual_sources()):
        raise ReservedRewardId
    row = PendingReward(
        reward_id=reward_id, user=user, currency=currency, amount=amount, reason=reason, reward_type=reward_type,
        deployment=deployment, priority=priority, max_retries=max_retries, queued_at=at, not_before=not_before,
        expires_at=expires_at, metadata=metadata or {},
    )  # fmt: skip
    if insert_if_absent(row, unique=["reward_id"]):
        return row
    standing = PendingReward.objects.select_related("user", "currency").get(reward_id=reward_id)
    _require_same(standing, row)
    return standing


def requeue(pending_id: int, actor: User, at: datetime) -> PendingReward:
    """Put a reward that failed for good, or expired, back into the queue with all its tries. Raises `NotDead`."""
    if not actor.has_perm("rewards.requeue_pendingreward"):
        raise NotAllowed(f"{actor} may not do this: it takes the right 'requeue_pendingreward'.")
    with transaction.atomic():
        row = _related(PendingReward.objects.filter(pk=pending_id)).select_for_update(no_key=True, of=("self",)).get()
        if row.status not in (Status.FAILED, Status.EXPIRED):
            raise NotDead(f"{row} is {row.status}: only a reward that failed for good, or expired, is queued again.")
        row.status, row.retry_count, row.not_before, row.processed_at, row.expires_at = (
            Status.QUEUED,
            0,
            None,
            None,
            None,
        )
        row.save(update_fields=["status", "retry_count", "not_before", "processed_at", "expires_at"])
        record("requeued", actor=actor, **facts_of(row))
        resolve_alert(REWARD_DEAD, row.reward_id)
    return row


# ----------------------------------------------------------------------------------------------------- paid all or none


def distribute_pending_rewards(
    rewards: Iterable[Owed], *, at: datetime | None = None, actor: User | None = None
) -> DistributionResult:
    """Pay these rewards together, all or none, each once.

    What somebody else has paid meanwhile is left out and not counted. A reward that is neither in the queue nor accrued
    is paid as it is given, and its id is taken from then on. Never raises for a reward that cannot be paid: the result
    names it.
    """
    wanted = list(rewards)
    return distribute_together(lambda: wanted, lambda: None, at=at or timezone.now(), actor=actor)


def distribute_together(
    find: Callable[[], Sequence[Owed]],
    then: Callable[[], object],
    *,
    at: datetime,
    actor: User | None = None,
    about: Mapping[str, str] | None = None,
    raises: tuple[type[Exception], ...] = (),
) -> DistributionResult:
    """Find rewards, pay them, and do what follows from it, in one transaction: all of it happens, or nothing.

    Whatever fails becomes the result, but for the errors in `raises` and a database that cannot be reached or found a
    deadlock, which are raised. Then one `distribution_failed` event is written (with what `about` says), and the row of
    the reward at fault changes.
    """
    wanted: list[Owed] = []
    try:
        with transaction.atomic():
            wanted = list(find())
            paid = _pay(wanted, at, actor)
            then()
    except Exception as error:
        if isinstance(error, raises) or is_passing(error):
            raise
        at_fault = _who_is_at_fault(error, wanted, at)
        return _after_failure(at_fault, error, wanted, at, actor, about or {})
    return _result_of(paid, at)


def _result_of(paid: Sequence[PendingReward], at: datetime) -> DistributionResult:
    totals: dict[str, Decimal] = {}
    for row in paid:
        totals[row.currency.code] = totals.get(row.currency.code, Decimal(0)) + units(row)
    return DistributionResult(
        success=True,
        total_rewards_distributed=len(paid),
        total_amount_distributed=sole_total(totals),
        totals=totals,
        audit_log=[_log_entry(Owed.of(row), at, "success") for row in paid],
    )


def _log_entry(owed: Owed, at: datetime, status: str) -> dict[str, Any]:
    return {
        "reward_id": owed.reward_id,
        "account_id": owed.account_id,
        "amount": owed.amount,
        "currency": owed.currency,
        "reason": owed.reason,
        "timestamp": at,
        "status": status,
    }


class AtFault(Exception):
    """One reward of several that cannot be paid, and why."""

    def __init__(self, owed: Owed, error: Exception) -> None:
        super().__init__(str(error))
        self.owed, self.error = owed, error


def _pay(wanted: Sequence[Owed], at: datetime, actor: User | None) -> list[PendingReward]:
    """Pay what of it is still owed; its rows.

    Raises `AtFault` for a reward that is wrong by itself, and like `pay_rows`.
    """
    asked = _by_id(wanted)
    live, gone, sources = _lock_accruals(list(asked.values()), at)
    named = {reward_id: owed for reward_id, owed in asked.items() if reward_id not in gone}
    rows = _locked_rows(named, live, at)
    for row in rows:
        _check(row, asked[row.reward_id])
    paid = [row for row in rows if row.status == Status.QUEUED and (row.expires_at is None or row.expires_at > at)]
    if len({row.currency_id for row in paid}) > 1:
        lock_for_payment([(row.user, row.currency) for row in paid])
    if paid:
        pay_rows(paid, at, actor)
    paid_ids = {row.reward_id for row in paid}
    for source, reward_ids in sources:
        source.settle([live[reward_id] for reward_id in reward_ids if reward_id in paid_ids])
    return paid


def _by_id(wanted: Sequence[Owed]) -> dict[str, Owed]:
    """Each reward once. Raises `AtFault` for one that cannot be written down, and for two of one id that differ."""
    asked: dict[str, Owed] = {}
    for owed in wanted:
        texts = (owed.reward_id, owed.account_id, owed.currency, owed.reason, owed.reward_type)
        lengths = 1 <= len(owed.reward_id) <= LONGEST_ID and 1 <= len(owed.reward_type) <= LONGEST_TYPE
        if not lengths or any(storable_text(text) != text for text in texts):
            raise AtFault(owed, InvalidReward())
        if asked.setdefault(owed.reward_id, owed) != owed:
            raise AtFault(owed, RewardMismatch("This reward was asked for twice, and not the same both times."))
    return asked


def _lock_accruals(
    wanted: Sequence[Owed], at: datetime
) -> tuple[dict[str, PendingReward], set[str], list[tuple[AccrualSource, list[str]]]]:
    """Rows to be of what has accrued, ids of what is owed no more, and which source has which ids."""
    live: dict[str, PendingReward] = {}
    gone: set[str] = set()
    sources = []
    for source in accrual_sources():
        found, not_owed = source.lock(wanted, at)
        live |= found
        gone |= not_owed
        sources.append((source, list(found)))
    return live, gone, sources


def _locked_rows(named: dict[str, Owed], live: dict[str, PendingReward], at: datetime) -> list[PendingReward]:
    """The rows of these rewards, written where there were none, locked in ascending id, in the order asked for.

    The unique id comes first: of two who pay the same reward, the second waits here and then finds it distributed.
    """
    standing = _keys_of(named)
    missing = [owed for reward_id, owed in named.items() if reward_id not in standing]
    if missing:
        by_hand = _made_by_hand([owed for owed in missing if owed.reward_id not in live], at)
        accrued = [live[owed.reward_id] for owed in missing if owed.reward_id in live]
        ordered = sorted(by_hand + accrued, key=lambda row: row.reward_id)
        PendingReward.objects.bulk_create(ordered, ROWS_AT_ONCE, ignore_conflicts=True)
        standing = _keys_of(named)
    locked = {}
    for keys in in_batches(sorted(standing.values()), ROWS_AT_ONCE):
        some = PendingReward.objects.filter(pk__in=keys).select_for_update(no_key=True, of=("self",)).order_by("pk")
        locked.update({row.reward_id: row for row in _related(some)})
    return [locked[reward_id] for reward_id in named]


def _keys_of(named: Iterable[str]) -> dict[str, int]:
    """Reward id → primary key, of those that have a row."""
    found: dict[str, int] = {}
    for ids in in_batches(named, ROWS_AT_ONCE):
        found.update(PendingReward.objects.filter(reward_id__in=ids).values_list("reward_id", "pk"))
    return found


def _related(rows: QuerySet[PendingReward]) -> QuerySet[PendingReward]:
    return rows.select_related("user", "currency")


def _made_by_hand(rewards: Sequence[Owed], at: datetime) -> list[PendingReward]:
    """Rows for rewards that have none and have not accrued. Raises `AtFault`."""
    users = _found(User.objects.filter(), "username", {owed.account_id for owed in rewards})
    codes = {owed.currency or param("pending.currency") for owed in rewards}
    currencies = _found(Currency.objects.filter(), "code", codes)
    deployments = PendingReward._meta.get_field("deployment").related_model
    ids = {owed.deployment_id for owed in rewards if owed.deployment_id is not None}
    known = _found(deployments._default_manager.filter(), "pk", ids)  # type: ignore[union-attr]
    return [_row_of(owed, users, currencies, known, at) for owed in rewards]


def _found(rows: QuerySet[Any], name: str, values: Iterable[Any]) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    for some in in_batches(values, ROWS_AT_ONCE):
        found |= {getattr(row, name): row for row in rows.filter(**{f"{name}__in": some})}
    return found


def _row_of(
    owed: Owed,
    users: Mapping[str, User],
    currencies: Mapping[str, Currency],
    deployments: Mapping[UUID, Any],
    at: datetime,
) -> PendingReward:
    code = owed.currency or param("pending.currency")
    try:
        if owed.account_id not in users:
            raise UnknownAccount(f"There is no user {owed.account_id!r}.")
        if code not in currencies:
            raise UnknownCurrency(f"There is no currency {code!r}.")
        if owed.deployment_id is not None and owed.deployment_id not in deployments:
            raise InvalidReward(f"There is no deployment {owed.deployment_id}.")
        amount = currencies[code].to_minor(owed.amount)
    except RewardsError as error:
        raise AtFault(owed, error) from error
    return PendingReward(
        reward_id=owed.reward_id, user=users[owed.account_id], amount=amount, currency=currencies[code],
        reason=owed.reason, reward_type=owed.reward_type, deployment_id=owed.deployment_id, queued_at=at,
        metadata=owed.metadata,
    )  # fmt: skip


def _check(row: PendingReward, owed: Owed) -> None:
    """Raise `AtFault` unless the row is what was asked to be paid, and can be, or has been."""
    try:
        if row.user.get_username() != owed.account_id or owed.currency not in ("", row.currency.code):
            raise RewardMismatch
        if row.currency.to_minor(owed.amount) != row.amount:
            raise RewardMismatch
        if row.status == Status.FAILED:
            raise RewardDead
    except RewardsError as error:
        raise AtFault(owed, error) from error


def _require_same(standing: PendingReward, row: PendingReward) -> None:
    facts = ("user_id", "currency_id", "amount")
    if any(getattr(standing, name) != getattr(row, name) for name in facts):
        raise RewardMismatch()


# ----------------------------------------------------------------------------------------------------------- who failed


def _who_is_at_fault(error: Exception, wanted: Sequence[Owed], at: datetime) -> AtFault | None:
    """The reward that an error is about; None where it is about none."""
    if isinstance(error, PayoutsPaused) or not wanted:
        return None
    return error if isinstance(error, AtFault) else _find_at_fault(wanted, at)


def _find_at_fault(wanted: Sequence[Owed], at: datetime) -> AtFault | None:
    """The first reward that cannot be paid after those before it; None where all of them can.

    Found by halving: of the rewards in their order, the longest beginning that can be paid is looked for. Everything
    that is tried is taken back.
    """
    failure = _why_not(wanted, at)
    if failure is None:
        return None
    payable, failing = 0, len(wanted)
    while failing - payable > 1:
        middle = (payable + failing) // 2
        found = _why_not(wanted[:middle], at)
        if found is None:
            payable = middle
        else:
            failing, failure = middle, found
    return failure if isinstance(failure, AtFault) else AtFault(wanted[failing - 1], failure)


def _why_not(wanted: Sequence[Owed], at: datetime) -> Exception | None:
    """What stands in the way of paying these together; None when nothing does. They are not paid."""
    try:
        with transaction.atomic():
            _pay(wanted, at, None)
            transaction.set_rollback(True)
    except Exception as error:
        if is_passing(error):
            raise
        return error
    return None


def _after_failure(
    at_fault: AtFault | None,
    error: Exception,
    wanted: Sequence[Owed],
    at: datetime,
    actor: User | None,
    about: Mapping[str, str],
) -> DistributionResult:
    """Keep what went wrong: in the audit trail, and on the row of the reward at fault."""
    cause = at_fault.error if at_fault else error
    sentence = sentence_of(cause)
    with transaction.atomic():
        if at_fault is not None:
            note_failure(PendingReward.objects.filter(reward_id=storable_text(at_fault.owed.reward_id)), sentence, at)
        record_failure(at_fault.owed if at_fault else None, sentence, len(wanted), actor, about)
    stack = None if is_foreseen(cause) else error
    logger.error(
        "%s pending rewards were not paid: %s", len(wanted), sentence, exc_info=stack, extra={"event": "pending_failed"}
    )
    failed = []
    if at_fault is not None:
        owed = at_fault.owed
        failed = [{"reward_id": owed.reward_id, "account_id": owed.account_id, "error": sentence}]
        sentence = f"{owed.reward_id} ({owed.account_id}): {sentence}"
    return DistributionResult(
        success=False,
        is_foreseen=is_foreseen(cause),
        failed_distributions=failed,
        error_message=sentence,
        audit_log=[_log_entry(at_fault.owed, at, "failed") | {"error": failed[0]["error"]}] if at_fault else [],
    )


def note_failure(rows: QuerySet[PendingReward], sentence: str, at: datetime) -> None:
    """Count a failed try on a queued row: it waits twice as long each time, and is dead after `max_retries` more."""
    queued = _related(rows.filter(status=Status.QUEUED))
    row = queued.select_for_update(no_key=True, of=("self",)).first()
    if row is None:
        return
    row.retry_count += 1
    row.last_error = sentence
    row.not_before = at + wait_before_try(row.retry_count)
    if row.retry_count > row.max_retries:
        row.status, row.processed_at = Status.FAILED, at
        raise_alert(REWARD_DEAD, row.reward_id, f"Not paid, and not tried again. The last failure: {sentence}")
    row.save(update_fields=["retry_count", "last_error", "not_before", "status", "processed_at"])


def wait_before_try(failures: int) -> timedelta:
    """How long a reward waits after that many failures: doubled each time, up to a limit."""
    first, most = param("pending.backoff_seconds"), param("pending.backoff_most_seconds")
    return timedelta(seconds=min(first * 2 ** min(failures - 1, 40), most))


def record_failure(
    owed: Owed | None,
    sentence: str,
    rewards: int,
    actor: User | None = None,
    about: Mapping[str, str] | None = None,
) -> None:
    """The event of rewards that were to be paid together and were not; `owed` is the one at fault."""
    known: dict[str, Any] = {}
    data: dict[str, Any] = {"rewards": rewards, "rolled_back": True, **(about or {})}
    if owed is not None:
        code = storable_text(owed.currency) or param("pending.currency")
        data |= {"account": owed.account_id, "amount": owed.amount, "reward_type": owed.reward_type}
        known = {"reward_id": owed.reward_id[:LONGEST_ID], "reason": owed.reason}
        known["currency"] = Currency.objects.filter(code=code).first()
        known["user"] = User.objects.filter(username=storable_text(owed.account_id)).first()
        if owed.deployment_id is not None:
            data["deployment"] = str(owed.deployment_id)
    record("distribution_failed", actor=actor, success=False, error_message=sentence, data=data, **known)


def sentence_of(error: Exception) -> str:
    """What an operator reads about it. Of what nobody foresaw, the error's own words."""
    return storable_text(error.message if isinstance(error, RewardsError) else str(error) or type(error).__name__)


def is_foreseen(error: Exception) -> bool:
    """Whether the sentence of an error is meant for whoever asked."""
    return isinstance(error, RewardsError) and error.http_status < 500
