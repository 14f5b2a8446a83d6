"""Many who post at once: no unit is made or lost, nothing is done twice, nobody waits who need not."""

from __future__ import annotations

import random
import time
from functools import partial
from threading import Event

import pytest
from django.db import connection, transaction

from rewards.ledger import posting
from rewards.ledger import services as ledger
from rewards.ledger.errors import AlreadyReversed, IdempotencyConflict, InsufficientFunds
from rewards.ledger.models import BURN, ISSUANCE, Account, BalanceChange, Journal, Transfer
from rewards.ledger.services import Move
from tests.concurrency.conftest import broken_promises
from tests.concurrency.racing import PATIENCE_SECONDS, at_once, threads, wait_until_somebody_waits

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]

SUMS_AND_LEAST = """
    SELECT currency.code,
        sum(balance) + (SELECT coalesce(sum(amount), 0) FROM rewards_balancechange change
                        JOIN rewards_account of ON of.id = change.account_id WHERE of.currency_id = currency.id),
        sum(balance) FILTER (WHERE user_id IS NOT NULL),
        min(balance) FILTER (WHERE min_balance IS NOT NULL)
    FROM rewards_account account JOIN rewards_currency currency ON currency.id = account.currency_id
    GROUP BY currency.id, currency.code
"""


def committed(work, *arguments, **named):
    """Run a posting in a transaction of its own."""
    with transaction.atomic():
        return work(*arguments, **named)


def holdings(user, currency) -> int:
    return ledger.balance(ledger.user_account(user, currency))


# ---------------------------------------------------------------------------------------------------------- the bank

RUNNING_SECONDS = 2.0
TOTAL = 100


