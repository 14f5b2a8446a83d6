"""Pending rewards paid by many at once: each once, and nobody waits crosswise."""

from __future__ import annotations

from decimal import Decimal
from functools import partial

import pytest
from django.db import transaction

from rewards.ledger import services as ledger
from rewards.ledger.models import Currency, Transfer
from rewards.parameters.services import set_parameter
from rewards.pending.drain import drain
from rewards.pending.models import PendingReward
from rewards.pending.services import Owed, distribute_pending_rewards, get_pending_rewards
from rewards.users.models import User
from tests.concurrency.conftest import broken_promises
from tests.concurrency.racing import PATIENCE_SECONDS, at_once, die_at_commit, in_process, threads, was_killed
from tests.rewards.pending.conftest import NOON

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]

REWARDS = 300


@pytest.fixture
def full_queue(coins, points) -> list[User]:
    """Three hundred rewards of forty users in two currencies."""
    users = User.objects.bulk_create(User(username=f"user{number:02}", password="!") for number in range(40))
    PendingReward.objects.bulk_create(
        PendingReward(
            reward_id=f"r-{number}", user=users[number * 7 % 40], amount=1, currency=(coins, points)[number % 2],
            queued_at=NOON,
        )
        for number in range(REWARDS)
    )  # fmt: skip
    set_parameter("pending.batch_rows", 20, actor=None, reason="Many steps")
    return users


def all_are_paid_once() -> bool:
    total = sum(Transfer.objects.filter(journal__kind="distribution").values_list("amount", flat=True))
    statuses = set(PendingReward.objects.values_list("status", flat=True))
    return total == REWARDS and statuses == {"distributed"} and broken_promises() == []


def test_four_drainers_share_the_queue(full_queue) -> None:
    drained = at_once(*[partial(drain, NOON)] * 4)
    assert sum(each.paid for each in drained) == REWARDS
    assert sum(each.failed for each in drained) == 0
    assert all_are_paid_once()


def test_a_bad_reward_among_four_drainers_costs_itself_alone(full_queue, alice) -> None:
    gold = Currency.objects.create(code="gold", active=False)
    PendingReward.objects.create(reward_id="bad", user=alice, amount=1, currency=gold, queued_at=NOON)
    drained = at_once(*[partial(drain, NOON)] * 4)
    assert (sum(each.paid for each in drained), sum(each.failed for each in drained)) == (REWARDS, 1)
    assert PendingReward.objects.get(reward_id="bad").retry_count == 1


def test_who_asks_for_all_and_the_drainers_pay_each_once(full_queue) -> None:
    def pay_all() -> int:
        return distribute_pending_rewards(get_pending_rewards(at=NOON), at=NOON).total_rewards_distributed

    drained, one, other, also = at_once(partial(drain, NOON), pay_all, pay_all, partial(drain, NOON))
    assert drained.paid + one + other + also.paid == REWARDS
    assert all_are_paid_once()


def test_a_reward_made_by_hand_in_two_places_is_paid_once(alice, coins) -> None:
    owed = Owed("the same", "alice", Decimal(5), currency="coins")
    results = at_once(*[partial(distribute_pending_rewards, [owed], at=NOON)] * 8)
    assert sorted(result.total_rewards_distributed for result in results) == [0] * 7 + [1]
    assert ledger.balance(ledger.user_account(alice, coins)) == 500


def test_a_drainer_passes_over_what_another_holds(queued, alice, bob) -> None:
    queued(alice, 1, "held")
    queued(bob, 1, "free")
    with threads(1) as start, transaction.atomic():
        PendingReward.objects.select_for_update().get(reward_id="held")
        assert start(drain, NOON).result(PATIENCE_SECONDS).paid == 1
    assert dict(PendingReward.objects.values_list("reward_id", "status")) == {"held": "queued", "free": "distributed"}


def test_a_source_that_all_wait_for_is_locked_in_its_turn(full_queue, coins) -> None:
    """Of two currencies, beside payouts that lock the source first: nobody waits crosswise."""
    set_parameter("pending.source", "treasury", actor=None, reason="A budget")
    with transaction.atomic():
        for currency in Currency.objects.all():
            source, issuance = ledger.system_account("treasury", currency), ledger.system_account("issuance", currency)
            ledger.post(f"fund:{currency}", "fund", [ledger.Move(issuance, source, 10_000)])

    def pay_others() -> None:
        for number in range(20):
            with transaction.atomic():
                moves = [
                    ledger.Move(ledger.system_account("treasury", coins), ledger.user_account(user, coins), 1)
                    for user in full_queue
                ]
                ledger.post(f"others:{number}", "credit", moves)

    drained, also, others = at_once(partial(drain, NOON), partial(drain, NOON), pay_others)
    assert others is None
    assert drained.paid + also.paid == REWARDS
    assert broken_promises() == []


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_drainer_that_is_killed_at_its_commit_is_continued_by_the_next(full_queue, after) -> None:
    def die() -> None:
        die_at_commit(3, after=after)
        drain(NOON)

    killed = in_process(die)
    killed.join(PATIENCE_SECONDS)
    assert was_killed(killed)
    assert 0 < PendingReward.objects.filter(status="queued").count() < REWARDS

    drain(NOON)
    assert all_are_paid_once()
