"""Claims by many at once: one effect per deed, limits and balances exact, nobody waits for ever."""

from __future__ import annotations

from functools import partial
from threading import Event

import pytest
from django.db import transaction

from rewards.claims.errors import AlreadyClaimed, LimitReached
from rewards.claims.models import Claim, ClaimType, Line
from rewards.claims.services import claim, public_result
from rewards.ledger import services as ledger
from rewards.ledger.errors import InsufficientFunds
from rewards.ledger.models import Journal
from tests.concurrency.conftest import broken_promises
from tests.concurrency.racing import (
    PATIENCE_SECONDS,
    at_once,
    die_at_commit,
    in_process,
    threads,
    wait_until_somebody_waits,
    was_killed,
)

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]


def recipe(slug: str, *lines: tuple[str, str, str], **fields) -> ClaimType:
    """A claim type with lines (direction, amount, currency)."""
    claim_type = ClaimType.objects.create(slug=slug, **fields)
    for order, (direction, amount, currency) in enumerate(lines):
        Line.objects.create(claim_type=claim_type, order=order, direction=direction, amount=amount, currency=currency)
    return claim_type


def holdings(user, currency) -> int:
    return ledger.balance(ledger.user_account(user, currency))


def give(user, currency, amount: int) -> None:
    with transaction.atomic():
        ledger.credit(user, currency, amount, f"give:{user}:{currency}", "")


def made(answers: list) -> list[Claim]:
    return [answer for answer in answers if isinstance(answer, Claim)]


def refused(answers: list, error: type[Exception]) -> list:
    return [answer for answer in answers if isinstance(answer, error)]


def test_of_thirty_two_with_one_key_one_is_rewarded_and_all_are_told_the_same(alice, coins, points):
    recipe("victory", ("credit", "12.50", "coins"), ("credit", "3", "points"))

    answers = at_once(*[partial(claim, alice, "victory", "meadow-1", {})] * 32)

    (first,) = made(answers)
    others = refused(answers, AlreadyClaimed)
    assert len(others) == 31
    assert all(public_result(each.claim) == public_result(first) for each in others)
    assert (holdings(alice, coins), holdings(alice, points)) == (1250, 3)
    assert broken_promises() == []


def test_of_sixteen_who_want_what_is_there_once_one_gets_it(points, make_user):
    recipe("treasure", ("credit", "1", "points"), scope="global")
    people = [make_user(f"user-{number}") for number in range(16)]

    answers = at_once(*[partial(claim, user, "treasure", "chest", {}) for user in people])

    assert len(made(answers)) == 1
    assert len(refused(answers, AlreadyClaimed)) == 15
    assert sum(holdings(user, points) for user in people) == 1


def test_a_limit_holds_for_claims_with_different_keys(alice, bob, points):
    recipe("ration", ("credit", "1", "points"), limit_per_user=3, limit_period="day")

    answers = at_once(
        *[partial(claim, user, "ration", str(number), {}) for number in range(12) for user in (alice, bob)]
    )

    assert len(refused(answers, LimitReached)) == 18
    assert (holdings(alice, points), holdings(bob, points)) == (3, 3)
    assert broken_promises() == []


def test_what_is_held_can_be_spent_once(alice, coins, points):
    """Five coins, sixteen purchases at one coin each, whose lines touch the accounts in either order."""
    give(alice, coins, 500)
    recipe("buy", ("debit", "1", "coins"), ("credit", "1", "points"))
    recipe("bargain", ("credit", "1", "points"), ("debit", "1", "coins"))

    answers = at_once(*[partial(claim, alice, ("buy", "bargain")[n % 2], str(n), {}) for n in range(16)])

    assert len(made(answers)) == 5
    assert len(refused(answers, InsufficientFunds)) == 11
    assert (holdings(alice, coins), holdings(alice, points)) == (0, 5)
    assert Claim.objects.count() == 5
    assert broken_promises() == []


def test_claims_on_one_funded_pool_empty_it_to_the_last_unit(points, make_user):
    recipe("grant", ("credit", "7", "points"), funded_by="treasury")
    people = [make_user(f"user-{number}") for number in range(32)]
    with transaction.atomic():
        treasury = ledger.system_account("treasury", points)
        ledger.post("fund", "fund", [ledger.Move(ledger.system_account("issuance", points), treasury, 100)])

    answers = at_once(*[partial(claim, user, "grant", "once", {}) for user in people])

    assert len(made(answers)) == 14
    assert len(refused(answers, InsufficientFunds)) == 18
    assert ledger.balance(treasury) == 2
    assert broken_promises() == []


def test_whoever_waited_for_a_claim_that_failed_makes_it_himself(alice, coins):
    recipe("victory", ("credit", "1", "coins"))
    written, may_fail = Event(), Event()

    def claim_and_fail() -> None:
        with transaction.atomic():
            claim(alice, "victory", "meadow-1", {})
            written.set()
            assert may_fail.wait(PATIENCE_SECONDS)
            raise ZeroDivisionError

    with threads(2) as start:
        failing = start(claim_and_fail)
        assert written.wait(PATIENCE_SECONDS)
        waiting = start(claim, alice, "victory", "meadow-1", {})
        assert not waiting.done()
        may_fail.set()
        assert isinstance(failing.exception(timeout=PATIENCE_SECONDS), ZeroDivisionError)
        second = waiting.result(timeout=PATIENCE_SECONDS)
    assert Claim.objects.get() == second
    assert holdings(alice, coins) == 100


def test_a_claim_of_two_does_not_lock_one_while_it_waits_for_the_other_to_be_created(alice, bob, points):
    """Bob has no account yet; somebody creates it and then wants Alice's, while a claim wants both."""
    duel = ClaimType.objects.create(slug="duel", scope="global")
    for order, party in enumerate(("winner", "loser")):
        Line.objects.create(claim_type=duel, order=order, party=party, currency="points", amount="1")
    give(alice, points, 5)
    created, may_post = Event(), Event()

    def create_then_post() -> None:
        with transaction.atomic():
            to_bob, of_alice = ledger.user_account(bob, points), ledger.user_account(alice, points)
            created.set()
            assert may_post.wait(PATIENCE_SECONDS)
            ledger.post("x", "x", [ledger.Move(of_alice, to_bob, 1)])

    with threads(2) as start:
        posting = start(create_then_post)
        assert created.wait(PATIENCE_SECONDS)
        claiming = start(claim, None, "duel", "d1", {"winner": "alice", "loser": "bob"})
        wait_until_somebody_waits()
        may_post.set()
        posting.result(timeout=PATIENCE_SECONDS)
        claiming.result(timeout=PATIENCE_SECONDS)
    assert (holdings(alice, points), holdings(bob, points)) == (5, 2)


@pytest.mark.parametrize("after", [False, True], ids=["before its commit", "after its commit"])
def test_a_process_that_dies(alice, coins, after):
    """Before the commit nothing remains and the retry is rewarded; after it the retry is told what was."""
    recipe("victory", ("credit", "1", "coins"))

    def claim_and_die() -> None:
        die_at_commit(1, after=after)
        claim(alice, "victory", "meadow-1", {})

    process = in_process(claim_and_die)
    process.join(PATIENCE_SECONDS)
    assert was_killed(process)
    assert Journal.objects.filter(kind="claim").count() == (1 if after else 0)
    if after:
        with pytest.raises(AlreadyClaimed) as told:
            claim(alice, "victory", "meadow-1", {})
        assert told.value.claim.result["balances"] == {"coins": "1.00"}
    else:
        claim(alice, "victory", "meadow-1", {})
    assert holdings(alice, coins) == 100
    assert broken_promises() == []
