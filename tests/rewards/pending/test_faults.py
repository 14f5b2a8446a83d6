"""A fault at each step of a batch of a thousand rewards: nothing but the row at fault and one event is left of it."""

from __future__ import annotations

import pytest

from rewards.audit.models import AuditEvent
from rewards.ledger.models import Account, Currency, Transfer
from rewards.ledger.services import user_account
from rewards.parameters.services import set_parameter
from rewards.pending.drain import drain
from rewards.pending.models import PendingReward
from rewards.pending.services import distribute_pending_rewards, get_pending_rewards
from rewards.users.models import User
from tests.rewards.faults import refused
from tests.rewards.pending.conftest import NOON
from tests.rewards.tables import everything, what_differs

pytestmark = pytest.mark.django_db

REWARDS = 1_000
CULPRIT = 700


@pytest.fixture
def batch(coins: Currency) -> User:
    """A thousand rewards of a thousand users, who have their accounts; the user of whose a step is refused."""
    users = User.objects.bulk_create(User(username=f"user{number:04}", password="!") for number in range(REWARDS))
    Account.objects.bulk_create(Account(user=user, currency=coins) for user in users)
    PendingReward.objects.bulk_create(
        PendingReward(reward_id=f"r-{number}", user=user, amount=number + 1, currency=coins, queued_at=NOON)
        for number, user in enumerate(users)
    )
    return users[CULPRIT]


STEPS = [
    ("rewards_distribution", "INSERT", "true", 0),
    ("rewards_pendingreward", "UPDATE", "NEW.status = 'distributed' AND NEW.user_id = {user}", CULPRIT),
    ("rewards_reward", "INSERT", "NEW.user_id = {user}", CULPRIT),
    ("rewards_distributionchunk", "INSERT", "true", 0),
    ("rewards_journal", "INSERT", "true", 0),
    ("rewards_transfer", "INSERT", "NEW.credit_account_id = {account}", CULPRIT),
    ("rewards_account", "UPDATE", "NEW.id = {account}", CULPRIT),
    ("rewards_distribution", "UPDATE", "NEW.status = 'paid'", 0),
    ("rewards_auditevent", "INSERT", "NEW.event_type = 'reward_distributed' AND NEW.user_id = {user}", CULPRIT),
]


@pytest.mark.parametrize(("table", "operation", "when", "at_fault"), STEPS, ids=[f"{s[0]} {s[1]}" for s in STEPS])
def test_a_fault_at_this_step_leaves_the_batch_pending(table, operation, when, at_fault, batch, coins) -> None:
    when = when.format(user=batch.pk, account=user_account(batch, coins).pk)
    before = everything()

    with refused(table, operation, when):
        result = distribute_pending_rewards(get_pending_rewards(at=NOON), at=NOON)

    assert not result.success
    assert [failed["reward_id"] for failed in result.failed_distributions] == [f"r-{at_fault}"]
    # What SQLite refuses to a balance, the ledger takes for a number that does not fit.
    words = ("out of order", "would not fit")
    assert any(word in result.failed_distributions[0]["error"] for word in words)
    differences = what_differs(before)
    assert differences.keys() == {"rewards_pendingreward", "rewards_auditevent"}
    assert differences["rewards_pendingreward"] == [{"retry_count", "last_error", "not_before"}]
    assert AuditEvent.objects.get().event_type == "distribution_failed"

    again = distribute_pending_rewards(get_pending_rewards(at=NOON), at=NOON)
    assert again.total_rewards_distributed == REWARDS
    assert Transfer.objects.count() == REWARDS
    assert distribute_pending_rewards(get_pending_rewards(at=NOON), at=NOON).total_rewards_distributed == 0


def test_the_drainer_pays_all_the_others(batch, coins) -> None:
    set_parameter("pending.batch_rows", REWARDS, actor=None, reason="In one")
    with refused("rewards_transfer", "INSERT", f"NEW.credit_account_id = {user_account(batch, coins).pk}"):
        drained = drain(NOON)

    assert (drained.paid, drained.failed) == (REWARDS - 1, 1)
    assert list(PendingReward.objects.filter(status="queued").values_list("reward_id", "retry_count")) == [
        (f"r-{CULPRIT}", 1)
    ]
