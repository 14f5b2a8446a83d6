"""After downtime: every missed hour and day, in order, once; and the order of catching up changes no amount."""

from __future__ import annotations

from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import Permission
from django.db import transaction

from rewards.activity.models import ClosedStretch
from rewards.alerts.models import Alert
from rewards.common.periods import Hour, hours_between
from rewards.distributions import services as distributions
from rewards.distributions.models import Distribution
from rewards.jobs.progress import Unwatched
from rewards.ledger.models import Journal
from rewards.ledger.services import system_account
from rewards.pools.models import Accrual, CarryOver, CcRate, PartnerTransfer, RewardLog
from rewards.pools.services import HourNotOver, accrue, accrue_hour, run_daily, run_hourly
from rewards.users.models import User
from tests.rewards.pools.conftest import amounts, holds, instant, payout, rewards_of

NOON = "2026-03-14T12:00"


def outcome_of(*steps) -> dict:
    """What `steps` lead to, with everything rolled back afterwards."""
    with transaction.atomic():
        for step in steps:
            assert step().failures == []
        found = amounts() | {code: holds(code) for code in ("pool:hourly", "pool:daily", "issuance")}
        transaction.set_rollback(True)
    return found


def cast_votes_over_four_days(vote):
    for day, hours in ((10, (7, 8, 22, 23)), (11, (0, 15)), (13, (0, 23))):
        for number, hour in enumerate(hours):
            vote("alice", f"{number + 1}.7", f"2026-03-{day}T{hour:02}:{10 + number}")
            vote("bob", "1.3", f"2026-03-{day}T{hour:02}:59:59", times=3)


def test_hours_then_days_days_then_hours_and_mixed_pay_the_same(pools, vote):
    cast_votes_over_four_days(vote)
    CcRate.objects.create(starts_at=instant("2026-03-11T15:30"), units_per_cc="31.7")

    hours_first = outcome_of(lambda: run_hourly(instant(NOON)), lambda: run_daily(instant(NOON)))
    days_first = outcome_of(lambda: run_daily(instant(NOON)), lambda: run_hourly(instant(NOON)))
    mixed = outcome_of(
        lambda: run_hourly(instant("2026-03-10T23:10")),
        lambda: run_daily(instant("2026-03-11T00:00:35")),
        lambda: run_hourly(instant("2026-03-11T16:30")),
        lambda: run_daily(instant("2026-03-13T09:00")),
        lambda: run_daily(instant(NOON)),
        lambda: run_hourly(instant(NOON)),
    )

    assert hours_first == days_first == mixed
    assert len(hours_first) == 4 + (23 - 7 + 1) + 24 + 24 + 24 + 12 - 1 + 3
    assert hours_first["pool:hourly"] == 0


def test_a_second_run_changes_nothing(pools, vote):
    cast_votes_over_four_days(vote)
    run_daily(instant(NOON))
    run_hourly(instant(NOON))
    before, journals = amounts(), Journal.objects.count()

    assert run_hourly(instant(NOON)).periods == run_daily(instant(NOON)).periods == 0
    assert (amounts(), Journal.objects.count()) == (before, journals)


def test_a_run_that_is_stopped_is_continued_where_it_stood(pools, vote):
    class FiveSteps(Unwatched):
        done = 0

        def step(self, successes=0, failures=0):
            self.done += 1

        def keep_going(self):
            return self.done < 5

    cast_votes_over_four_days(vote)
    whole = outcome_of(lambda: run_hourly(instant(NOON)))

    first = run_hourly(instant(NOON), progress=FiveSteps())
    assert first.unfinished
    assert 0 < len(amounts()) < len(whole) - 3
    for _ in range(10):
        run_hourly(instant(NOON), progress=FiveSteps())
    assert amounts().items() <= whole.items()
    assert len(amounts()) == len(whole) - 3


def test_what_a_dead_worker_left_half_done_is_completed(pools, vote):
    """One worker died after opening an hour, another one after allocating the next."""
    hourly, _ = pools
    vote("alice", "3", "2026-03-10T07:20")
    vote("bob", "2", "2026-03-10T08:30")
    account = system_account(hourly.account_code, hourly.currency)
    opened = {}
    for hour in (Hour.parse("2026-03-10T07"), Hour.parse("2026-03-10T08")):
        opened[hour.key], _ = distributions.open_distribution(
            "pool_hourly", hour.key, starts_at=hour.start, ends_at=hour.end, at=hour.end, rule=hourly.rule,
            currency=hourly.currency, source_account=account,
        )  # fmt: skip
    assert not distributions.step(opened["2026-03-10T08"])  # it is not its turn
    distributions.step(opened["2026-03-10T07"])
    assert payout("pool_hourly", "2026-03-10T07").status in ("allocated", "approved")
    assert payout("pool_hourly", "2026-03-10T08").status == "open"

    assert run_hourly(instant("2026-03-10T09:30")).periods == 2

    assert rewards_of("pool_hourly", "2026-03-10T07") == {"alice": 75}
    assert rewards_of("pool_hourly", "2026-03-10T08") == {"bob": 50}
    assert {row.status for row in Distribution.objects.all()} == {"paid"}


