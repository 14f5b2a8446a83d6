"""Claims of many at once, monitors side by side, processes that die: each reward is claimed and credited once."""

from __future__ import annotations

from functools import partial
from threading import Event

import pytest
from django.db import transaction

from rewards.chain.models import ChainTransaction, LocalEntry
from rewards.chain_claims.models import RewardClaim
from rewards.chain_claims.monitor import monitor_transactions
from rewards.chain_claims.services import begin_claims, claim
from rewards.distributions import services
from rewards.distributions.corrections import take_back
from rewards.distributions.errors import ClaimUnderWay
from rewards.ledger import services as ledger
from rewards.ledger.models import CLAIMABLE, Account, Journal
from rewards.users.models import NO_PASSWORD, User
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
from tests.rewards.chain_claims.conftest import NOON, WALLET, after

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def crowd(prize, open_prize):
    """Sixteen of whom each has a coin to claim: (the payout, the users)."""
    names = [f"user-{number:02}" for number in range(16)]
    User.objects.bulk_create([User(username=name, password=NO_PASSWORD) for name in names])
    prize.scores, prize.prize = dict.fromkeys(names, 1), 1600
    distribution = services.advance(open_prize(payout="chain").pk)
    return distribution, list(User.objects.filter(username__in=names).order_by("pk"))


@pytest.fixture
def alices(prize, open_prize, alice):
    """Three payouts of ten coins each, all for Alice: her rewards."""
    prize.scores, prize.prize = {"alice": 1}, 1000
    payouts = [services.advance(open_prize(key, payout="chain").pk) for key in "123"]
    return [payout.rewards.get() for payout in payouts]


def own_balance(user):
    account = Account.objects.filter(user=user, code="").first()
    return ledger.balance(account) if account else 0


def claim_these(user, rewards, at=NOON):
    return claim(user, [reward.pk for reward in rewards], WALLET, at)


def run(minutes, monitor=monitor_transactions):
    return monitor(after(minutes=minutes))


def test_one_reward_claimed_by_sixteen_at_once(alice, alices):
    found = at_once(*[partial(claim_these, alice, alices[:1])] * 16)

    assert len({(claims[0].pk, claims[0].transaction_id) for claims in found}) == 1
    assert RewardClaim.objects.count() == ChainTransaction.objects.count() == LocalEntry.objects.count() == 1
    run(2)
    assert own_balance(alice) == 1000
    assert broken_promises() == []


def test_overlapping_claims_in_every_order(alice, alices):
    first, second, third = alices
    orders = [[first, second], [second], [third, first], [third], [second, third], [third, second, first]]
    found = at_once(*[partial(claim_these, alice, order) for order in orders * 2])

    assert [each for each in found if isinstance(each, Exception)] == []
    assert RewardClaim.objects.count() == ChainTransaction.objects.count() == 3
    run(2)
    assert own_balance(alice) == 3000
    assert broken_promises() == []


def test_sixteen_users_claim_at_once(crowd):
    distribution, users = crowd
    rewards = {reward.user_id: reward for reward in distribution.rewards.all()}
    found = at_once(*[partial(claim_these, user, [rewards[user.pk]]) for user in users])

    assert [each for each in found if isinstance(each, Exception)] == []
    nonces = ChainTransaction.objects.order_by("nonce").values_list("nonce", flat=True)
    assert list(nonces) == list(range(16))
    run(2)
    assert {own_balance(user) for user in users} == {100}
    assert broken_promises() == []


def test_two_monitors_at_once_credit_once(crowd):
    distribution, users = crowd
    for reward in distribution.rewards.all():
        claim_these(reward.user, [reward])
    found = at_once(*[partial(run, 2)] * 4)

    assert [each for each in found if isinstance(each, Exception)] == []
    assert sum(each.completed for each in found) == 16
    assert [each.errors for each in found] == [0] * 4
    assert {own_balance(user) for user in users} == {100}
    assert Journal.objects.filter(kind="chain_claim").count() == 16
    assert not Account.objects.filter(code=CLAIMABLE, balance__gt=0).exists()
    assert broken_promises() == []


