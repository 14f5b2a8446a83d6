"""The daily pool, worked out by hand."""

from __future__ import annotations

import pytest

from rewards.allocation.presets import daily_rule
from rewards.pools.models import RewardLog, VoteWeight
from rewards.pools.services import run_daily, run_hourly
from tests.rewards.pools.conftest import amounts, holds, instant, payout, rewards_of

DAY = "2026-03-10"
DUE = "2026-03-11T00:00:35"


def test_three_partners(pools, vote):
    """600 points come in, 450 for the day: three parts of 150.

    Fixed position: five slices of 30. Alice alone has the votes for the first four (10, 5, 3, 2), all three share the
    last: 10 each. ECC: the top 10% are ceil(3/10) = 1, Alice: 150. Participation: ceil(3/2) = 2, so 75 each.
    """
    vote("alice", "0.3", "2026-03-10T07:20", times=10)
    vote("bob", "2", "2026-03-10T09:30")
    vote("carol", "1", "2026-03-10T00:00")

    run_daily(instant(DUE))

    assert rewards_of("pool_daily", DAY) == {"alice": 4 * 30 + 10 + 150 + 75, "bob": 10 + 75, "carol": 10}
    assert payout("pool_daily", DAY).carried_over == 0
    assert (holds("pool:daily"), holds("pool:hourly")) == (0, 150)


def cast_the_votes_of_twelve(vote):
    """p01 to p12 spend 12 to 1 CC; 10, 5, 3 and 2 votes by the first four, one by the others, ten by the last."""
    for place in range(1, 13):
        times = {1: 10, 2: 5, 3: 3, 4: 2, 12: 10}.get(place, 1)
        each, last = {1: ("1.2", "1.2"), 3: ("3.33", "3.34")}.get(place, (str((13 - place) / times), None))
        vote(f"p{place:02}", each, "2026-03-10T07:00", times=times - bool(last), vote_type=f"type{place}")
        if last:
            vote(f"p{place:02}", last, "2026-03-10T07:00", vote_type=f"type{place}")


def test_twelve_partners(pools, vote):
    """78 CC are 7800 points, 5850 for the day: three parts of 1950, the first in five slices of 390.

    top 10, at least 10 votes: p01 (p12 has them too, but place 12).         390
    top 100, at least 5: p01, p02, p12.                                      130 each
    top 1000, at least 3: p01, p02, p03, p12: 97.5 each.                     98, 98, 97, 97
    top 10000, at least 2: p01, p02, p03, p04, p12.                          78 each
    all: 32.5 each.                                                          33 for the first six, 32 for the others
    ECC, top 10% = p01 and p02 by 12 : 11: 1017.39 and 932.61.               1017, 933
    top 50%: the first six.                                                  325 each
    """
    cast_the_votes_of_twelve(vote)

    run_daily(instant(DUE))

    assert list(rewards_of("pool_daily", DAY).values()) == [
        390 + 130 + 98 + 78 + 33 + 1017 + 325,
        130 + 98 + 78 + 33 + 933 + 325,
        97 + 78 + 33 + 325,
        78 + 33 + 325,
        33 + 325,
        33 + 325,
        *[32] * 5,
        130 + 97 + 78 + 32,
    ]
    assert RewardLog.objects.get().ecc_cap == "57.5"


def test_the_ecc_cap_bites(pools, vote):
    """All share the ECC part, and the votes of p12 weigh a hundredfold: ECC 100, capped at 5 x (12 + 11) / 2 = 57.5.

    The weights 12, 11, …, 2 and 57.5 add up to 134.5: shares of 1950 are 173.98, 159.48, 144.98, 130.48, 115.99,
    101.49, 86.99, 72.49, 57.99, 43.49, 29.00 and 833.64. The floors leave nine units for the largest remainders.
    """
    _, daily = pools
    daily.rule = daily_rule(ecc_percent="100")
    daily.save()
    VoteWeight.objects.create(vote_type="type12", weight="100")
    cast_the_votes_of_twelve(vote)

    run_daily(instant(DUE))

    ecc = [row.breakdown["top10p_ecc"] for row in payout("pool_daily", DAY).rewards.order_by("position")]
    assert ecc == [174, 159, 145, 130, 116, 101, 87, 73, 58, 44, 29, 834]
    assert payout("pool_daily", DAY).results["facts"]["weight_cap"] == "57.5"


