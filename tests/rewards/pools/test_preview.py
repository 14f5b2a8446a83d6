"""What the pools would pay, before they do."""

from __future__ import annotations

import pytest

from rewards.distributions.preview import preview
from rewards.distributions.programmes import NoPreview
from rewards.pools.models import CcRate
from rewards.pools.services import NoPools, NoRate, run_daily, run_hourly
from rewards.users.models import User
from tests.rewards.reading import reading_only

from .conftest import instant, payout, rewards_of

LATE_EVENING = instant("2026-03-10T23:59:59")
NEXT_DAY = instant("2026-03-11T00:00:35")


@pytest.fixture
def voted(pools, vote):
    """Two hours of votes: 400 points of intake in the first, 200 in the second."""
    vote("alice", "1", "2026-03-10T07:10", times=3)
    vote("bob", "1", "2026-03-10T07:20")
    vote("bob", "2", "2026-03-10T08:10")


def amounts_of(shown) -> dict[str, int]:
    return dict(zip(shown.snapshot.usernames, shown.amounts.tolist(), strict=True))


@pytest.mark.parametrize(("programme", "key"), [("pool_hourly", "2026-03-10T08"), ("pool_daily", "2026-03-10")])
def test_what_is_shown_is_what_is_paid(voted, programme, key):
    """Also of what earlier hours could not pay: they are not run yet, and carry on to this one."""
    with reading_only():
        shown = preview(programme, key, at=NEXT_DAY)
    run_daily(NEXT_DAY)
    run_hourly(NEXT_DAY)
    paid = payout(programme, key)
    assert (shown.amount, shown.unpaid) == (paid.amount, paid.carried_over)
    assert amounts_of(shown) == rewards_of(programme, key)
    again = preview(programme, key, at=NEXT_DAY)
    assert (again.amount, amounts_of(again)) == (shown.amount, amounts_of(shown))


def test_a_day_that_is_not_over_is_shown_as_it_stands(voted, vote):
    with reading_only():
        so_far = preview("pool_daily", "2026-03-10", at=instant("2026-03-10T08:30"))
    vote("carol", "4", "2026-03-10T09:10")
    more = preview("pool_daily", "2026-03-10", at=LATE_EVENING)
    assert (so_far.amount, more.amount) == (450, 750)
    assert more.best[0].user == "carol"


def test_another_rule_may_ask_for_any_measure_of_votes(voted):
    shown = preview("pool_daily", "2026-03-10", at=LATE_EVENING, rule={"rule": "proportional", "by": "votes"})
    assert amounts_of(shown) == {"alice": 270, "bob": 180}


def test_periods_that_there_cannot_be_are_refused(voted):
    with pytest.raises(NoPreview, match="no period '10 March'"):
        preview("pool_daily", "10 March", at=LATE_EVENING)
    with pytest.raises(NoPreview, match="has not begun"):
        preview("pool_hourly", "2026-03-11T00", at=LATE_EVENING)


def test_without_pools_or_a_rate_it_says_what_is_missing(pools, vote):
    CcRate.objects.all().delete()
    vote("alice", "1", "2026-03-10T07:10")
    with pytest.raises(NoRate):
        preview("pool_daily", "2026-03-10", at=LATE_EVENING)
    pools[0].delete()
    with pytest.raises(NoPools):
        preview("pool_hourly", "2026-03-10T07", at=LATE_EVENING)


def test_the_market_bonus_of_a_day(voted):
    User.objects.filter(username="bob").update(has_cc_market=True)
    CcRate.objects.update(bonus_rate="0.1")
    with pytest.raises(NoPreview, match="pool_daily 2026-03-10 is not allocated"):
        preview("cc_market", "2026-03-10", at=NEXT_DAY)
    run_daily(NEXT_DAY)
    with reading_only():
        shown = preview("cc_market", "2026-03-10", at=NEXT_DAY)
    bonus = rewards_of("pool_daily", "2026-03-10")["bob"] // 10
    assert bonus > 0
    assert amounts_of(shown) == {"bob": bonus}
