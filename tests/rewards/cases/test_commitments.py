"""Commitments: a case opens when the chain has taken its hash, and is compared with it as long as it is open."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction

from rewards.alerts.models import Alert
from rewards.audit.models import AuditEvent
from rewards.cases.commitments import NotCommitted, check_verdicts, open_case
from rewards.cases.generating import write_draft
from rewards.cases.models import Case, SealedVerdict
from rewards.cases.sealing import commit, matches, seal
from rewards.chain.errors import ChainUnavailable
from rewards.chain.models import ChainSender, ChainTransaction, LocalEntry
from rewards.chain.services import broadcast, look_at
from rewards.common import database
from rewards.ledger.models import Account, Currency, Journal
from rewards.ledger.services import Move, balance, post, system_account
from rewards.parameters.services import set_parameter
from tests.rewards.cases.conftest import NOON
from tests.rewards.faults import refused

pytestmark = pytest.mark.django_db

REASONING = "A promise that nobody relies on any more binds nobody."
LATER = NOON + timedelta(minutes=2)


@pytest.fixture
def draft(points: Currency) -> Callable[..., Case]:
    """`draft()`: a case whose hash was sent to the chain at noon."""

    def make(title: str = "May Alice keep it?", *, sent: bool = True) -> Case:
        with transaction.atomic():
            case = Case.objects.create(title=title, context="She found it.", created_at=NOON)
            seal(case, "YES", REASONING, Decimal("0.7"))
            commit(case, NOON)
        if sent:
            broadcast(case.commitment)  # type: ignore[arg-type]
        return case

    return make


def parameters(**values: Any) -> None:
    for key, value in values.items():
        set_parameter(f"cases.{key}", value, actor=None, reason="test")


def open_alerts(code: str) -> list[Alert]:
    return list(Alert.objects.filter(code=code, resolved_at=None))


@pytest.fixture
def without_guards(db: None) -> None:
    """Somebody with access to the database lifts the triggers of append-only tables."""
    database.drop_guards()


# -------------------------------------------------------------------------------------------------------------- opening


def test_a_draft_opens_once_the_chain_has_taken_it(draft: Callable[..., Case]) -> None:
    case = draft()

    assert check_verdicts(NOON).figures() == {"checked": 1, "opened": 0, "differing": 0, "failures": []}
    case.refresh_from_db()
    assert (case.status, case.opens_at, Journal.objects.count()) == ("draft", None, 0)

    assert check_verdicts(LATER).opened == 1
    case.refresh_from_db()
    assert (case.status, case.opens_at, case.closes_at) == ("active", LATER, LATER + timedelta(hours=24))
    assert case.reward_pool == 1_000
    assert balance(Account.objects.get(code=case.escrow)) == 1_000
    assert Journal.objects.get().key == f"case-escrow:{case.pk}"
    assert (case.verdict, case.reasoning, case.nonce, case.confidence) == ("", "", "", None)


def test_a_case_opens_once(draft: Callable[..., Case]) -> None:
    case = draft()
    for minutes in (2, 4, 6):
        check_verdicts(NOON + timedelta(minutes=minutes))

    case.refresh_from_db()
    assert case.opens_at == LATER
    assert not open_case(case, NOON + timedelta(minutes=8))
    assert balance(Account.objects.get(code=case.escrow)) == 1_000


def test_a_commitment_that_was_not_sent_is_sent_by_the_next_check(draft: Callable[..., Case]) -> None:
    case = draft(sent=False)

    assert check_verdicts(LATER).opened == 0
    assert LocalEntry.objects.get().payload_hash == case.verdict_hash
    assert check_verdicts(LATER + timedelta(minutes=2)).opened == 1


def test_nobody_opens_a_case_that_the_chain_has_not_taken(draft: Callable[..., Case]) -> None:
    with pytest.raises(NotCommitted):
        open_case(draft(sent=False), LATER)
    assert Case.objects.get().status == "draft"


def test_pool_currency_source_and_hours_are_those_of_the_parameters(
    draft: Callable[..., Case], coins: Currency
) -> None:
    with transaction.atomic():
        treasury = system_account("treasury", coins)
        post("fund", "fund", [Move(system_account("issuance", coins), treasury, 100_000)])
    parameters(reward_pool=250, currency="coins", funded_by="treasury", open_hours=3)
    case = draft()
    check_verdicts(LATER)

    case.refresh_from_db()
    assert (case.reward_pool, case.closes_at) == (250, LATER + timedelta(hours=3))
    assert balance(Account.objects.get(code=case.escrow, currency=coins)) == 25_000
    assert balance(treasury) == 75_000


def test_a_case_without_a_pool_opens_without_a_journal(draft: Callable[..., Case]) -> None:
    parameters(reward_pool=0)
    case = draft()
    check_verdicts(LATER)

    case.refresh_from_db()
    assert (case.status, case.reward_pool, Journal.objects.count()) == ("active", 0, 0)
    assert balance(Account.objects.get(code=case.escrow)) == 0


def test_an_escrow_that_cannot_be_filled_leaves_a_draft_and_raises_an_alert_after_three_times(
    draft: Callable[..., Case], points: Currency
) -> None:
    parameters(funded_by="treasury")
    case = draft()
    for minutes in (2, 4):
        assert len(check_verdicts(NOON + timedelta(minutes=minutes)).failures) == 1
    assert not open_alerts("case_failed")

    check_verdicts(NOON + timedelta(minutes=6))
    case.refresh_from_db()
    assert (case.status, case.failures, case.opens_at) == ("draft", 3, None)
    assert case.error
    assert [alert.subject for alert in open_alerts("case_failed")] == [f"case:{case.pk}"]

    with transaction.atomic():
        post("fund", "fund", [Move(system_account("issuance", points), system_account("treasury", points), 1_000)])
    assert check_verdicts(NOON + timedelta(minutes=8)).opened == 1
    case.refresh_from_db()
    assert (case.failures, case.error) == (0, "")
    assert not open_alerts("case_failed")


def test_one_bad_case_stops_no_other(draft: Callable[..., Case]) -> None:
    bad, good = draft("A bad one?"), draft("A good one?")

    with refused("rewards_case", "UPDATE", f"NEW.status = 'active' AND NEW.id = {bad.pk}"):
        result = check_verdicts(LATER)
    assert (result.opened, len(result.failures)) == (1, 1)
    bad.refresh_from_db()
    good.refresh_from_db()
    assert (bad.status, bad.failures, good.status) == ("draft", 1, "active")
    assert not Account.objects.filter(code=bad.escrow).exists()

    assert check_verdicts(LATER).opened == 1


def test_a_case_that_was_made_void_never_opens(draft: Callable[..., Case]) -> None:
    case = draft()
    look_at(case.commitment, LATER)  # type: ignore[arg-type]
    Case.objects.update(status="void")

    assert not open_case(case, LATER)
    assert check_verdicts(LATER).checked == 0
    assert Case.objects.get().status == "void"


# ----------------------------------------------------------------------------------------------------- failed for good


def test_a_commitment_that_failed_for_good_is_made_again_with_the_same_nonce(draft: Callable[..., Case]) -> None:
    case = draft(sent=False)
    lost = case.commitment
    ChainTransaction.objects.update(status="failed", error="No node has known it for 24 hours.")
    check_verdicts(LATER)

    case.refresh_from_db()
    again = case.commitment
    assert again is not None
    assert lost is not None
    assert again.pk != lost.pk
    assert (again.nonce, again.instead_of_id, again.payload_hash) == (lost.nonce, lost.pk, case.verdict_hash)
    assert [alert.subject for alert in open_alerts("commitment_failed")] == [f"case:{case.pk}"]
    assert AuditEvent.objects.filter(event_type="case_committed_again").count() == 1

    assert check_verdicts(LATER + timedelta(minutes=2)).opened == 1
    assert not open_alerts("commitment_failed")
    assert LocalEntry.objects.get().tx_hash == again.tx_hash


# ------------------------------------------------------------------------------------------------------------- mismatch


@pytest.fixture
def opened(draft: Callable[..., Case]) -> Case:
    case = draft()
    check_verdicts(LATER)
    case.refresh_from_db()
    return case


def minute(number: int) -> datetime:
    return LATER + timedelta(minutes=number)


def test_what_the_chain_says_otherwise_is_told_once_until_it_is_right_again(without_guards: None, opened: Case) -> None:
    right = LocalEntry.objects.get().payload_hash
    LocalEntry.objects.update(payload_hash="ab" * 32)

    for number in (2, 4, 6):
        assert check_verdicts(minute(number)).differing == 1
    alerts = open_alerts("commitment_mismatch")
    assert sorted(alert.subject for alert in alerts) == [f"case:{opened.pk}", "local chain"]
    assert {(alert.severity, alert.count) for alert in alerts} == {("critical", 3)}

    LocalEntry.objects.update(payload_hash=right)
    assert check_verdicts(minute(8)).differing == 0
    assert not open_alerts("commitment_mismatch")


def test_an_edited_log_is_found_though_no_open_case_is_in_it(without_guards: None, opened: Case) -> None:
    Case.objects.update(status="void")
    LocalEntry.objects.update(recorded_at=NOON - timedelta(days=1))
    check_verdicts(minute(2))

    assert [alert.subject for alert in open_alerts("commitment_mismatch")] == ["local chain"]


def test_a_commitment_that_vanished_from_the_chain_is_told(without_guards: None, opened: Case) -> None:
    LocalEntry.objects.all().delete()

    assert check_verdicts(minute(2)).differing == 1
    assert "does not know" in open_alerts("commitment_mismatch")[0].message

    check_verdicts(minute(4))  # it was sent again; that it had been away stays on record
    assert not open_alerts("commitment_mismatch")
    assert AuditEvent.objects.get(event_type="commitment_mismatch").data == {"case": opened.pk}


def test_a_verdict_that_was_edited_is_told_and_never_opens(draft: Callable[..., Case]) -> None:
    case = draft()
    SealedVerdict.objects.update(verdict="NO")

    assert check_verdicts(LATER).differing == 1
    case.refresh_from_db()
    assert (case.status, matches(case)) == ("draft", False)
    alert = open_alerts("commitment_mismatch")[0]
    assert alert.subject == f"case:{case.pk}"
    assert REASONING not in alert.message

    SealedVerdict.objects.update(verdict="YES")
    assert check_verdicts(minute(2)).opened == 1
    assert not open_alerts("commitment_mismatch")


def test_the_alert_of_a_case_that_was_made_void_is_resolved(opened: Case) -> None:
    SealedVerdict.objects.update(nonce="0" * 64)
    check_verdicts(minute(2))
    assert open_alerts("commitment_mismatch")

    Case.objects.update(status="void")
    check_verdicts(minute(4))
    assert not open_alerts("commitment_mismatch")


def test_a_check_of_a_case_that_is_due_leaves_the_failures_of_its_closing(opened: Case) -> None:
    Case.objects.update(failures=2, error="It could not be closed.")
    check_verdicts(minute(2))
    assert Case.objects.get().failures == 0  # it is open: what failed once is over

    Case.objects.update(failures=2, error="It could not be closed.", closes_at=minute(3))
    check_verdicts(minute(4))
    assert Case.objects.get().failures == 2


def test_those_whose_chain_is_silent_hold_up_none_behind_them(points: Currency) -> None:
    drafts = [write_draft(minute(0)) for _ in range(5)]
    elsewhere = ChainSender.objects.create(chain="evm", address="0x1")
    for number, draft in enumerate(drafts[:3]):
        ChainTransaction.objects.filter(pk=draft.commitment_id).update(sender=elsewhere, tx_hash=f"0x{number:064x}")
    for draft in drafts[3:]:
        broadcast(draft.commitment, minute(0))
    for later in (2, 4):
        with pytest.raises(ChainUnavailable):
            check_verdicts(minute(later))
    assert list(Case.objects.order_by("pk").values_list("status", flat=True)) == 3 * ["draft"] + 2 * ["active"]
