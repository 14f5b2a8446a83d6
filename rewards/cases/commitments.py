"""Commitments of verdicts: made before a case opens, compared with the chain as long as it is open."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F, QuerySet

from rewards.alerts.services import CRITICAL, WARNING, open_subjects, raise_alert, resolve_alert
from rewards.audit.services import record
from rewards.cases.failures import CASE_FAILED, note_failure, note_success
from rewards.cases.models import PROGRAMME, Case
from rewards.cases.sealing import matches
from rewards.chain.errors import ChainUnavailable
from rewards.chain.models import ChainTransaction
from rewards.chain.services import broadcast, look_at, mined_earlier_try, node_payload, prepare, verify_local_chain
from rewards.common.errors import RewardsError, ensure
from rewards.jobs.progress import Steps, Unwatched
from rewards.ledger.queries import currency_named
from rewards.ledger.services import Move, post, system_account
from rewards.parameters.services import param

COMMITMENT_MISMATCH = "commitment_mismatch"
COMMITMENT_FAILED = "commitment_failed"
LOCAL_CHAIN = "local chain"
MOST_SILENCES = 3

Status = Case.Status

logger = logging.getLogger(__name__)


class NotCommitted(RewardsError):
    """This case cannot open yet: the chain has not taken the commitment of its verdict."""

    code = "not_committed"
    http_status = 409


class Outcome(Enum):
    """What became of a case that was looked at."""

    OPENED = "opened"
    WAITS = "waits"  # a draft: the chain has not taken it yet
    STANDS = "stands"  # open, and all is as it was committed
    DIFFERS = "differs"


@dataclass
class CheckResult:
    """What a run did: cases whose commitment was looked at, those it opened, those that differ, those that failed."""

    checked: int = 0
    opened: int = 0
    differing: int = 0
    failures: list[str] = field(default_factory=list)

    def figures(self) -> dict[str, Any]:
        """For the row of the job: JSON."""
        return dict(vars(self))


# ------------------------------------------------------------------------------------------------------------- the job


def check_verdicts(at: datetime, progress: Steps | None = None) -> CheckResult:
    """Look at the commitment of each draft and each open case: open the drafts that the chain has taken, and raise an
    alert where chain, hash and sealed verdict do not say the same.

    One case that fails stops no other. Raises `ChainUnavailable` at the end when the node did not answer; when it was
    silent three times the rest is left to the next run.
    """
    progress, result = progress or Unwatched(), CheckResult()
    silences: list[ChainUnavailable] = []
    for case_id in list(cases_to_check().values_list("pk", flat=True)):
        if len(silences) == MOST_SILENCES or not progress.keep_going():
            break
        try:
            done = _guarded(case_id, at, result)
        except ChainUnavailable as silence:
            silences.append(silence)
            ChainTransaction.objects.filter(case=case_id).update(checked_at=at)  # others come first next time
        else:
            progress.step(successes=int(done), failures=int(not done))
    _resolve_alerts_of_void_cases()
    _check_local_chain()  # last: it walks the whole log
    if silences:
        raise silences[0]
    return result


def cases_to_check() -> QuerySet[Case]:
    """Drafts and open cases with their commitments, those first that were looked at longest ago."""
    committed = Case.objects.filter(status__in=[Status.DRAFT, Status.ACTIVE], commitment__isnull=False)
    return committed.select_related("commitment").order_by(F("commitment__checked_at").asc(nulls_first=True), "pk")


def _guarded(case_id: int, at: datetime, result: CheckResult) -> bool:
    case = cases_to_check().filter(pk=case_id).first()
    if case is None:  # closed or made void meanwhile
        return True
    try:
        outcome = bring_on(case, at)
    except ChainUnavailable:
        raise
    except Exception as error:
        result.failures.append(note_failure(case_id, error))
        return False
    if case.closes_at is None or case.closes_at > at:  # what fails when it is to be closed is over once it is closed
        note_success(case_id)
    result.checked += 1
    result.opened += outcome == Outcome.OPENED
    result.differing += outcome == Outcome.DIFFERS
    return True


def _check_local_chain() -> None:
    """An edited log proves nothing any more, whichever entry it is."""
    if settings.CHAIN_BACKEND != "local":
        return
    findings = verify_local_chain().findings
    if not findings:
        resolve_alert(COMMITMENT_MISMATCH, LOCAL_CHAIN)
        return
    more = f" And {len(findings) - 3:,} more." if len(findings) > 3 else ""
    raise_alert(COMMITMENT_MISMATCH, LOCAL_CHAIN, " ".join(findings[:3]) + more, CRITICAL)


def _resolve_alerts_of_void_cases() -> None:
    """Nobody looks at them any more, and nothing hangs on what was committed for them."""
    for code in (COMMITMENT_MISMATCH, COMMITMENT_FAILED, CASE_FAILED):
        for subject in open_subjects(code) - {LOCAL_CHAIN}:
            if Case.objects.filter(pk=subject.removeprefix("case:"), status=Status.VOID).exists():
                resolve_alert(code, subject)


# ------------------------------------------------------------------------------------------------------------ one case


def bring_on(case: Case, at: datetime) -> Outcome:
    """Ask the chain about the commitment of a draft or an open case, and do what follows.

    A draft is opened when the chain has taken it, and committed again when its transaction has failed for good. Where
    chain, hash and sealed verdict differ an alert is raised; it is resolved when they agree again. Asks outside of
    transactions. Raises `ChainUnavailable`, and like `open_case`.
    """
    commitment = case.commitment
    ensure(commitment is not None, f"Case {case.pk} was never committed.")
    # Asked first: a look sends again what has vanished, and it would be as if nothing had been.
    on_chain = node_payload(commitment.tx_hash, at) if commitment.tx_hash else None  # type: ignore[union-attr]
    commitment = look_at(commitment, at)  # type: ignore[arg-type]
    difference = _difference(case, commitment, on_chain)
    if difference:
        _tell(case, difference)
    else:
        resolve_alert(COMMITMENT_MISMATCH, case.period_key)
    if case.status == Status.DRAFT and commitment.status == ChainTransaction.Status.FAILED:
        _commit_again(case, commitment, at)
        return Outcome.WAITS
    if difference:
        return Outcome.DIFFERS
    if case.status == Status.DRAFT:
        return Outcome.OPENED if is_taken(commitment) and open_case(case, at) else Outcome.WAITS
    return Outcome.STANDS


def _difference(case: Case, commitment: ChainTransaction, on_chain: str | None) -> str:
    """What is not as it was committed, as a sentence without a word of the verdict; empty when all is."""
    if not matches(case):
        return "The sealed verdict, the hash of the case and its commitment do not say the same."
    if on_chain is not None and on_chain != case.verdict_hash:
        return f"The chain carries {on_chain} where {case.verdict_hash} was committed."
    if case.status == Status.DRAFT:
        return ""
    if on_chain is None:
        return "The case is open, and the chain does not know its commitment (any more)."
    if commitment.status == ChainTransaction.Status.FAILED:
        return f"The case is open, and its commitment failed: {commitment.error}"
    return ""


def _tell(case: Case, difference: str) -> None:
    """Raise the alert. That there was one stays in the audit, also when all is right again."""
    if case.period_key not in open_subjects(COMMITMENT_MISMATCH):
        logger.error("%s: %s", case.period_key, difference, extra={"event": COMMITMENT_MISMATCH, "case": case.pk})
        record(COMMITMENT_MISMATCH, reason=difference, success=False, data={"case": case.pk})
    raise_alert(COMMITMENT_MISMATCH, case.period_key, difference, CRITICAL)


def _commit_again(case: Case, failed: ChainTransaction, at: datetime) -> None:
    """Give a draft a new transaction with the nonce of the failed one, or the earlier try that was mined after all."""
    with transaction.atomic():
        standing = Case.objects.select_for_update(no_key=True, of=["self"]).get(pk=case.pk)
        if standing.status != Status.DRAFT or standing.commitment_id != failed.pk:
            return
        mined = mined_earlier_try(failed)
        again = mined or prepare(failed.purpose, standing.verdict_hash, at=at, nonce_of=failed)
        standing.commitment = again
        standing.save(update_fields=["commitment"])
        why = f"{failed}: {failed.error} It was committed again."
        record("case_committed_again", reason=why, data={"case": case.pk, "transaction": again.pk})
    raise_alert(COMMITMENT_FAILED, case.period_key, why, WARNING)
    if not mined:
        broadcast(again, at)


# ------------------------------------------------------------------------------------------------------------- opening


def open_case(case: Case, at: datetime) -> bool:
    """Open a draft whose commitment the chain has taken, with its escrow filled: whole or not at all.

    False when it is no draft (any more). Raises `NotCommitted`, and like `ledger.services.post` what keeps the escrow
    from being filled. Opens its own transaction.
    """
    with transaction.atomic():
        standing = Case.objects.select_for_update(no_key=True, of=["self"]).select_related("commitment").get(pk=case.pk)
        if standing.status != Status.DRAFT:
            return False
        if not is_taken(standing.commitment) or not matches(standing):
            raise NotCommitted
        standing.reward_pool = param("cases.reward_pool")
        standing.opens_at, standing.closes_at = at, at + timedelta(hours=param("cases.open_hours"))
        standing.status, standing.error, standing.failures = Status.ACTIVE, "", 0
        standing.save(update_fields=["reward_pool", "opens_at", "closes_at", "status", "error", "failures"])
        _fill_escrow(standing)
        record("case_opened", user=standing.created_by, data={"case": case.pk, "verdict_hash": case.verdict_hash})
        resolve_alert(COMMITMENT_FAILED, case.period_key)
    case.refresh_from_db()
    return True


def is_taken(commitment: ChainTransaction | None) -> bool:
    """Whether the chain had a commitment in a block when it was last asked."""
    failed = ChainTransaction.Status.FAILED
    if commitment is None or commitment.status == failed or commitment.error:
        return False
    return commitment.confirmations >= 1


def _fill_escrow(case: Case) -> None:
    """Put the reward pool, in units of `cases.currency`, into the escrow; without one, the account stands empty."""
    currency = currency_named(param("cases.currency"))
    escrow = system_account(case.escrow, currency)
    if case.reward_pool:
        source = system_account(param("cases.funded_by"), currency)
        move = Move(source, escrow, currency.to_minor(case.reward_pool))
        post(f"case-escrow:{case.pk}", "case_escrow", [move], source=f"{PROGRAMME} {case.period_key}")
