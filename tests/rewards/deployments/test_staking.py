"""Units set aside on an account of their own, and back with what they earned."""

from __future__ import annotations

import pytest

from rewards.audit.models import AuditEvent
from rewards.common.amounts import InvalidAmount
from rewards.deployments.errors import NotStaked
from rewards.deployments.models import StakingPosition
from rewards.deployments.services import stake, unstake
from rewards.ledger.errors import IdempotencyConflict, InactiveCurrency, InsufficientFunds
from rewards.ledger.queries import earned
from rewards.pending.models import PendingReward
from rewards.pending.services import get_pending_rewards
from tests.rewards.deployments.conftest import SEVEN, after, holdings
from tests.rewards.faults import refused
from tests.rewards.tables import everything, what_differs

pytestmark = pytest.mark.django_db


def test_the_principal_moves_aside(alice, position, coins):
    assert (holdings(alice, coins), holdings(alice, coins, f"stake:{position.pk}")) == (12_400_00, 87_600_00)
    event = AuditEvent.objects.get(event_type="staked")
    assert (event.user, event.amount, event.currency, event.data) == (
        alice, 87_600_00, coins, {"position": position.pk},
    )  # fmt: skip


def test_under_one_key_it_is_staked_once(alice, position, coins):
    before = everything()

    assert stake(alice, coins, 87_600_00, "s-1", after(hours=1)) == position  # although so much is not there any more
    with pytest.raises(IdempotencyConflict):
        stake(alice, coins, 1_00, "s-1", after(hours=1))
    assert what_differs(before) == {}


def test_the_key_is_the_users_own(bob, position, coins, give):
    give(bob, coins, 5_00)

    assert stake(bob, coins, 5_00, "s-1", SEVEN) != position


@pytest.mark.parametrize(
    ("amount", "error"), [(0, InvalidAmount), (-1, InvalidAmount), (2**63, InvalidAmount), (5_01, InsufficientFunds)]
)
def test_what_is_not_there_cannot_be_staked(bob, coins, give, amount, error):
    give(bob, coins, 5_00)
    before = everything()

    with pytest.raises(error):
        stake(bob, coins, amount, "s-2", SEVEN)
    assert what_differs(before) == {}


def test_a_currency_that_is_not_active_cannot_be_staked(bob, coins, give):
    give(bob, coins, 5_00)
    coins.active = False
    coins.save()

    with pytest.raises(InactiveCurrency):
        stake(bob, coins, 5_00, "s-2", SEVEN)
    assert not StakingPosition.objects.exists()


def test_unstaking_pays_first_and_gives_back(alice, position, coins, points):
    result = unstake(position.pk, after(hours=24), actor=alice)

    assert (result.success, result.totals) == (True, {"points": 12})
    assert (holdings(alice, points), holdings(alice, coins)) == (12, 100_000_00)
    assert holdings(alice, coins, position.account_code) == 0
    position.refresh_from_db()
    assert (position.unstaked_at, position.rewarded_until) == (after(hours=24), after(hours=24))
    assert get_pending_rewards(at=after(days=9)) == []
    assert AuditEvent.objects.get(event_type="unstaked").actor == alice
    assert earned(alice, coins) == 100_000_00  # a principal that comes back is no earning


def test_of_one_position_only_that_ones_rewards_are_paid(alice, position, coins, points):
    other = stake(alice, coins, 8_760_00, "s-2", SEVEN)

    assert unstake(position.pk, after(hours=240)).totals == {"points": 120}
    assert [owed.amount for owed in get_pending_rewards(at=after(hours=240))] == [12]
    other.refresh_from_db()
    assert (other.unstaked_at, other.rewarded_until) == (None, None)


def test_before_a_unit_has_accrued_only_the_principal_comes_back(alice, position, coins, points):
    result = unstake(position.pk, after(hours=1))

    assert (result.success, result.total_rewards_distributed) == (True, 0)
    assert (holdings(alice, points), holdings(alice, coins)) == (0, 100_000_00)


def test_it_is_unstaked_once(position):
    unstake(position.pk, after(hours=24))

    for which in (position.pk, 10**9):
        with pytest.raises(NotStaked):
            unstake(which, after(hours=48))


@pytest.mark.parametrize(
    "fault",
    [
        ("rewards_transfer", "INSERT", "NEW.amount = 12"),
        ("rewards_transfer", "INSERT", "NEW.amount = 8760000"),
        ("rewards_stakingposition", "UPDATE", "NEW.unstaked_at IS NOT NULL"),
    ],
)
def test_it_is_both_or_neither(alice, position, coins, points, fault):
    before = everything()

    with refused(*fault):
        result = unstake(position.pk, after(hours=24))

    assert not result.success
    assert what_differs(before).keys() == {"rewards_auditevent"}
    failed = AuditEvent.objects.get(success=False)
    assert (failed.event_type, failed.data["position"]) == ("distribution_failed", str(position.pk))
    assert unstake(position.pk, after(hours=24)).success
    assert (holdings(alice, points), holdings(alice, coins)) == (12, 100_000_00)
    assert PendingReward.objects.count() == 1