def test_a_hundred_thousand_hours_of_silence_are_recorded_at_once_and_closed_as_one_stretch(pools, vote):
    vote("alice", "1", "2015-01-01T00:10")
    vote("alice", "1", "2026-06-01T07:10")

    first, end = instant("2015-01-01T00:00"), instant("2026-06-01T08:00")
    assert accrue(first, end, end) == Accrual.objects.count() == 100_064

    stretch = ClosedStretch.objects.get(metric="cc_vote")
    assert (stretch.starts_at, stretch.ends_at) == (first, end)
    assert Accrual.objects.filter(votes=1, intake=100).count() == 2


def test_a_long_silence_is_paid_in_few_steps(pools, vote):
    class Counted(Unwatched):
        steps = 0

        def step(self, successes=0, failures=0):
            self.steps += 1

    vote("alice", "1", "2026-03-01T00:10")
    vote("alice", "1", "2026-05-01T07:10")
    counted = Counted()

    result = run_hourly(instant("2026-05-01T08:30"), progress=counted)

    assert (result.periods, result.empty_periods, result.recipients) == (1472, 1470, 2)
    assert counted.steps == 3
    assert RewardLog.objects.count() == Distribution.objects.count() == 1472


def test_votes_found_before_the_first_ones_are_paid_too(pools, vote):
    """An older file is imported after a newer one was paid: its hours are not closed, so they are due."""
    vote("alice", "1", "2026-03-10T07:10")
    run_hourly(instant("2026-03-10T08:30"))

    assert vote("bob", "1", "2026-03-10T04:10") == 0
    assert run_hourly(instant("2026-03-10T08:30")).periods == 3

    assert rewards_of("pool_hourly", "2026-03-10T04") == {"bob": 25}
    assert rewards_of("pool_hourly", "2026-03-10T07") == {"alice": 25}


def test_a_failure_before_allocation_blocks_the_later_periods_and_only_those_of_its_pool(pools, vote):
    hourly, _ = pools
    vote("alice", "1", "2026-03-10T07:10")
    vote("alice", "1", "2026-03-10T08:10")
    hourly.rule = {"rule": "proportional", "by": "speed"}
    hourly.save()

    result = run_hourly(instant("2026-03-10T09:30"))

    assert [failure.period_key for failure in result.failures] == ["2026-03-10T07"]
    assert "there is no measure 'speed'" in result.failures[0].sentence
    assert [str(distribution) for distribution in Distribution.objects.all()] == ["pool_hourly 2026-03-10T07"]
    assert Alert.objects.get(resolved_at=None).subject == "pool_hourly 2026-03-10T07"
    assert run_daily(instant("2026-03-11T00:00:35")).failures == []

    # The rule of what is open stays as it was; an operator corrects it there.
    Distribution.objects.filter(status="failed").update(rule={"rule": "equal"})
    hourly.rule = {"rule": "equal"}
    hourly.save()
    assert run_hourly(instant("2026-03-10T09:30")).periods == 2
    assert rewards_of("pool_hourly", "2026-03-10T08") == {"alice": 25}
    assert not Alert.objects.filter(resolved_at=None).exists()


def approver() -> User:
    user = User.objects.create(username="vera", password="!")
    user.user_permissions.add(Permission.objects.get(codename="approve_distribution"))
    return user


def test_waiting_for_approval_does_not_block_and_a_rejected_amount_is_carried(pools, vote):
    """07 waits, 08 goes on without it; once 07 is rejected, the next period frozen takes its 50 points up: 09."""
    hourly, _ = pools
    vote("alice", "2", "2026-03-10T07:10")
    vote("alice", "1", "2026-03-10T08:10")
    vote("alice", "1", "2026-03-10T09:10")
    hourly.approval_limit = 50
    hourly.save()

    assert run_hourly(instant("2026-03-10T09:30")).waiting == ["2026-03-10T07"]
    assert payout("pool_hourly", "2026-03-10T08").status == "paid"
    assert run_hourly(instant("2026-03-10T09:30")).periods == 0

    distributions.reject(payout("pool_hourly", "2026-03-10T07").pk, approver(), "a vote too many")
    hourly.approval_limit = None
    hourly.save()
    run_hourly(instant("2026-03-10T10:30"))

    assert amounts() == {
        "pool_hourly 2026-03-10T07": (50, 0, 50),
        "pool_hourly 2026-03-10T08": (25, 25, 0),
        "pool_hourly 2026-03-10T09": (75, 75, 0),
    }
    (carry,) = CarryOver.objects.all()
    assert (carry.source.period_key, carry.target.period_key, carry.amount) == ("2026-03-10T07", "2026-03-10T09", 50)
    assert holds("pool:hourly") == 0


