"""Sealing: what is hashed, what is refused, and what is never said."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection, transaction
from django.test import Client

from rewards.cases.models import Case, SealedVerdict
from rewards.cases.sealing import NotSealed, SealedAlready, VerdictInvalid, commit, matches, seal
from rewards.chain.models import ChainTransaction
from rewards.common.errors import InvariantBroken
from tests.rewards.cases.conftest import NOON

pytestmark = pytest.mark.django_db

REASONING = "Both sides have a point | and one of them weighs more: it cannot be taken back. Grüße, 世界."


@pytest.fixture
def case(db: None) -> Case:
    return Case.objects.create(title="May Alice keep it?", context="She found it.", created_at=NOON)


def test_the_hash_is_that_of_verdict_reasoning_and_nonce(case: Case) -> None:
    with transaction.atomic():
        sealed = seal(case, "YES", f"  {REASONING}\r\nSo be it.\n", Decimal("0.7"))
    case.refresh_from_db()
    sealed.refresh_from_db()

    text = f"YES|{REASONING}\nSo be it.|{sealed.nonce}"
    assert case.verdict_hash == hashlib.sha256(text.encode("utf-8")).hexdigest()
    assert re.fullmatch("[0-9a-f]{64}", sealed.nonce)
    assert (case.verdict, case.reasoning, case.nonce, case.confidence) == ("", "", "", None)


def test_each_case_has_a_nonce_of_its_own(case: Case) -> None:
    other = Case.objects.create(title="May Bob?", context="He too.", created_at=NOON)
    nonces = {seal(each, "NO", REASONING, Decimal(1)).nonce for each in (case, other)}

    assert len(nonces) == 2


@pytest.mark.parametrize(
    ("verdict", "reasoning", "confidence"),
    [
        ("MAYBE", REASONING, Decimal("0.5")),
        ("yes", REASONING, Decimal("0.5")),
        ("YES", " \n ", Decimal("0.5")),
        ("YES", "x" * 10_001, Decimal("0.5")),
        ("YES", "hidden \x00 end", Decimal("0.5")),
        ("YES", "half \ud800 a pair", Decimal("0.5")),
        ("YES", REASONING, Decimal("1.01")),
        ("YES", REASONING, Decimal("-0.1")),
        ("YES", REASONING, Decimal("NaN")),
        ("YES", REASONING, Decimal("Infinity")),
        ("YES", REASONING, Decimal(1) / 3),
        ("YES", REASONING, 0.5),
    ],
)
def test_what_is_no_verdict_is_refused_without_being_quoted(
    case: Case, verdict: str, reasoning: str, confidence: Decimal
) -> None:
    with pytest.raises(VerdictInvalid) as refusal:
        seal(case, verdict, reasoning, confidence)

    assert reasoning not in str(refusal.value)
    assert not SealedVerdict.objects.exists()


def test_a_sealed_verdict_never_changes(case: Case) -> None:
    seal(case, "YES", REASONING, Decimal("0.7"))
    before = Case.objects.get().verdict_hash

    with pytest.raises(SealedAlready):
        seal(case, "NO", REASONING, Decimal("0.7"))
    assert Case.objects.get().verdict_hash == before


def test_a_commitment_stands_beside_its_case(case: Case) -> None:
    seal(case, "YES", REASONING, Decimal("0.7"))
    case.status = Case.Status.PENDING_MODERATION
    commitment = commit(case, NOON)

    case.refresh_from_db()
    assert (case.status, case.commitment) == ("draft", commitment)
    assert commitment.payload_hash == case.verdict_hash
    assert (commitment.purpose, commitment.status) == ("verdict_commitment", "submitted")
    with pytest.raises(InvariantBroken):
        commit(case, NOON)
    assert ChainTransaction.objects.count() == 1


@pytest.mark.parametrize("change", [{"verdict": "NO"}, {"reasoning": "Another."}, {"nonce": "0" * 64}])
def test_what_was_edited_after_sealing_does_not_match(case: Case, change: dict[str, str]) -> None:
    seal(case, "YES", REASONING, Decimal("0.7"))
    commit(case, NOON)
    assert matches(case)

    SealedVerdict.objects.update(**change)
    assert not matches(Case.objects.get())


def test_a_hash_that_was_changed_together_with_its_verdict_does_not_match_the_commitment(case: Case) -> None:
    seal(case, "YES", REASONING, Decimal("0.7"))
    commit(case, NOON)
    nonce = "ab" * 32
    SealedVerdict.objects.update(verdict="NO", nonce=nonce)
    Case.objects.update(verdict_hash=hashlib.sha256(f"NO|{REASONING}|{nonce}".encode()).hexdigest())

    assert not matches(Case.objects.get())


def test_a_case_without_a_seal_matches_nothing(case: Case) -> None:
    assert not matches(case)


def test_the_three_lines_of_the_documentation_check_a_reveal(case: Case, client: Client) -> None:
    sealed = seal(case, "YES", REASONING, Decimal("0.7"))
    commit(case, NOON)
    Case.objects.update(
        status="closed", opens_at=NOON, closes_at=NOON + timedelta(hours=24), closed_at=NOON + timedelta(hours=24),
        verdict=sealed.verdict, reasoning=sealed.reasoning, nonce=sealed.nonce, confidence=sealed.confidence,
    )  # fmt: skip
    document = (Path(settings.BASE_DIR) / "docs" / "cases.md").read_text()
    check = re.search(r"^    (hashlib\.sha256.*)$", document, re.MULTILINE)
    assert check is not None

    revealed = client.get(f"/api/cases/{case.pk}").json()
    assert eval(check[1], {"hashlib": hashlib, "case": revealed}) is True
    revealed["verdict"] = "NO"
    assert eval(check[1], {"hashlib": hashlib, "case": revealed}) is False


@pytest.mark.postgresql
def test_a_row_that_the_database_refuses_is_not_quoted(case: Case, traces: Callable[[BaseException], str]) -> None:
    with connection.cursor() as cursor:  # its refusal says: Failing row contains (…)
        cursor.execute("ALTER TABLE rewards_sealedverdict ADD CONSTRAINT tests_refuse CHECK (verdict = '')")

    with pytest.raises(NotSealed) as refusal:
        seal(case, "YES", REASONING, Decimal("0.7"))
    assert "Both sides" not in traces(refusal.value)
    assert refusal.value.__context__ is None


@pytest.fixture
def traces() -> Callable[[BaseException], str]:
    import traceback

    return lambda error: "".join(traceback.format_exception(error))
