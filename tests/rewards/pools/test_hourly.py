"""The hourly pool, worked out by hand."""

from __future__ import annotations

import json
import logging

from rewards.alerts.models import Alert
from rewards.distributions.programmes import LateChange
from rewards.distributions.services import approve
from rewards.parameters.services import set_parameter
from rewards.pools.models import Accrual, CcRate, PartnerTransfer, Pool, RewardLog
from rewards.pools.services import payout_with_late_votes, run_daily, run_hourly
from rewards.users.models import User
from tests.rewards.pools.conftest import amounts, holds, instant, payout, rewards_of


def test_three_partners_share_five_slices(pools, vote):
    """(3 + 2 + 1) CC are 600 points, a quarter of it for the hour: 150, in five slices of 30.

    ceil(3/10) = 1: Alice alone is in the top 10%; the other four slices are split among all three, 10 each.
    """
    vote("carol", "1", "2026-03-10T07:10")
    vote("alice", "3", "2026-03-10T07:20")
    vote("bob", "2", "2026-03-10T07:59:59")

    result = run_hourly(instant("2026-03-10T08:30"))

    assert result.failures == []
    assert rewards_of("pool_hourly", "2026-03-10T07") == {"alice": 30 + 4 * 10, "bob": 4 * 10, "carol": 4 * 10}
    accrual = Accrual.objects.get()
    assert (accrual.votes, accrual.voters, accrual.intake) == (3, 3, 600)
    assert (accrual.hourly_amount, accrual.daily_amount) == (150, 450)
    assert (holds("pool:hourly"), holds("pool:daily"), holds("issuance")) == (0, 450, -600)
    assert payout("pool_hourly", "2026-03-10T07").status == "paid"


def test_twelve_partners_and_units_that_do_not_divide(pools, vote):
    """12 + 11 + … + 1 = 78 CC, 7800 points, 1950 for the hour: five slices of 390.

    ceil(12/10) = 2 share the top 10%: 195 each. The top 10 get 39 each. The top 100, the top 1000 and all are twelve
    each: 390 / 12 = 32.5, so the first six get 33 and the others 32 from each of the three slices.
    """
    for place in range(1, 13):
        vote(f"p{place:02}", str(13 - place), "2026-03-10T07:00")

    run_hourly(instant("2026-03-10T08:30"))

    paid = rewards_of("pool_hourly", "2026-03-10T07")
    assert list(paid) == [f"p{place:02}" for place in range(1, 13)]
    assert list(paid.values()) == [195 + 39 + 99] * 2 + [39 + 99] * 4 + [39 + 96] * 4 + [96] * 2
    assert sum(paid.values()) == 1950


def test_equals_are_placed_by_first_vote_then_by_username(pools, vote):
    vote("Zoe", "1", "2026-03-10T07:30")
    vote("alice", "1", "2026-03-10T07:30")
    vote("bob", "0.5", "2026-03-10T07:20")
    vote("bob", "0.5", "2026-03-10T07:50")
    vote("Émile", "1", "2026-03-10T07:30")

    run_hourly(instant("2026-03-10T08:30"))

    assert list(rewards_of("pool_hourly", "2026-03-10T07")) == ["bob", "Zoe", "alice", "Émile"]


def test_the_intake_is_rounded_down_to_the_minor_unit_and_so_is_the_share(pools, vote):
    CcRate.objects.update(units_per_cc="0.333")
    vote("alice", "20.999999", "2026-03-10T07:10")

    run_hourly(instant("2026-03-10T08:30"))

    accrual = Accrual.objects.get()
    assert (accrual.intake, accrual.hourly_amount, accrual.daily_amount) == (6, 1, 5)


def test_an_hour_is_due_half_an_hour_after_its_end_and_not_before(pools, vote):
    vote("alice", "1", "2026-03-10T07:10")

    assert run_hourly(instant("2026-03-10T08:29:59")).periods == 0
    assert run_hourly(instant("2026-03-10T08:30")).periods == 1
    assert run_hourly(instant("2026-03-10T08:30")).periods == 0


def test_whoever_changed_the_pool_may_approve_what_the_schedule_opened(pools, vote, staff):
    """The history of the pool says who it was; the payout is nobody's own."""
    olga, hourly = staff("olga", "approve_distribution"), Pool.objects.get(slug=Pool.Slug.HOURLY)
    hourly.approval_limit, hourly._history_user = 0, olga
    hourly.save()
    vote("alice", "1", "2026-03-10T07:10")
    run_hourly(instant("2026-03-10T08:30"))

    waiting = payout("pool_hourly", "2026-03-10T07")
    assert (waiting.status, waiting.prepared_by) == ("allocated", None)
    assert approve(waiting.pk, olga).status == "approved"


def test_hours_without_voters_are_recorded_and_paid_nothing(pools, vote):
    vote("alice", "1", "2026-03-10T07:10")
    vote("alice", "1", "2026-03-10T11:10")

    result = run_hourly(instant("2026-03-10T12:30"))

    assert (result.periods, result.empty_periods, result.recipients) == (5, 3, 2)
    assert amounts() == {
        "pool_hourly 2026-03-10T07": (25, 25, 0),
        "pool_hourly 2026-03-10T08": (0, 0, 0),
        "pool_hourly 2026-03-10T09": (0, 0, 0),
        "pool_hourly 2026-03-10T10": (0, 0, 0),
        "pool_hourly 2026-03-10T11": (25, 25, 0),
    }
    assert RewardLog.objects.filter(type="hourly").count() == 5


