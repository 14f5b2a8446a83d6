"""`create_currency` and `fund`: what operators begin with."""

from __future__ import annotations

import pytest

from rewards.ledger import services as ledger
from rewards.ledger.models import Account, Currency, Journal
from rewards.users.models import User

pytestmark = pytest.mark.django_db

MAX_COINS = "92233720368547758.07"


class TestCreateCurrency:
    def test_creates_it_with_what_was_said(self, manage):
        said = manage("create_currency", "gold", "--decimals", 3, "--name", "Gold", "--symbol", "G", "--transferable")

        assert said == "Created the currency gold with 3 decimals.\n"
        gold = Currency.objects.get()
        assert (gold.code, gold.decimals, gold.name, gold.symbol) == ("gold", 3, "Gold", "G")
        assert gold.transferable
        assert gold.active

    def test_a_second_time_changes_nothing(self, manage):
        manage("create_currency", "gold", "--decimals", 3)
        assert manage("create_currency", "gold", "--decimals", 3) == "The currency gold exists already.\n"
        assert Currency.objects.count() == Currency.history.count() == 1

    def test_with_other_decimals_is_refused(self, manage, refused):
        manage("create_currency", "gold", "--decimals", 3)
        assert refused("create_currency", "gold", "--decimals", 2) == "The currency gold exists with 3 decimals."

    @pytest.mark.parametrize("decimals", ["9", "-1", "100"])
    def test_decimals_are_from_0_to_8(self, refused, decimals):
        assert "decimals" in refused("create_currency", "gold", "--decimals", decimals)

    @pytest.mark.parametrize("decimals", ["two", "2.5", "", "1e0"])
    def test_decimals_are_a_whole_number(self, refused, decimals):
        assert "--decimals: invalid int value" in refused("create_currency", "gold", "--decimals", decimals)

    @pytest.mark.parametrize("code", ["", "two words", "gold;", "Ägold", "a" * 41, "../gold", "gold\n"])
    def test_a_code_is_a_short_word(self, refused, code):
        assert "code" in refused("create_currency", code, "--decimals", 2)

    def test_decimals_have_to_be_said(self, refused):
        assert "--decimals" in refused("create_currency", "gold")


