"""The job of a month: started once, worked at by one, everybody paid once."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from datetime import timedelta

import pytest
from django.db import OperationalError
from django.db.models.functions import Now

from rewards.alerts.models import Alert
from rewards.audit.models import AuditEvent
from rewards.common.periods import Month
from rewards.distributions import services as distributions
from rewards.distributions.errors import NotAllowed, OwnApproval
from rewards.distributions.models import Distribution, Reward
from rewards.distributions.programmes import LateChange, programme_of
from rewards.jobs import services as jobs
from rewards.jobs.progress import RunLost, Unwatched
from rewards.ledger import services as ledger
from rewards.monthly import services
from rewards.monthly.errors import MonthNotOver, NoSuchMonth, NotFailed, UnknownJob
from rewards.monthly.models import MonthlyRewardJob, RankingCategory
from rewards.monthly.queries import due_months, tier_of
from rewards.monthly.setup import create_default_categories
from rewards.parameters.services import set_parameter
from tests.rewards.monthly.conftest import AFTER, DURING, OCTOBER, did, join, paid, run
from tests.rewards.promises import broken_promises

pytestmark = pytest.mark.django_db

Status = MonthlyRewardJob.Status


@pytest.fixture
def october(category, students, alice, bob, carol):
    """Alice before Bob, and Carol who did nothing."""
    join(students, alice, bob, carol)
    did(alice, "tests_completed", "3")
    did(bob, "correct_answers", "4")
    return category()


def test_places_are_paid_by_their_tiers(october, alice, bob, carol, coins):
    job = run()

    assert (job.status, job.error_message) == (Status.COMPLETED, "")
    assert paid() == {"alice": 1000_00, "bob": 500_00, "carol": 500_00}
    assert ledger.balance(ledger.user_account(alice, coins)) == 1000_00
    assert job.results["totalRewardsAwarded"] == 3
    assert job.results["totalCoinsAwarded"] == 2000
    assert job.results["errors"] == []
    result = job.results["categories"]["students"]
    assert (result["rewardsAwarded"], result["coinsAwarded"], result["amount"]) == (3, 2000, "2000.00")
    assert job.duration is not None
    assert job.completed_at >= job.started_at
    assert broken_promises() == []


def test_every_tier_has_its_places_and_its_name(category, students, make_user):
    people = [make_user(f"user-{number:03d}") for number in range(103)]
    join(students, *people)
    category()
    run()
    amounts = list(paid().values())
    assert amounts == [1000_00] + 9 * [500_00] + 40 * [200_00] + 50 * [100_00] + 3 * [10_00]
    tiers = [tier_of(reward) for reward in Reward.objects.select_related("distribution").order_by("position")]
    assert tiers == ["Champion"] + 9 * ["Elite"] + 40 * ["Achiever"] + 50 * ["Performer"] + 3 * ["Unplaced"]


@pytest.mark.parametrize(
    ("tie_policy", "amounts"),
    [
        ("earliest", {"alice": 1000_00, "bob": 500_00, "carol": 500_00}),
        ("shared", {"alice": 750_00, "bob": 750_00, "carol": 500_00}),
        ("same", {"alice": 1000_00, "bob": 1000_00, "carol": 500_00}),
    ],
)
def test_equals_are_paid_by_the_tie_policy(category, students, alice, bob, carol, tie_policy, amounts):
    """Alice and Bob have the same score, Alice had it earlier."""
    join(students, alice, bob, carol)
    did(alice, "tests_completed", at=DURING)
    did(bob, "tests_completed", at=DURING + timedelta(hours=1))
    category(tie_policy=tie_policy)
    run()
    assert paid() == amounts
    ranks = Reward.objects.order_by("position").values_list("rank", flat=True)
    assert list(ranks) == [1, 1, 3]
    assert distributions_verified() == []


def test_a_month_is_started_once(october):
    first, created = services.start_job(2026, 10, by="cron", at=AFTER)
    again, created_again = services.start_job(2026, 10, by="cron", at=AFTER)
    assert (created, created_again, again.pk) == (True, False, first.pk)
    assert first.status == Status.PROCESSING
    assert AuditEvent.objects.filter(event_type="monthly_rewards_started").count() == 1


def test_a_job_that_is_done_is_left_alone(october):
    before = run()
    result = services.run_job(before, AFTER)
    assert result.figures() == {"elsewhere": ["2026-10"]}
    assert MonthlyRewardJob.objects.get().completed_at == before.completed_at
    assert len(paid()) == 3


@pytest.mark.parametrize(("year", "month"), [(2026, 0), (2026, 13), (0, 1), (9999, 1), (-5, 3)])
def test_there_is_no_such_month(year, month):
    with pytest.raises(NoSuchMonth):
        services.start_job(year, month, by="cron", at=AFTER)
    assert not MonthlyRewardJob.objects.exists()


def test_a_month_that_has_not_ended_is_refused():
    just_before = OCTOBER.end - timedelta(microseconds=1)
    with pytest.raises(MonthNotOver):
        services.start_job(2026, 10, by="cron", at=just_before)
    assert services.start_job(2026, 10, by="cron", at=OCTOBER.end)[1]


def test_starting_by_hand_takes_the_right(october, staff):
    with pytest.raises(NotAllowed):
        services.start_job(2026, 10, by="eve", at=AFTER, actor=staff("eve"))
    olga = staff("olga", "run_monthlyrewardjob")
    job, _ = services.start_job(2026, 10, by="olga", at=AFTER, actor=olga)
    assert job.actor == olga


# ------------------------------------------------------------------------------------------------------- the schedule


def test_the_schedule_pays_months_from_the_first_category_on(category, students, alice):
    join(students, alice)
    category(active_since=OCTOBER.previous().start + timedelta(days=20))
    assert due_months(OCTOBER.end + timedelta(minutes=4)) == [OCTOBER.previous()]
    assert due_months(AFTER) == [OCTOBER.previous(), OCTOBER]

    result = services.run_due(AFTER)

    assert result.completed == ["2026-09", "2026-10"]
    assert due_months(AFTER) == []
    assert services.run_due(AFTER).figures() == {}


def test_a_month_that_is_started_while_another_is_worked_at_is_taken_too(october, monkeypatch):
    RankingCategory.objects.update(active_since=AFTER)
    services.start_job(2026, 9, by="cron", at=AFTER)
    advance = distributions.advance

    def start_another(*args, **kwargs):
        services.start_job(2026, 10, by="cron", at=AFTER)
        return advance(*args, **kwargs)

    monkeypatch.setattr(distributions, "advance", start_another)
    assert services.run_due(AFTER).completed == ["2026-09", "2026-10"]


def test_months_in_which_no_category_was_active_are_not_paid_afterwards(category):
    students = category()
    students.active = False
    services.save_category(students, None)
    assert due_months(AFTER) == []

    students.active = True
    services.save_category(students, None)  # now, which is after October
    assert due_months(AFTER) == []
    assert services.start_job(2026, 10, by="cron", at=AFTER)[1]  # by hand it may be


def test_without_a_category_nothing_is_due(db):
    assert due_months(AFTER) == []


def test_a_january_follows_a_december(category):
    category(active_since=Month(2026, 12, OCTOBER.zone).start)
    january_5 = Month(2027, 1, OCTOBER.zone).start + timedelta(days=5)
    assert [month.key for month in due_months(january_5)] == ["2026-12"]


# ------------------------------------------------------------------------------------------------ failure and recovery


def test_a_category_that_fails_does_not_stop_another(october, category, carol, coins):
    broken = category("broken", group=None)
    RankingCategory.objects.filter(pk=broken.pk).update(currency="no-such")

    job = run()

    assert job.status == Status.FAILED
    assert [each["category"] for each in job.results["errors"]] == ["broken"]
    assert "no-such" in job.error_message
    assert "CategoryInvalid" in job.error_stack
    assert job.results["categories"]["students"]["status"] == "paid"
    assert job.results["totalRewardsAwarded"] == 3
    assert Alert.objects.filter(code="monthly_rewards_failed", subject="2026-10", resolved_at=None).exists()

    assert services.run_due(AFTER).completed == []  # nobody retries by himself
    RankingCategory.objects.filter(pk=broken.pk).update(currency="coins")
    services.retry_job(job.pk, None, AFTER)
    assert services.run_due(AFTER).completed == ["2026-10"]
    job.refresh_from_db()
    assert (job.status, job.error_message, job.results["errors"]) == (Status.COMPLETED, "", [])
    assert len(paid()) == len(paid("monthly:broken")) == 3
    assert Distribution.objects.count() == 2
    assert not Alert.objects.filter(code="monthly_rewards_failed", resolved_at=None).exists()
    assert broken_promises() == []


def test_a_payout_that_fails_is_named_and_continues_where_it_stopped(october, coins):
    """The treasury is empty: the ranking is frozen, and paid once there is money."""
    RankingCategory.objects.update(source="treasury")
    job = run()
    assert job.status == Status.FAILED
    assert "treasury" in job.error_message
    frozen = Distribution.objects.get()
    assert frozen.failed_from in ("approved", "paying")

    ledger_fund(coins, 2000_00)
    services.retry_job(job.pk, None, AFTER)
    services.run_due(AFTER)
    job.refresh_from_db()
    assert job.status == Status.COMPLETED
    assert Distribution.objects.get().digest == frozen.digest
    assert sum(paid().values()) == 2000_00
    assert ledger.balance(ledger.system_account("treasury", coins)) == 0


def test_what_a_failed_payout_has_paid_is_in_the_results(october, coins):
    """Two rows a chunk: the treasury has enough for the first."""
    set_parameter("distributions.chunk_rows", 2, actor=None, reason="test")
    RankingCategory.objects.update(source="treasury")
    ledger_fund(coins, 1600_00)
    job = run()
    assert job.status == Status.FAILED
    result = job.results["categories"]["students"]
    assert (result["status"], result["amount"], result["rewardsAwarded"]) == ("failed", "1000.00", 1)
    assert (job.results["totalCoinsAwarded"], job.results["totalRewardsAwarded"]) == (1000, 1)


def test_a_failure_is_told_at_once_tried_once_and_gone_when_it_is_mended(october, category, staff, coins):
    """One category waits for an approval, so the job is not done; the other one has failed."""
    RankingCategory.objects.update(approval_limit="1")
    category("broken", source="treasury")
    job = run()
    assert job.status == Status.PROCESSING
    assert Alert.objects.filter(code="monthly_rewards_failed", resolved_at=None).exists()
    services.run_due(AFTER)
    assert AuditEvent.objects.filter(event_type="retried").count() == 0

    distributions.approve(
        Distribution.objects.get(programme="monthly:students").pk, staff("ann", "approve_distribution")
    )
    services.run_due(AFTER)
    job.refresh_from_db()
    assert job.status == Status.FAILED
    ledger_fund(coins, 2000_00)
    services.retry_job(job.pk, None, AFTER)
    services.run_due(AFTER)
    job.refresh_from_db()
    assert (job.status, job.error_message, job.error_stack) == (Status.COMPLETED, "", "")
    assert not Alert.objects.filter(code="monthly_rewards_failed", resolved_at=None).exists()


def ledger_fund(currency, amount: int) -> None:
    move = ledger.Move(ledger.system_account("issuance", currency), ledger.system_account("treasury", currency), amount)
    ledger.post("fund", "fund", [move])


def test_only_a_failed_job_is_retried_and_by_who_may(october, staff):
    job = run()
    with pytest.raises(NotFailed):
        services.retry_job(job.pk, None, AFTER)
    with pytest.raises(UnknownJob):
        services.retry_job(job.pk + 1, None, AFTER)
    MonthlyRewardJob.objects.update(status=Status.FAILED)
    with pytest.raises(NotAllowed):
        services.retry_job(job.pk, staff("eve"), AFTER)
    assert MonthlyRewardJob.objects.get().status == Status.FAILED


def test_a_job_is_taken_over_when_its_worker_is_not_heard_of(october):
    job, _ = services.start_job(2026, 10, by="cron", at=AFTER)
    MonthlyRewardJob.objects.update(worker="gone", heartbeat_at=Now() - timedelta(seconds=590))
    assert services.run_due(AFTER).figures() == {}

    MonthlyRewardJob.objects.update(heartbeat_at=Now() - timedelta(seconds=610))
    assert services.run_due(AFTER).completed == ["2026-10"]
    job.refresh_from_db()
    assert (job.status, job.worker, job.heartbeat_at) == (Status.COMPLETED, "", None)


def test_a_worker_that_was_taken_over_writes_nothing(october, monkeypatch):
    """It wakes up in the middle and finds another's name in the row."""
    job, _ = services.start_job(2026, 10, by="cron", at=AFTER)
    advance = distributions.advance

    def sleep_through_it(*args, **kwargs):
        MonthlyRewardJob.objects.update(worker="another")
        return advance(*args, **kwargs)

    monkeypatch.setattr(distributions, "advance", sleep_through_it)
    services.run_job(job, AFTER)
    job.refresh_from_db()
    assert (job.status, job.worker, job.results["categories"]) == (Status.PROCESSING, "another", {})