def test_a_late_vote_counts_for_no_payout(pools, vote):
    vote("alice", "1", "2026-03-10T07:10")
    run_hourly(instant("2026-03-10T08:30"))

    assert vote("bob", "100", "2026-03-10T07:50", recorded="2026-03-10T09:00") == 1
    vote("alice", "1", "2026-03-10T08:10")
    run_hourly(instant("2026-03-10T09:30"))

    assert rewards_of("pool_hourly", "2026-03-10T07") == {"alice": 25}
    assert rewards_of("pool_hourly", "2026-03-10T08") == {"alice": 25}
    assert holds("issuance") == -200
    assert payout("pool_hourly", "2026-03-10T07").late_events == 1
    assert payout("pool_hourly", "2026-03-10T08").late_events == 0


def test_operators_see_what_late_votes_would_have_changed(pools, vote):
    """With Bob's 3 CC there had been 100 points for the hour: slices of 20, the first of them Bob's alone."""
    vote("alice", "1", "2026-03-10T07:10")
    run_hourly(instant("2026-03-10T08:30"))
    hour = payout("pool_hourly", "2026-03-10T07")
    assert payout_with_late_votes(hour) == []

    vote("bob", "1", "2026-03-10T07:50", times=3, recorded="2026-03-10T09:00")
    run_daily(instant("2026-03-11T00:00:35"))

    assert payout_with_late_votes(hour) == [LateChange("bob", 0, 20 + 40), LateChange("alice", 25, 40)]
    day = payout("pool_daily", "2026-03-10")
    assert day.late_events == 3
    assert {row.username: row.amount for row in payout_with_late_votes(day)} == {"bob": 0, "alice": 55}
    assert rewards_of("pool_hourly", "2026-03-10T07") == {"alice": 25}


def test_without_votes_there_is_nothing_to_do(pools):
    assert run_hourly(instant("2026-03-10T08:30")).periods == 0
    assert amounts() == {}


def test_paused_payouts_wait_and_lose_nothing(pools, vote):
    vote("alice", "1", "2026-03-10T07:10")
    set_parameter("payouts_paused", True, actor=None, reason="a check failed")

    result = run_hourly(instant("2026-03-10T08:30"))
    assert result.paused
    assert result.periods == 0

    set_parameter("payouts_paused", False, actor=None, reason="found and fixed")
    run_hourly(instant("2026-03-10T09:30"))
    assert rewards_of("pool_hourly", "2026-03-10T07") == {"alice": 25}


def test_an_inactive_pool_pays_nothing_and_catches_up_later(pools, vote):
    hourly, _ = pools
    hourly.active = False
    hourly.save()
    vote("alice", "1", "2026-03-10T07:10")

    assert run_hourly(instant("2026-03-10T08:30")).inactive
    hourly.active = True
    hourly.save()
    assert run_hourly(instant("2026-03-10T09:30")).periods == 2


def test_special_partners_are_put_into_the_outbox_with_their_sum(pools, vote):
    vote("alice", "3", "2026-03-10T07:20")
    vote("bob", "2", "2026-03-10T07:30")
    User.objects.filter(username="alice").update(is_special_partner=True)

    run_hourly(instant("2026-03-10T08:30"))

    transfer = PartnerTransfer.objects.get()
    assert transfer.partner.username == "alice"
    assert transfer.amount == rewards_of("pool_hourly", "2026-03-10T07")["alice"]
    assert (transfer.time, transfer.sent_at) == (instant("2026-03-10T07:00"), None)


def test_each_payout_leaves_a_log_row_and_a_log_record(pools, vote, caplog, django_capture_on_commit_callbacks):
    vote("alice", "3", "2026-03-10T07:20", times=2)
    vote("alice", "1", "2026-03-10T07:21", vote_type="share")
    vote("bob", "2", "2026-03-10T07:30")

    with caplog.at_level(logging.DEBUG, "rewards.pools"), django_capture_on_commit_callbacks(execute=True):
        run_hourly(instant("2026-03-10T08:30"))

    log = RewardLog.objects.get()
    assert (log.type, log.time, log.total) == ("hourly", instant("2026-03-10T07:00"), 225)
    assert log.counts == {"top10p": 1, "top10": 2, "top100": 2, "top1000": 2, "all": 2}
    (record,) = [record for record in caplog.records if getattr(record, "event", "") == "pool_paid"]
    assert (record.type, record.total, record.counts) == ("hourly", "225", log.counts)
    json.dumps({"counts": record.counts, "time": record.time, "total": record.total})
    votes = {record.partner: record.votes for record in caplog.records if getattr(record, "event", "") == "pool_votes"}
    assert votes == {"alice": {"like": 2, "share": 1}, "bob": {"like": 1}}


def test_no_rate_stops_the_hour_writes_nothing_and_says_what_to_do(pools, vote):
    CcRate.objects.all().delete()
    vote("alice", "1", "2026-03-10T07:10")
    vote("alice", "1", "2026-03-10T08:10")

    result = run_hourly(instant("2026-03-10T09:30"))

    assert [failure.period_key for failure in result.failures] == ["2026-03-10T07"]
    assert "add a CC rate that starts before 2026-03-10 08:00" in result.failures[0].sentence
    assert amounts() == {}
    assert not Accrual.objects.exists()
    assert Alert.objects.get(resolved_at=None).subject == "pool_hourly 2026-03-10T07"

    CcRate.objects.create(starts_at=instant("2026-03-10T07:59"), units_per_cc="4")
    assert run_hourly(instant("2026-03-10T09:30")).periods == 2
    assert not Alert.objects.filter(resolved_at=None).exists()
