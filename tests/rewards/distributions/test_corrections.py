"""Taking back what was paid, also from who has spent it."""

from __future__ import annotations

from contextlib import suppress
from functools import partial

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction

from rewards.audit.models import AuditEvent
from rewards.common.errors import ReasonMissing
from rewards.distributions import queries, services
from rewards.distributions.corrections import clawback_preview, take_back
from rewards.distributions.errors import NoSuchRow, NotAllowed, NothingToReverse
from rewards.distributions.models import Distribution
from rewards.ledger import services as ledger
from rewards.ledger.checks import run_checks
from rewards.ledger.debts import Shortfall, repay_debt
from rewards.ledger.errors import InsufficientFunds, NothingToRepay
from rewards.ledger.models import DEBT, WRITE_OFF, Account, Journal, Transfer
from rewards.ledger.queries import earned
from rewards.parameters.services import set_parameter
from rewards.users.models import User
from tests.concurrency.racing import at_once
from tests.rewards.reading import reading_only

pytestmark = pytest.mark.django_db


@pytest.fixture
def paid(prize, open_prize, alice, bob, carol):
    """10.00 coins: 3.34 for Alice, 3.33 each for Bob and Carol, in two chunks. Bob has spent 3.00, Carol 0.33."""
    set_parameter("distributions.chunk_rows", 2, actor=None, reason="several chunks")
    prize.scores, prize.prize = {"alice": 30, "bob": 20, "carol": 10}, 1000
    distribution = services.advance(open_prize().pk)
    with transaction.atomic():
        ledger.debit(bob, distribution.currency, 300, "spent", "a hat")
        ledger.debit(carol, distribution.currency, 33, "spent too", "a pin")
    return distribution


@pytest.fixture
def boss(staff):
    return staff("boss", "reverse_distribution")


def reward_of(distribution, user):
    return distribution.rewards.get(user=user)


def holds(user, coins, code=""):
    account = Account.objects.filter(user=user, currency=coins, code=code).first()
    return ledger.balance(account) if account else None


def everything_holds(distribution):
    return queries.verify(distribution) == [] and not [each for each in run_checks() if not each.holds]


class TestBeforehand:
    def test_it_says_who_has_spent_it_and_what_would_be_missing(self, paid):
        with reading_only():
            found = clawback_preview(paid)
        assert (found.recipients, found.total, found.already_reversed) == (3, 1000, 0)
        assert (found.short, found.missing_total) == (2, 333)
        assert found.rows == [Shortfall("bob", 333, 33, 300), Shortfall("carol", 333, 300, 33)]

    def test_of_one_reward(self, paid, alice, bob):
        with reading_only():
            of_alice = clawback_preview(paid, reward_of(paid, alice))
            of_bob = clawback_preview(paid, reward_of(paid, bob))
        assert (of_alice.recipients, of_alice.total, of_alice.short, of_alice.rows) == (1, 334, 0, [])
        assert (of_bob.short, of_bob.missing_total, of_bob.rows) == (1, 300, [Shortfall("bob", 333, 33, 300)])

    def test_of_what_is_not_paid_there_is_nothing(self, prize, open_prize, alice):
        prize.scores, prize.prize = {"alice": 1}, 100
        waiting = open_prize()
        assert clawback_preview(waiting).recipients == 0
        services.step(waiting)
        assert clawback_preview(waiting, reward_of(waiting, alice)).recipients == 0


