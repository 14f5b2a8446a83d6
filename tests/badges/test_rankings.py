"""The badges of the month come from paid monthly rankings, and go when a ranking is reversed."""

from __future__ import annotations

from datetime import timedelta

import pytest

from badges import giving, services
from badges.models import AwardedUsers, Badge, BadgeAward, PaidRanking
from rewards.audit.models import AuditEvent
from rewards.distributions import corrections
from rewards.distributions.models import Distribution, Reward
from rewards.ledger import services as ledger
from rewards.ledger.checks import run_checks
from rewards.parameters.services import set_parameter
from rewards.users.models import User
from tests.badges.conftest import badges_of, points_of
from tests.rewards.monthly.conftest import AFTER, category, did, join, run, students

__all__ = ["category", "students"]

LATER = AFTER + timedelta(days=1)
TIERS = {
    "rule": "tiers",
    "by": "position",
    "tiers": [
        {"to": 1, "each": "10", "name": "Champion"},
        {"to": 2, "each": "5", "name": "Élite"},
        {"to": None, "each": "1", "name": "Runner-up, 3rd and on"},
    ],
}
CHAMPION, ELITE, RUNNER_UP = (
    "monthly-champion:students:2026-10",
    "monthly-elite:students:2026-10",
    "monthly-runner-up-3rd-and-on:students:2026-10",
)


@pytest.fixture
def october(points, category, students, alice, bob, carol, make_user):
    """Alice before Bob before Carol before Dora, paid."""
    dora = make_user("dora")
    for place, user in enumerate((alice, bob, carol, dora)):
        join(students, user)
        did(user, "tests_completed", str(9 - place))
    category(tiers=TIERS)
    assert run().status == "completed"
    return Distribution.objects.get()


@pytest.fixture
def take_back(staff):
    reverser = staff("reverser", "reverse_distribution")
    return lambda distribution: corrections.reverse(distribution.pk, reverser, "counted the wrong month")


def test_each_tier_that_paid_brings_its_badge(october, alice, bob, carol, make_user):
    result = services.check_badges(LATER)

    assert (result.rankings, result.awarded) == (4, 0)
    assert [badges_of(user) for user in (alice, bob, carol)] == [{CHAMPION}, {ELITE}, {RUNNER_UP}]
    champion = Badge.objects.get(slug="monthly-champion")
    assert (champion.name, champion.metric, champion.bonus, champion.repeat, champion.active) == (
        "Monthly Champion", "", 0, "per_period", True,
    )  # fmt: skip
    assert champion.history.count() == 1
    assert Badge.objects.get(slug="monthly-elite").name == "Monthly Élite"
    assert not AwardedUsers.objects.exists()
    assert points_of(alice) == 0


def test_they_are_given_once(october):
    services.check_badges(LATER)

    assert services.check_badges(LATER).rankings == 0
    assert BadgeAward.objects.count() == 4
    given = PaidRanking.objects.get()
    assert (given.distribution, given.awarded, given.awarded_at) == (october, 4, LATER)


class Impatient:
    """Two steps, and the time is over."""

    left = 2

    def step(self, successes=0, failures=0):
        self.left -= 1

    def keep_going(self):
        return self.left > 0


def test_a_check_that_died_before_it_was_done_is_continued(october, monkeypatch):
    monkeypatch.setattr(giving, "AT_ONCE", 1)

    assert services.check_badges(LATER, Impatient()).rankings == 2
    assert PaidRanking.objects.get().awarded_at is None

    assert services.check_badges(LATER).rankings == 2
    assert BadgeAward.objects.count() == 4
    assert PaidRanking.objects.get().awarded == 4


def test_each_category_has_badges_of_its_own(october, category, alice):
    category("everybody", tiers=TIERS, group=None)
    Distribution.objects.update(period_key="2026-09")  # so that the month is open again
    from rewards.monthly.models import MonthlyRewardJob

    MonthlyRewardJob.objects.all().delete()
    run()

    services.check_badges(LATER)

    assert {"monthly-champion:everybody:2026-10", "monthly-champion:students:2026-09"} <= badges_of(alice)


def test_nothing_is_given_for_what_is_not_paid(october, alice):
    Distribution.objects.update(status="approved")
    assert services.check_badges(LATER).rankings == 0

    Distribution.objects.update(status="paid")
    assert services.check_badges(LATER).rankings == 4


def test_a_rule_without_places_brings_no_badges(category, students, points, alice):
    join(students, alice)
    did(alice, "tests_completed")
    category(tiers={"rule": "equal"}, amount="10")
    run()

    assert services.check_badges(LATER).rankings == 0
    assert PaidRanking.objects.get().awarded == 0


def test_a_badge_of_a_tier_that_is_switched_off_is_not_given(october, alice, bob):
    Badge.objects.create(slug="monthly-champion", name="Best", repeat="per_period", active=False)

    assert services.check_badges(LATER).rankings == 3
    assert (badges_of(alice), badges_of(bob)) == (set(), {ELITE})


def test_pausing_payouts_holds_them_up_too(october):
    set_parameter("payouts_paused", True, actor=None, reason="a test")
    assert services.check_badges(LATER).paused
    assert not BadgeAward.objects.exists()

    set_parameter("payouts_paused", False, actor=None, reason="a test")
    assert services.check_badges(LATER).rankings == 4


