"""The check: whoever has earned a badge gets it and its bonus, once, in steps over everybody."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext

from badges import giving, services
from badges.criteria import period_keys
from badges.models import AwardedUsers, Badge, BadgeAward
from badges.queries import preview
from rewards.alerts.models import Alert
from rewards.audit.models import AuditEvent
from rewards.jobs.models import JobRun
from rewards.jobs.progress import RunLost
from rewards.ledger.checks import run_checks
from rewards.ledger.models import Currency, Journal, Transfer
from rewards.parameters.services import set_parameter
from tests.badges.conftest import NOON, badges_of, did, points_of


def check() -> services.CheckResult:
    return services.check_badges(NOON)


def set_to(key: str, value: object) -> None:
    set_parameter(key, value, actor=None, reason="a test")


class Impatient:
    """Lets so many steps happen."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def step(self, successes: int = 0, failures: int = 0) -> None:
        self.left -= 1

    def keep_going(self) -> bool:
        return self.left > 0


# ------------------------------------------------------------------------------------------------------------- the nine


def test_five_wins_bring_two_badges_and_their_bonuses(nine, alice, bob, carol):
    did(alice, "cases_won", 5)
    did(bob, "cases_won", 4)

    result = check()

    assert badges_of(alice) == {"first_win", "five_wins"}
    assert badges_of(bob) == {"first_win"}
    assert badges_of(carol) == set()
    assert (points_of(alice), points_of(bob), points_of(carol)) == (250, 50, 0)
    assert result.figures() == {
        "awarded": 3, "bonus": 300, "rankings": 0, "revoked": 0, "paused": False,
        "awards": {"first_win": 2, "five_wins": 1}, "errors": [],
    }  # fmt: skip


def test_all_nine_can_be_earned(nine, make_user):
    set_to("badges.beta_ends_at", NOON.isoformat())
    dora = make_user("dora", wallet_address="0xd0", date_joined=NOON - timedelta(seconds=1))
    for metric, quantity in (("cases_won", 10), ("top_arguments", 3), ("participations", 20), ("votes", 50)):
        did(dora, metric, quantity)

    check()

    assert badges_of(dora) == set(nine)
    assert points_of(dora) == sum(badge.bonus for badge in nine.values()) == 1700


def test_a_threshold_that_is_missed_by_a_millionth_is_missed(make_badge, alice, bob):
    make_badge("hours", metric="hours", threshold=3)
    did(alice, "hours", "2.999999")
    did(bob, "hours", "3")

    check()

    assert (badges_of(alice), badges_of(bob)) == (set(), {"hours"})


@pytest.mark.parametrize("ends_at", ["", "2026-11-21T11:59:59Z", "2026-11-21T12:00:00Z", "2026-11-21T12:00:01Z"])
def test_who_joined_before_the_end_of_the_beta_is_an_early_adopter(nine, make_user, ends_at):
    dora = make_user("dora", date_joined=NOON)
    set_to("badges.beta_ends_at", ends_at)

    check()

    assert badges_of(dora) == ({"early_adopter"} if ends_at == "2026-11-21T12:00:01Z" else set())


def test_a_wallet_that_is_connected_later_is_found_by_the_next_check(nine, alice):
    check()
    alice.wallet_address = "0xa11ce"
    alice.save()

    assert check().awards == {"wallet_connected": 1}
    assert points_of(alice) == 50


def test_a_new_badge_over_any_counter_needs_no_code(make_badge, alice):
    make_badge("bookworm", metric="pages_read", threshold=1_000, bonus=7)
    did(alice, "pages_read", 1_000)

    assert check().awards == {"bookworm": 1}
    assert points_of(alice) == 7


# ------------------------------------------------------------------------------------------------------- exactly once


def test_a_second_check_gives_nothing(nine, alice, bob):
    did(alice, "cases_won", 5)
    did(bob, "votes", 50)
    check()
    before = [*BadgeAward.objects.order_by("pk").values_list("pk", "awarded_at", "journal")]

    assert check().awarded == 0
    assert [*BadgeAward.objects.order_by("pk").values_list("pk", "awarded_at", "journal")] == before
    assert (points_of(alice), points_of(bob)) == (250, 250)


