"""Moderation: who decides, what follows, and that nobody reads the verdict that was written."""

from __future__ import annotations

import logging
from decimal import Decimal

import pytest
from django.db import connection

from rewards.alerts.models import Alert
from rewards.alerts.services import raise_alert
from rewards.audit.models import AuditEvent
from rewards.cases.commitments import COMMITMENT_FAILED, COMMITMENT_MISMATCH
from rewards.cases.errors import CannotVoid, InvalidCase, NotWaiting, OwnCase, UnknownCase
from rewards.cases.failures import CASE_FAILED
from rewards.cases.models import Case, SealedVerdict
from rewards.cases.moderation import approve_case, edit_case, reject_case, void_case
from rewards.cases.sealing import SealedAlready, VerdictInvalid, hash_of
from rewards.cases.services import submit_case
from rewards.chain.models import LocalEntry
from rewards.common.errors import ReasonMissing
from rewards.distributions.errors import NotAllowed
from rewards.ledger import services as ledger
from rewards.ledger.models import TREASURY, Journal
from tests.rewards.cases.conftest import NOON, cast

pytestmark = pytest.mark.django_db

SECRET = "Nobody may know that a lighthouse keeper sleeps"
SURE = Decimal("0.8275")


@pytest.fixture
def submitted(alice) -> Case:
    return submit_case(alice, "The lighthouse", "The keeper sleeps while a ship comes near.", NOON)


@pytest.fixture
def moderator(staff):
    return staff("mara", "moderate_case")


def approved(case: Case, moderator) -> Case:
    return approve_case(case.pk, moderator, "NO", SECRET, SURE, NOON)


def events(case: Case) -> list[tuple[str, str, str]]:
    found = AuditEvent.objects.filter(data__case=case.pk).order_by("pk")
    return [(each.event_type, each.actor.username, each.reason) for each in found]


# ----------------------------------------------------------------------------------------------------------- approved


def test_what_a_moderator_approves_is_sealed_and_committed_and_waits_for_the_chain(submitted, moderator) -> None:
    case = approved(submitted, moderator)
    case.refresh_from_db()
    sealed = SealedVerdict.objects.get(case=case)
    assert (case.status, case.moderated_by, case.opens_at) == ("draft", moderator, None)
    assert (sealed.verdict, sealed.reasoning, sealed.confidence) == ("NO", SECRET, SURE)
    assert case.verdict_hash == hash_of("NO", SECRET, sealed.nonce) == case.commitment.payload_hash
    assert events(case)[-1] == ("case_approved", "mara", "")
    approval, submission = case.history.all()
    assert (approval.status, approval.verdict_hash, approval.moderated_by) == ("draft", case.verdict_hash, moderator)
    assert (approval.history_user, submission.status) == (moderator, "pending_moderation")


def test_its_commitment_is_sent_once_all_of_it_stands(submitted, moderator, django_capture_on_commit_callbacks) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        case = approved(submitted, moderator)
        assert not LocalEntry.objects.exists()
    assert LocalEntry.objects.get().payload_hash == case.verdict_hash


def test_a_verdict_that_makes_no_sense_changes_nothing(submitted, moderator) -> None:
    for verdict, reasoning, confidence in (("MAYBE", SECRET, SURE), ("NO", " ", SURE), ("NO", SECRET, Decimal(2))):
        with pytest.raises(VerdictInvalid) as refused:
            approve_case(submitted.pk, moderator, verdict, reasoning, confidence, NOON)
        assert SECRET not in str(refused.value)
    submitted.refresh_from_db()
    assert (submitted.status, submitted.moderated_by, submitted.verdict_hash) == ("pending_moderation", None, "")
    assert not SealedVerdict.objects.exists()


def test_what_was_decided_is_not_decided_again(submitted, moderator) -> None:
    case = approved(submitted, moderator)
    for again in (
        lambda: approve_case(case.pk, moderator, "YES", "Another one", SURE, NOON),
        lambda: reject_case(case.pk, moderator, "Too late"),
        lambda: edit_case(case.pk, moderator, "Other", "Other", "Too late"),
    ):
        with pytest.raises(NotWaiting):
            again()
    assert SealedVerdict.objects.get().reasoning == SECRET


def test_a_case_that_somehow_has_a_seal_gets_no_second_one(submitted, moderator) -> None:
    approved(submitted, moderator)
    Case.objects.filter(pk=submitted.pk).update(status="pending_moderation")
    with pytest.raises(SealedAlready):
        approved(submitted, moderator)


