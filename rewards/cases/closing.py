"""Closing cases: the verdict revealed, the best arguments placed, the pool shared out, the results counted.

Each step is done once and stands by itself, so a process that dies is continued by the next run:

1. the case is closed under its lock, and with it the verdict is revealed and the best arguments have their places;
2. its pool is shared out, a payout like any other;
3. what found nobody returns to the treasury;
4. the results go into the counters, and the case is settled.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import DatabaseError, OperationalError, transaction
from django.views.decorators.debug import sensitive_variables

from rewards.alerts.services import open_subjects
from rewards.allocation.presets import case_rule
from rewards.audit.services import record
from rewards.cases.commitments import COMMITMENT_MISMATCH
from rewards.cases.errors import CaseNotPaid, NotRevealed, VerdictMismatch
from rewards.cases.failures import note_failure, note_success
from rewards.cases.models import PROGRAMME, Argument, Case
from rewards.cases.programme import BEST_FIRST, TOP_PLACES, cases_to_close, escrow_of, settled_with_money
from rewards.cases.results import count_results
from rewards.cases.sealing import matches
from rewards.distributions import services as distributions
from rewards.distributions.errors import NotFailed
from rewards.distributions.models import Distribution
from rewards.jobs.progress import Steps, Unwatched
from rewards.ledger import services as ledger
from rewards.ledger.models import TREASURY, Journal

Status = Case.Status
Paid = Distribution.Status


@dataclass
class CloseResult:
    """What a run did: how many cases it closed and settled, which ones wait and which ones failed."""

    closed: int = 0
    settled: int = 0
    waiting: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def figures(self) -> dict[str, Any]:
        """For the row of the job: JSON."""
        return dict(vars(self))


def close_cases(at: datetime, progress: Steps | None = None) -> CloseResult:
    """Close each case that is due at `at`, and go on with each closed one that is not settled.

    One that fails stops no other: it is logged, noted on its row and tried again by the next run; from the third time
    in a row on an alert is raised.
    """
    progress, result = progress or Unwatched(), CloseResult()
    for case_id in list(cases_to_close(at).values_list("pk", flat=True)):
        if not progress.keep_going():
            break
        done = _guarded(case_id, at, progress.keep_going, result)
        progress.step(successes=int(done), failures=int(not done))
    for case in settled_with_money():
        _return_remainder(case)
    return result


def _guarded(case_id: int, at: datetime, keep_going: Callable[[], bool], result: CloseResult) -> bool:
    try:
        case, revealed = close_case(case_id, at)
        result.closed += revealed
        if case.status == Status.CLOSED:  # somebody may have made it void meanwhile
            settled = settle_case(case, at, keep_going)
            result.settled += settled
            result.waiting += [] if settled else [case.period_key]
    except Exception as error:
        result.failures.append(note_failure(case_id, error))
        return False
    note_success(case_id)
    return True


# ---------------------------------------------------------------------------------------------------------------- close


def close_case(case_id: int, at: datetime) -> tuple[Case, bool]:
    """Close an open case that is due, and reveal its verdict; the case as it stands, and whether this call closed it.

    Who votes, argues or likes locks the row of the case too: what was written before counts, and nothing comes after.
    Raises `VerdictMismatch`, and `NotRevealed` where the database refuses; nothing has changed then.
    """
    with transaction.atomic():
        cases = Case.objects.select_for_update(no_key=True, of=["self"]).select_related("commitment")
        case = cases.get(pk=case_id)
        due = case.status == Status.ACTIVE and case.closes_at is not None and case.closes_at <= at
        if due:
            # What stands against the commitment now is an alert that somebody is to look into first.
            if not matches(case) or case.period_key in open_subjects(COMMITMENT_MISMATCH):
                raise VerdictMismatch
            _reveal(case, at)
            _place_arguments(case)
            record("case_closed", user=case.created_by, data={"case": case.pk, "verdict_hash": case.verdict_hash})
    return case, due


@sensitive_variables("sealed")
def _reveal(case: Case, at: datetime) -> None:
    """A row that breaks a rule is quoted by the database, and until it stands, nobody must read it: not in a log."""
    sealed = case.sealed  # type: ignore[attr-defined]
    case.status, case.closed_at = Status.CLOSED, at
    case.verdict, case.reasoning = sealed.verdict, sealed.reasoning
    case.confidence, case.nonce = sealed.confidence, sealed.nonce
    revealed = ["status", "closed_at", "verdict", "reasoning", "confidence", "nonce"]
    refusal = ""
    try:
        case.save(update_fields=revealed)
    except OperationalError:  # a deadlock, a lost connection: no row is quoted
        raise
    except (DatabaseError, ValueError, TypeError) as error:
        refusal = type(error).__name__
    if refusal:  # raised here, it does not carry the refusal along
        raise NotRevealed(f"The database did not take the verdict of {case.period_key}: {refusal}.")


def _place_arguments(case: Case) -> None:
    """The best three by likes, the earlier of equal ones first."""
    best = Argument.objects.filter(case=case).order_by(*BEST_FIRST).values_list("pk", flat=True)[:TOP_PLACES]
    for place, argument_id in enumerate(list(best), start=1):
        Argument.objects.filter(pk=argument_id).update(top_place=place)


# --------------------------------------------------------------------------------------------------------------- settle


def settle_case(case: Case, at: datetime, keep_going: Callable[[], bool] = lambda: True) -> bool:
    """Do what is left to do of a closed case; whether it is settled. It waits while payouts are paused, or for time.

    Raises `CaseNotPaid`, `ResultsNotCounted`, and whatever a step fails with.
    """
    at = max(at, case.closed_at or at)  # the clock of a command may have been ahead
    if case.settled_at is not None:
        return True
    if not _share_out(case, at, keep_going):
        return False
    _return_remainder(case)
    if not count_results(case, at, keep_going):
        return False
    with transaction.atomic():
        Case.objects.filter(pk=case.pk, settled_at=None).update(settled_at=at)
        note_success(case.pk)  # no later run looks at it: whoever dies after this must not leave its failures standing
    return True


def _share_out(case: Case, at: datetime, keep_going: Callable[[], bool]) -> bool:
    """Whether the payout of a case is done; one that failed is tried again. Raises `CaseNotPaid`."""
    escrow = escrow_of(case)
    distribution, _ = distributions.open_distribution(
        PROGRAMME,
        case.period_key,
        starts_at=case.opens_at,
        ends_at=case.closes_at,
        currency=escrow.currency,
        source_account=escrow,
        rule=case_rule(),
        at=at,
        payout=case.payout,
    )
    if distribution.status == Paid.FAILED:
        with suppress(NotFailed):  # an operator was faster
            distributions.resume(distribution.pk)
    distribution = distributions.advance(distribution.pk, keep_going)
    if distribution.status == Paid.FAILED:
        raise CaseNotPaid(f"{distribution} failed: {distribution.error}")
    return distribution.status in (Paid.PAID, Paid.REVERSED, Paid.CANCELLED)


def _return_remainder(case: Case) -> None:
    """What is left in the escrow goes to the treasury; later again, when some of the payout was taken back.

    In a transaction of its own: the one that completes the payout holds the accounts of those it pays, and must not
    wait for the treasury, from which others pay the same users.
    """
    with transaction.atomic():
        Case.objects.select_for_update(no_key=True).get(pk=case.pk)
        escrow = escrow_of(case)
        left = ledger.balance(escrow)
        if left:
            key = _unused_key(f"case-remainder:{case.pk}")
            treasury = ledger.system_account(TREASURY, escrow.currency)
            move = ledger.Move(escrow, treasury, left)
            ledger.post(key, "case_remainder", [move], source=f"{PROGRAMME} {case.period_key}")


def _unused_key(key: str) -> str:
    """The key, or the first of `key:2`, `key:3`, … that no journal has. The case is locked."""
    taken, number = key, 1
    while Journal.objects.filter(key=taken).exists():
        number += 1
        taken = f"{key}:{number}"
    return taken
