"""Sealing a verdict: what is hidden until a case is closed, and the hash by which it is bound from the start.

`verdict_hash` is the lower-case hex SHA-256 of the UTF-8 text `verdict|reasoning|nonce`. The nonce, 32 random bytes as
64 hex digits, keeps anyone from trying the two verdicts with a reasoning he can guess. Nothing here puts a verdict, a
reasoning, a confidence or a nonce into a message, a log or a fact of an error.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime
from decimal import Decimal

from django.db import DatabaseError, transaction
from django.views.decorators.debug import sensitive_variables

from rewards.cases.models import Case, SealedVerdict, Side
from rewards.chain.models import ChainTransaction
from rewards.chain.services import prepare
from rewards.common.amounts import canonical_decimal
from rewards.common.database import is_passing, require_transaction
from rewards.common.errors import RewardsError, ensure

LONGEST_REASONING = 10_000
LONGEST_CONFIDENCE = 20  # characters

UNCOMMITTED = (Case.Status.DRAFT, Case.Status.PENDING_MODERATION)


class VerdictInvalid(RewardsError):
    """This verdict cannot be sealed: it is YES or NO, with a reasoning and a confidence from 0 to 1."""

    code = "verdict_invalid"


class NotSealed(RewardsError):
    """The database did not take the verdict; nothing was written."""

    code = "not_sealed"
    http_status = 500


class SealedAlready(RewardsError):
    """This case has a sealed verdict already, and it never changes."""

    code = "sealed_already"
    http_status = 409


@sensitive_variables()
def seal(case: Case, verdict: str, reasoning: str, confidence: Decimal) -> SealedVerdict:
    """Write the hidden verdict of a case under a new nonce, and its hash on the case. Needs an open transaction.

    Line ends become `\\n` and the ends are stripped, so that what is hashed is what is kept and shown. Raises
    `VerdictInvalid`, `SealedAlready`, and `NotSealed` where the database refuses.
    """
    require_transaction()
    reasoning = reasoning.replace("\r\n", "\n").replace("\r", "\n").strip()
    require_valid(verdict, reasoning, confidence)
    if SealedVerdict.objects.filter(case=case).exists():
        raise SealedAlready
    nonce = secrets.token_hex(32)
    sealed = SealedVerdict(case=case, verdict=verdict, reasoning=reasoning, confidence=confidence, nonce=nonce)
    _write(sealed)
    case.verdict_hash = hash_of(verdict, reasoning, nonce)
    case.save(update_fields=["verdict_hash"])
    return sealed


def _write(sealed: SealedVerdict) -> None:
    """A database that refuses a row quotes it: what it says goes nowhere."""
    refusal = ""
    try:
        with transaction.atomic():
            sealed.save(force_insert=True)
    except DatabaseError as error:
        if is_passing(error):
            raise
        refusal = type(error).__name__
    if refusal:  # raised here, it does not carry the refusal along
        raise NotSealed(f"The database did not take the verdict of {sealed.case.period_key}: {refusal}.")


def commit(case: Case, at: datetime) -> ChainTransaction:
    """Make a sealed case a draft whose hash is about to go to the chain. Needs an open transaction.

    The row of the transaction stands with the case's. The caller sends it once that is committed (`broadcast`, or
    `broadcast_after_commit`); what is not sent then, the next run of `check_verdicts` sends, which opens the case when
    the chain has taken it.
    """
    require_transaction()
    ensure(case.status in UNCOMMITTED and case.commitment is None, f"Case {case.pk} is committed already.")
    ensure(matches_seal(case), f"The seal of case {case.pk} is not what its hash says.")
    case.commitment = prepare(ChainTransaction.Purpose.VERDICT_COMMITMENT, case.verdict_hash, at=at)
    case.status = Case.Status.DRAFT
    case.save(update_fields=["commitment", "status"])
    return case.commitment


def matches(case: Case) -> bool:
    """Whether sealed verdict, hash of the case and payload of its commitment all say the same.

    It reads rows alone; whether the chain says so too, `commitments.check_verdicts` asks it.
    """
    committed = case.commitment.payload_hash if case.commitment else ""
    return committed == case.verdict_hash and matches_seal(case)


@sensitive_variables()
def matches_seal(case: Case) -> bool:
    """Whether the sealed verdict of a case hashes to the hash of the case."""
    sealed = SealedVerdict.objects.filter(case=case).first()
    return sealed is not None and hash_of(sealed.verdict, sealed.reasoning, sealed.nonce) == case.verdict_hash


@sensitive_variables()
def hash_of(verdict: str, reasoning: str, nonce: str) -> str:
    """What is committed. No two verdicts share it: neither YES, NO nor a nonce has a `|` in it."""
    return hashlib.sha256(f"{verdict}|{reasoning}|{nonce}".encode()).hexdigest()


@sensitive_variables()
def require_valid(verdict: str, reasoning: str, confidence: Decimal) -> None:
    """Raises `VerdictInvalid`, which names the field and never its value."""
    if verdict not in Side.values:
        raise VerdictInvalid("The verdict is YES or NO.")
    if not 0 < len(reasoning) <= LONGEST_REASONING or not is_storable(reasoning):
        raise VerdictInvalid(f"Write a reasoning of at most {LONGEST_REASONING:,} characters.")
    if (
        not isinstance(confidence, Decimal)
        or not confidence.is_finite()
        or not 0 <= confidence <= 1
        or len(canonical_decimal(confidence)) > LONGEST_CONFIDENCE
    ):
        raise VerdictInvalid("The confidence is a number from 0 to 1, such as 0.85.")


def is_storable(text: str) -> bool:
    """Whether both databases keep a text as it is: no NUL, and nothing that UTF-8 has no bytes for."""
    return "\x00" not in text and not any("\ud800" <= character <= "\udfff" for character in text)