def test_claiming_and_taking_back_at_once(crowd, staff):
    """Either the claims come first and it is refused, or nothing is left to be claimed."""
    distribution, users = crowd
    boss = staff("boss", "reverse_distribution")
    rewards = {reward.user_id: reward for reward in distribution.rewards.all()}
    works = [partial(claim_these, user, [rewards[user.pk]]) for user in users]
    *claims, taken = at_once(*works, partial(take_back, distribution.pk, boss, "a mistake"))

    claimed = [each for each in claims if not isinstance(each, Exception)]
    if isinstance(taken, ClaimUnderWay):
        assert len(claimed) == 16
    else:
        assert (taken.total, claimed) == (1600, [])
        assert {each.code for each in claims} == {"not_claimable"}
    run(2)
    assert sum(own_balance(user) for user in users) == 100 * len(claimed)
    assert broken_promises() == []


def test_who_takes_back_waits_for_a_claim_that_has_begun(alice, alices, staff):
    boss, reward = staff("boss", "reverse_distribution"), alices[0]
    begun, go_on = Event(), Event()

    def claim_slowly():
        with transaction.atomic():
            begin_claims(alice, [reward.pk], WALLET, NOON)
            begun.set()
            assert go_on.wait(PATIENCE_SECONDS)

    with threads(2) as start:
        claimed = start(claim_slowly)
        assert begun.wait(PATIENCE_SECONDS)
        taken = start(take_back, reward.distribution_id, boss, "a mistake")
        try:
            wait_until_somebody_waits()
        finally:
            go_on.set()
        claimed.result()
        assert isinstance(taken.exception(), ClaimUnderWay)
    for minutes in (1, 3):
        run(minutes)
    assert own_balance(alice) == 1000
    assert broken_promises() == []


def test_a_failed_one_claimed_again_by_many_and_the_first_mined_meanwhile(alice, alices):
    reward = alices[0]
    (first,) = claim_these(alice, [reward])
    RewardClaim.objects.filter(pk=first.pk).update(status="failed", error="lost", finished_at=NOON)
    ChainTransaction.objects.filter(pk=first.transaction_id).update(status="failed", error="lost")
    # It stands on the chain all the time: only nobody here knows.
    works = [partial(claim_these, alice, [reward], after(minutes=1))] * 8
    found = at_once(*works, partial(run, 3), partial(run, 3))
    assert [each for each in found if isinstance(each, Exception)] == []
    for minutes in (4, 5, 6):
        run(minutes)

    done = RewardClaim.objects.get()
    assert (done.status, done.attempts, done.transaction_id) == ("completed", 2, first.transaction_id)
    assert (own_balance(alice), LocalEntry.objects.count()) == (1000, 1)
    assert broken_promises() == []


def die_while(work, number, after):
    die_at_commit(number, after=after)
    work()


@pytest.mark.parametrize("after_it", [False, True])
@pytest.mark.parametrize("number", [1, 2])
def test_who_claims_and_dies(alice, alices, number, after_it):
    """Before the commit of the rows, between them and the chain, after the chain."""
    process = in_process(die_while, partial(claim_these, alice, alices[:2]), number, after_it)
    process.join(PATIENCE_SECONDS)
    assert was_killed(process)
    assert (
        RewardClaim.objects.count()
        == ChainTransaction.objects.count()
        == (2 if (number, after_it) != (1, False) else 0)
    )

    claim_these(alice, alices)
    for minutes in (1, 3, 5):
        run(minutes)
    assert own_balance(alice) == 3000
    assert ChainTransaction.objects.count() == LocalEntry.objects.count() == 3
    assert broken_promises() == []


@pytest.mark.parametrize("after_it", [False, True])
@pytest.mark.parametrize("number", [1, 2])
def test_a_monitor_that_dies(alice, alices, number, after_it):
    """At the first or second credit, right before or right after it: what the chain said stands, the next run pays."""
    claim_these(alice, alices)
    process = in_process(die_while, partial(run, 2), number, after_it)
    process.join(PATIENCE_SECONDS)
    assert was_killed(process)
    assert own_balance(alice) == 1000 * (number if after_it else number - 1)

    run(3)
    assert own_balance(alice) == 3000
    assert Journal.objects.filter(kind="chain_claim").count() == 3
    assert broken_promises() == []
