"""What the admin asks of the pools."""

from __future__ import annotations

from rewards.distributions.models import Distribution
from rewards.distributions.queries import period_states
from rewards.pools.queries import next_in_line, next_payout
from rewards.pools.services import run_daily, run_hourly
from tests.rewards.pools.conftest import instant

NOW = instant("2026-03-10T09:10")


def test_the_next_payout(pools, vote):
    hourly, daily = pools
    assert next_in_line(hourly) is None
    assert next_payout(daily, NOW).key == "2026-03-10"

    vote("alice", "1", "2026-03-10T07:10")
    assert next_payout(hourly, NOW).key == "2026-03-10T07"
    run_hourly(NOW)
    assert next_payout(hourly, NOW).key == "2026-03-10T08"
    assert next_payout(hourly, NOW).due_at == instant("2026-03-10T09:30")
    run_daily(instant("2026-03-12T00:00:35"))
    assert next_payout(daily, NOW).key == "2026-03-12"


def test_a_failed_period_is_next_and_one_that_waits_for_approval_is_not(pools, vote):
    hourly, _ = pools
    vote("alice", "1", "2026-03-10T07:10")
    run_hourly(NOW)
    Distribution.objects.update(status="failed", failed_from="approved")
    assert next_payout(hourly, NOW).key == "2026-03-10T07"
    Distribution.objects.update(status="allocated", approval_limit=0)
    assert next_payout(hourly, NOW).key == "2026-03-10T08"


def test_the_screen_of_periods_shows_what_is_due_and_not_opened(pools, vote):
    vote("alice", "1", "2026-03-10T07:10")
    vote("alice", "1", "2026-03-10T08:10")
    run_hourly(instant("2026-03-10T08:30"))

    states = period_states(instant("2026-03-10T09:30"), "pool_hourly")

    assert [(state.period_key, state.state) for state in states] == [
        ("2026-03-10T08", "due"),
        ("2026-03-10T07", "done"),
    ]
