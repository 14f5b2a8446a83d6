"""What earns a badge is locked once somebody holds it; a change makes a new version."""

from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError

from badges import services
from badges.errors import BadgeLocked, CriterionUnknown
from badges.models import Badge
from rewards.audit.models import AuditEvent
from rewards.common.errors import InvariantBroken
from rewards.distributions.errors import NotAllowed
from tests.badges.conftest import NOON, badges_of, did, points_of


@pytest.fixture
def admin(staff):
    return staff("admin", "change_badge")


@pytest.fixture
def held(nine, alice) -> Badge:
    """Five wins, which Alice has."""
    did(alice, "cases_won", 5)
    services.check_badges(NOON)
    return nine["five_wins"]


@pytest.mark.parametrize(
    ("name", "value"), [("metric", "votes"), ("threshold", 4), ("bonus", 9), ("repeat", "per_period")]
)
def test_criteria_of_a_badge_that_somebody_holds_are_not_saved(held, name, value):
    setattr(held, name, value)

    with pytest.raises(BadgeLocked, match=f"five_wins: its {name} .*new version"):
        held.save()

    assert getattr(Badge.objects.get(pk=held.pk), name) != value
    assert held.history.count() == 1


def test_everything_else_is_saved_as_ever(held):
    held.name, held.active, held.threshold = "On fire", False, 4
    held.save(update_fields=["name", "active"])

    changed = Badge.objects.get(pk=held.pk)
    assert (changed.name, changed.active, changed.threshold, changed.version) == ("On fire", False, 5, 1)


def test_a_badge_that_nobody_was_given_is_changed_freely(held, nine):
    ten = nine["ten_wins"]
    ten.threshold = 12
    ten.save()

    assert Badge.objects.values_list("threshold", "version").get(slug="ten_wins") == (12, 1)


def test_it_stays_locked_when_its_only_holder_lost_it(held, alice, staff):
    services.revoke(alice.badge_awards.get(badge=held).pk, staff("support", "revoke_badgeaward"), "a test account")
    held.threshold = 4

    with pytest.raises(BadgeLocked):
        held.save()


def test_a_change_makes_a_new_version_and_who_holds_the_badge_keeps_it(held, alice, bob, carol, admin):
    changed = services.change_criteria(held, admin, threshold=3, bonus=30)

    assert (changed.threshold, changed.bonus, changed.version) == (3, 30, 2)
    did(bob, "cases_won", 3)
    did(carol, "cases_won", 2)
    result = services.check_badges(NOON)
    assert result.awards == {"first_win": 2, "five_wins": 1}
    assert alice.badge_awards.get(badge=held).version == 1
    assert bob.badge_awards.get(badge=held).version == 2
    assert (points_of(alice), points_of(bob)) == (250, 80)


def test_harder_criteria_take_it_from_nobody(held, alice, bob, admin):
    services.change_criteria(held, admin, metric="votes", threshold=9)
    did(bob, "cases_won", 5)

    services.check_badges(NOON)

    assert badges_of(alice) == {"first_win", "five_wins"}
    assert badges_of(bob) == {"first_win"}


def test_each_version_stands_in_the_history_with_who_made_it(held, admin):
    services.change_criteria(held, admin, threshold=3)
    services.change_criteria(held, admin, threshold=2)

    versions = held.history.order_by("history_id").values_list("version", "threshold", "history_user__username")
    assert list(versions) == [(1, 5, None), (2, 3, "admin"), (3, 2, "admin")]
    event = AuditEvent.objects.filter(event_type="badge_criteria_changed").order_by("-pk").first()
    assert (event.actor, event.data["before"]["threshold"], event.data["after"]["threshold"]) == (admin, 3, 2)


def test_what_changes_nothing_makes_no_version(held, admin):
    assert services.change_criteria(held, admin, threshold=5).version == 1
    assert held.history.count() == 1


def test_before_anybody_holds_it_a_change_stays_in_the_first_version(nine, admin):
    assert services.change_criteria(nine["ten_wins"], admin, threshold=12).version == 1
    assert Badge.objects.get(slug="ten_wins").threshold == 12


@pytest.mark.parametrize(
    ("criteria", "error"),
    [
        ({"threshold": 0}, ValidationError),
        ({"threshold": "many"}, ValidationError),
        ({"repeat": "daily"}, ValidationError),
        ({"metric": "user:left_handed"}, CriterionUnknown),
        ({"metric": "user:wallet_connected"}, CriterionUnknown),  # five times
        ({"repeat": "per_period"}, BadgeLocked),
        ({"name": "On fire"}, InvariantBroken),
    ],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(held, admin, criteria, error):
    before = Badge.objects.values().get(pk=held.pk)

    with pytest.raises(error):
        services.change_criteria(held, admin, **criteria)

    assert Badge.objects.values().get(pk=held.pk) == before


def test_it_takes_the_right(held, staff):
    with pytest.raises(NotAllowed):
        services.change_criteria(held, staff("support", "revoke_badgeaward"), threshold=3)


def test_a_form_learns_what_makes_no_sense(points):
    with pytest.raises(ValidationError, match="left_handed"):
        Badge(slug="odd", name="Odd", metric="user:left_handed").full_clean()
    with pytest.raises(ValidationError, match="given once"):
        Badge(slug="odd", name="Odd", metric="user:wallet_connected", repeat="per_period").full_clean()
