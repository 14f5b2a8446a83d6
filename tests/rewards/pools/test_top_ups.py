"""Units added to one period by hand."""

from __future__ import annotations

import pytest
from django.db import transaction

from rewards.common.amounts import InvalidAmount
from rewards.ledger.errors import IdempotencyConflict
from rewards.ledger.services import Move, post, reverse, system_account
from rewards.pools.services import PeriodFrozen, PeriodNeverPaid, UnknownPeriod, run_daily, run_hourly, top_up
from tests.rewards.pools.conftest import amounts, holds, instant, payout, rewards_of

NOW = instant("2026-03-10T09:00")


def test_a_top_up_counts_as_accrued_in_its_period(pools, vote, alice):
    hourly, daily = pools
    vote("bob", "1", "2026-03-10T07:10")
    vote("bob", "1", "2026-03-10T08:10")

    journal = top_up(hourly, 1000, "2026-03-10T08", "spring", "spring campaign", alice, at=NOW)
    top_up(daily, 925, "2026-03-10", "spring", "spring campaign", alice, at=NOW)

    assert (journal.kind, journal.actor, journal.metadata["period"]) == ("pool_top_up", alice, "2026-03-10T08")
    run_hourly(instant("2026-03-10T09:30"))
    run_daily(instant("2026-03-11T00:00:35"))
    assert rewards_of("pool_hourly", "2026-03-10T07") == {"bob": 25}
    assert rewards_of("pool_hourly", "2026-03-10T08") == {"bob": 1025}
    assert payout("pool_daily", "2026-03-10").amount == 75 + 75 + 925


def test_units_put_into_the_pool_otherwise_are_not_paid_out(pools, vote):
    """A period pays what accrued to it, never simply the balance."""
    hourly, _ = pools
    vote("bob", "1", "2026-03-10T07:10")
    accounts = [system_account(code, hourly.currency) for code in ("issuance", "pool:hourly")]
    with transaction.atomic():
        post("fund:1", "fund", [Move(*accounts, 500)])

    run_hourly(instant("2026-03-10T08:30"))

    assert rewards_of("pool_hourly", "2026-03-10T07") == {"bob": 25}
    assert holds("pool:hourly") == 500


def test_the_same_key_tops_up_once_even_when_the_period_is_frozen_by_then(pools, vote, alice):
    hourly, _ = pools
    vote("bob", "1", "2026-03-10T07:10")
    first = top_up(hourly, 1000, "2026-03-10T07", "spring", "spring campaign", alice, at=NOW)
    run_hourly(instant("2026-03-10T08:30"))

    assert top_up(hourly, 1000, "2026-03-10T07", "spring", "spring campaign", alice, at=NOW) == first
    with pytest.raises(IdempotencyConflict):
        top_up(hourly, 1001, "2026-03-10T07", "spring", "spring campaign", alice, at=NOW)
    with pytest.raises(PeriodFrozen, match="2026-03-10T07 is frozen"):
        top_up(hourly, 1, "2026-03-10T07", "another", "spring campaign", alice, at=NOW)


def test_a_top_up_of_an_hour_nobody_votes_in_goes_on_to_the_next(pools, vote, alice):
    hourly, _ = pools
    vote("bob", "1", "2026-03-10T07:10")
    top_up(hourly, 300, "2026-03-10T09", "spring", "spring campaign", alice, at=NOW)
    vote("bob", "1", "2026-03-10T11:10")

    run_hourly(instant("2026-03-10T12:30"))

    assert amounts() == {
        "pool_hourly 2026-03-10T07": (25, 25, 0),
        "pool_hourly 2026-03-10T08": (0, 0, 0),
        "pool_hourly 2026-03-10T09": (300, 0, 300),
        "pool_hourly 2026-03-10T10": (300, 0, 300),
        "pool_hourly 2026-03-10T11": (325, 325, 0),
    }


def test_a_pool_topped_up_before_its_first_vote_begins_with_that_period(pools, vote, alice):
    hourly, _ = pools
    top_up(hourly, 300, "2026-03-10T09", "start", "a start", alice, at=NOW)
    vote("bob", "1", "2026-03-10T10:10")

    run_hourly(instant("2026-03-10T11:30"))

    assert rewards_of("pool_hourly", "2026-03-10T10") == {"bob": 325}


def test_a_reversed_top_up_does_not_count(pools, vote, alice):
    hourly, _ = pools
    vote("bob", "1", "2026-03-10T07:10")
    journal = top_up(hourly, 300, "2026-03-10T07", "slip", "a slip", alice, at=NOW)
    with transaction.atomic():
        reverse(journal, "a slip indeed", alice)

    run_hourly(instant("2026-03-10T08:30"))

    assert rewards_of("pool_hourly", "2026-03-10T07") == {"bob": 25}


@pytest.mark.parametrize("key", ["2026-03-10", "2026-03-10T7", "2026-03-10T24", "yesterday", ""])
def test_what_is_no_hour_is_refused(pools, alice, key):
    with pytest.raises(UnknownPeriod):
        top_up(pools[0], 1, key, "slip", "a slip", alice, at=NOW)


def test_a_period_that_is_never_paid_is_refused(pools, vote, alice):
    hourly, daily = pools
    with pytest.raises(PeriodNeverPaid):
        top_up(hourly, 1, "2026-03-10T08", "early", "too early", alice, at=NOW)
    vote("bob", "1", "2026-03-10T08:10")
    with pytest.raises(PeriodNeverPaid):
        top_up(hourly, 1, "2026-03-10T07", "early", "too early", alice, at=NOW)
    top_up(hourly, 1, "2026-03-10T08", "right", "in time", alice, at=NOW)
    top_up(daily, 1, "2026-03-10", "right", "in time", alice, at=NOW)


@pytest.mark.parametrize("amount", [0, -1, 2**63])
def test_amounts_are_checked_by_the_ledger(pools, alice, amount):
    with pytest.raises(InvalidAmount):
        top_up(pools[0], amount, "2026-03-10T10", "slip", "a slip", alice, at=NOW)
    assert holds("pool:hourly") == 0
