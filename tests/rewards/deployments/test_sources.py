"""What positions and replicas accrue: listed without writing, paid once, and kept where it is under a unit."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from rewards.audit.models import AuditEvent
from rewards.deployments.models import Deployment, Replica, StakingPosition
from rewards.deployments.services import create_deployment, stake
from rewards.deployments.sources import RUNTIME, STAKING
from rewards.ledger.errors import UnknownCurrency
from rewards.parameters.services import set_parameter
from rewards.pending.models import PendingReward
from rewards.pending.services import Owed, distribute_pending_rewards, get_pending_rewards
from tests.rewards.deployments.conftest import SEVEN, after, holdings
from tests.rewards.tables import everything, what_differs

pytestmark = pytest.mark.django_db


def pay(at, **which):
    return distribute_pending_rewards(get_pending_rewards(at=at, **which), at=at)


def change(key: str, value) -> None:
    set_parameter(key, value, actor=None, reason="A test")


# ------------------------------------------------------------------------------------------------------------- listing


def test_a_replica_earns_ten_units_an_hour(alice, web):
    replica = web.replicas.order_by("pk").first()

    first, second = get_pending_rewards(at=after(hours=1, minutes=33))

    assert first == Owed(
        reward_id=f"deployment_runtime_{replica.pk}_20261121T070000.000000Z",
        account_id="alice",
        amount=Decimal(15),
        reason=f"web ran on replica {replica.pk}, 2026-11-21 07:00 to 2026-11-21 08:30 UTC",
        currency="points",
        reward_type="deployment_runtime",
        deployment_id=web.pk,
        created_at=SEVEN,
    )
    assert second.amount == 15


def test_a_stake_earns_a_twentieth_a_year_in_the_currency_of_pending_rewards(alice, position):
    (owed,) = get_pending_rewards(at=after(hours=25))

    assert owed == Owed(
        reward_id=f"staking_{position.pk}_20261121T070000.000000Z",
        account_id="alice",
        amount=Decimal(12),
        reason="87600.00 coins staked, 2026-11-21 07:00 to 2026-11-22 07:00 UTC",
        currency="points",
        reward_type="staking",
        created_at=SEVEN,
    )


def test_the_rates_and_the_currency_are_parameters(web, position, coins):
    change("pending.currency", "coins")
    change("pending.runtime_per_hour", "0.5")
    change("pending.staking_apy", "0.1")

    by_type = {owed.reward_type: (owed.amount, owed.currency) for owed in get_pending_rewards(at=after(minutes=30))}

    assert by_type == {
        "deployment_runtime": (Decimal("0.25"), "coins"),
        "staking": (Decimal("0.50"), "coins"),
    }


def test_it_is_pending_above_its_threshold(web, position, coins):
    change("pending.currency", "coins")
    change("pending.runtime_threshold", 5)
    change("pending.staking_threshold", "0.5")

    assert get_pending_rewards(at=after(minutes=30)) == []  # five units a replica, a quarter for the stake
    assert {owed.reward_type for owed in get_pending_rewards(at=after(minutes=31))} == {"deployment_runtime"}
    assert get_pending_rewards(at=after(hours=1))[0].amount == 10
    assert len(get_pending_rewards(at=after(hours=1, minutes=2))) == 3


def test_everybody_sees_what_is_his(alice, bob, web, position):
    other = create_deployment(bob, "worker", 1, SEVEN)
    at = after(hours=3)

    assert [owed.account_id for owed in get_pending_rewards(bob, at=at)] == ["bob"]
    assert {owed.deployment_id for owed in get_pending_rewards(alice, at=at)} == {None, web.pk}
    assert {owed.deployment_id for owed in get_pending_rewards(deployment=other, at=at)} == {other.pk}
    assert get_pending_rewards(alice, other, at=at) == []
    assert len(get_pending_rewards(at=at)) == 4


def test_looking_writes_nothing_and_asks_the_same_number_of_questions_of_many(alice, web, position, coins):
    at = after(hours=3)
    get_pending_rewards(at=at)
    for number in range(12):
        create_deployment(alice, f"web-{number}", 3, SEVEN)
        stake(alice, coins, 10_00, f"more-{number}", SEVEN)
    before = everything()

    for source in (STAKING, RUNTIME):
        with CaptureQueriesContext(connection) as asked:
            source.pending(None, None, at)
        assert len(asked) <= 2
    assert what_differs(before) == {}


def test_rows_written_by_hand_earn_too(alice, points):
    deployment = Deployment.objects.create(user=alice, name="by hand")
    replica = Replica.objects.create(deployment=deployment, started_at=SEVEN, status="stopping")
    position = StakingPosition.objects.create(user=alice, currency=points, staked=87_600, staked_at=SEVEN)

    assert pay(after(hours=10)).totals == {"points": Decimal(105)}
    replica.refresh_from_db()
    position.refresh_from_db()
    assert (replica.rewarded_until, position.rewarded_until) == (after(hours=10), after(hours=10))


@pytest.mark.parametrize(
    "ended",
    [
        {"status": "stopped"},
        {"status": "failed"},
        {"started_at": after(hours=5)},
        {"rewarded_until": after(hours=5)},
    ],
)
def test_what_does_not_run_or_has_not_begun_earns_nothing(web, ended):
    web.replicas.update(**ended)

    assert get_pending_rewards(at=after(hours=5)) == []


def test_the_replicas_of_a_deleted_deployment_earn_nothing(web):
    Deployment.objects.update(status="deleted", deleted_at=after(hours=1))

    assert get_pending_rewards(at=after(hours=5)) == []


def test_without_its_currency_it_is_said_where_something_earns(alice):
    assert get_pending_rewards(at=after(hours=5)) == []
    create_deployment(alice, "web", 1, SEVEN)

    with pytest.raises(UnknownCurrency):
        get_pending_rewards(at=after(hours=5))


# -------------------------------------------------------------------------------------------------------------- paying


def test_the_same_hours_are_paid_once_and_the_rest_of_a_unit_goes_on_accruing(alice, web, points):
    first = pay(after(minutes=3 + 5 * 6))  # five units each, half a unit is left
    again = pay(after(minutes=3 + 5 * 6))

    assert (first.total_rewards_distributed, first.total_amount_distributed) == (2, 10)
    assert (again.success, again.total_rewards_distributed) == (True, 0)
    assert {*web.replicas.values_list("rewarded_until", flat=True)} == {after(minutes=30)}
    assert holdings(alice, points) == 10
    assert pay(after(hours=1)).total_amount_distributed == 10
    assert holdings(alice, points) == 20


def test_the_id_is_the_same_until_it_is_paid_and_then_another(web):
    ids = {owed.reward_id for owed in get_pending_rewards(at=after(hours=1))}

    assert {owed.reward_id for owed in get_pending_rewards(at=after(hours=9))} == ids
    pay(after(hours=9))
    later = {owed.reward_id for owed in get_pending_rewards(at=after(hours=10))}
    assert len(later) == 2
    assert all(reward_id.endswith("_20261121T160000.000000Z") for reward_id in later)
    assert not later & ids


def test_paying_now_and_then_pays_what_paying_once_would(alice, bob, coins):
    """Alice is paid every hundred minutes, Bob once: a day and a second later both have the same.

    The second is for the payments that moved her instants on to the next microsecond.
    """
    change("pending.currency", "coins")
    change("pending.runtime_per_hour", "7.77")
    for user in (alice, bob):
        create_deployment(user, "web", 1, SEVEN)
        StakingPosition.objects.create(user=user, currency=coins, staked=100_000_00, staked_at=SEVEN)

    at = SEVEN
    while at < after(hours=22):
        at += timedelta(minutes=100, seconds=1)
        pay(at, user=alice)
    for user in (alice, bob):
        pay(after(days=1, seconds=1), user=user)

    assert holdings(alice, coins) == holdings(bob, coins) == 18648 + 1369  # 186.48, and 13.698… of the stake


def test_what_was_listed_earlier_is_paid_as_it_was_listed(alice, web, points):
    listed = get_pending_rewards(at=after(hours=1))

    result = distribute_pending_rewards(listed, at=after(hours=5))

    assert result.total_amount_distributed == 20
    assert {*web.replicas.values_list("rewarded_until", flat=True)} == {after(hours=1)}
    assert pay(after(hours=5)).total_amount_distributed == 80


def test_the_row_of_a_paid_reward_says_for_which_time(web):
    pay(after(hours=1, minutes=8))

    row = PendingReward.objects.first()
    assert row.metadata == {"from": "2026-11-21T07:00:00+00:00", "until": "2026-11-21T08:06:00+00:00"}
    assert (row.status, row.reward_type, row.deployment_id, row.amount) == (
        "distributed", "deployment_runtime", web.pk, 11,
    )  # fmt: skip
    events = AuditEvent.objects.filter(event_type="reward_distributed")
    assert [event.data["deployment"] for event in events] == [str(web.pk)] * 2


def test_what_stopped_or_was_paid_meanwhile_is_left_out(alice, web, points):
    listed = get_pending_rewards(at=after(hours=1))
    web.replicas.filter(pk=web.replicas.first().pk).update(status="stopped")

    result = distribute_pending_rewards(listed, at=after(hours=1))

    assert (result.success, result.total_rewards_distributed, holdings(alice, points)) == (True, 1, 10)
    assert distribute_pending_rewards(listed, at=after(hours=9)).total_rewards_distributed == 0


def test_a_rate_that_was_lowered_meanwhile_pays_nobody_too_much(alice, web, points):
    listed = get_pending_rewards(at=after(hours=1))
    change("pending.runtime_per_hour", 9)

    result = distribute_pending_rewards(listed, at=after(hours=1))

    assert not result.success
    assert "has accrued 9 points to alice, not 10 points to alice" in result.error_message
    assert pay(after(hours=1)).total_amount_distributed == 18


@pytest.mark.parametrize(
    "changed", [{"account_id": "bob"}, {"amount": Decimal(11)}, {"amount": Decimal("0.5")}, {"currency": "coins"}]
)
def test_a_reward_that_accrued_otherwise_is_refused(alice, bob, web, coins, changed):
    good, bad = get_pending_rewards(at=after(hours=1))
    before = everything()

    result = distribute_pending_rewards([good, replace(bad, **changed)], at=after(hours=1))

    assert not result.success
    (failed,) = result.failed_distributions
    assert failed["reward_id"] == bad.reward_id
    assert what_differs(before).keys() == {"rewards_auditevent"}


def test_ids_of_rows_that_are_not_there_are_owed_no_more(alice, points):
    at = after(hours=1)
    ids = [f"staking_{10**17}_20261121T070000.000000Z", f"deployment_runtime_{uuid4()}_20261121T070000.000000Z"]

    result = distribute_pending_rewards([Owed(each, "alice", Decimal(5)) for each in ids], at=at)

    assert (result.success, result.total_rewards_distributed, holdings(alice, points)) == (True, 0, 0)


def test_ids_of_another_form_are_somebody_elses(alice, points):
    ids = ["staking_user_123_1732543200", "staking_1_2026", f"staking_{10**19}_20261121T070000.000000Z", "task-1",
           "staking_01_20261121T070000.000000Z", "xstaking_1_20261121T070000.000000Z"]  # fmt: skip
    owed = [Owed(each, "alice", Decimal(1)) for each in ids]
    with transaction.atomic():
        for source in (STAKING, RUNTIME):
            assert source.lock(owed, after(hours=1)) == ({}, set())


def test_an_early_start_has_an_id_that_is_recognised(alice, points):
    position = StakingPosition.objects.create(user=alice, currency=points, staked=87_600)
    StakingPosition.objects.update(staked_at=SEVEN.replace(year=312))

    (owed,) = get_pending_rewards(at=SEVEN)

    assert owed.reward_id == f"staking_{position.pk}_03121121T070000.000000Z"
    with transaction.atomic():
        assert STAKING.lock([owed], SEVEN)[0].keys() == {owed.reward_id}


def test_thousands_are_paid_in_a_few_statements(alice, points):
    """2,500 replicas: a page of ids more costs a statement or so more, not one for each."""
    deployments = Deployment.objects.bulk_create(Deployment(user=alice, name=f"d{n}") for n in range(25))
    Replica.objects.bulk_create(Replica(deployment=each, started_at=SEVEN) for each in deployments for _ in range(100))
    listed = get_pending_rewards(at=after(hours=1))
    with transaction.atomic(), CaptureQueriesContext(connection) as asked:
        live, gone = RUNTIME.lock(listed, after(hours=1))
        RUNTIME.settle([*live.values()])
    selects = [each for each in asked if re.match("SELECT", each["sql"])]
    assert (len(live), gone) == (2500, set())
    assert len(selects) <= 5
    assert len(asked) <= 30
    assert {*Replica.objects.values_list("rewarded_until", flat=True)} == {after(hours=1)}
