"""Rewards that are paid together: all of them, or none."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from rewards.alerts.models import Alert
from rewards.audit.models import AuditEvent
from rewards.common.amounts import MAX_MINOR
from rewards.distributions.models import Distribution
from rewards.distributions.queries import verify
from rewards.ledger.models import Currency, Transfer
from rewards.ledger.services import balance, user_account
from rewards.parameters.services import set_parameter
from rewards.pending.drain import drain
from rewards.pending.errors import ReservedRewardId, RewardMismatch
from rewards.pending.models import PendingReward
from rewards.pending.services import (
    Owed,
    distribute_pending_rewards,
    distribute_together,
    get_pending_rewards,
    queue_reward,
)
from tests.rewards.pending.conftest import NOON
from tests.rewards.tables import everything, what_differs

pytestmark = pytest.mark.django_db


def balance_of(user, currency) -> int:
    return balance(user_account(user, currency))


def test_what_is_queued_is_paid_and_says_so(queued, alice, bob, coins) -> None:
    queued(alice, 125_50, "r-1", reason="Ten hours")
    queued(bob, 1, "r-2")

    result = distribute_pending_rewards(get_pending_rewards(at=NOON), at=NOON)

    assert result.success
    assert (result.total_rewards_distributed, result.total_amount_distributed) == (2, Decimal("125.51"))
    assert result.totals == {"coins": Decimal("125.51")}
    assert result.error_message is None
    assert result.audit_log[0] == {
        "reward_id": "r-1", "account_id": "alice", "amount": Decimal("125.50"), "currency": "coins",
        "reason": "Ten hours", "timestamp": NOON, "status": "success",
    }  # fmt: skip
    assert (balance_of(alice, coins), balance_of(bob, coins)) == (125_50, 1)
    assert get_pending_rewards(at=NOON) == []


def test_it_is_a_distribution_like_any_other(queued, alice, bob) -> None:
    queued(alice, 3)
    queued(bob, 5)
    queued(alice, 4)

    distribute_pending_rewards(get_pending_rewards(at=NOON), at=NOON)

    distribution = Distribution.objects.get(programme="pending")
    rows = distribution.rewards.order_by("position").values_list("user__username", "amount")
    assert list(rows) == [("alice", 7), ("bob", 5)]
    assert distribution.status == "paid"
    assert verify(distribution) == []
    assert set(PendingReward.objects.values_list("status", "distribution")) == {("distributed", distribution.pk)}


def test_each_reward_has_an_event_of_its_own(queued, alice) -> None:
    queued(alice, 3, "r-1", reason="A task")
    queued(alice, 4, "r-2")

    distribute_pending_rewards(get_pending_rewards(at=NOON), at=NOON)

    events = AuditEvent.objects.filter(event_type="reward_distributed").order_by("reward_id")
    assert [(event.reward_id, event.user.username, event.amount) for event in events] == [
        ("r-1", "alice", 3),
        ("r-2", "alice", 4),
    ]


def test_several_currencies_have_totals_but_no_total(queued, alice, points) -> None:
    queued(alice, 150)
    queued(alice, 7, currency=points)

    result = distribute_pending_rewards(get_pending_rewards(at=NOON), at=NOON)

    assert result.totals == {"coins": Decimal("1.50"), "points": Decimal(7)}
    assert result.total_amount_distributed is None
    assert Distribution.objects.filter(programme="pending", status="paid").count() == 2


def test_nothing_pending_is_a_success_that_writes_nothing(coins) -> None:
    before = everything()
    result = distribute_pending_rewards(get_pending_rewards(at=NOON), at=NOON)
    assert (result.success, result.total_rewards_distributed, result.totals) == (True, 0, {})
    assert what_differs(before) == {}


def test_the_same_rewards_again_pay_nothing(queued, alice, coins) -> None:
    queued(alice, 100)
    rewards = get_pending_rewards(at=NOON)
    distribute_pending_rewards(rewards, at=NOON)

    again = distribute_pending_rewards(rewards, at=NOON)

    assert (again.success, again.total_rewards_distributed) == (True, 0)
    assert balance_of(alice, coins) == 100


def test_a_reward_made_by_hand_is_paid_once(alice, coins) -> None:
    owed = Owed("unique_reward_id", "alice", Decimal("100.50"), reason="By hand", currency="coins")

    first = distribute_pending_rewards([owed], at=NOON)
    second = distribute_pending_rewards([owed, owed], at=NOON)

    assert (first.total_rewards_distributed, second.total_rewards_distributed) == (1, 0)
    assert balance_of(alice, coins) == 100_50


@pytest.mark.parametrize(
    ("owed", "sentence"),
    [
        (Owed("r", "nobody", Decimal(1), currency="coins"), "There is no user 'nobody'."),
        (Owed("r", "alice", Decimal(1), currency="gold"), "There is no currency 'gold'."),
        (Owed("r", "alice", Decimal("0.001"), currency="coins"), "has more than the 2 decimals"),
        (Owed("r", "alice", Decimal(-1), currency="coins"), "must be above zero"),
        (Owed("r", "alice", Decimal("NaN"), currency="coins"), "not a plain decimal number"),
        (Owed("", "alice", Decimal(1), currency="coins"), "an id of 1 to 200 characters"),
        (Owed("r" * 201, "alice", Decimal(1), currency="coins"), "an id of 1 to 200 characters"),
        (Owed("r\0", "ali\ud800ce", Decimal(1), currency="co\0ins"), "without NUL or half characters"),
        (Owed("r", "alice", Decimal(1), currency="coins", deployment_id=UUID(int=1)), "There is no deployment"),
    ],
)
def test_a_reward_that_cannot_be_is_named_and_takes_all_back(owed, sentence, queued, alice, coins) -> None:
    queued(alice, 100, "good")
    before = everything()

    result = distribute_pending_rewards([*get_pending_rewards(at=NOON), owed], at=NOON)

    assert not result.success
    ((reward_id, account_id, error),) = [tuple(failed.values()) for failed in result.failed_distributions]
    assert (reward_id, account_id) == (owed.reward_id, owed.account_id)
    assert sentence in error
    assert what_differs(before).keys() == {"rewards_auditevent"}


def test_an_inactive_currency_fails_all_and_marks_its_own_reward(queued, alice, bob, coins, points) -> None:
    queued(alice, 100, "good")
    queued(bob, 7, "bad", currency=points)
    queued(bob, 5, "good too")
    Currency.objects.filter(code="points").update(active=False)
    before = everything()

    result = distribute_pending_rewards(get_pending_rewards(at=NOON), at=NOON)

    assert result.failed_distributions == [
        {"reward_id": "bad", "account_id": "bob", "error": "The currency points is not active."}
    ]
    assert result.error_message == "bad (bob): The currency points is not active."
    differences = what_differs(before)
    assert differences.keys() == {"rewards_pendingreward", "rewards_auditevent"}
    (changed,) = differences["rewards_pendingreward"]
    assert changed == {"retry_count", "last_error", "not_before"}
    event = AuditEvent.objects.get(event_type="distribution_failed")
    assert (event.reward_id, event.user, event.success) == ("bad", bob, False)


def test_funds_that_end_name_the_first_reward_they_do_not_reach(queued, alice, bob, carol, coins, fund) -> None:
    set_parameter("pending.source", "treasury", actor=None, reason="A budget")
    fund("treasury", 100)
    queued(alice, 60, "first")
    queued(bob, 41, "second")
    queued(carol, 1, "third")

    result = distribute_pending_rewards(get_pending_rewards(at=NOON), at=NOON)
    assert [failed["reward_id"] for failed in result.failed_distributions] == ["second"]
    assert balance_of(alice, coins) == 0

    fund("treasury", 2)
    assert distribute_pending_rewards(get_pending_rewards(at=NOON), at=NOON).total_rewards_distributed == 3
    assert [balance_of(user, coins) for user in (alice, bob, carol)] == [60, 41, 1]


def test_a_balance_at_its_edge_is_the_fault_of_its_reward_alone(queued, alice, bob, coins, fund) -> None:
    fund(bob, MAX_MINOR)
    queued(alice, 1, "good")
    queued(bob, 1, "too much")

    result = distribute_pending_rewards(get_pending_rewards(at=NOON), at=NOON)

    assert [failed["reward_id"] for failed in result.failed_distributions] == ["too much"]
    assert PendingReward.objects.get(reward_id="good").retry_count == 0


def test_a_pause_is_nobodys_fault(queued, alice) -> None:
    queued(alice, 1)
    set_parameter("payouts_paused", True, actor=None, reason="Wait")

    result = distribute_pending_rewards(get_pending_rewards(at=NOON), at=NOON)

    assert (result.success, result.failed_distributions) == (False, [])
    assert "paused" in (result.error_message or "")
    assert PendingReward.objects.get().retry_count == 0


def test_what_follows_from_the_payment_is_one_with_it(queued, alice) -> None:
    queued(alice, 1)
    before = everything()

    def break_off() -> None:
        raise ZeroDivisionError("the stop failed")

    result = distribute_together(lambda: get_pending_rewards(at=NOON), break_off, at=NOON)

    assert (result.success, result.error_message, result.failed_distributions) == (False, "the stop failed", [])
    assert what_differs(before).keys() == {"rewards_auditevent"}


def test_a_failure_waits_longer_each_time_and_is_dead_in_the_end(queued, alice, coins) -> None:
    queued(alice, 1, "r", max_retries=2)
    Currency.objects.filter(code="coins").update(active=False)
    waits = []
    for _ in range(3):
        distribute_pending_rewards(get_pending_rewards(at=NOON), at=NOON)
        row = PendingReward.objects.get()
        waits.append((row.status, (row.not_before - NOON).total_seconds()))

    assert waits == [("queued", 60), ("queued", 120), ("failed", 240)]
    assert get_pending_rewards(at=NOON) == []
    assert Alert.objects.filter(code="pending_reward_dead", subject="r", resolved_at=None).exists()


def test_what_has_expired_is_owed_no_more(queued, alice) -> None:
    queued(alice, 1, expires_at=NOON + timedelta(hours=1))
    rewards = get_pending_rewards(at=NOON)
    late = NOON + timedelta(hours=1)

    assert get_pending_rewards(at=late) == []
    assert distribute_pending_rewards(rewards, at=late).total_rewards_distributed == 0


def test_only_of_one_user(queued, alice, bob) -> None:
    queued(alice, 1, "hers")
    queued(bob, 1, "his")
    assert [owed.reward_id for owed in get_pending_rewards(alice, at=NOON)] == ["hers"]


def test_a_dead_reward_is_not_left_out_in_silence(queued, alice) -> None:
    queued(alice, 1, "good")
    queued(alice, 1, "dead")
    rewards = get_pending_rewards(at=NOON)
    PendingReward.objects.filter(reward_id="dead").update(status="failed")

    result = distribute_pending_rewards(rewards, at=NOON)

    assert [failed["reward_id"] for failed in result.failed_distributions] == ["dead"]
    assert Transfer.objects.count() == 0


def test_one_id_asked_for_twice_and_not_the_same_is_refused(alice, coins) -> None:
    owed = [Owed("r", "alice", Decimal(amount), currency="coins") for amount in (1, 2)]
    assert not distribute_pending_rewards(owed, at=NOON).success


def test_nothing_pending_and_a_step_that_fails_is_nobodys_fault(coins) -> None:
    def break_off() -> None:
        raise ZeroDivisionError("the stop failed")

    result = distribute_together(list, break_off, at=NOON)
    assert (result.success, result.failed_distributions) == (False, [])


def test_a_thousand_rewards_made_by_hand_take_few_queries(alice, coins, django_assert_max_num_queries) -> None:
    owed = [Owed(f"r-{number}", "alice", Decimal(1), currency="coins") for number in range(1_000)]
    with django_assert_max_num_queries(80):
        assert distribute_pending_rewards(owed, at=NOON).total_rewards_distributed == 1_000


def test_the_ids_of_what_accrues_are_not_for_the_queue(alice, coins) -> None:
    with pytest.raises(ReservedRewardId):
        queue_reward(alice, coins, 1, "staking_17_20261121T070000.000000Z", at=NOON)


def test_sums_beyond_64_bits_stop_nobody_else(queued, alice, bob, coins) -> None:
    for number in range(2):
        queued(alice, MAX_MINOR, f"huge-{number}")
    queued(bob, 1, "small")
    drained = drain(NOON)
    assert (drained.paid, drained.failed) == (2, 1)
    assert balance_of(bob, coins) == 1


def test_an_id_stands_for_one_reward(queued, alice, bob, coins) -> None:
    first = queued(alice, 1, "r")
    assert queue_reward(alice, coins, 1, "r", at=NOON) == first
    with pytest.raises(RewardMismatch):
        queue_reward(bob, coins, 1, "r", at=NOON)
    result = distribute_pending_rewards([Owed("r", "alice", Decimal(5), currency="coins")], at=NOON)
    assert not result.success
    assert Transfer.objects.count() == 0