def test_a_rejected_hour_is_carried_through_hours_without_voters(pools, vote):
    hourly, _ = pools
    vote("alice", "2", "2026-03-10T07:10")
    vote("alice", "1", "2026-03-10T11:10")
    hourly.approval_limit = 50
    hourly.save()
    run_hourly(instant("2026-03-10T08:30"))
    distributions.reject(payout("pool_hourly", "2026-03-10T07").pk, approver(), "a vote too many")
    hourly.approval_limit = None
    hourly.save()

    run_hourly(instant("2026-03-10T12:30"))

    assert amounts()["pool_hourly 2026-03-10T08"] == (50, 0, 50)
    assert amounts()["pool_hourly 2026-03-10T10"] == (50, 0, 50)
    assert rewards_of("pool_hourly", "2026-03-10T11") == {"alice": 75}


def test_an_hour_accrues_once_and_not_before_its_end(pools, vote):
    vote("alice", "1", "2026-03-10T07:10")
    hour = Hour.parse("2026-03-10T07")

    with pytest.raises(HourNotOver):
        accrue_hour(hour, instant("2026-03-10T07:59:59"))
    first = accrue_hour(hour, instant("2026-03-10T08:00"))
    again = accrue_hour(hour, instant("2026-03-10T08:05"))

    assert first == again
    assert accrue(hour.start, hour.end, instant("2026-03-10T08:05")) == 0
    assert Journal.objects.get().key == "accrual:2026-03-10T07"


def test_a_rate_that_changes_within_the_day_counts_by_hour(pools, vote):
    """The last rate from before an hour's end counts for the whole hour; one that starts with its end does not."""
    CcRate.objects.create(starts_at=instant("2026-03-10T08:59:59"), units_per_cc="200")
    CcRate.objects.create(starts_at=instant("2026-03-10T10:00"), units_per_cc="1000")
    for hour in ("07", "08", "09", "10"):
        vote("alice", "1", f"2026-03-10T{hour}:10")

    run_daily(instant("2026-03-11T00:00:35"))

    intakes = Accrual.objects.filter(votes__gt=0).order_by("hour").values_list("intake", flat=True)
    assert list(intakes) == [100, 200, 200, 1000]
    assert payout("pool_daily", "2026-03-10").amount == 1500 - 375


@pytest.mark.parametrize(
    ("day", "starts_at", "ends_at", "hours"),
    [
        ("2026-03-29", "2026-03-28T23:00", "2026-03-29T22:00", 23),
        ("2026-07-01", "2026-06-30T22:00", "2026-07-01T22:00", 24),
        ("2026-10-25", "2026-10-24T22:00", "2026-10-25T23:00", 25),
    ],
)
def test_days_of_23_and_25_hours_are_paid_once(pools, vote, settings, day, starts_at, ends_at, hours):
    settings.REWARDS_TIME_ZONE = ZoneInfo("Europe/Berlin")
    midnight = instant(ends_at)
    for hour in hours_between(Hour(instant(starts_at)), midnight):
        vote("alice", "1", f"{hour.key}:59:59.999999")
    vote("alice", "1", ends_at)  # the next day

    assert run_daily(midnight + timedelta(seconds=34)).periods == 0
    assert run_daily(midnight + timedelta(seconds=35)).periods == 1
    assert run_daily(midnight + timedelta(seconds=35)).periods == 0

    distribution = payout("pool_daily", day)
    assert distribution.amount == 75 * hours
    assert distribution.rewards.get().score == str(hours)
    assert Accrual.objects.count() == hours


def test_where_midnight_is_at_half_past_a_day_is_made_of_the_hours_that_start_in_it(pools, vote, settings):
    """In Kolkata 10 March begins at 18:30 UTC. The hour of 18:00 UTC starts on the 9th: its votes are of the 9th."""
    settings.REWARDS_TIME_ZONE = ZoneInfo("Asia/Kolkata")
    vote("alice", "1", "2026-03-09T18:45")
    vote("bob", "1", "2026-03-09T19:00")

    assert run_daily(instant("2026-03-09T18:31")).periods == 0
    assert run_daily(instant("2026-03-09T19:00:35")).periods == 1
    assert rewards_of("pool_daily", "2026-03-09") == {"alice": 55}
    run_daily(instant("2026-03-10T19:00:35"))
    assert list(rewards_of("pool_daily", "2026-03-10")) == ["bob"]


def test_the_outbox_of_missed_hours_is_complete(pools, vote):
    vote("alice", "1", "2026-03-10T07:10")
    vote("alice", "1", "2026-03-10T09:10")
    User.objects.update(is_special_partner=True)

    run_hourly(instant("2026-03-10T12:30"))

    times = PartnerTransfer.objects.order_by("time").values_list("time", flat=True)
    assert list(times) == [instant("2026-03-10T07:00"), instant("2026-03-10T09:00")]