def test_weights_are_exact_and_change_the_ecc_but_not_the_place(pools, vote):
    """Bob is second by CC; 1/3 of a vote's weight is written as far as one likes."""
    VoteWeight.objects.create(vote_type="share", weight="0.33333333333333333333333333333333333333")
    VoteWeight.objects.create(vote_type="mute", weight="0")
    vote("alice", "3", "2026-03-10T07:00", vote_type="mute")
    vote("alice", "1", "2026-03-10T07:00", vote_type="share")
    vote("bob", "2", "2026-03-10T07:00")

    run_daily(instant(DUE))

    alice, bob = payout("pool_daily", DAY).rewards.order_by("position")
    assert (alice.user.username, alice.score) == ("alice", "4")
    assert alice.inputs["measures"] == {"ecc": "0.33333333333333333333333333333333333333", "votes": "2"}
    assert bob.inputs["measures"] == {"ecc": "2", "votes": "1"}


def test_sums_beyond_64_bits_of_millionths_stay_exact(pools, vote):
    VoteWeight.objects.create(vote_type="huge", weight="1000000000")
    pools[1].rule = daily_rule(ecc_percent="100")
    pools[1].save()
    vote("alice", "90000000000", "2026-03-10T07:00", vote_type="huge")
    vote("bob", "90000000001", "2026-03-10T07:00")

    run_daily(instant(DUE))

    bob, alice = payout("pool_daily", DAY).rewards.order_by("position")
    assert alice.inputs["measures"]["ecc"] == "90000000000000000000"
    assert bob.inputs["measures"]["ecc"] == "90000000001"


def test_empty_tiers_are_carried_to_the_next_day(pools, vote):
    """One vote a day: 75 points for the day. Parts of 25, slices of 5; four tiers want more votes: 20 are carried.

    The next day has 75 + 20 = 95: parts of 32, 32 and 31 (ties in the listed order), slices of 7, 7, 6, 6 and 6.
    """
    vote("alice", "1", "2026-03-10T07:00")
    vote("alice", "1", "2026-03-11T07:00")

    run_daily(instant("2026-03-12T00:00:35"))

    assert amounts() == {"pool_daily 2026-03-10": (75, 55, 20), "pool_daily 2026-03-11": (95, 69, 26)}
    assert holds("pool:daily") == 26


def test_a_day_without_voters_is_empty_and_carries_everything(pools, vote):
    vote("alice", "1", "2026-03-10T07:00")

    run_daily(instant("2026-03-13T00:00:35"))

    assert amounts()["pool_daily 2026-03-11"] == (20, 0, 20)
    assert amounts()["pool_daily 2026-03-12"] == (20, 0, 20)
    assert payout("pool_daily", "2026-03-12").participants == 0
    assert holds("pool:daily") == 20


def test_quiet_days_with_nothing_to_carry_are_recorded_at_once(pools, vote):
    vote("alice", "0.000001", "2026-03-10T07:00")

    result = run_daily(instant("2026-03-20T00:00:35"))

    assert (result.periods, result.empty_periods) == (10, 9)
    assert set(amounts().values()) == {(0, 0, 0)}
    assert RewardLog.objects.filter(type="daily").count() == 10


@pytest.mark.parametrize(("at", "periods"), [("2026-03-11T00:00:34", 0), ("2026-03-11T00:00:35", 1)])
def test_a_day_is_due_35_seconds_after_midnight(pools, vote, at, periods):
    vote("alice", "1", "2026-03-10T07:00")

    assert run_daily(instant(at)).periods == periods


def test_a_day_accrues_all_its_hours_first_and_with_them_closes(pools, vote):
    vote("alice", "1", "2026-03-10T07:00")
    run_daily(instant(DUE))

    assert vote("bob", "1", "2026-03-10T03:00", recorded="2026-03-11T01:00") == 1
    run_hourly(instant("2026-03-11T02:00"))

    assert rewards_of("pool_hourly", "2026-03-10T07") == {"alice": 25}
    assert list(rewards_of("pool_daily", DAY)) == ["alice"]
