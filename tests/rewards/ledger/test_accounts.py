"""Accounts found in one query, and accounts whose balance is kept in slots."""

from __future__ import annotations

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import F

from rewards.common.errors import InvariantBroken
from rewards.ledger import services as ledger
from rewards.ledger.errors import InsufficientFunds, UnknownCurrency
from rewards.ledger.models import ISSUANCE, TREASURY, Account, BalanceChange
from rewards.ledger.services import Move
from rewards.users.models import User


class TestFinding:
    def test_those_that_stand_come_in_one_query_and_the_missing_are_created(
        self, alice, bob, coins, points, django_assert_num_queries
    ):
        wanted = {(alice, "coins"), (bob, "coins"), (ISSUANCE, "coins"), (alice, "points"), (ISSUANCE, "points")}
        created = ledger.accounts(wanted)
        with django_assert_num_queries(1):
            found = ledger.accounts(wanted)

        assert found == created
        assert found.keys() == wanted
        assert found[alice, "coins"] == ledger.user_account(alice, coins)
        assert found[ISSUANCE, "points"] == ledger.system_account(ISSUANCE, points)
        assert not found[ISSUANCE, "points"].has_floor
        assert (found[bob, "coins"].currency.decimals, found[alice, "points"].currency.decimals) == (2, 0)

    def test_nobody_gets_an_account_of_another(self, alice, bob, coins):
        ledger.user_account(alice, coins, "debt")
        theirs = ledger.user_account(bob, coins)
        found = ledger.accounts({(alice, "coins")})[alice, "coins"]
        assert found.user_id == alice.pk
        assert found.code == ""
        assert found != theirs

    def test_a_currency_that_is_not_there_is_named(self, alice, coins):
        with pytest.raises(UnknownCurrency, match="'doubloons'"):
            ledger.accounts({(alice, "doubloons")})


def test_a_crowd_gets_the_accounts_it_lacks_in_one_statement(alice, bob, coins, points, django_assert_num_queries):
    own, other = ledger.user_account(alice, coins), ledger.user_account(bob, coins, code="debt")
    with django_assert_num_queries(1):
        assert ledger.create_missing_accounts(User.objects.values(user_id=F("pk")), coins) == 1
    assert ledger.create_missing_accounts(User.objects.values(user_id=F("pk")), coins) == 0

    created = Account.objects.exclude(pk__in=(own.pk, other.pk)).get()
    assert (created.user, created.currency, created.code, created.balance, created.min_balance) == (
        bob,
        coins,
        "",
        0,
        0,
    )


def test_a_posting_takes_four_statements_and_tells_the_new_balances(alice, bob, coins, django_assert_max_num_queries):
    accounts = ledger.accounts({(alice, "coins"), (bob, "coins"), (ISSUANCE, "coins")})
    issued = Move(accounts[ISSUANCE, "coins"], accounts[alice, "coins"], 100)
    passed_on = Move(accounts[alice, "coins"], accounts[bob, "coins"], 30)
    with django_assert_max_num_queries(3):
        ledger.post("k", "gift", [issued, passed_on], savepoint=False)

    assert (accounts[alice, "coins"].balance, accounts[bob, "coins"].balance) == (70, 30)


def test_without_a_savepoint_an_error_takes_the_callers_block_back(alice, bob, coins):
    def two_postings() -> None:
        with transaction.atomic():
            ledger.credit(bob, coins, 5, "before", "")
            ledger.post("k", "spend", spend, savepoint=False)

    spend = [Move(ledger.user_account(alice, coins), ledger.user_account(bob, coins), 1)]
    with pytest.raises(InsufficientFunds):
        two_postings()
    assert ledger.balance(ledger.user_account(bob, coins)) == 0


@pytest.mark.postgresql
class TestSlots:
    @pytest.fixture
    def treasury(self, coins) -> Account:
        """One hundred coins in four slots."""
        account = ledger.system_account(TREASURY, coins)
        ledger.post("fund", "fund", [Move(ledger.system_account(ISSUANCE, coins), account, 100)])
        ledger.split(account, 4)
        return account

    def draw(self, treasury: Account, user, amount: int, key: str) -> None:
        ledger.post(key, "gift", [Move(treasury, ledger.user_account(user, treasury.currency), amount)])

    def test_the_balance_is_that_of_all_parts(self, alice, treasury):
        self.draw(treasury, alice, 7, "a")
        parts = BalanceChange.objects.filter(account=treasury, slot__isnull=False)
        treasury.refresh_from_db()

        assert ledger.balance(treasury) == 93
        assert treasury.balance + sum(parts.values_list("amount", flat=True)) == 93
        assert parts.count() == 4

    def test_the_last_unit_can_be_drawn_and_not_one_more(self, alice, treasury):
        """More than any one slot holds, then what is left over, then nothing."""
        self.draw(treasury, alice, 61, "a")
        with pytest.raises(InsufficientFunds) as refused:
            self.draw(treasury, alice, 40, "b")
        self.draw(treasury, alice, 39, "c")

        assert (refused.value.facts["balance"], refused.value.facts["need"]) == ("0.39", "0.40")
        assert ledger.balance(treasury) == 0
        with pytest.raises(InsufficientFunds):
            self.draw(treasury, alice, 1, "d")

    def test_what_comes_in_can_be_drawn(self, alice, coins, treasury):
        self.draw(treasury, alice, 100, "a")
        ledger.post("more", "fund", [Move(ledger.system_account(ISSUANCE, coins), treasury, 5)])
        self.draw(treasury, alice, 5, "b")
        assert ledger.balance(treasury) == 0

    def test_whoever_read_the_account_before_it_was_split_draws_too(self, alice, coins):
        account = ledger.system_account(TREASURY, coins)
        ledger.post("fund", "fund", [Move(ledger.system_account(ISSUANCE, coins), account, 100)])
        read_before = Account.objects.select_related("currency").get(pk=account.pk)
        ledger.split(account, 4)
        self.draw(account, alice, 1, "a")
        self.draw(read_before, alice, 60, "b")
        assert ledger.balance(account) == 39

    def test_a_reversal_gives_back_and_takes_from_the_parts(self, alice, coins, treasury):
        self.draw(treasury, alice, 30, "a")
        drawn = ledger.post("b", "gift", [Move(treasury, ledger.user_account(alice, coins), 10)])
        ledger.reverse(drawn, "mistake")
        came_in = ledger.post("c", "fund", [Move(ledger.system_account(ISSUANCE, coins), treasury, 50)])
        ledger.reverse(came_in, "mistake")
        assert ledger.balance(treasury) == 70

    def test_the_database_keeps_every_slot_above_zero(self, treasury):
        slot = BalanceChange.objects.filter(account=treasury, slot=1)
        with pytest.raises(IntegrityError), transaction.atomic():
            slot.update(amount=-1)

    def test_what_has_no_floor_is_not_split(self, alice, coins):
        for account in (ledger.system_account(ISSUANCE, coins), ledger.user_account(alice, coins)):
            with pytest.raises(InvariantBroken):
                ledger.split(account, 4)


def test_without_row_locks_there_is_nothing_to_split(coins):
    account = ledger.system_account(TREASURY, coins)
    ledger.split(account, 4)
    account.refresh_from_db()
    assert account.slots == (4 if connection.vendor == "postgresql" else 0)