class TestAWholeDistribution:
    def test_refused_names_who_lacks_most_and_what_is_missing_in_all(self, paid, boss):
        before = Transfer.objects.count()
        with pytest.raises(InsufficientFunds, match=r"bob \(coins\) holds 0.33 and would need 3.33") as refused:
            services.reverse(paid.pk, boss, "wrong votes")
        assert "carol (coins) holds 3.00" in refused.value.message
        assert "In all 3.33 coins are missing" in refused.value.message
        assert refused.value.facts == {
            "account": "bob (coins)", "currency": "coins", "balance": "0.33", "need": "3.33", "short": 2,
            "missing": "3.33",
        }  # fmt: skip
        assert Transfer.objects.count() == before
        assert Distribution.objects.get(pk=paid.pk).status == "paid"

    def test_lent_leaves_a_debt_with_those_who_have_spent_it(self, paid, boss, coins, alice, bob, carol):
        reversed_ = services.reverse(paid.pk, boss, "wrong votes", missing="lend")
        assert reversed_.status == "reversed"
        assert ledger.balance(paid.source_account) == 1000
        assert [holds(user, coins) for user in (alice, bob, carol)] == [0, 0, 0]
        assert [holds(user, coins, DEBT) for user in (alice, bob, carol)] == [None, -300, -33]
        assert Journal.objects.get(kind="lend").transfers.count() == 2
        assert {queries.status_of(row) for row in paid.rewards.all()} == {"reversed"}
        assert AuditEvent.objects.get(event_type="reversed").data == {
            "missing": "lend", "short": 2, "missing_total": 333,
        }  # fmt: skip
        assert everything_holds(reversed_)

    def test_written_off_is_nobodys_debt(self, paid, boss, coins, alice, bob):
        services.reverse(paid.pk, boss, "wrong votes", missing="write_off")
        assert ledger.balance(paid.source_account) == 1000
        assert ledger.balance(ledger.system_account(WRITE_OFF, coins)) == -333
        assert (holds(bob, coins), holds(bob, coins, DEBT)) == (0, None)
        assert earned(bob, coins) == 0
        assert everything_holds(paid)

    def test_where_nobody_lacks_anything_all_three_are_the_same(self, prize, open_prize, alice, boss):
        prize.scores, prize.prize = {"alice": 1}, 100
        distribution = services.advance(open_prize().pk)
        found = take_back(distribution.pk, boss, "a mistake", missing="lend")
        assert (found.recipients, found.total, found.short) == (1, 100, 0)
        assert not Journal.objects.filter(kind="lend").exists()
        assert AuditEvent.objects.get(event_type="reversed").data == {}

    def test_many_who_have_spent_it_cost_no_more_statements_than_few(
        self, paid, boss, django_assert_max_num_queries, prize, open_prize, make_user, coins
    ):
        """Of a hundred recipients in one chunk, all of whom owe."""
        set_parameter("distributions.chunk_rows", 256, actor=None, reason="one chunk")
        for number in range(100):
            make_user(f"user-{number}")
        prize.scores, prize.prize = {f"user-{number}": 1 for number in range(100)}, 200
        many = services.advance(open_prize("many").pk)
        accounts = Account.objects.filter(user__username__startswith="user-")
        with transaction.atomic():
            burn = ledger.system_account("burn", coins)
            ledger.post("all spent", "spent", [ledger.Move(account, burn, 1) for account in accounts])
        with django_assert_max_num_queries(40):
            take_back(many.pk, boss, "a mistake", missing="lend")
        assert list(accounts.filter(code=DEBT).values_list("balance", flat=True)) == [-1] * 100
        assert set(accounts.filter(code="").values_list("balance", flat=True)) == {0}