@pytest.fixture
def bank(coins, points, make_user):
    """Eight people who hold 100 coins together, and some points each."""
    people = [make_user(f"user-{number}") for number in range(8)]
    for number, user in enumerate(people):
        committed(ledger.credit, user, coins, TOTAL // 8 + (number < TOTAL % 8), f"coins:{number}", "opening")
        committed(ledger.credit, user, points, 10, f"points:{number}", "opening")
    with transaction.atomic():
        ledger.system_account(BURN, points)
    return people


def test_in_a_busy_bank_every_read_finds_the_same_total(bank, coins, points):
    """Coins only change hands; points come and go. Sixteen post, two watch every account in one statement."""
    end = time.monotonic() + RUNNING_SECONDS

    def keep_posting(seed: int) -> tuple[int, int]:
        chance, done, refused = random.Random(seed), 0, 0
        while time.monotonic() < end:
            try:
                with transaction.atomic():
                    post_something(chance, f"{seed}:{done}:{refused}")
                done += 1
            except InsufficientFunds:
                refused += 1
        return done, refused

    def post_something(chance: random.Random, key: str) -> None:
        giver, taker, third = chance.sample(bank, 3)
        amount = chance.randint(1, 5)
        match chance.randrange(5):
            case 0 | 1:
                ledger.transfer(giver, taker, coins, amount, key)
            case 2:
                ledger.credit(taker, points, amount, key, "won")
            case 3:
                ledger.debit(giver, points, amount, key, "lost")
            case 4:
                ledger.post(key, "round", circle(giver, taker, third, amount, chance.randint(1, 5)))

    def circle(giver, taker, third, amount: int, other: int) -> list[Move]:
        """Three wallets in two currencies, in whatever order."""
        coin, point = (partial(ledger.user_account, currency=currency) for currency in (coins, points))
        return [
            Move(coin(giver), coin(taker), amount),
            Move(coin(third), coin(giver), other),
            Move(point(taker), point(third), 1),
            Move(ledger.system_account(ISSUANCE, points), point(giver), amount),
        ]

    def keep_watching() -> list[tuple]:
        wrong, reads = [], 0
        with connection.cursor() as cursor:
            while time.monotonic() < end:
                cursor.execute(SUMS_AND_LEAST)
                for code, total, of_people, least in cursor.fetchall():
                    reads += 1
                    if total != 0 or least < 0 or (code == "coins" and of_people != TOTAL):
                        wrong.append((code, total, of_people, least))
        return wrong if reads else [("nothing was read",)]

    journals = Journal.objects.count()
    *counts, seen, seen_too = at_once(
        *[partial(keep_posting, seed) for seed in range(16)], keep_watching, keep_watching
    )

    assert seen == seen_too == []
    done, refused = (sum(each) for each in zip(*counts, strict=True))
    assert Journal.objects.count() == journals + done
    assert refused > 0
    assert broken_promises() == []


# ------------------------------------------------------------------------------------------------------------- one key


def test_one_key_posted_by_thirty_two_at_once_is_one_journal(alice, bob, coins):
    committed(ledger.credit, alice, coins, 100, "opening", "")
    spend = partial(committed, ledger.transfer, alice, bob, coins, 100, "all of it")

    answers = at_once(*[spend] * 32)

    assert len(set(answers)) == 1
    assert Journal.objects.get(key="all of it") == answers[0]
    assert (holdings(alice, coins), holdings(bob, coins)) == (0, 100)


def test_of_thirty_two_who_mean_different_things_by_one_key_one_is_right(alice, coins):
    answers = at_once(
        *[partial(committed, ledger.credit, alice, coins, amount, "prize", "won") for amount in range(1, 33)]
    )

    journal, *others = [answer for answer in answers if not isinstance(answer, IdempotencyConflict)]
    assert others == []
    assert holdings(alice, coins) == answers.index(journal) + 1
    assert Transfer.objects.count() == 1
    assert broken_promises() == []


def test_a_key_whose_first_user_is_rolled_back_is_free_for_the_one_who_waited(alice, bob, coins):
    written, let_go = Event(), Event()

    def post_and_think_better_of_it() -> None:
        with transaction.atomic():
            ledger.credit(alice, coins, 5, "prize", "to Alice")
            written.set()
            let_go.wait(PATIENCE_SECONDS)
            transaction.set_rollback(True)

    with threads(2) as start:
        first = start(post_and_think_better_of_it)
        written.wait(PATIENCE_SECONDS)
        second = start(committed, ledger.credit, bob, coins, 7, "prize", "to Bob")
        wait_until_somebody_waits()
        let_go.set()
        first.result(PATIENCE_SECONDS)
        assert second.result(PATIENCE_SECONDS) == Journal.objects.get(key="prize")

    assert (holdings(alice, coins), holdings(bob, coins)) == (0, 7)


# ------------------------------------------------------------------------------------------------------------ issuance


def test_issuance_is_part_of_everything_and_holds_up_nobody(alice, bob, carol, coins):
    """Alice's credit stays open; Bob's goes through meanwhile, and whoever looks finds exact balances."""
    committed(ledger.credit, carol, coins, 1, "opening", "")
    issuance = ledger.system_account(ISSUANCE, coins)
    written, let_go = Event(), Event()

    def credit_alice_slowly() -> None:
        with transaction.atomic():
            ledger.credit(alice, coins, 100, "alice", "")
            written.set()
            let_go.wait(PATIENCE_SECONDS)

    def credit_bob_without_waiting() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '1s'")
            ledger.credit(bob, coins, 30, "bob", "")

    with threads(2) as start:
        slow = start(credit_alice_slowly)
        written.wait(PATIENCE_SECONDS)
        assert ledger.balance(issuance) == -1
        start(credit_bob_without_waiting).result(PATIENCE_SECONDS)
        assert not slow.done()
        assert ledger.balance(issuance) == -31
        assert holdings(bob, coins) == 30
        assert [change.amount for change in BalanceChange.objects.all()] == [-30]
        assert broken_promises() == []
        let_go.set()
        slow.result(PATIENCE_SECONDS)

    assert ledger.balance(issuance) == -131
    assert broken_promises() == []
    time.sleep(2 * posting.BUSY_SECONDS)
    committed(ledger.credit, carol, coins, 1, "whoever comes next", "")
    assert not BalanceChange.objects.exists()
    assert Account.objects.get(pk=issuance.pk).balance == ledger.balance(issuance) == -132


def test_changes_left_by_many_are_all_folded_in(make_user, coins):
    people = [make_user(f"user-{number}") for number in range(12)]
    committed(ledger.credit, people[0], coins, 1, "opening", "")

    def keep_crediting(user) -> None:
        for number in range(15):
            committed(ledger.credit, user, coins, 1, f"{user}:{number}", "")

    assert at_once(*[partial(keep_crediting, user) for user in people]) == [None] * 12

    issuance = ledger.system_account(ISSUANCE, coins)
    assert ledger.balance(issuance) == -181
    time.sleep(2 * posting.BUSY_SECONDS)
    committed(ledger.credit, people[0], coins, 1, "the last", "")
    assert not BalanceChange.objects.exists()
    assert Account.objects.get(pk=issuance.pk).balance == -182
    assert broken_promises() == []


# ------------------------------------------------------------------------------------------------ floors and reversals


@pytest.mark.parametrize(("floor", "payments"), [(0, 14), (30, 10), (-10, 15)])
def test_an_account_that_sixteen_empty_pays_as_often_as_it_can(alice, bob, coins, floor, payments):
    committed(ledger.credit, alice, coins, 100, "opening", "")
    Account.objects.filter(user=alice).update(min_balance=floor)

    def spend_until_refused(spender: int) -> int:
        done = 0
        try:
            while True:
                committed(ledger.transfer, alice, bob, coins, 7, f"{spender}:{done}")
                done += 1
        except InsufficientFunds:
            return done

    counts = at_once(*[partial(spend_until_refused, spender) for spender in range(16)])

    assert sum(counts) == payments
    assert (holdings(alice, coins), holdings(bob, coins)) == (100 - 7 * payments, 7 * payments)
    assert broken_promises() == []


def test_a_journal_that_eight_reverse_is_reversed_once(alice, bob, coins):
    committed(ledger.credit, alice, coins, 100, "opening", "")
    wallets = [ledger.user_account(user, coins) for user in (alice, bob)]
    paid = committed(ledger.post, "k", "there and back", [Move(*wallets, 60), Move(wallets[1], wallets[0], 10)])

    answers = at_once(*[partial(committed, ledger.reverse, paid, f"try {number}") for number in range(8)])

    assert sum(isinstance(answer, Journal) for answer in answers) == 1
    assert sum(isinstance(answer, AlreadyReversed) for answer in answers) == 7
    assert Transfer.objects.filter(reverses__journal=paid).count() == 2
    assert (holdings(alice, coins), holdings(bob, coins)) == (100, 0)
    assert broken_promises() == []


def test_every_journal_reversed_by_two_at_once_is_reversed_once(alice, coins):
    """Twenty journals, each met by both at about the same time, in the same order."""
    journals = [committed(ledger.credit, alice, coins, 5, f"{number}", "") for number in range(20)]

    def reverse_all() -> int:
        done = 0
        for journal in journals:
            try:
                committed(ledger.reverse, journal, "all of it was a mistake")
                done += 1
            except AlreadyReversed:
                continue
        return done

    assert sum(at_once(reverse_all, reverse_all)) == 20
    assert holdings(alice, coins) == 0
    assert broken_promises() == []


def test_what_is_spent_and_reversed_at_once_is_one_or_the_other(alice, bob, coins):
    """Either Bob has the coins and the reversal is refused, or the credit is gone and the spending is."""
    for number in range(10):
        paid = committed(ledger.credit, alice, coins, 10, f"paid:{number}", "")
        spent, reversed_ = at_once(
            partial(committed, ledger.transfer, alice, bob, coins, 10, f"spent:{number}"),
            partial(committed, ledger.reverse, paid, "a mistake"),
        )
        assert {type(spent), type(reversed_)} == {Journal, InsufficientFunds}
        assert holdings(alice, coins) == 0
    assert broken_promises() == []


# ------------------------------------------------------------------------------------------------- one much used wallet


def test_many_who_credit_one_user_at_once_all_succeed(alice, coins, points):
    """Nothing of a posting is passed over because its row was changed while the statement was under way."""
    wanted = {(alice, "coins"), (alice, "points"), (ISSUANCE, "coins"), (ISSUANCE, "points")}

    def keep_crediting(name: int) -> None:
        for number in range(40):
            with transaction.atomic():
                accounts = ledger.accounts(wanted)
                both = [Move(accounts[ISSUANCE, code], accounts[alice, code], 1) for code in ("coins", "points")]
                ledger.post(f"{name}:{number}", "won", both)

    with transaction.atomic():
        ledger.accounts(wanted)
    assert at_once(*[partial(keep_crediting, name) for name in range(12)]) == [None] * 12
    assert (holdings(alice, coins), holdings(alice, points)) == (480, 480)
    assert broken_promises() == []


# --------------------------------------------------------------------------------------------------------------- slots


def test_sixteen_who_empty_one_pool_leave_nothing_and_overdraw_nothing(coins, make_user):
    """Each draws until he is refused: the pool is then empty to the last unit, since nobody is refused before."""
    people = [make_user(f"user-{number}") for number in range(16)]
    with transaction.atomic():
        pool = ledger.system_account("treasury", coins)
        ledger.post("fund", "fund", [Move(ledger.system_account(ISSUANCE, coins), pool, 1_003)])
        ledger.split(pool, 8)
        wallets = {user: ledger.user_account(user, coins) for user in people}

    def draw_until_refused(user) -> int:
        chance, drawn = random.Random(user.pk), 0
        while True:
            wanted = chance.randint(1, 9) if drawn < 40 else 1
            try:
                committed(ledger.post, f"draw:{user.pk}:{drawn}", "gift", [Move(pool, wallets[user], wanted)])
            except InsufficientFunds:
                if wanted == 1:
                    return drawn
                continue
            finally:
                drawn += 1

    answers = at_once(*[partial(draw_until_refused, user) for user in people])

    assert [answer for answer in answers if not isinstance(answer, int)] == []
    assert ledger.balance(pool) == 0
    assert sum(ledger.balance(wallet) for wallet in wallets.values()) == 1_003
    assert broken_promises() == []


def test_a_draw_passes_over_slots_that_others_hold(coins, alice, bob):
    with transaction.atomic():
        pool = ledger.system_account("treasury", coins)
        ledger.post("fund", "fund", [Move(ledger.system_account(ISSUANCE, coins), pool, 100)])
        ledger.split(pool, 4)
        wallets = [ledger.user_account(user, coins) for user in (alice, bob)]
        ledger.post("first", "gift", [Move(pool, wallets[0], 1)])
    drawn, may_end = Event(), Event()

    def draw_and_hold() -> None:
        with transaction.atomic():
            ledger.post("a", "gift", [Move(pool, wallets[0], 5)])
            drawn.set()
            assert may_end.wait(PATIENCE_SECONDS)

    with threads(2) as start:
        holding = start(draw_and_hold)
        assert drawn.wait(PATIENCE_SECONDS)
        other = start(committed, ledger.post, "b", "gift", [Move(pool, wallets[1], 5)])
        other.result(timeout=PATIENCE_SECONDS)  # while the first still holds its slot
        may_end.set()
        holding.result(timeout=PATIENCE_SECONDS)
    assert ledger.balance(pool) == 89
