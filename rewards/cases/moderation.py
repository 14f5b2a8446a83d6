"""What moderators decide: submitted cases are mended, approved or rejected; one that should not go on is made void.

It takes the right `moderate_case`, and nobody decides on his own case. The verdict that a moderator writes is sealed at
once: no message, log, history or audit event has it, nor has an error raised here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal

from django.db import transaction
from django.views.decorators.debug import sensitive_variables

from rewards.alerts.services import resolve_alert
from rewards.audit.services import record
from rewards.cases.commitments import COMMITMENT_FAILED, COMMITMENT_MISMATCH
from rewards.cases.errors import CannotVoid, InvalidCase, NotWaiting, OwnCase, UnknownCase
from rewards.cases.failures import CASE_FAILED
from rewards.cases.models import PROGRAMME, Case
from rewards.cases.sealing import commit, seal
from rewards.cases.services import LONGEST_CONTEXT, LONGEST_TITLE
from rewards.chain.services import broadcast_after_commit
from rewards.common.errors import RewardsError
from rewards.distributions.stages import require_reason, require_right
from rewards.ledger.models import TREASURY, Account
from rewards.ledger.services import Move, balance, post, system_account
from rewards.users.models import User

RIGHT = "moderate_case"

Status = Case.Status

VOIDABLE = (Status.DRAFT, Status.ACTIVE)


def edit_case(case_id: int, actor: User, title: str, context: str, reason: str) -> Case:
    """Mend the title and the context of a case that waits for moderation.

    Raises `NotAllowed`, `OwnCase`, `UnknownCase`, `NotWaiting`, `ReasonMissing`, `InvalidCase`.
    """
    require_reason(reason)
    with transaction.atomic():
        case = _held(case_id, actor, [Status.PENDING_MODERATION], NotWaiting, reason)
        if not (title.strip() and len(title) <= LONGEST_TITLE and context.strip() and len(context) <= LONGEST_CONTEXT):
            raise InvalidCase
        case.title, case.context = title, context
        case.save(update_fields=["title", "context"])
        record("case_edited", user=case.created_by, actor=actor, reason=reason, data={"case": case.pk})
    return case


@sensitive_variables("verdict", "reasoning", "confidence")
def approve_case(case_id: int, actor: User, verdict: str, reasoning: str, confidence: Decimal, at: datetime) -> Case:
    """Seal a verdict for a submitted case and commit its hash; the case opens once the chain has taken it.

    The commitment is sent when all of it stands. A chain that cannot be reached fails nothing: it is sent again by
    `check_verdicts`. Raises `NotAllowed`, `OwnCase`, `UnknownCase`, `NotWaiting`, and like `sealing.seal`.
    """
    with transaction.atomic():
        case = _held(case_id, actor, [Status.PENDING_MODERATION], NotWaiting, "Approved")
        case.moderated_by = actor
        with _one_version(case):
            seal(case, verdict, reasoning, confidence)
            commitment = commit(case, at)
        case.save(update_fields=["moderated_by"])
        record(
            "case_approved", user=case.created_by, actor=actor,
            data={"case": case.pk, "verdict_hash": case.verdict_hash, "transaction": commitment.pk},
        )  # fmt: skip
        broadcast_after_commit(commitment, at)
    return case


def reject_case(case_id: int, actor: User, reason: str) -> Case:
    """Turn down a submitted case: it is void, and its author is told why.

    Raises `NotAllowed`, `OwnCase`, `UnknownCase`, `NotWaiting`, `ReasonMissing`.
    """
    require_reason(reason)
    with transaction.atomic():
        case = _held(case_id, actor, [Status.PENDING_MODERATION], NotWaiting, reason)
        _make_void(case, actor, reason)
        record("case_rejected", user=case.created_by, actor=actor, reason=reason, data={"case": case.pk})
    return case


def void_case(case_id: int, actor: User, reason: str, at: datetime) -> Case:
    """End a draft or an open case: nobody is paid, its escrow returns to the treasury, its verdict stays sealed.

    What was voted and argued stays, and counts as activity. Raises `NotAllowed`, `OwnCase`, `UnknownCase`,
    `CannotVoid`, `ReasonMissing`, and like `ledger.services.post`.
    """
    require_reason(reason)
    with transaction.atomic():
        case = _held(case_id, actor, VOIDABLE, CannotVoid, reason)
        _make_void(case, actor, reason)
        _return_escrow(case, actor, reason)
        record("case_voided", user=case.created_by, actor=actor, reason=reason, data={"case": case.pk, "at": at})
    return case


# --------------------------------------------------------------------------------------------------------------- steps


def _held(case_id: int, actor: User, statuses: Collection[str], otherwise: type[RewardsError], reason: str) -> Case:
    """The case under its lock, in one of these statuses, for somebody who may decide on it; its history says why."""
    require_right(actor, RIGHT)
    case = (
        Case.objects.select_for_update(no_key=True, of=["self"]).select_related("created_by").filter(pk=case_id).first()
    )
    if case is None:
        raise UnknownCase
    if case.created_by_id == actor.pk:
        raise OwnCase
    if case.status not in statuses:
        raise otherwise
    case._history_user, case._change_reason = actor, reason  # type: ignore[attr-defined]
    return case


@contextmanager
def _one_version(case: Case) -> Iterator[None]:
    """What is saved in here stands in the history together with what is saved after it."""
    case.skip_history_when_saving = True  # type: ignore[attr-defined]
    try:
        yield
    finally:
        del case.skip_history_when_saving  # type: ignore[attr-defined]


def _make_void(case: Case, actor: User, reason: str) -> None:
    """Nobody looks after it any more, so nothing that went wrong with it is left open."""
    case.status, case.reason, case.moderated_by, case.error, case.failures = Status.VOID, reason, actor, "", 0
    case.save(update_fields=["status", "reason", "moderated_by", "error", "failures"])
    for cause in (CASE_FAILED, COMMITMENT_FAILED, COMMITMENT_MISMATCH):
        resolve_alert(cause, case.period_key)


def _return_escrow(case: Case, actor: User, reason: str) -> None:
    """What the escrow holds goes to the treasury; a draft has none yet."""
    for escrow in Account.objects.select_related("currency").filter(user=None, code=case.escrow):
        held = balance(escrow)
        if held:
            post(
                f"case-void:{case.pk}", "case_void", [Move(escrow, system_account(TREASURY, escrow.currency), held)],
                reason=reason, actor=actor, source=f"{PROGRAMME} {case.period_key}",
            )  # fmt: skip