def test_without_its_bits_the_check_still_gives_nothing_twice(nine, alice, bob):
    did(alice, "cases_won", 5)
    check()
    AwardedUsers.objects.all().delete()
    did(bob, "cases_won", 1)

    assert check().awards == {"first_win": 1}
    assert (points_of(alice), points_of(bob)) == (250, 50)
    assert Journal.objects.count() == 3  # nobody is paid by a journal for those who had it
    assert AwardedUsers.objects.count() == 2


def test_who_has_long_had_the_badge_costs_no_look_into_the_awards(nine, alice):
    did(alice, "cases_won", 5)
    check()

    with CaptureQueriesContext(connection) as asked:
        check()

    statements = [query["sql"].lstrip() for query in asked]
    assert statements
    assert not [sql for sql in statements if "badges_badgeaward" in sql]
    assert not [sql for sql in statements if sql.startswith(("INSERT", "UPDATE", "SAVEPOINT"))]


def test_what_was_given_at_once_is_not_given_by_the_check(nine, alice):
    did(alice, "cases_won", 5)
    assert services.award_at_once([alice.pk], NOON) == 2

    assert check().awarded == 0
    assert points_of(alice) == 250


def test_each_batch_is_one_journal_that_its_awards_name(nine, alice, bob, carol):
    for user in (alice, bob, carol):
        did(user, "cases_won", 1)

    check()

    journal = Journal.objects.get()
    assert set(BadgeAward.objects.values_list("journal", flat=True)) == {journal.pk}
    assert (journal.kind, journal.reason, journal.metadata["badge"]) == ("badge", "First Victory", "first_win")
    transfers = Transfer.objects.filter(journal=journal)
    assert set(transfers.values_list("debit_account__code", "amount")) == {("issuance", 50)}
    assert transfers.count() == 3
    assert [finding.offenders for finding in run_checks() if not finding.holds] == []


def test_the_audit_tells_of_each_batch(nine, alice, bob):
    did(alice, "cases_won", 1)
    did(bob, "cases_won", 1)

    check()

    event = AuditEvent.objects.get()
    assert (event.event_type, event.amount, event.currency.code) == ("badges_awarded", 100, "points")
    assert event.data == {
        "badge": "first_win", "version": 1, "period": "", "awards": 2, "journal": Journal.objects.get().pk,
    }  # fmt: skip


def test_a_badge_without_a_bonus_pays_nobody(make_badge, alice):
    make_badge("thanks")
    did(alice, "tests_completed")

    check()

    assert BadgeAward.objects.get().journal is None
    assert not Journal.objects.exists()
    assert not alice.accounts.exists()


def test_bonuses_are_whole_units_of_a_currency_with_decimals(make_badge, coins, alice):
    set_to("badges.currency", "coins")
    make_badge("thanks", bonus=3)
    did(alice, "tests_completed")

    assert check().bonus == 3
    assert points_of(alice, "coins") == 300


# -------------------------------------------------------------------------------------------------- who is left out


def test_nobody_deactivated_gets_a_badge_until_he_is_active_again(nine, alice, bob):
    did(alice, "cases_won", 1)
    did(bob, "cases_won", 1)
    alice.is_active = False
    alice.save()

    assert check().awards == {"first_win": 1}
    assert services.award_at_once([alice.pk, bob.pk], NOON) == 0
    alice.is_active = True
    alice.save()
    assert check().awards == {"first_win": 1}
    assert badges_of(alice) == {"first_win"}


def test_a_badge_that_is_switched_off_is_not_given(nine, alice):
    Badge.objects.filter(slug="first_win").update(active=False)
    did(alice, "cases_won", 5)

    assert check().awards == {"five_wins": 1}
    assert services.award_at_once([alice.pk], NOON) == 0


