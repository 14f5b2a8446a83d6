"""Looking after the transactions of claimed rewards: each is completed once, or fails and may be claimed again.

Looking at the chain and drawing the conclusion are two steps. What the chain says is written down first, on the
transaction; what follows for the claim is worked out from these rows alone, in one transaction with the credit. So a
process that dies in between loses nothing: the next run draws the conclusion.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import F, QuerySet

from rewards.alerts.services import raise_alert, resolve_alert
from rewards.audit.services import record
from rewards.chain import services as chain
from rewards.chain.errors import ChainUnavailable
from rewards.chain.models import ChainTransaction
from rewards.chain_claims.models import RewardClaim
from rewards.common.errors import RewardsError, ensure
from rewards.distributions.models import Reward
from rewards.jobs.progress import Steps, Unwatched
from rewards.ledger import services as ledger
from rewards.ledger.errors import PayoutsPaused
from rewards.ledger.models import CLAIMABLE, Account
from rewards.parameters.services import param

STUCK, NODE_DOWN = "reward_claim_stuck", "chain_unavailable"
ALERT_AFTER = 3
"""So often in a row it may go wrong with a claim before somebody is told."""

Status, Sent = RewardClaim.Status, ChainTransaction.Status

logger = logging.getLogger(__name__)


@dataclass
class MonitorResult:
    """What a run did. `errors` are transactions that could not be looked after; they are tried again."""

    checked: int = 0
    completed: int = 0
    failed: int = 0
    errors: int = 0
    node_down: bool = False
    paused: bool = False

    def figures(self) -> dict[str, Any]:
        return asdict(self)


def monitor_transactions(at: datetime, progress: Steps | None = None) -> MonitorResult:
    """Look after submitted reward transactions, the longest unchecked first, as many as `chain.checks_per_run` says.

    One that goes wrong holds up none of the others. A node that is down ends the run: nothing is lost. While payouts
    are paused, the chain is looked at, and nothing is credited.
    """
    progress, result = progress or Unwatched(), MonitorResult()
    for claim_id in list(left_behind().values_list("pk", flat=True)[: param("chain.checks_per_run")]):
        if not progress.keep_going():
            return result
        _guarded(claim_id, None, at, result, progress)
    try:
        for tx in list(due_transactions()):
            if not progress.keep_going():
                break
            _guarded(_claim_id_of(tx), tx, at, result, progress)
    except ChainUnavailable as error:
        result.node_down = True
        logger.warning("The chain is not looked at: %s", error, extra={"event": "chain_down", "code": error.code})
        raise_alert(NODE_DOWN, "", f"{error} Claims under way wait.")
    if result.checked and not result.node_down:
        resolve_alert(NODE_DOWN)
    return result


def due_transactions() -> QuerySet[ChainTransaction]:
    """The submitted reward transactions that the next run looks at: those never looked at, then the longest unseen."""
    submitted = ChainTransaction.objects.filter(purpose=ChainTransaction.Purpose.REWARD, status=Sent.SUBMITTED)
    return submitted.order_by(F("checked_at").asc(nulls_first=True), "pk")[: param("chain.checks_per_run")]


def left_behind() -> QuerySet[RewardClaim]:
    """Claims under way whose transaction has come to its end: a process died before it drew the conclusion, or payouts
    were paused."""
    under_way = RewardClaim.objects.filter(status=Status.PROCESSING)
    return under_way.exclude(transaction__status=Sent.SUBMITTED).order_by("failures", "pk")


# ------------------------------------------------------------------------------------------------------ one by one


def _guarded(
    claim_id: int | None, tx: ChainTransaction | None, at: datetime, result: MonitorResult, progress: Steps
) -> None:
    """Look after one: what goes wrong is logged, counted on its claim, and tried again by the next run.

    Raises `ChainUnavailable`, which is the fault of none of them.
    """
    try:
        if tx is not None:
            result.checked += 1
            tx = chain.look_at(tx, at)
        ensure(claim_id is not None, f"{tx} belongs to no claim")
        became = settle(claim_id, at)  # type: ignore[arg-type]
    except PayoutsPaused:
        result.paused = True
        became = None
    except ChainUnavailable:
        raise
    except Exception as error:
        result.errors += 1
        _note_failure(claim_id, tx, error, at)
        progress.step(failures=1)
        return
    result.completed += became == Status.COMPLETED
    result.failed += became == Status.FAILED
    _note_success(claim_id)
    progress.step(successes=1)


def settle(claim_id: int, at: datetime) -> str | None:
    """Draw the conclusion from what is known of a claim's transactions; its new status, None where it stays.

    The first of its tries that is confirmed completes it, whichever it was. It has failed when all have failed. Safe
    to repeat, and to run twice at once. Raises `PayoutsPaused`.
    """
    with transaction.atomic():
        claim = RewardClaim.objects.select_for_update(no_key=True).get(pk=claim_id)
        if claim.status != Status.PROCESSING:
            return None
        tries = list(tries_of(claim))
        confirmed = next((each for each in tries if each.status == Sent.CONFIRMED), None)
        if confirmed is not None:
            _complete(claim, confirmed, at)
        elif all(each.status == Sent.FAILED for each in tries):
            _fail(claim, tries[0].error if tries else "It has no transaction.", at)
        else:
            return None
    return claim.status


def tries_of(claim: RewardClaim) -> Iterator[ChainTransaction]:
    """The transactions of a claim, the newest first."""
    return _and_before(claim.transaction)


def _and_before(tx: ChainTransaction | None) -> Iterator[ChainTransaction]:
    while tx is not None:
        yield tx
        tx = tx.instead_of


def _claim_id_of(tx: ChainTransaction) -> int | None:
    """The claim of which it is a try, the newest or an earlier one."""
    while (later := ChainTransaction.objects.filter(instead_of=tx).first()) is not None:
        tx = later
    tries = [each.pk for each in _and_before(tx)]
    return RewardClaim.objects.filter(transaction__in=tries).values_list("pk", flat=True).first()


def _complete(claim: RewardClaim, tx: ChainTransaction, at: datetime) -> None:
    """Credit the user, once: from his account of what is claimable into his own."""
    ledger.require_payouts_running()
    reward = Reward.objects.select_related("user", "distribution__currency").get(pk=claim.reward_id)
    currency = reward.distribution.currency
    own = ledger.user_account(reward.user, currency)
    claimable = Account.objects.select_related("currency").get(user=reward.user, currency=currency, code=CLAIMABLE)
    claim.journal = ledger.post(
        f"chain-claim:{reward.pk}", "chain_claim", [ledger.Move(claimable, own, reward.amount)],
        source=f"reward:{reward.pk}", reason=f"Confirmed on the chain: {tx.tx_hash}",
    )  # fmt: skip
    claim.transaction, claim.wallet_address = tx, tx.recipient
    claim.status, claim.finished_at, claim.error = Status.COMPLETED, at, ""
    claim.save()
    _record(claim, reward, "reward_claim_completed", tx_hash=tx.tx_hash)


def _fail(claim: RewardClaim, error: str, at: datetime) -> None:
    """It may be claimed again."""
    claim.status, claim.finished_at, claim.error = Status.FAILED, at, error
    claim.save(update_fields=["status", "finished_at", "error"])
    reward = Reward.objects.select_related("user", "distribution__currency").get(pk=claim.reward_id)
    tx_hash = claim.transaction.tx_hash if claim.transaction else None
    _record(claim, reward, "reward_claim_failed", success=False, error_message=error, tx_hash=tx_hash)


def _record(claim: RewardClaim, reward: Reward, event: str, *, tx_hash: str | None, **about: Any) -> None:
    record(
        event, user=reward.user, distribution=reward.distribution, amount=reward.amount,
        currency=reward.distribution.currency, reward_id=str(reward.pk),
        data={"tx_hash": tx_hash, "wallet_address": claim.wallet_address, "attempt": claim.attempts}, **about,
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------------------ failures


def _note_failure(claim_id: int | None, tx: ChainTransaction | None, error: Exception, at: datetime) -> None:
    """Log it, count it, and let the others pass by: it is looked at again after them."""
    sentence = error.message if isinstance(error, RewardsError) else str(error) or type(error).__name__
    subject = f"claim {claim_id}" if claim_id is not None else f"transaction {tx}"
    logger.error("%s was not looked after: %s", subject, sentence, exc_info=error, extra={"event": "chain_claim_error"})
    try:
        with transaction.atomic():
            _put_behind(claim_id, tx, sentence, at)
    except Exception:
        logger.exception("What went wrong with %s is not kept.", subject, extra={"event": "chain_claim_error"})


def _put_behind(claim_id: int | None, tx: ChainTransaction | None, sentence: str, at: datetime) -> None:
    if tx is not None:
        ChainTransaction.objects.filter(pk=tx.pk).update(checked_at=at)
    claims = RewardClaim.objects.filter(pk=claim_id or 0)
    claims.update(failures=F("failures") + 1, error=sentence)
    failures = claims.values_list("failures", "reward_id").first()
    if failures is None:
        raise_alert(STUCK, f"transaction {tx.pk if tx else ''}", sentence)
    elif failures[0] >= ALERT_AFTER:
        raise_alert(STUCK, f"reward {failures[1]}", f"It went wrong {failures[0]} times in a row: {sentence}")


def _note_success(claim_id: int | None) -> None:
    counted = RewardClaim.objects.filter(pk=claim_id or 0, failures__gt=0)
    for reward_id in list(counted.values_list("reward_id", flat=True)):
        counted.filter(status=Status.PROCESSING).update(error="")
        counted.update(failures=0)
        resolve_alert(STUCK, f"reward {reward_id}")