class TestFund:
    FOR_THE_MONTH = ("--currency", "coins", "--key", "november", "--reason", "the budget of November")

    @pytest.fixture(autouse=True)
    def _coins(self, coins, alice):
        pass

    @pytest.mark.parametrize("account", ["treasury", "pool:hourly", "pool:daily", "alice"])
    def test_issues_units_to_an_account(self, manage, coins, account):
        said = manage("fund", account, "12.50", *self.FOR_THE_MONTH)

        assert f"{account} (coins) holds 12.50 coins (journal fund:november, 12.50 posted" in said
        journal = Journal.objects.get()
        assert (journal.key, journal.kind, journal.reason) == ("fund:november", "fund", "the budget of November")
        assert journal.transfers.get().amount == 1250
        assert ledger.balance(ledger.system_account("issuance", coins)) == -1250

    def test_a_retry_is_harmless_and_another_key_adds(self, manage):
        first = manage("fund", "treasury", "10", *self.FOR_THE_MONTH)
        assert manage("fund", "treasury", "10.00", *self.FOR_THE_MONTH) == first
        assert Journal.objects.count() == 1
        again = manage("fund", "treasury", "10", "--currency", "coins", "--key", "december", "--reason", "more")
        assert "holds 20.00 coins" in again

    @pytest.mark.parametrize(("account", "amount"), [("treasury", "10.01"), ("alice", "10"), ("pool:daily", "10")])
    def test_a_key_that_stands_for_something_else_is_refused(self, manage, refused, account, amount):
        manage("fund", "treasury", "10", *self.FOR_THE_MONTH)
        said = refused("fund", account, amount, *self.FOR_THE_MONTH)
        assert "'fund:november' was used before for something else" in said

    @pytest.mark.parametrize(
        ("amount", "sentence"),
        [
            ("0", "must be above zero"),
            ("0.00", "must be above zero"),
            ("-5", "must be above zero"),
            ("0.001", "more than the 2 decimals"),
            ("1" + "0" * 30, "too large"),
            ("1" + "0" * 50, "not a plain decimal number"),
            ("NaN", "not a plain decimal number"),
            ("Infinity", "not a plain decimal number"),
            ("1e3", "not a plain decimal number"),
            ("1,000", "not a plain decimal number"),
            ("１２", "not a plain decimal number"),
            ("0x10", "not a plain decimal number"),
            ("", "not a plain decimal number"),
            ("ten", "not a plain decimal number"),
        ],
    )
    def test_an_amount_that_is_none_is_refused(self, refused, amount, sentence):
        assert sentence in refused("fund", "treasury", amount, *self.FOR_THE_MONTH)

    def test_more_than_64_bits_hold_is_refused(self, manage, refused):
        manage("fund", "treasury", MAX_COINS, *self.FOR_THE_MONTH)
        more = ("--currency", "coins", "--key", "more", "--reason", "more")
        assert "64 bits" in refused("fund", "treasury", "0.01", *more)
        assert "64 bits" in refused("fund", "alice", "0.02", *more)

    def test_an_unknown_currency_is_named(self, refused):
        said = refused("fund", "treasury", "5", "--currency", "gold", "--key", "k", "--reason", "r")
        assert said == "There is no currency 'gold'. Create it: manage.py create_currency."

    def test_an_inactive_currency_is_named(self, refused, coins):
        coins.active = False
        coins.save()
        assert "coins is not active" in refused("fund", "treasury", "5", *self.FOR_THE_MONTH)

    @pytest.mark.parametrize("account", ["zoe", "pool:weekly", "", "escrow:case:1", "issuance"])
    def test_an_account_that_is_not_there_is_named_with_those_that_are(self, refused, account):
        said = refused("fund", account, "5", *self.FOR_THE_MONTH)
        assert f"{account!r} is neither one of treasury, pool:hourly, pool:daily nor a user" in said

    def test_issuance_itself_is_refused(self, manage, refused):
        manage("fund", "treasury", "5", *self.FOR_THE_MONTH)
        said = refused("fund", "issuance", "5", "--currency", "coins", "--key", "k", "--reason", "r")
        assert "fund another account" in said

    def test_a_system_account_that_exists_can_be_funded(self, manage, coins):
        ledger.system_account("escrow:case:7", coins)
        assert "escrow:case:7 (coins) holds 5.00" in manage("fund", "escrow:case:7", "5", *self.FOR_THE_MONTH)

    def test_a_user_who_is_called_like_an_account_is_not_meant(self, manage, coins):
        impostor = User.objects.create(username="treasury", password="!")
        manage("fund", "treasury", "5", *self.FOR_THE_MONTH)
        assert not Account.objects.filter(user=impostor).exists()

    @pytest.mark.parametrize("missing", ["--currency", "--key", "--reason"])
    def test_what_has_to_be_said_is_named(self, refused, missing):
        place = self.FOR_THE_MONTH.index(missing)
        rest = self.FOR_THE_MONTH[:place] + self.FOR_THE_MONTH[place + 2 :]
        assert missing in refused("fund", "treasury", "5", *rest)

    @pytest.mark.parametrize("option", ["--key", "--reason"])
    def test_an_empty_key_or_reason_says_nothing(self, refused, option):
        words = list(self.FOR_THE_MONTH)
        words[words.index(option) + 1] = "  "
        assert "Give a --key and a --reason" in refused("fund", "treasury", "5", *words)

    def test_a_key_that_is_too_long_is_refused(self, refused):
        said = refused("fund", "treasury", "5", "--currency", "coins", "--key", "k" * 200, "--reason", "r")
        assert "The --key is longer than" in said
