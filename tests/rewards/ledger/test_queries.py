"""What a user has earned: what the system gave him and did not take back."""

from __future__ import annotations

import pytest

from rewards.ledger import services as ledger
from rewards.ledger.models import ISSUANCE, TREASURY
from rewards.ledger.queries import earned, earnings

pytestmark = pytest.mark.django_db


def test_who_was_given_nothing_has_earned_nothing(alice, coins):
    assert earned(alice, coins) == 0


def test_credits_from_every_system_account_count(alice, coins):
    issuance, treasury = ledger.system_account(ISSUANCE, coins), ledger.system_account(TREASURY, coins)
    ledger.post("fund", "fund", [ledger.Move(issuance, treasury, 500)])
    ledger.post("bonus", "bonus", [ledger.Move(treasury, ledger.user_account(alice, coins), 200)])
    ledger.credit(alice, coins, 100, "won", "won")

    assert earned(alice, coins) == 300
    assert earnings(coins).count() == 2  # not the one that filled the treasury


def test_spending_does_not_lower_it(alice, coins):
    ledger.credit(alice, coins, 100, "won", "won")
    ledger.debit(alice, coins, 70, "spent", "spent")

    assert earned(alice, coins) == 100


def test_what_users_send_each_other_counts_for_neither(alice, bob, coins):
    ledger.credit(alice, coins, 100, "won", "won")
    ledger.transfer(alice, bob, coins, 40, "present")

    assert (earned(alice, coins), earned(bob, coins)) == (100, 0)


def test_a_reversed_credit_stops_counting(alice, coins):
    ledger.credit(alice, coins, 100, "won", "won")
    ledger.reverse(ledger.credit(alice, coins, 30, "mistake", "mistake"), "not his")

    assert earned(alice, coins) == 100


def test_a_spending_that_is_given_back_was_not_earned(alice, coins):
    ledger.credit(alice, coins, 100, "won", "won")
    ledger.reverse(ledger.debit(alice, coins, 70, "spent", "spent"), "not delivered")

    assert earned(alice, coins) == 100


def test_what_moves_between_a_users_own_accounts_does_not_count(alice, coins):
    ledger.credit(alice, coins, 100, "won", "won")
    own, stake = ledger.user_account(alice, coins), ledger.user_account(alice, coins, "stake:1")
    ledger.post("stake", "stake", [ledger.Move(own, stake, 60)])
    ledger.post("unstake", "unstake", [ledger.Move(stake, own, 60)])

    assert earned(alice, coins) == 100


def test_each_currency_and_each_user_has_his_own(alice, bob, coins, points):
    ledger.credit(alice, coins, 100, "coins", "won")
    ledger.credit(alice, points, 7, "points", "won")
    ledger.credit(bob, points, 5, "his", "won")

    assert (earned(alice, coins), earned(alice, points), earned(bob, points)) == (100, 7, 5)


def test_what_is_written_off_was_not_earned(alice, coins):
    ledger.credit(alice, coins, 100, "won", "won")
    gives_up = ledger.system_account("write_off", coins)
    ledger.post("cover", "write_off", [ledger.Move(gives_up, ledger.user_account(alice, coins), 30)])

    assert earned(alice, coins) == 100
