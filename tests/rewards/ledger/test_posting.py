"""The seven promises of the ledger, as stories."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import transaction
from django.db.models import F, Sum
from django.utils import timezone

from rewards.common.amounts import MAX_MINOR, InvalidAmount
from rewards.common.errors import InvariantBroken
from rewards.ledger import services as ledger
from rewards.ledger.errors import (
    AlreadyReversed,
    IdempotencyConflict,
    InactiveCurrency,
    InsufficientFunds,
    NotTransferable,
    SameAccount,
)
from rewards.ledger.models import Account, Journal, Transfer
from rewards.ledger.services import Move
from rewards.users.models import User

pytestmark = pytest.mark.django_db


def holdings(user, currency):
    return ledger.balance(ledger.user_account(user, currency))


def test_units_come_from_issuance_and_the_currency_sums_to_zero(alice, bob, coins):
    ledger.credit(alice, coins, 500, "a", "welcome")
    ledger.transfer(alice, bob, coins, 120, "b", "lunch")
    ledger.debit(bob, coins, 20, "c", "spent")
    assert (holdings(alice, coins), holdings(bob, coins)) == (380, 100)
    assert ledger.balance(ledger.system_account("issuance", coins)) == -500
    assert Account.objects.aggregate(total=Sum("balance"))["total"] == 0


def test_the_same_key_returns_the_first_journal_and_changes_nothing(alice, coins):
    first = ledger.credit(alice, coins, 500, "welcome:alice", "welcome")
    again = ledger.credit(alice, coins, 500, "welcome:alice", "welcome")
    assert again == first
    assert holdings(alice, coins) == 500


def test_the_same_key_with_other_content_is_a_conflict(alice, bob, coins):
    ledger.credit(alice, coins, 500, "welcome", "")
    for user, amount in [(alice, 501), (bob, 500)]:
        with pytest.raises(IdempotencyConflict):
            ledger.credit(user, coins, amount, "welcome", "")
    assert (holdings(alice, coins), holdings(bob, coins)) == (500, 0)


def test_a_retry_of_the_spend_that_emptied_the_account_succeeds(alice, bob, coins):
    ledger.credit(alice, coins, 100, "a", "")
    spend = ledger.transfer(alice, bob, coins, 100, "b", "all of it")
    assert ledger.transfer(alice, bob, coins, 100, "b", "all of it") == spend


def test_nobody_goes_below_the_floor_and_the_error_names_the_figures(alice, bob, coins):
    ledger.credit(alice, coins, 550, "a", "")
    with pytest.raises(InsufficientFunds) as refusal:
        ledger.transfer(alice, bob, coins, 1000, "b", "")
    assert refusal.value.facts == {"account": "alice (coins)", "currency": "coins", "balance": "5.50", "need": "10.00"}
    assert not Journal.objects.filter(key="b").exists()


def test_a_refused_posting_leaves_nothing_even_where_the_caller_goes_on(alice, bob, coins):
    with transaction.atomic():
        with pytest.raises(InsufficientFunds):
            ledger.transfer(alice, bob, coins, 1, "too much", "")
        ledger.credit(bob, coins, 5, "goes on", "")
    assert [journal.key for journal in Journal.objects.all()] == ["goes on"]
    assert Account.objects.aggregate(total=Sum("balance"))["total"] == 0


@pytest.mark.parametrize(
    "amount",
    [
        0,
        -1,
        1.5,
        float("nan"),
        float("inf"),
        True,
        "5",
        None,
        MAX_MINOR + 1,
        10**30,
        pytest.param(10**5000, id="10^5000"),
    ],
)
def test_an_amount_that_is_none_is_refused(alice, coins, amount):
    with pytest.raises(InvalidAmount):
        ledger.credit(alice, coins, amount, "k", "")
    assert not Transfer.objects.exists()


def test_a_balance_that_would_not_fit_64_bits_is_refused(alice, coins):
    ledger.credit(alice, coins, MAX_MINOR, "a", "")
    with pytest.raises(InvalidAmount):
        ledger.credit(alice, coins, 1, "b", "")
    assert holdings(alice, coins) == MAX_MINOR


def test_issuance_stays_within_64_bits_too(alice, bob, coins):
    ledger.credit(alice, coins, MAX_MINOR, "a", "")
    with pytest.raises(InvalidAmount):
        ledger.credit(bob, coins, 2, "b", "")
    assert holdings(bob, coins) == 0
    assert Journal.objects.count() == 1


def test_an_inactive_currency_moves_nothing(alice, coins):
    coins.active = False
    coins.save()
    with pytest.raises(InactiveCurrency):
        ledger.credit(alice, coins, 1, "a", "")


def test_what_users_may_not_send_stays_with_them(alice, bob, points):
    ledger.credit(alice, points, 10, "a", "")
    with pytest.raises(NotTransferable):
        ledger.transfer(alice, bob, points, 1, "b", "")


def test_two_currencies_never_meet_in_one_transfer(alice, coins, points):
    with pytest.raises(InvariantBroken):
        ledger.post(
            "k", "mistake", [Move(ledger.system_account("issuance", coins), ledger.user_account(alice, points), 5)]
        )


def test_nobody_sends_to_himself(alice, coins):
    ledger.credit(alice, coins, 10, "a", "")
    with pytest.raises(SameAccount):
        ledger.transfer(alice, alice, coins, 1, "b", "")
    assert not Journal.objects.filter(key="b").exists()


def test_several_moves_are_posted_whole_or_not_at_all(alice, bob, carol, coins):
    ledger.credit(alice, coins, 100, "a", "")
    accounts = [ledger.user_account(user, coins) for user in (alice, bob, carol)]
    with pytest.raises(InsufficientFunds):
        ledger.post("k", "split", [Move(accounts[0], accounts[1], 60), Move(accounts[0], accounts[2], 60)])
    ledger.post("k", "split", [Move(accounts[0], accounts[1], 60), Move(accounts[1], accounts[2], 25)])
    assert [holdings(user, coins) for user in (alice, bob, carol)] == [40, 35, 25]


def test_posting_needs_a_transaction_of_the_caller(transactional_db, coins, make_user):
    alice = make_user("alice")
    with pytest.raises(InvariantBroken, match="atomic"):
        ledger.credit(alice, coins, 1, "k", "")


class TestReversal:
    def test_mirrors_each_transfer_once(self, alice, bob, coins):
        ledger.credit(alice, coins, 100, "a", "")
        sent = ledger.transfer(alice, bob, coins, 30, "b", "")
        mirror = ledger.reverse(sent, "sent to the wrong one", actor=alice)
        assert (holdings(alice, coins), holdings(bob, coins)) == (100, 0)
        assert mirror.transfers.get().reverses == sent.transfers.get()
        with pytest.raises(AlreadyReversed):
            ledger.reverse(sent, "again")

    def test_is_not_reversed_itself(self, alice, coins):
        mirror = ledger.reverse(ledger.credit(alice, coins, 100, "a", ""), "mistake")
        with pytest.raises(AlreadyReversed):
            ledger.reverse(mirror, "mistake of a mistake")

    def test_of_what_was_spent_is_refused_whole(self, alice, bob, carol, coins):
        accounts = [ledger.user_account(user, coins) for user in (alice, bob)]
        issuance = ledger.system_account("issuance", coins)
        paid = ledger.post("pay", "payout", [Move(issuance, account, 50) for account in accounts])
        ledger.transfer(bob, carol, coins, 1, "spent", "")
        with pytest.raises(InsufficientFunds) as refusal:
            ledger.reverse(paid, "wrong month")
        assert refusal.value.facts["account"] == "bob (coins)"
        assert (refusal.value.facts["balance"], refusal.value.facts["need"]) == ("0.49", "0.50")
        assert holdings(alice, coins) == 50


def three_hundred_each():
    return User.objects.annotate(user_id=F("id"), amount=F("id") * 0 + 300).values("user_id", "amount")


class TestPayMany:
    def test_pays_every_row_and_creates_accounts(self, alice, bob, carol, coins):
        pool = ledger.system_account("pool:hourly", coins)
        ledger.post("fund", "fund", [Move(ledger.system_account("issuance", coins), pool, 1000)])
        ledger.user_account(alice, coins)
        rows = three_hundred_each()
        first = ledger.pay_many("chunk", "payout", pool, rows, count=3, total=900, content="x")
        assert [holdings(user, coins) for user in (alice, bob, carol)] == [300, 300, 300]
        assert ledger.balance(pool) == 100
        assert ledger.pay_many("chunk", "payout", pool, rows, count=3, total=900, content="x") == first
        assert ledger.balance(pool) == 100

    def test_refuses_rows_that_are_not_what_was_expected(self, alice, bob, coins):
        pool = ledger.system_account("issuance", coins)
        rows = three_hundred_each()
        with pytest.raises(InvariantBroken):
            ledger.pay_many("chunk", "payout", pool, rows, count=2, total=599, content="x")
        assert not Transfer.objects.exists()

    def test_refuses_to_overdraw_the_source(self, alice, coins):
        pool = ledger.system_account("pool:hourly", coins)
        rows = three_hundred_each()
        with pytest.raises(InsufficientFunds, match="pool:hourly"):
            ledger.pay_many("chunk", "payout", pool, rows, count=1, total=300, content="x")


class TestReading:
    def test_balance_at_any_past_instant(self, alice, bob, coins):
        instants = []
        for step, amount in enumerate([100, 20, 3]):
            ledger.credit(alice, coins, amount, f"k{step}", "")
            instants.append(timezone.now())
        account = ledger.user_account(alice, coins)
        ledger.transfer(alice, bob, coins, 50, "s", "")
        assert [ledger.balance(account, at) for at in instants] == [100, 120, 123]
        assert ledger.balance(account, instants[0] - timedelta(days=1)) == 0
        assert ledger.balance(account) == 73

    def test_statement_pages_backwards_with_running_balance(self, alice, bob, coins):
        for step in range(5):
            ledger.credit(alice, coins, 10, f"k{step}", "")
        ledger.transfer(alice, bob, coins, 7, "s", "")
        account = ledger.user_account(alice, coins)
        first = ledger.statement(account, limit=4)
        rest = ledger.statement(account, before=first[-1].cursor, limit=4)
        lines = [(line.change, line.balance) for line in first + rest]
        assert lines == [(-7, 43), (10, 50), (10, 40), (10, 30), (10, 20), (10, 10)]
        assert ledger.statement(account, before=rest[-1].cursor) == []