def test_the_verdict_is_in_no_history_no_event_and_no_log(submitted, moderator, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    case = approved(submitted, moderator)
    nonce = SealedVerdict.objects.get(case=case).nonce
    with connection.cursor() as cursor:
        for table in ("rewards_historicalcase", "rewards_auditevent", "rewards_chaintransaction", "rewards_case"):
            cursor.execute(f"SELECT * FROM {table}")
            kept = str([[bytes(cell) if isinstance(cell, memoryview) else cell for cell in row] for row in cursor])
            assert case.title in kept or case.verdict_hash in kept, table
            for secret in (SECRET, nonce, str(SURE)):
                assert secret not in kept, table
    own = [record.getMessage() for record in caplog.records if not record.name.startswith("django.db")]
    assert not any(secret in line for line in own for secret in (SECRET, nonce))


# ------------------------------------------------------------------------------------------------- rejected and mended


def test_what_is_rejected_is_void_and_says_why(submitted, moderator) -> None:
    case = reject_case(submitted.pk, moderator, "An advertisement")
    case.refresh_from_db()
    assert (case.status, case.reason, case.moderated_by) == ("void", "An advertisement", moderator)
    assert events(case)[-1] == ("case_rejected", "mara", "An advertisement")
    version = case.history.first()
    assert (version.history_user, version.history_change_reason) == (moderator, "An advertisement")
    assert not Journal.objects.exists()


def test_texts_are_mended_while_a_case_waits_and_the_history_keeps_both(submitted, moderator) -> None:
    edit_case(submitted.pk, moderator, "The keeper", "He sleeps.", "Too long")
    assert [each.title for each in submitted.history.all()] == ["The keeper", "The lighthouse"]
    assert submitted.history.first().history_user == moderator
    for title, context in ((" ", "He sleeps."), ("The keeper", "\n"), ("x" * 201, "He sleeps."), ("x", "x" * 10_001)):
        with pytest.raises(InvalidCase):
            edit_case(submitted.pk, moderator, title, context, "Too long")


# ----------------------------------------------------------------------------------------------------------- made void


def test_an_open_case_that_is_made_void_pays_nobody_and_its_escrow_goes_to_the_treasury(
    open_case, points, bob, moderator
) -> None:
    case = open_case(pool=700)
    cast(case, bob, "YES")
    Case.objects.filter(pk=case.pk).update(failures=3, error="It hurts")
    for code in (CASE_FAILED, COMMITMENT_FAILED, COMMITMENT_MISMATCH):
        raise_alert(code, case.period_key)
    void_case(case.pk, moderator, "It names somebody", NOON)
    case.refresh_from_db()
    assert (case.status, case.reason, case.verdict, case.closed_at) == ("void", "It names somebody", "", None)
    assert (case.failures, case.error) == (0, "")
    assert ledger.balance(ledger.system_account(case.escrow, points)) == 0
    assert ledger.balance(ledger.system_account(TREASURY, points)) == 700
    journal = Journal.objects.get(key=f"case-void:{case.pk}")
    assert (journal.actor, journal.reason) == (moderator, "It names somebody")
    assert not Alert.objects.filter(resolved_at=None).exists()
    assert SealedVerdict.objects.filter(case=case).exists()


def test_a_draft_has_no_escrow_to_give_back(submitted, moderator) -> None:
    case = approved(submitted, moderator)
    void_case(case.pk, moderator, "Written in a hurry", NOON)
    case.refresh_from_db()
    assert case.status == "void"
    assert not Journal.objects.exists()


def test_a_case_without_a_pool_is_made_void_too(open_case, moderator) -> None:
    case = open_case(pool=0)
    void_case(case.pk, moderator, "Nothing in it", NOON)
    assert not Journal.objects.filter(key=f"case-void:{case.pk}").exists()


@pytest.mark.parametrize("status", ["closed", "void", "pending_moderation"])
def test_only_drafts_and_open_cases_are_made_void(open_case, points, moderator, status) -> None:
    case = open_case()
    Case.objects.filter(pk=case.pk).update(status=status)
    with pytest.raises(CannotVoid):
        void_case(case.pk, moderator, "No", NOON)
    assert ledger.balance(ledger.system_account(case.escrow, points)) == 1_000


# ----------------------------------------------------------------------------------------------------------------- who

DEEDS = {
    "approve": lambda case, actor: approved(case, actor),
    "reject": lambda case, actor: reject_case(case.pk, actor, "No"),
    "edit": lambda case, actor: edit_case(case.pk, actor, "Other", "Other", "No"),
    "void": lambda case, actor: void_case(case.pk, actor, "No", NOON),
}


@pytest.mark.parametrize("deed", DEEDS)
def test_it_takes_the_right_and_nobody_decides_on_his_own_case(submitted, alice, staff, moderator, deed) -> None:
    with pytest.raises(NotAllowed):
        DEEDS[deed](submitted, staff("clerk", "view_case", "change_case"))
    Case.objects.filter(pk=submitted.pk).update(created_by=moderator)
    with pytest.raises(OwnCase):
        DEEDS[deed](submitted, moderator)
    before = Case.objects.values().get(pk=submitted.pk)
    assert (before["status"], before["title"]) == ("pending_moderation", "The lighthouse")
    with pytest.raises(UnknownCase):
        DEEDS[deed](Case(pk=submitted.pk + 1), moderator)


@pytest.mark.parametrize("deed", ["reject", "edit", "void"])
def test_a_reason_is_needed(submitted, moderator, deed) -> None:
    calls = {
        "reject": lambda: reject_case(submitted.pk, moderator, " "),
        "edit": lambda: edit_case(submitted.pk, moderator, "Other", "Other", ""),
        "void": lambda: void_case(submitted.pk, moderator, "\n", NOON),
    }
    with pytest.raises(ReasonMissing):
        calls[deed]()