def test_nothing_is_given_while_payouts_are_paused(nine, alice):
    did(alice, "cases_won", 1)
    set_to("payouts_paused", True)

    result = check()

    assert (result.paused, result.awarded) == (True, 0)
    assert services.award_at_once([alice.pk], NOON) == 0
    assert not BadgeAward.objects.exists()
    set_to("payouts_paused", False)
    assert check().awards == {"first_win": 1}


@pytest.mark.parametrize("what", ["unknown", "inactive"])
def test_a_currency_that_cannot_be_paid_holds_up_only_the_badges_that_pay(nine, make_badge, alice, what):
    make_badge("thanks", metric="cases_won")
    did(alice, "cases_won", 1)
    if what == "unknown":
        set_to("badges.currency", "gold")
    else:
        Currency.objects.get(code="points").delete()
        Currency.objects.create(code="points", active=False)

    result = check()

    assert badges_of(alice) == {"thanks"}
    assert result.awards == {"thanks": 1}
    assert [error.split(":")[0] for error in result.errors] == ["first_win"]
    assert "gold" in result.errors[0] or "not active" in result.errors[0]
    assert Alert.objects.get(code="badge_not_given", resolved_at=None).subject == "first_win"


def test_its_alert_is_closed_when_it_can_be_given_again(nine, alice):
    did(alice, "cases_won", 1)
    set_to("badges.currency", "gold")
    check()
    set_to("badges.currency", "points")

    assert check().awards == {"first_win": 1}
    assert not Alert.objects.filter(code="badge_not_given", resolved_at=None).exists()


def test_a_badge_over_a_fact_that_does_not_exist_is_named_and_the_others_go_on(make_badge, alice):
    make_badge("odd", metric="user:left_handed")
    make_badge("thanks")
    did(alice, "tests_completed")

    result = check()

    assert result.awards == {"thanks": 1}
    assert "user:left_handed" in result.errors[0]


# ------------------------------------------------------------------------------------------------------------ by month


def test_a_badge_for_months_is_given_for_this_month_and_the_one_before(make_badge, alice, bob):
    make_badge("busy", repeat="per_period", threshold=2, bonus=10)
    did(alice, "tests_completed", 2, NOON)
    did(alice, "tests_completed", 2, NOON - timedelta(days=30))
    did(alice, "tests_completed", 2, NOON - timedelta(days=60))
    did(bob, "tests_completed", 1, NOON)
    did(bob, "tests_completed", 1, NOON - timedelta(days=30))

    check()

    assert badges_of(alice) == {"busy:2026-11", "busy:2026-10"}
    assert badges_of(bob) == set()  # two in all, but in no month
    assert points_of(alice) == 20
    assert check().awarded == 0


def at_noon(month: str) -> datetime:
    return datetime.fromisoformat(f"{month}-21T12:00+00:00")


def test_months_in_which_no_check_came_to_its_end_are_made_up_for(make_badge, alice):
    with time_machine.travel(at_noon("2026-07")):
        make_badge("busy", repeat="per_period", bonus=10)
    for month in ("2026-05", "2026-06", "2026-08", "2026-09", "2026-11"):
        did(alice, "tests_completed", 1, at_noon(month))
    set_to("badges.currency", "gold")
    assert check().errors  # for as long as it cannot be paid it is not done, either
    set_to("badges.currency", "points")

    assert preview(Badge.objects.get(), NOON).count == 4
    assert check().awards == {"busy": 4}

    assert badges_of(alice) == {"busy:2026-06", "busy:2026-08", "busy:2026-09", "busy:2026-11"}
    did(alice, "tests_completed", 1, at_noon("2026-07"))  # too late: the check was done with that month
    assert check().awarded == 0
    assert period_keys(Badge.objects.get(), NOON) == ["2026-10", "2026-11"]


