"""Payouts by processes that die: everybody is paid exactly once, whatever moment it was."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from multiprocessing import get_context
from threading import Event
from typing import Any

import pytest
from django.db import transaction

from rewards.audit.models import AuditEvent
from rewards.distributions import queries, services
from rewards.distributions.errors import NotWaitingForApproval
from rewards.distributions.models import Distribution, DistributionChunk, Reward
from rewards.ledger import services as ledger
from rewards.ledger.models import Account, Journal, Transfer
from rewards.parameters.services import set_parameter
from rewards.users.models import NO_PASSWORD, User
from tests.concurrency.conftest import broken_promises
from tests.concurrency.racing import PATIENCE_SECONDS, at_once, die_at_commit, in_process, kill, was_killed

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]

Status = Distribution.Status


@pytest.fixture
def crowd(prize):
    """`crowd(10_000, chunk_rows=256)`: so many take part, by falling score; 3 units for each and one over."""

    def gather(count: int, chunk_rows: int) -> None:
        names = [f"user-{number:05}" for number in range(count)]
        User.objects.bulk_create([User(username=name, password=NO_PASSWORD) for name in names], batch_size=2_000)
        prize.scores = {name: count - place for place, name in enumerate(names)}
        prize.prize = 3 * count + 1
        set_parameter("distributions.chunk_rows", chunk_rows, actor=None, reason="many chunks")

    return gather


def assert_everybody_is_paid_once(distribution: Distribution) -> None:
    paid = Distribution.objects.get(pk=distribution.pk)
    assert (paid.status, paid.paid_amount) == (Status.PAID, paid.amount)
    rewards = dict(Reward.objects.filter(distribution=paid).values_list("user_id", "amount"))
    transfers = Transfer.objects.filter(journal__kind="distribution")
    assert Counter(dict(transfers.values_list("credit_account__user_id", "amount"))) == Counter(rewards)
    assert transfers.count() == len(rewards) == paid.participants
    balances = Account.objects.filter(user__isnull=False)
    assert dict(balances.values_list("user_id", "balance")) == rewards
    assert sum(rewards.values()) == paid.amount
    assert ledger.balance(paid.source_account) == 0
    assert Journal.objects.filter(kind="distribution").count() == paid.chunks.count()
    assert AuditEvent.objects.filter(event_type="reward_distributed").count() == paid.chunks.count()
    assert queries.verify(paid) == []
    assert broken_promises() == []


def keep_killing(distribution: Distribution, workers: int, seed: int) -> int:
    """Let that many processes advance it, each killed at some moment and replaced, until it is paid; the deaths."""
    chance, deaths = random.Random(seed), 0
    running: dict[Any, float] = {}
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (at_work := Distribution.objects.get(pk=distribution.pk)).status != Status.PAID:
        assert at_work.status != Status.FAILED, at_work.error
        assert time.monotonic() < deadline
        while len(running) < workers:
            # Longer and longer lives: on a machine however slow, it comes to an end.
            lifetime_seconds = chance.uniform(0.05, 0.4) * (1 + deaths / 20)
            running[in_process(services.advance, distribution.pk)] = time.monotonic() + lifetime_seconds
        time.sleep(0.005)
        for process, dies_at in list(running.items()):
            if process.is_alive() and time.monotonic() > dies_at:
                kill(process)
            if not process.is_alive():
                process.join()
                del running[process]
                assert process.exitcode == 0 or was_killed(process)
                deaths += was_killed(process)
    for process in running:
        process.join(PATIENCE_SECONDS)
    return deaths


def test_ten_thousand_are_paid_once_by_three_processes_that_keep_dying(crowd, open_prize):
    crowd(10_000, chunk_rows=256)
    distribution = open_prize()
    services.step(distribution)

    deaths = keep_killing(distribution, workers=3, seed=20_261_121)

    assert deaths >= 3
    assert DistributionChunk.objects.count() == 40
    assert_everybody_is_paid_once(distribution)


@pytest.mark.parametrize("after", [False, True], ids=["before its commit", "after its commit"])
def test_processes_that_die_at_a_commit_are_continued_by_the_next(crowd, open_prize, after):
    """The first dies freezing, the others with a chunk paid and not committed, or committed and not told to anybody."""
    crowd(30, chunk_rows=4)
    distribution = open_prize()

    def advance_and_die_at_commit(number: int) -> None:
        die_at_commit(number, after=after)
        services.advance(distribution.pk)

    states = []
    for number in (1, 1, 2, 2, 3):
        process = in_process(advance_and_die_at_commit, number)
        process.join(PATIENCE_SECONDS)
        assert was_killed(process)
        states.append((Distribution.objects.get().status, Journal.objects.filter(kind="distribution").count()))

    if after:
        assert states == [("approved", 0), ("paying", 1), ("paying", 3), ("paying", 5), ("paid", 8)]
    else:
        assert states == [("open", 0), ("open", 0), ("approved", 0), ("paying", 1), ("paying", 3)]
    services.advance(distribution.pk)
    assert_everybody_is_paid_once(distribution)


class SlowNames(list):
    """Usernames that, half-way through, say so and go no further: the rows before are on their way to the database."""

    def __init__(self, names: list[str], half_way: Any) -> None:
        super().__init__(names)
        self.half_way = half_way

    def __iter__(self) -> Iterator[str]:
        for place, name in enumerate(super().__iter__()):
            if place == len(self) // 2:
                self.half_way.set()
                time.sleep(PATIENCE_SECONDS)
            yield name


def test_of_a_freeze_that_was_killed_nothing_remains_and_it_can_be_done_again(crowd, open_prize, prize):
    crowd(10_000, chunk_rows=256)
    distribution, half_way = open_prize(), get_context("fork").Event()

    def freeze_slowly() -> None:
        snapshot = prize.snapshot(distribution)
        object.__setattr__(snapshot, "usernames", SlowNames(list(snapshot.usernames), half_way))
        prize.snapshot = lambda distribution: snapshot
        services.advance(distribution.pk)

    process = in_process(freeze_slowly)
    assert half_way.wait(PATIENCE_SECONDS)
    kill(process)

    assert was_killed(process)
    untouched = Distribution.objects.get(pk=distribution.pk)
    assert (untouched.status, untouched.amount, untouched.digest, untouched.error) == ("open", 0, "", "")
    assert not Reward.objects.exists()
    assert not DistributionChunk.objects.exists()
    assert not Transfer.objects.filter(journal__kind="distribution").exists()
    assert broken_promises() == []

    services.advance(distribution.pk)
    assert_everybody_is_paid_once(distribution)


def test_many_who_advance_at_once_share_the_work(crowd, open_prize):
    """Eight threads from the first stage on; the books hold at every moment in between."""
    crowd(400, chunk_rows=16)
    distribution = open_prize()

    def prove_until_paid() -> list[str]:
        while Distribution.objects.get(pk=distribution.pk).status not in (Status.PAID, Status.FAILED):
            broken = broken_promises()
            if broken:
                return broken
        return []

    *advanced, broken = at_once(*[partial(services.advance, distribution.pk)] * 8, prove_until_paid)

    assert broken == []
    assert all(isinstance(each, Distribution) and each.status in ("paying", "paid") for each in advanced)
    assert_everybody_is_paid_once(distribution)


def test_a_payout_reversed_while_it_is_paid_leaves_nothing_with_anybody(crowd, open_prize, staff):
    """Whichever comes first: what was paid by then goes back, and nothing is paid after."""
    boss = staff("boss", "reverse_distribution")
    crowd(200, chunk_rows=8)
    distribution = open_prize()
    services.step(distribution)
    services.step(distribution)

    *_, reversed_ = at_once(
        *[partial(services.advance, distribution.pk)] * 4, partial(services.reverse, distribution.pk, boss, "a mistake")
    )

    assert isinstance(reversed_, Distribution)
    assert Distribution.objects.get().status == Status.REVERSED
    assert set(Account.objects.filter(user__isnull=False).values_list("balance", flat=True)) == {0}
    assert ledger.balance(distribution.source_account) == distribution.amount
    assert broken_promises() == []


def test_a_payout_reversed_while_its_recipients_send_each_other_coins_does_not_deadlock(
    crowd, open_prize, staff, coins
):
    boss = staff("boss", "reverse_distribution")
    crowd(40, chunk_rows=4)
    people = list(User.objects.filter(username__startswith="user-"))
    with transaction.atomic():  # nobody will be short of what he gives back, and the last chunk has the first accounts
        for user in reversed(people):
            ledger.credit(user, coins, 1_000, f"more:{user.pk}", "")
    prize = services.advance(open_prize().pk)
    reversed_ = Event()

    def keep_sending(seed: int) -> int:
        chance, done = random.Random(seed), 0
        while not reversed_.is_set():
            with transaction.atomic():
                ledger.transfer(*chance.sample(people, 2), coins, 1, f"{seed}:{done}")
            done += 1
        return done

    def reverse_amid() -> Distribution:
        try:
            return services.reverse(prize.pk, boss, "a mistake")
        finally:
            reversed_.set()

    *sent, answer = at_once(*[partial(keep_sending, seed) for seed in range(8)], reverse_amid)

    assert isinstance(answer, Distribution)
    assert all(isinstance(each, int) for each in sent)
    assert sum(ledger.balance(account) for account in Account.objects.filter(user__in=people)) == 1_000 * len(people)
    assert ledger.balance(prize.source_account) == prize.amount
    assert broken_promises() == []


# ------------------------------------------------------------------------------------------------------------- approval


def test_of_several_approvers_at_once_one_wins(crowd, open_prize, staff):
    approvers = [staff(name, "approve_distribution") for name in ("anna", "ben", "cleo", "dan")]
    crowd(3, chunk_rows=256)
    waiting = services.advance(open_prize(approval_limit=0).pk)

    answers = at_once(*[partial(services.approve, waiting.pk, approver, waiting.digest) for approver in approvers])

    (winner,) = [each for each in answers if isinstance(each, Distribution)]
    assert sum(isinstance(each, NotWaitingForApproval) for each in answers) == 3
    approved = Distribution.objects.get(pk=waiting.pk)
    assert (approved.status, approved.approved_by) == ("approved", winner.approved_by)
    assert AuditEvent.objects.get(event_type="approved").actor == winner.approved_by


def test_approved_and_rejected_at_once_it_is_one_of_them(crowd, open_prize, staff):
    anna, ben = staff("anna", "approve_distribution"), staff("ben", "approve_distribution")
    crowd(3, chunk_rows=256)
    for number in range(5):
        waiting = services.advance(open_prize(f"{number}", approval_limit=0).pk)

        answers = at_once(
            partial(services.approve, waiting.pk, anna), partial(services.reject, waiting.pk, ben, "looks bought")
        )

        (winner,) = [each for each in answers if isinstance(each, Distribution)]
        assert sum(isinstance(each, NotWaitingForApproval) for each in answers) == 1
        assert Distribution.objects.get(pk=waiting.pk).status == winner.status
    assert AuditEvent.objects.filter(event_type__in=["approved", "rejected"]).count() == 5