class TestOneReward:
    def test_only_its_transfer_goes_back(self, paid, boss, coins, alice, bob):
        found = take_back(paid.pk, boss, "not hers", reward_id=reward_of(paid, alice).pk)
        assert (found.recipients, found.total) == (1, 334)
        assert (holds(alice, coins), holds(bob, coins), ledger.balance(paid.source_account)) == (0, 33, 334)
        assert [queries.status_of(row) for row in paid.rewards.order_by("position")] == ["reversed", "paid", "paid"]
        assert Distribution.objects.get(pk=paid.pk).status == "paid"
        event = AuditEvent.objects.get(event_type="reversed")
        assert (event.user, event.actor, event.amount, event.reason) == (alice, boss, 334, "not hers")
        assert event.reward_id == str(reward_of(paid, alice).pk)
        assert everything_holds(paid)

    @pytest.mark.parametrize(("missing", "debt"), [("lend", -300), ("write_off", None)])
    def test_what_he_has_spent_is_lent_or_written_off(self, paid, boss, coins, bob, missing, debt):
        take_back(paid.pk, boss, "not his", missing=missing, reward_id=reward_of(paid, bob).pk)
        assert (holds(bob, coins), holds(bob, coins, DEBT)) == (0, debt)
        assert ledger.balance(paid.source_account) == 333
        assert everything_holds(paid)

    def test_refused_changes_nothing(self, paid, boss, bob):
        with pytest.raises(InsufficientFunds, match=r"In all 3.00 coins are missing"):
            take_back(paid.pk, boss, "not his", reward_id=reward_of(paid, bob).pk)
        assert not Transfer.objects.exclude(reverses=None).exists()

    def test_once(self, paid, boss, alice):
        again = partial(take_back, paid.pk, boss, "not hers", reward_id=reward_of(paid, alice).pk)
        again()
        with pytest.raises(NothingToReverse, match="alice is reversed already"):
            again()
        assert clawback_preview(paid).already_reversed == 1

    def test_the_rest_goes_back_with_the_distribution_later(self, paid, boss, coins, alice, bob):
        for user in (alice, bob):
            take_back(paid.pk, boss, "a mistake", missing="lend", reward_id=reward_of(paid, user).pk)
        found = take_back(paid.pk, boss, "all of it", missing="lend")
        assert (found.recipients, found.total, found.already_reversed) == (1, 333, 2)
        assert (found.short, found.missing_total) == (1, 33)
        assert ledger.balance(paid.source_account) == 1000
        with pytest.raises(NothingToReverse):
            take_back(paid.pk, boss, "again")
        assert everything_holds(Distribution.objects.get(pk=paid.pk))

    def test_what_is_not_there_or_not_paid_says_so(self, paid, boss, prize, open_prize, alice):
        with pytest.raises(NoSuchRow):
            take_back(paid.pk, boss, "a mistake", reward_id=0)
        waiting = open_prize("2")
        services.step(waiting)
        with pytest.raises(NothingToReverse, match="alice is not paid"):
            take_back(waiting.pk, boss, "a mistake", reward_id=reward_of(waiting, alice).pk)

    def test_needs_the_right_and_a_reason(self, paid, boss, staff, alice):
        reward_id = reward_of(paid, alice).pk
        with pytest.raises(NotAllowed):
            take_back(paid.pk, staff("nora"), "why not", reward_id=reward_id)
        with pytest.raises(ReasonMissing):
            take_back(paid.pk, boss, " ", reward_id=reward_id)


