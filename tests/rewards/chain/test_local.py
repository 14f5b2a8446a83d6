"""The chain in the database."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction

from rewards.chain.errors import DuplicateTransaction, InvalidRecipient, NotRetryable
from rewards.chain.models import ChainTransaction, LocalEntry
from rewards.chain.services import (
    broadcast,
    broadcast_after_commit,
    look_at,
    mined_earlier_try,
    node_payload,
    prepare,
    submit,
    verify_local_chain,
)
from rewards.common import database
from rewards.common.errors import InvariantBroken
from tests.concurrency.racing import in_process
from tests.rewards.elsewhere import environment_on_this_database

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)
DAY, MINUTE = timedelta(hours=24), timedelta(minutes=1)
VERDICT, REWARD = ChainTransaction.Purpose
PAYLOAD, OTHER = "ab" * 32, "cd" * 32


def prepared(payload: str = PAYLOAD, nonce_of: ChainTransaction | None = None) -> ChainTransaction:
    """A transaction whose sender died before it was broadcast."""
    with transaction.atomic():
        return prepare(REWARD, payload, at=NOON, nonce_of=nonce_of)


def given_up() -> ChainTransaction:
    tx = look_at(prepared(), NOON + DAY)
    assert tx.status == "failed"
    return tx


def test_a_transaction_is_confirmed_when_its_minute_is_over() -> None:
    tx = submit(VERDICT, PAYLOAD, at=NOON)
    assert (tx.status, tx.nonce, tx.error) == ("submitted", 0, "")
    assert node_payload(tx.tx_hash or "", NOON) == PAYLOAD
    assert node_payload(OTHER, NOON) is None

    assert look_at(tx, NOON + timedelta(seconds=29)).status == "submitted"
    tx = look_at(tx, NOON + timedelta(seconds=30))
    assert (tx.status, tx.confirmations, tx.checked_at) == ("confirmed", 1, NOON + timedelta(seconds=30))
    assert look_at(tx, NOON + 5 * MINUTE).confirmations == 5


def test_each_entry_is_chained_to_the_one_before() -> None:
    transactions = [submit(VERDICT, payload, at=NOON) for payload in (PAYLOAD, PAYLOAD, OTHER)]
    assert [tx.nonce for tx in transactions] == [0, 1, 2]
    first, second, third = LocalEntry.objects.order_by("id")
    assert (first.previous_hash, second.previous_hash) == ("0" * 64, first.entry_hash)
    assert third.previous_hash == second.entry_hash
    assert verify_local_chain().intact


def test_what_was_not_broadcast_is_sent_by_the_next_look() -> None:
    tx = prepared()
    assert not LocalEntry.objects.exists()
    tx = look_at(tx, NOON + 10 * MINUTE)
    assert (tx.status, tx.confirmations) == ("submitted", 0)
    assert LocalEntry.objects.get().recorded_at == NOON + 10 * MINUTE
    assert look_at(tx, NOON + 11 * MINUTE).status == "confirmed"


def test_sent_twice_it_stands_once() -> None:
    tx = submit(VERDICT, PAYLOAD, at=NOON)
    assert broadcast(tx).error == ""
    assert LocalEntry.objects.count() == 1


def test_what_is_rolled_back_has_taken_no_nonce() -> None:
    with transaction.atomic():
        prepare(VERDICT, PAYLOAD, at=NOON)
        transaction.set_rollback(True)
    assert not ChainTransaction.objects.exists()
    assert submit(VERDICT, PAYLOAD, at=NOON).nonce == 0


def test_it_is_broadcast_after_the_commit(django_capture_on_commit_callbacks: Callable[..., object]) -> None:
    with django_capture_on_commit_callbacks(execute=True), transaction.atomic():  # type: ignore[attr-defined]
        broadcast_after_commit(prepare(VERDICT, PAYLOAD, at=NOON))
        assert not LocalEntry.objects.exists()
    assert LocalEntry.objects.count() == 1


def test_inside_a_transaction_the_chain_is_not_asked() -> None:
    with transaction.atomic():
        tx = prepare(VERDICT, PAYLOAD, at=NOON)
        for asks in (lambda: broadcast(tx), lambda: look_at(tx, NOON), lambda: submit(VERDICT, PAYLOAD, at=NOON)):
            with pytest.raises((InvariantBroken, RuntimeError)):
                asks()
    assert not LocalEntry.objects.exists()


@pytest.mark.parametrize("payload", ["", "ab", PAYLOAD.upper(), PAYLOAD + "\n"])
def test_a_payload_that_is_no_hash_is_refused(payload: str) -> None:
    with pytest.raises(InvariantBroken):
        submit(VERDICT, payload, at=NOON)


@pytest.mark.parametrize("address", ["x" * 129, "two words", "line\nbreak"])
def test_an_address_that_cannot_be_kept_is_refused(address: str) -> None:
    with pytest.raises(InvalidRecipient):
        submit(REWARD, PAYLOAD, at=NOON, recipient=address)


# ------------------------------------------------------------------------------------------------------- second tries


def test_what_was_in_no_block_for_a_day_has_failed() -> None:
    tx = look_at(prepared(), NOON + DAY)
    assert (tx.status, tx.error) == ("failed", "No node has known it for 24 hours.")
    assert broadcast(tx).status == "failed"
    assert not LocalEntry.objects.exists()


def test_a_second_try_has_the_nonce_of_the_first_and_only_one_of_them_is_ever_recorded() -> None:
    first = given_up()
    second = submit(REWARD, PAYLOAD, at=NOON + DAY, nonce_of=first)
    assert second.nonce == first.nonce
    assert second.tx_hash != first.tx_hash
    ChainTransaction.objects.filter(pk=first.pk).update(status="submitted")
    first.refresh_from_db()
    assert broadcast(first).error == f"The nonce 0 is used up: {second.tx_hash} has it."
    assert LocalEntry.objects.get().tx_hash == second.tx_hash
    first = look_at(first, NOON + DAY)
    assert (first.status, first.nonce_spent) == ("failed", True)


def test_when_the_first_try_was_recorded_after_all_it_counts() -> None:
    first = given_up()
    second = prepared(nonce_of=first)
    ChainTransaction.objects.filter(pk=first.pk).update(status="submitted")
    first.refresh_from_db()
    broadcast(first)  # a process that had slept for a day
    ChainTransaction.objects.filter(pk=first.pk).update(status="failed")

    second = look_at(second, NOON + DAY)
    assert (second.status, second.error) == ("failed", "Another transaction with its nonce 0 was mined.")
    earlier = mined_earlier_try(second)
    assert earlier == first
    assert earlier.status == "confirmed"
    with pytest.raises(NotRetryable):
        submit(REWARD, PAYLOAD, at=NOON + DAY, nonce_of=second)


def test_a_try_that_is_under_way_is_not_tried_again() -> None:
    first = given_up()
    second = prepared(nonce_of=first)
    for tx in (first, second):
        with pytest.raises(NotRetryable):
            prepared(nonce_of=tx)
    assert ChainTransaction.objects.count() == 2


def test_the_next_one_after_a_failed_one_has_a_nonce_of_its_own() -> None:
    first = given_up()
    assert submit(VERDICT, OTHER, at=NOON).nonce == 1
    assert submit(REWARD, PAYLOAD, at=NOON, nonce_of=first).nonce == 0


def test_a_third_try_after_a_second_that_failed_too_has_the_nonce_as_well() -> None:
    first = given_up()
    second = look_at(prepared(nonce_of=first), NOON + DAY)
    assert second.status == "failed"
    third = prepared(nonce_of=first)  # whichever of them is named
    assert (third.nonce, third.instead_of) == (0, second)


def test_a_hash_that_stands_is_not_written_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rewards.chain.backends.local.secrets.token_hex", lambda n: "00" * n)
    first = given_up()
    with pytest.raises(DuplicateTransaction):
        submit(REWARD, PAYLOAD, at=NOON, nonce_of=first)
    assert ChainTransaction.objects.get() == first


# -------------------------------------------------------------------------------------------------------- the proof


def forge(sql: str) -> None:
    """What somebody does who can lift the guards."""
    database.drop_guards()
    with connection.cursor() as cursor:
        cursor.execute(sql)
    database.create_missing_guards()


@pytest.fixture
def three_entries() -> list[LocalEntry]:
    for payload in (PAYLOAD, OTHER, PAYLOAD):
        look_at(submit(VERDICT, payload, at=NOON), NOON + MINUTE)
    return list(LocalEntry.objects.order_by("id"))


@pytest.mark.parametrize("sql", ["UPDATE rewards_localentry SET nonce = 9", "DELETE FROM rewards_localentry"])
def test_the_database_refuses_to_change_the_log(three_entries: list[LocalEntry], sql: str) -> None:
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql)
    assert verify_local_chain().intact


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("payload_hash", "'" + "99" * 32 + "'"),
        ("recipient", "'mallory'"),
        ("nonce", "7"),
        ("recorded_at", "'2020-01-01 00:00:00'"),
        ("entry_hash", "'" + "99" * 32 + "'"),
        ("previous_hash", "'" + "99" * 32 + "'"),
    ],
)
def test_an_edited_entry_is_found(three_entries: list[LocalEntry], column: str, value: str) -> None:
    edited = three_entries[1]
    forge(f"UPDATE rewards_localentry SET {column} = {value} WHERE id = {edited.pk}")
    findings = verify_local_chain().findings
    assert findings[0] == f"Entry {edited.pk} is not what was recorded: it was edited."
    tx = ChainTransaction.objects.get(tx_hash=edited.tx_hash)
    assert look_at(tx, NOON + 2 * MINUTE).status == "failed"
    assert node_payload(edited.tx_hash, NOON) is None


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_removed_entry_is_found(three_entries: list[LocalEntry], place: int) -> None:
    removed = three_entries[place]
    forge(f"DELETE FROM rewards_localentry WHERE id = {removed.pk}")
    findings = verify_local_chain().findings
    if place < 2:
        assert f"Entry {three_entries[place + 1].pk} " in findings[0]
        assert "does not follow the one before it" in findings[0]
    assert findings[-1].startswith(f"The transaction {removed.tx_hash} was recorded")


@pytest.mark.skipif("connection.vendor != 'sqlite'", reason="only SQLite lets one write anything into a column")
def test_an_entry_that_cannot_be_read_is_found(three_entries: list[LocalEntry]) -> None:
    forge(f"UPDATE rewards_localentry SET recorded_at = 'never' WHERE id = {three_entries[0].pk}")
    assert verify_local_chain().findings[0] == f"Entry {three_entries[0].pk} is not what was recorded: it was edited."


def test_the_command_prints_a_head_that_can_be_expected_later(
    three_entries: list[LocalEntry], capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("verify_chain")
    assert capsys.readouterr().out == f"3 entries\nhead {three_entries[2].entry_hash}\n"
    submit(VERDICT, PAYLOAD, at=NOON)
    call_command("verify_chain", expect=three_entries[2].entry_hash)
    with pytest.raises(CommandError, match="1 findings"):
        call_command("verify_chain", expect="99" * 32)
    forge(f"DELETE FROM rewards_localentry WHERE id = {three_entries[1].pk}")
    with pytest.raises(CommandError, match="The local chain was changed"):
        call_command("verify_chain")


# ------------------------------------------------------------------------------------------------------ side by side


def submit_many(count: int) -> None:
    for _ in range(count):
        submit(REWARD, PAYLOAD, at=NOON)


@pytest.mark.django_db(transaction=True)
def test_processes_that_append_at_once_make_one_chain() -> None:
    with pytest.raises(InvariantBroken):  # outside of a transaction
        prepare(VERDICT, PAYLOAD, at=NOON)
    processes = [in_process(submit_many, 10) for _ in range(3)]
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    verdict = verify_local_chain()
    assert (verdict.entries, verdict.findings) == (30, [])
    assert sorted(ChainTransaction.objects.values_list("nonce", flat=True)) == list(range(30))
    assert not ChainTransaction.objects.exclude(error="").exists()


@pytest.mark.once
def test_the_local_chain_needs_nothing_installed() -> None:
    program = (
        "import sys, django; django.setup(); from rewards.chain import services\n"
        "sys.exit(any(name.split('.')[0] in ('web3', 'eth_account', 'eth_tester') for name in sys.modules))"
    )
    environment = environment_on_this_database(REWARDS_ENVIRONMENT="test", SECRET_KEY="tests-only")
    assert subprocess.run([sys.executable, "-c", program], env=environment, timeout=60).returncode == 0