def test_a_lost_connection_leaves_the_job_to_the_next_run(october, monkeypatch):
    job, _ = services.start_job(2026, 10, by="cron", at=AFTER)

    def lose_connection(*args, **kwargs):
        raise OperationalError("server closed the connection unexpectedly")

    with monkeypatch.context() as broken:
        broken.setattr(distributions, "advance", lose_connection)
        with pytest.raises(OperationalError):
            services.run_job(job, AFTER)
    job.refresh_from_db()
    assert (job.status, job.heartbeat_at) == (Status.PROCESSING, None)
    assert services.run_due(AFTER).completed == ["2026-10"]
    assert len(paid()) == 3


def test_what_waits_for_an_approval_is_not_done_yet(october, staff):
    RankingCategory.objects.update(approval_limit="1")
    job = run()
    assert (job.status, job.heartbeat_at) == (Status.PROCESSING, None)
    assert job.results["categories"]["students"]["status"] == "allocated"
    assert job.results["totalRewardsAwarded"] == 0

    distribution = Distribution.objects.get()
    distributions.approve(distribution.pk, staff("ann", "approve_distribution"))
    assert services.run_due(AFTER).completed == ["2026-10"]
    assert sum(paid().values()) == 2000_00


def test_what_is_rejected_is_done_and_pays_nobody(october, staff):
    RankingCategory.objects.update(approval_limit="1")
    job = run()
    distributions.reject(Distribution.objects.get().pk, staff("ann", "approve_distribution"), "a slip")
    services.run_due(AFTER)
    job.refresh_from_db()
    assert job.status == Status.COMPLETED
    assert (job.results["totalRewardsAwarded"], job.results["categories"]["students"]["status"]) == (0, "cancelled")