class TestDebts:
    @pytest.fixture
    def owing(self, paid, boss, bob, coins):
        """Bob owes 3.00 coins."""
        take_back(paid.pk, boss, "not his", missing="lend", reward_id=reward_of(paid, bob).pk)
        return ledger.user_account(bob, coins)

    def earn(self, user, coins, amount):
        with transaction.atomic():
            ledger.credit(user, coins, amount, f"earned:{amount}", "work")

    def test_repaid_as_far_as_the_balance_reaches(self, owing, bob, coins, boss):
        for amount, left, debt in ((100, 0, -200), (250, 50, 0)):
            self.earn(bob, coins, amount)
            with transaction.atomic():
                repay_debt(owing, boss, "from his next pay")
            assert (holds(bob, coins), holds(bob, coins, DEBT)) == (left, debt)
        with pytest.raises(NothingToRepay), transaction.atomic():
            repay_debt(owing, boss)
        events = AuditEvent.objects.filter(event_type="debt_repaid").order_by("pk")
        assert [(event.user, event.actor, event.amount) for event in events] == [(bob, boss, 100), (bob, boss, 200)]
        assert not [each for each in run_checks() if not each.holds]

    def test_with_an_empty_account_or_without_a_debt_there_is_nothing_to_repay(self, owing, alice, coins):
        for account in (owing, ledger.user_account(alice, coins)):
            with pytest.raises(NothingToRepay), transaction.atomic():
                repay_debt(account)

    def test_the_command(self, owing, bob, coins, capsys):
        self.earn(bob, coins, 120)
        call_command("repay_debt", "bob", currency="coins")
        assert "bob repaid 1.20 coins and still owes 1.80" in capsys.readouterr().out
        with pytest.raises(CommandError, match="nothing to repay"):
            call_command("repay_debt", "bob", currency="coins")
        with pytest.raises(CommandError, match="no user 'nobody'"):
            call_command("repay_debt", "nobody", currency="coins")
        with pytest.raises(CommandError, match="no currency 'gems'"):
            call_command("repay_debt", "bob", currency="gems")


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
class TestAtTheSameTime:
    def test_one_reward_goes_back_once(self, paid, boss, bob, coins):
        work = partial(take_back, paid.pk, boss, "not his", missing="lend", reward_id=reward_of(paid, bob).pk)
        answers = at_once(*[work] * 4)
        assert sorted(type(answer).__name__ for answer in answers) == ["Clawback", *["NothingToReverse"] * 3]
        assert holds(bob, coins, DEBT) == -300
        assert everything_holds(paid)

    def test_a_reward_and_the_whole_distribution(self, paid, boss, alice, bob, coins):
        """Whichever comes first, each transfer goes back once and nobody waits for ever."""
        rewards = [reward_of(paid, user).pk for user in (bob, alice)]
        one_by_one = [
            partial(take_back, paid.pk, boss, "a mistake", missing="lend", reward_id=reward_id) for reward_id in rewards
        ]
        whole = partial(take_back, paid.pk, boss, "all of it", missing="write_off")
        answers = at_once(*one_by_one, whole, whole)
        assert {type(answer).__name__ for answer in answers} <= {"Clawback", "NothingToReverse"}
        assert ledger.balance(paid.source_account) == 1000
        assert Transfer.objects.exclude(reverses=None).count() == 3
        assert everything_holds(Distribution.objects.get(pk=paid.pk))

    def test_two_payouts_to_the_same_people_while_they_spend(self, paid, open_prize, boss, alice, bob, carol, coins):
        """Whatever they manage to spend in between becomes debt; nobody deadlocks, nothing is lost."""
        second = services.advance(open_prize("2").pk)

        def spend(user: User, other: User) -> int:
            sent = 0
            for number in range(20):
                with suppress(InsufficientFunds), transaction.atomic():
                    ledger.transfer(user, other, coins, 20, f"{user}:{number}")
                    sent += 1
            return sent

        reversals = [partial(take_back, each.pk, boss, "a mistake", missing="lend") for each in (paid, second)]
        answers = at_once(
            *reversals, partial(spend, alice, bob), partial(spend, bob, carol), partial(spend, carol, alice)
        )
        assert [type(answer).__name__ for answer in answers] == ["Clawback", "Clawback", "int", "int", "int"]
        assert ledger.balance(paid.source_account) == 2000
        everything = sum(ledger.balance(account) for account in Account.objects.filter(user__in=[alice, bob, carol]))
        assert everything == -300 - 33
        assert everything_holds(paid)

    def test_a_debt_is_repaid_once(self, paid, boss, bob, coins):
        take_back(paid.pk, boss, "not his", missing="lend", reward_id=reward_of(paid, bob).pk)
        with transaction.atomic():
            ledger.credit(bob, coins, 500, "earned", "work")
        own = ledger.user_account(bob, coins)

        def repay() -> int:
            with transaction.atomic():
                return repay_debt(own)

        answers = at_once(*[repay] * 4)
        assert sorted(type(answer).__name__ for answer in answers) == ["NothingToRepay"] * 3 + ["int"]
        assert (holds(bob, coins), holds(bob, coins, DEBT)) == (200, 0)
        assert not [each for each in run_checks() if not each.holds]
