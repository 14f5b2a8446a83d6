"""The job that writes cases: one at a time, whole or not at all, and nothing of the verdict anywhere."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command

from rewards.alerts.models import Alert
from rewards.audit.models import AuditEvent
from rewards.cases.commitments import check_verdicts
from rewards.cases.generating import generate_case, write_draft
from rewards.cases.generator.builtin import dilemmas
from rewards.cases.models import Case, SealedVerdict
from rewards.cases.sealing import NotSealed, matches
from rewards.chain.backends.base import Order, Terms
from rewards.chain.backends.local import LocalChain
from rewards.chain.models import ChainTransaction, LocalEntry
from rewards.jobs.models import JobRun
from rewards.jobs.services import run_job
from rewards.ledger.models import Currency
from rewards.parameters.services import set_parameter
from tests.concurrency.racing import at_once
from tests.rewards.cases.conftest import NOON
from tests.rewards.faults import refused

pytestmark = pytest.mark.django_db


def set_to(key: str, value: Any) -> None:
    set_parameter(key, value, actor=None, reason="test")


def test_a_case_is_written_sealed_and_committed(points: Currency) -> None:
    assert generate_case(NOON).figures() == {"created": 1, "opened": 0}

    case = Case.objects.get()
    first = dilemmas()[0]
    assert (case.title, case.context, case.dilemma) == (first["title"], first["context"], first["key"])
    assert (case.status, case.payout, case.created_by, case.created_at) == ("draft", "ledger", None, NOON)
    assert matches(case)
    assert LocalEntry.objects.get().payload_hash == case.verdict_hash
    assert SealedVerdict.objects.get().verdict == first["verdict"]

    assert check_verdicts(NOON + timedelta(minutes=1)).opened == 1


def test_while_it_is_off_nothing_is_written(points: Currency) -> None:
    set_to("cases.generate", False)

    assert generate_case(NOON).figures() == {"created": 0, "opened": 0}
    assert not Case.objects.exists()
    assert not ChainTransaction.objects.exists()


def test_a_case_pays_as_the_parameter_said_when_it_was_written(points: Currency) -> None:
    set_to("cases.payout", "chain")
    generate_case(NOON)

    assert Case.objects.get().payout == "chain"


def test_no_dilemma_comes_again_until_all_were_used_and_then_the_oldest_first(db: None) -> None:
    keys = [dilemma["key"] for dilemma in dilemmas()]
    for _ in keys:
        write_draft(NOON)
    assert list(Case.objects.order_by("pk").values_list("dilemma", flat=True)) == keys

    again = [write_draft(NOON) for _ in range(3)]
    assert [(case.dilemma, case.dilemma_use) for case in again] == [(key, 2) for key in keys[:3]]


def test_longest_ago_counts_and_not_how_often(db: None) -> None:
    keys = [dilemma["key"] for dilemma in dilemmas()]
    uses = [(keys[0], 1), (keys[0], 2), *((key, 1) for key in keys[1:])]
    Case.objects.bulk_create(Case(title="t", context="c", dilemma=key, dilemma_use=use) for key, use in uses)

    case = write_draft(NOON)
    assert (case.dilemma, case.dilemma_use) == (keys[0], 3)


def test_a_dilemma_that_comes_again_has_another_hash(db: None) -> None:
    first = write_draft(NOON)
    Case.objects.create(title="t", context="c", dilemma="none", dilemma_use=1)
    for _ in dilemmas()[1:]:
        write_draft(NOON)
    again = write_draft(NOON)

    assert again.dilemma == first.dilemma
    assert again.verdict_hash != first.verdict_hash


@pytest.mark.parametrize("table", ["rewards_sealedverdict", "rewards_chaintransaction", "rewards_auditevent"])
def test_what_fails_on_the_way_leaves_nothing_behind(points: Currency, table: str) -> None:
    with refused(table), pytest.raises(Exception, match=r"out of order|did not take the verdict") as failure:
        generate_case(NOON)
    assert table != "rewards_sealedverdict" or isinstance(failure.value, NotSealed)

    assert not Case.objects.exists()
    assert not SealedVerdict.objects.exists()
    assert not ChainTransaction.objects.exists()
    assert generate_case(NOON).created == 1


def test_a_chain_that_does_not_take_it_leaves_a_draft_that_opens_later(points: Currency) -> None:
    chain = LocalChain()  # somebody else has used the nonce that comes next
    chain.send(chain.sign(Order(0, "", "ab" * 32), Terms()).raw, NOON)
    assert generate_case(NOON).figures() == {"created": 1, "opened": 0}

    case = Case.objects.get()
    assert case.commitment is not None
    assert (case.status, case.commitment.nonce) == ("draft", 1)
    assert Alert.objects.get(code="commitment_failed").resolved_at is None

    assert check_verdicts(NOON + timedelta(minutes=1)).opened == 1
    assert Alert.objects.get(code="commitment_failed").resolved_at is not None


def test_nothing_of_the_verdict_is_said_anywhere(points: Currency, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="rewards")
    for minutes in (0, 1, 2):
        at = NOON + timedelta(minutes=minutes)
        if not minutes:
            run_job("generate_case", lambda progress: generate_case(NOON, progress).figures())
        run_job("check_verdicts", lambda progress, at=at: check_verdicts(at, progress).figures())
    sealed, case = SealedVerdict.objects.get(), Case.objects.get()
    assert case.status == "active"

    said = [json.dumps(run.results) + run.error + run.error_stack for run in JobRun.objects.all()]
    said += [json.dumps(event.data) + event.reason for event in AuditEvent.objects.all()]
    said += [json.dumps(entry, default=str) for entry in case.history.values()]
    said += [repr(sealed), str(sealed), repr(case), caplog.text, case.error]
    said += [json.dumps(row, default=str) for row in Case.objects.values()]
    for secret in (sealed.reasoning, sealed.nonce, sealed.reasoning[:30]):
        assert not [text for text in said if secret in text]


def test_commands(points: Currency, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("generate_case", "--dry-run")
    assert "would write a case, with a pool of 1,000 points from issuance" in capsys.readouterr().out
    assert not Case.objects.exists()

    call_command("generate_case", "--at", "2026-11-20T12:00Z")
    assert "1 succeeded" in capsys.readouterr().out
    call_command("check_verdicts", "--dry-run")
    assert "Case" in capsys.readouterr().out
    call_command("check_verdicts", "--at", "2026-11-20T12:01Z")
    assert "opened 1" in capsys.readouterr().out


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_of_writers_at_once_no_two_get_the_same_dilemma(make_user: Callable[..., Any]) -> None:
    cases = at_once(*[lambda: write_draft(NOON) for _ in range(8)])

    assert {type(case) for case in cases} == {Case}
    assert {case.dilemma for case in cases} == {dilemma["key"] for dilemma in dilemmas()[:8]}
    assert ChainTransaction.objects.count() == 8