def test_a_month_waits_for_the_one_before(october, coins):
    """September's ranking could not even be opened: October's is not worked out before that is mended."""
    coins.active = False
    coins.save()
    september, _ = services.start_job(2026, 9, by="cron", at=AFTER)
    assert services.run_due(AFTER).failed == ["2026-09", "2026-10"]
    assert not Distribution.objects.exists()
    coins.active = True
    coins.save()
    october_job = MonthlyRewardJob.objects.get(month=10)
    services.retry_job(october_job.pk, None, AFTER)
    assert services.run_due(AFTER).waiting == ["2026-10"]
    assert Distribution.objects.get().status == "open"

    services.retry_job(september.pk, None, AFTER)
    assert services.run_due(AFTER).completed == ["2026-09", "2026-10"]


def test_the_month_is_closed_by_its_payout(october, alice, carol):
    """What comes in afterwards counts in the totals only."""
    run()
    before = paid()
    did(carol, "tests_completed", "100")
    assert paid() == before
    assert carol.counters.get(metric="tests_completed", month="").quantity == 100
    assert not carol.counters.filter(metric="tests_completed", month="2026-10").exists()
    assert distributions_verified() == []


def distributions_verified() -> list:
    from rewards.distributions.queries import verify

    return verify(Distribution.objects.get())


