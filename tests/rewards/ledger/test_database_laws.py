"""What the database itself refuses, whoever asks."""

from __future__ import annotations

import pytest
from django.db import DatabaseError, connection, transaction

from rewards.common import database
from rewards.ledger import services as ledger
from rewards.ledger.models import Account, Journal, Transfer

pytestmark = pytest.mark.django_db


def refused(statement: str, parameters: tuple = ()) -> None:
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, parameters)


@pytest.fixture
def paid(alice, coins):
    return ledger.credit(alice, coins, 100, "a", "")


@pytest.mark.parametrize("table", ["rewards_transfer", "rewards_journal", "rewards_auditevent", "rewards_auditseal"])
def test_every_append_only_table_has_its_guard(table):
    assert table in {model._meta.db_table for model, guard in database.guarded_models()}
    assert database.missing_guards() == []


def test_transfers_and_journals_cannot_be_changed_or_removed(paid):
    refused("UPDATE rewards_transfer SET amount = 5")
    refused("DELETE FROM rewards_transfer")
    refused("UPDATE rewards_journal SET reason = 'x'")
    refused("DELETE FROM rewards_journal")
    assert Transfer.objects.get().amount == 100


@pytest.mark.postgresql
def test_nor_truncated_nor_changed_under_replica_mode(paid):
    refused("TRUNCATE rewards_transfer CASCADE")
    refused("SET LOCAL session_replication_role = replica; DELETE FROM rewards_transfer")


def test_nor_replaced(paid):
    if connection.vendor != "sqlite":
        refused(
            "INSERT INTO rewards_journal (id, key, kind, reason, source, fingerprint, created_at, metadata) "
            "VALUES (%s, 'a', '', '', '', '', now(), '{}') ON CONFLICT (key) DO UPDATE SET kind = 'x'",
            (paid.pk,),
        )
        return
    columns = "id, key, kind, reason, source, fingerprint, created_at, metadata"
    for row_id, key in [(paid.pk, "other"), (None, "a")]:
        refused(
            f"INSERT OR REPLACE INTO rewards_journal ({columns}) VALUES (%s, %s, '', '', '', '', '2026-01-01', '{{}}')",
            (row_id, key),
        )
    assert Journal.objects.get().kind == "credit"


def insert_transfer(debit, credit, currency, amount, journal, reverses=None):
    refused(
        "INSERT INTO rewards_transfer "
        "(debit_account_id, credit_account_id, currency_id, amount, journal_id, created_at, reverses_id) "
        "VALUES (%s, %s, %s, %s, %s, '2026-01-01', %s)",
        (debit, credit, currency, amount, journal, reverses),
    )


def test_a_transfer_and_its_accounts_share_one_currency(alice, paid, coins, points):
    issuance, wallet = ledger.system_account("issuance", coins).pk, ledger.user_account(alice, points).pk
    insert_transfer(issuance, wallet, coins.pk, 5, paid.pk)
    insert_transfer(issuance, wallet, points.pk, 5, paid.pk)


def test_amounts_are_whole_and_above_zero_between_two_accounts(alice, paid, coins):
    issuance, wallet = ledger.system_account("issuance", coins).pk, ledger.user_account(alice, coins).pk
    for amount in (0, -5, "abc"):
        insert_transfer(issuance, wallet, coins.pk, amount, paid.pk)
    insert_transfer(wallet, wallet, coins.pk, 5, paid.pk)
    insert_transfer(issuance, wallet, coins.pk, 5, paid.pk + 1)


def test_a_reversal_is_an_exact_mirror_and_only_one(alice, bob, paid, coins):
    issuance, wallet = ledger.system_account("issuance", coins).pk, ledger.user_account(alice, coins).pk
    original = paid.transfers.get().pk
    insert_transfer(wallet, issuance, coins.pk, 99, paid.pk, original)
    insert_transfer(issuance, wallet, coins.pk, 100, paid.pk, original)
    mirror = ledger.reverse(paid, "mistake").transfers.get().pk
    insert_transfer(wallet, issuance, coins.pk, 100, paid.pk, original)
    insert_transfer(issuance, wallet, coins.pk, 100, paid.pk, mirror)


def test_no_balance_below_its_floor_and_none_that_is_not_whole(alice, paid):
    wallet = Account.objects.get(user=alice).pk
    refused("UPDATE rewards_account SET balance = -1 WHERE id = %s", (wallet,))
    refused("UPDATE rewards_account SET balance = 'abc' WHERE id = %s", (wallet,))
    refused("UPDATE rewards_account SET min_balance = NULL WHERE id = %s", (wallet,))
    refused("UPDATE rewards_account SET balance = balance + 9223372036854775807 WHERE id = %s", (wallet,))


def test_one_account_per_user_and_currency(alice, paid, coins):
    statement = (
        "INSERT INTO rewards_account (user_id, currency_id, code, balance, min_balance, created_at) "
        "VALUES (%s, %s, %s, 0, 0, '2026-01-01')"
    )
    refused(statement, (alice.pk, coins.pk, ""))
    refused(statement, (None, coins.pk, "issuance"))
    refused(statement, (None, coins.pk, ""))


def test_a_guard_that_was_lost_is_named_and_put_back(alice, coins):
    database.drop_guards()
    assert any(name.startswith("transfer_append_only") for name in database.missing_guards())
    database.create_missing_guards()
    assert database.missing_guards() == []
    ledger.credit(alice, coins, 5, "a", "")
    refused("DELETE FROM rewards_transfer")