def test_a_tier_whose_bonus_cannot_be_paid_holds_up_no_other_ranking(october, alice, bob):
    Badge.objects.create(slug="monthly-elite", name="Second", repeat="per_period", active=True, bonus=50)
    set_parameter("badges.currency", "gold", actor=None, reason="a slip of the pen")

    result = services.check_badges(LATER)

    assert result.errors == ["monthly:students 2026-10: There is no currency 'gold'."]
    assert PaidRanking.objects.get().awarded_at is None
    set_parameter("badges.currency", "points", actor=None, reason="put right")
    assert services.check_badges(LATER).rankings == 3
    assert (badges_of(alice), badges_of(bob), points_of(bob)) == ({CHAMPION}, {ELITE}, 50)


def test_a_badge_that_is_changed_while_its_ranking_is_given_is_given_by_the_next_check(october, alice):
    champion = Badge.objects.create(slug="monthly-champion", name="Best", repeat="per_period", active=True, bonus=100)

    class Meddler:
        def step(self, successes=0, failures=0): ...

        def keep_going(self):
            Badge.objects.filter(pk=champion.pk).update(bonus=150)  # asked after the badge was read
            return True

    assert services.check_badges(LATER, Meddler()).rankings == 0
    assert PaidRanking.objects.get().awarded_at is None

    assert services.check_badges(LATER).rankings == 4
    assert (badges_of(alice), points_of(alice)) == ({CHAMPION}, 150)


def test_whoever_is_deactivated_after_the_payout_gets_neither_badge_nor_bonus(october, alice, bob):
    Badge.objects.create(slug="monthly-champion", name="Best", repeat="per_period", active=True, bonus=100)
    User.objects.filter(pk=alice.pk).update(is_active=False)

    assert services.check_badges(LATER).rankings == 3
    assert (badges_of(alice), points_of(alice), badges_of(bob)) == (set(), 0, {ELITE})


def test_equals_who_share_two_tiers_get_the_badge_of_the_better_one(points, category, students, alice, bob, carol):
    for user, count in ((alice, "9"), (bob, "9"), (carol, "1")):
        join(students, user)
        did(user, "tests_completed", count)
    category(tiers=TIERS, tie_policy="shared")
    run()
    shared = Reward.objects.get(user=bob).breakdown
    assert len([amount for amount in shared.values() if amount]) == 2

    assert services.check_badges(LATER).rankings == 3
    assert [badges_of(user) for user in (alice, bob, carol)] == [{CHAMPION}, {CHAMPION}, {RUNNER_UP}]


# ------------------------------------------------------------------------------------------------------------- reversed


def test_badges_of_a_ranking_that_is_reversed_are_revoked_for_its_reason(october, alice, bob, take_back):
    services.check_badges(LATER)
    take_back(october)

    result = services.check_badges(LATER)

    assert (result.revoked, result.rankings) == (4, 0)
    assert (badges_of(alice), badges_of(bob)) == (set(), set())
    award = alice.badge_awards.get()
    assert (award.revoked_at, award.revoked_by, award.reason) == (LATER, None, "counted the wrong month")
    assert AuditEvent.objects.get(event_type="badges_revoked").data["awards"] == 4
    assert services.check_badges(LATER).revoked == 0


def test_what_a_check_that_died_has_given_is_revoked_with_the_ranking(october, monkeypatch, alice, take_back):
    Badge.objects.create(slug="monthly-champion", name="Best", repeat="per_period", active=True, bonus=100)
    monkeypatch.setattr(giving, "AT_ONCE", 1)
    assert services.check_badges(LATER, Impatient()).rankings == 2
    assert points_of(alice) == 100
    take_back(october)

    checks = [services.check_badges(LATER) for _ in range(2)]

    assert [(check.revoked, check.rankings) for check in checks] == [(2, 0), (0, 0)]
    assert (badges_of(alice), points_of(alice)) == (set(), 0)


def test_a_check_that_is_under_way_gives_nothing_of_a_ranking_whose_badges_are_revoked(
    october, monkeypatch, alice, take_back
):
    monkeypatch.setattr(giving, "AT_ONCE", 1)

    class Overtaken(Impatient):
        def keep_going(self):
            if self.left == 1:
                self.left = 0
                take_back(october)
                assert services.check_badges(LATER).revoked == 1
            return True

    assert services.check_badges(LATER, Overtaken()).rankings == 1
    assert not BadgeAward.objects.filter(revoked_at=None).exists()


def test_one_that_is_reinstated_afterwards_stays(october, alice, take_back, staff):
    services.check_badges(LATER)
    take_back(october)
    services.check_badges(LATER)

    services.reinstate(alice.badge_awards.get().pk, staff("support", "revoke_badgeaward"), "she did win")

    assert services.check_badges(LATER).revoked == 0
    assert badges_of(alice) == {CHAMPION}


def test_a_ranking_that_is_reversed_before_anybody_looked_brings_nothing(october, take_back):
    take_back(october)

    assert services.check_badges(LATER).figures()["rankings"] == 0
    assert not BadgeAward.objects.exists()


def test_a_bonus_that_an_operator_gave_to_a_tier_is_paid_and_taken_back(october, points, alice, bob, take_back):
    Badge.objects.create(slug="monthly-champion", name="Best", repeat="per_period", active=True, bonus=100)
    Badge.objects.create(slug="monthly-elite", name="Second", repeat="per_period", active=True, bonus=50)
    services.check_badges(LATER)
    assert (points_of(alice), points_of(bob)) == (100, 50)
    ledger.debit(bob, points, 20, "shop", "a hat")
    take_back(october)

    services.check_badges(LATER)

    assert (points_of(alice), points_of(bob)) == (0, 0)
    assert ledger.balance(ledger.user_account(bob, points, "debt")) == -20
    assert [finding.offenders for finding in run_checks() if not finding.holds] == []
