"""Staking by hand."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from rewards.deployments.models import StakingPosition
from tests.rewards.deployments.conftest import holdings
from tests.rewards.tables import everything, what_differs

pytestmark = pytest.mark.django_db


def said(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def test_units_are_staked_once_and_given_back(alice, coins, points, give):
    give(alice, coins, 500_00)

    first = said("stake", "alice", "400", "--currency", "coins", "--key", "spring")
    assert said("stake", "alice", "400", "--currency", "coins", "--key", "spring") == first

    position = StakingPosition.objects.get()
    assert first.startswith("400.00 coins of alice are staked since ")
    assert first.endswith(f"UTC: position {position.pk}.\n")
    assert holdings(alice, coins) == 100_00
    back = said("unstake", str(position.pk))
    assert back == f"position {position.pk}: nothing paid, 400.00 coins given back to alice.\n"
    assert holdings(alice, coins) == 500_00


def test_a_dry_run_writes_nothing(position, points):
    StakingPosition.objects.update(staked_at="2025-11-21T07:00Z")
    before = everything()

    dry = said("stake", "alice", "1", "--currency", "coins", "--key", "k", "--dry-run")
    assert dry == "1.00 coins of alice would be staked. Nothing was written.\n"
    told = said("unstake", str(position.pk), "--dry-run")
    assert "points would be paid and 87600.00 coins given back to alice." in told
    assert what_differs(before) == {}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("stake", "nobody", "1", "--currency", "coins", "--key", "k"), "no user 'nobody'"),
        (("stake", "alice", "1", "--currency", "nuggets", "--key", "k"), "no currency 'nuggets'"),
        (("stake", "alice", "1", "--currency", "coins", "--key", " "), "a --key of 1 to 160"),
        (("stake", "alice", "0.001", "--currency", "coins", "--key", "k"), "decimals"),
        (("stake", "alice", "1", "--currency", "coins", "--key", "k"), "holds 0.00"),
        (("unstake", "7"), "no staking position 7"),
    ],
)
def test_what_cannot_be_done_is_said(alice, coins, arguments, words):
    with pytest.raises(CommandError, match=words):
        call_command(*arguments)


def test_where_the_rewards_cannot_be_paid_nothing_is_given_back(alice, position, points):
    StakingPosition.objects.update(staked_at="2025-11-21T07:00Z")
    points.active = False
    points.save()

    with pytest.raises(CommandError, match=r"Nothing was paid or given back: .*not active"):
        call_command("unstake", str(position.pk))
    assert holdings(alice, position.currency) == 12_400_00