def test_a_category_switched_off_is_not_paid_and_a_month_without_any_may_be_started_again(october):
    RankingCategory.objects.update(active=False)
    job = run()
    assert (job.status, job.results["categories"]) == (Status.COMPLETED, {})
    assert not Distribution.objects.exists()
    assert services.start_job(2026, 10, by="cron", at=AFTER) == (job, False)

    RankingCategory.objects.update(active=True)
    again, started = services.start_job(2026, 10, by="cron", at=AFTER)
    assert (again.pk, again.status, started) == (job.pk, Status.PROCESSING, True)
    assert services.run_due(AFTER).completed == ["2026-10"]
    assert len(paid()) == 3
    assert services.start_job(2026, 10, by="cron", at=AFTER)[1] is False


def test_a_category_made_later_is_not_paid_for_a_month_that_was_started(october, category):
    RankingCategory.objects.update(approval_limit="1")
    job = run()
    category("latecomers", group=None)
    services.run_due(AFTER)
    job.refresh_from_db()
    assert list(job.results["categories"]) == ["students"]
    assert Distribution.objects.count() == 1


def test_a_run_that_lost_its_lock_leaves_the_job_to_the_next(october):
    job, _ = services.start_job(2026, 10, by="cron", at=AFTER)

    class TakenOver(Unwatched):
        def step(self, successes: int = 0, failures: int = 0) -> None:
            raise RunLost

    with pytest.raises(RunLost):
        services.run_job(job, AFTER, progress=TakenOver())
    job.refresh_from_db()
    assert (job.status, job.heartbeat_at) == (Status.PROCESSING, None)
    assert services.run_due(AFTER).completed == ["2026-10"]
    assert sum(paid().values()) == 2000_00