def test_a_check_whose_time_is_over_is_not_done_with_a_month(make_badge, alice, bob, monkeypatch):
    monkeypatch.setattr(giving, "AT_ONCE", 1)
    with time_machine.travel(at_noon("2026-08")):
        make_badge("busy", repeat="per_period")
    for user in (alice, bob):
        did(user, "tests_completed", 1, at_noon("2026-08"))

    class NoTime:
        left = 2

        def step(self, successes=0, failures=0): ...

        def keep_going(self):
            self.left -= 1
            return self.left >= 0

    assert services.check_badges(NOON, NoTime()).awarded == 1
    assert check().awarded == 1
    assert (badges_of(alice), badges_of(bob)) == ({"busy:2026-08"}, {"busy:2026-08"})


def test_nobody_gets_it_for_months_in_which_it_was_switched_off(make_badge, alice):
    with time_machine.travel(at_noon("2026-03")):
        badge = make_badge("busy", repeat="per_period", active=False)
        did(alice, "tests_completed", 1, at_noon("2026-04"))
    with time_machine.travel(NOON):
        badge.active = True
        badge.save(update_fields=["active"])

    assert check().awarded == 0
    assert period_keys(Badge.objects.get(), NOON) == ["2026-10", "2026-11"]


def test_the_check_looks_back_two_years_at_most():
    keys = period_keys(Badge(repeat="per_period", from_month="2020-01"), NOON)
    assert (len(keys), keys[0], keys[-1]) == (24, "2024-12", "2026-11")
    assert period_keys(Badge(repeat="per_period", from_month="2027-05"), NOON) == ["2026-10", "2026-11"]


def test_the_next_month_brings_it_again(make_badge, alice):
    make_badge("busy", repeat="per_period")
    did(alice, "tests_completed", 1, NOON)
    check()
    assert services.award_at_once([alice.pk], NOON) == 0

    did(alice, "tests_completed", 1, NOON - timedelta(days=30))

    assert services.award_at_once([alice.pk], NOON) == 1
    assert badges_of(alice) == {"busy:2026-11", "busy:2026-10"}


# ------------------------------------------------------------------------------------------------------------- in steps


@pytest.fixture
def crowd(make_user, monkeypatch):
    """Seven who have won once, in steps of three."""
    monkeypatch.setattr(giving, "AT_ONCE", 3)
    users = [make_user(f"user-{number}") for number in range(7)]
    for user in users:
        did(user, "cases_won")
    return users


def test_a_crowd_is_given_its_badge_in_steps_with_a_journal_each(nine, crowd):
    assert check().awards == {"first_win": 7}

    assert Journal.objects.count() == 3
    assert [points_of(user) for user in crowd] == [50] * 7
    assert AwardedUsers.objects.count() == 1


def test_a_check_whose_time_is_up_is_continued_by_the_next(nine, crowd):
    first = services.check_badges(NOON, Impatient(1))
    assert first.awards == {"first_win": 3}

    assert check().awards == {"first_win": 4}
    assert [points_of(user) for user in crowd] == [50] * 7


def test_a_definition_that_changes_under_a_check_is_not_given_any_more(nine, crowd, monkeypatch):
    class ChangesItsMind(Impatient):
        def step(self, successes=0, failures=0):
            super().step()
            Badge.objects.filter(slug="first_win").update(active=False)

    assert services.check_badges(NOON, ChangesItsMind(99)).awards == {"first_win": 3}


def test_a_run_that_was_taken_over_stops(nine, crowd):
    class TakenOver(Impatient):
        def step(self, successes=0, failures=0):
            raise RunLost

    with pytest.raises(RunLost):
        services.check_badges(NOON, TakenOver(99))

    assert BadgeAward.objects.count() == 3
    assert not Alert.objects.exists()


def test_an_alert_stays_open_until_the_badge_is_tried_again(nine, crowd):
    set_to("badges.currency", "gold")
    check()
    set_to("badges.currency", "points")

    services.check_badges(NOON, Impatient(0))

    assert Alert.objects.filter(code="badge_not_given", resolved_at=None).exists()


def test_the_job_tells_what_it_gave(nine, alice):
    from badges.tasks import check_badges

    did(alice, "cases_won", 1)

    check_badges.apply().get()

    run = JobRun.objects.get(job="check_badges")
    assert (run.status, run.results["awards"], run.successes) == ("succeeded", {"first_win": 1}, 1)