def test_a_job_is_heard_of_while_a_step_takes_long(october, monkeypatch):
    monkeypatch.setattr(jobs, "HEARTBEAT_SECONDS", 0.01)
    job, _ = services.start_job(2026, 10, by="cron", at=AFTER)
    heard = threading.Event()

    def hear(name: str, beat) -> AbstractContextManager[None]:
        def told() -> int:
            heard.set()
            return 0

        return heartbeat(name, told)

    def wait(*args, **kwargs):
        assert heard.wait(10)
        return advance(*args, **kwargs)

    heartbeat, advance = services.heartbeat, distributions.advance
    monkeypatch.setattr(services, "heartbeat", hear)
    monkeypatch.setattr(distributions, "advance", wait)
    assert services.run_job(job, AFTER).completed == ["2026-10"]


# ---------------------------------------------------------------------------------------------------- two pairs of eyes


def test_who_changed_the_category_does_not_approve_what_somebody_started(october, staff):
    ann = staff("ann", "approve_distribution")
    services.save_category(october, ann)
    october.approval_limit = "1"
    services.save_category(october, ann)
    olga = staff("olga", "run_monthlyrewardjob", "approve_distribution")
    job, _ = services.start_job(2026, 10, by="olga", at=AFTER, actor=olga)
    services.run_job(job, AFTER)

    waiting = Distribution.objects.get()
    for person in (ann, olga):
        with pytest.raises(OwnApproval):
            distributions.approve(waiting.pk, person)
    assert distributions.approve(waiting.pk, staff("bea", "approve_distribution")).status in ("approved", "paid")


def test_who_retries_has_opened_what_was_not_allocated_yet(october, staff, coins):
    """Eve rewrites what failed, retries it, and would approve it: not she."""
    october.currency = "no-such"
    RankingCategory.objects.filter(pk=october.pk).update(currency="no-such")
    job = run()
    assert job.status == Status.FAILED

    eve = staff("eve", "run_monthlyrewardjob", "approve_distribution")
    october.currency, october.approval_limit, october.score = "coins", "1", {"tests_completed": "1"}
    services.save_category(october, eve)
    services.retry_job(job.pk, eve, AFTER)
    services.run_due(AFTER)
    waiting = Distribution.objects.get()
    assert (waiting.status, waiting.actor, waiting.prepared_by) == ("allocated", eve, eve)
    assert waiting.rule_version == october.history.first().pk
    with pytest.raises(OwnApproval):
        distributions.approve(waiting.pk, eve)


def test_a_change_after_the_start_does_not_reach_the_month(october):
    job, _ = services.start_job(2026, 10, by="cron", at=AFTER)
    october.score = {"correct_answers": "1"}
    services.save_category(october, None)
    services.run_job(job, AFTER)
    assert list(paid()) == ["alice", "bob", "carol"]  # by the tests, as it was


# --------------------------------------------------------------------------------------------------------- late events


def test_late_events_are_counted_and_what_they_would_have_changed_is_told(october, bob, carol, make_user):
    run()
    did(carol, "tests_completed", "100")
    did(make_user("stranger"), "tests_completed", "100")
    services.run_due(AFTER)

    distribution = Distribution.objects.get()
    assert distribution.late_events == 1
    assert programme_of(distribution).late_changes(distribution) == [
        LateChange("carol", 500_00, 1000_00),
        LateChange("alice", 1000_00, 500_00),
    ]


def test_the_shipped_categories_pay_their_groups(coins, make_user):
    assert create_default_categories() == ["students", "teachers"]
    assert create_default_categories() == []
    students, teachers = RankingCategory.objects.all()
    join(students.group, make_user("sue"))
    join(teachers.group, make_user("tom"))
    RankingCategory.objects.update(active_since=DURING)
    services.run_due(AFTER)
    assert paid("monthly:students") == {"sue": 1000_00}
    assert paid("monthly:teachers") == {"tom": 1000_00}


def test_the_late_events_of_a_short_month_are_counted_like_those_of_any_other(category, students, alice):
    """On the first of March neither 31 nor 62 days lead back into February."""
    join(students, alice)
    category()
    february = Month(2027, 2, OCTOBER.zone)
    services.start_job(2027, 2, by="cron", at=february.end)
    services.run_due(february.end)
    did(alice, "tests_completed", at=february.start + timedelta(days=3))

    services.run_due(february.end + timedelta(hours=1))
    assert Distribution.objects.get(period_key="2027-02").late_events == 1
