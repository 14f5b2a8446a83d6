"""What users see of their badges, and what operators see before they switch one on."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from badges import services
from badges.errors import CriterionUnknown
from badges.models import Badge
from badges.queries import get_badge_progress, get_user_badges, preview
from rewards.parameters.services import set_parameter
from tests.badges.conftest import NOON, did
from tests.rewards.reading import reading_only


def progress_of(user, slug, at=NOON):
    details = get_badge_progress(user, at)["progress"]["progress_details"]
    return next(detail for detail in details if detail["badge_name"] == slug)


# -------------------------------------------------------------------------------------------------------- one's badges


def test_the_badges_of_a_user_are_the_json_of_the_seed_newest_first(nine, alice):
    did(alice, "cases_won", 1)
    services.check_badges(NOON)
    did(alice, "votes", 50)
    services.check_badges(NOON + timedelta(hours=1))

    badges = get_user_badges(alice)

    assert json.loads(json.dumps(badges)) == badges
    assert badges == {
        "user_id": "alice",
        "total_badges": 2,
        "badges": [
            {
                "id": nine["dedicated_voter"].pk, "name": "Dedicated Voter", "description": "Cast 50 votes on cases",
                "icon": "🗳️", "earned_at": "2026-11-21T13:00:00Z", "bonus_points": 250,
            },
            {
                "id": nine["first_win"].pk, "name": "First Victory", "description": "Won your first case",
                "icon": "🏆", "earned_at": "2026-11-21T12:00:00Z", "bonus_points": 50,
            },
        ],
    }  # fmt: skip


def test_one_without_badges_has_an_empty_list(nine, alice):
    assert get_user_badges(alice) == {"user_id": "alice", "total_badges": 0, "badges": []}


def test_a_badge_that_is_switched_off_still_shows_with_who_holds_it(nine, alice, staff):
    did(alice, "cases_won", 5)
    services.check_badges(NOON)
    Badge.objects.filter(slug="first_win").update(active=False)
    five = alice.badge_awards.get(badge__slug="five_wins")
    services.revoke(five.pk, staff("support", "revoke_badgeaward"), "a test account")

    assert [badge["name"] for badge in get_user_badges(alice)["badges"]] == ["First Victory"]
    assert get_badge_progress(alice, NOON)["progress"]["total"] == 8
    assert progress_of(alice, "five_wins")["earned"] is False


def test_the_bonus_shown_is_the_one_that_came_with_it(nine, alice, staff):
    did(alice, "cases_won")
    services.check_badges(NOON)
    services.change_criteria(nine["first_win"], staff("admin", "change_badge"), bonus=75)

    assert get_user_badges(alice)["badges"][0]["bonus_points"] == 50
    assert progress_of(alice, "first_win")["bonus_points"] == 75


# ------------------------------------------------------------------------------------------------------------ progress


def test_progress_shows_all_nine_in_their_order(nine, alice):
    did(alice, "cases_won", 2)
    services.check_badges(NOON)

    shown = get_badge_progress(alice, NOON)

    assert json.loads(json.dumps(shown)) == shown
    assert shown["user_id"] == "alice"
    assert (shown["progress"]["earned"], shown["progress"]["total"]) == (1, 9)
    details = shown["progress"]["progress_details"]
    assert [detail["badge_name"] for detail in details] == list(nine)
    assert details[0] == {
        "badge_name": "first_win", "name": "First Victory", "description": "Won your first case", "icon": "🏆",
        "earned": True, "current": 2, "threshold": 1, "progress": "1/1 wins", "bonus_points": 50,
    }  # fmt: skip
    assert details[1]["progress"] == "2/5 wins"
    assert (details[1]["earned"], details[1]["current"], details[1]["threshold"]) == (False, 2, 5)
    assert details[6]["progress"] == "0/50 votes"
    assert details[8]["progress"] == "0/1 wallet connected"


def test_facts_are_none_or_one(nine, make_user):
    set_parameter("badges.beta_ends_at", NOON.isoformat(), actor=None, reason="the beta ends")
    dora = make_user("dora", wallet_address="0xd0", date_joined=NOON - timedelta(days=1))

    assert progress_of(dora, "early_adopter")["current"] == 1
    assert progress_of(dora, "wallet_connected")["progress"] == "1/1 wallet connected"
    assert progress_of(dora, "wallet_connected")["earned"] is False  # the check has not been yet


def test_what_is_not_whole_is_not_there_yet(make_badge, alice):
    make_badge("hours", metric="hours", threshold=3, unit="hours")
    did(alice, "hours", "2.999999")

    assert progress_of(alice, "hours")["progress"] == "2/3 hours"


def test_progress_of_a_badge_for_months_is_that_of_this_month(make_badge, alice):
    make_badge("busy", repeat="per_period", threshold=2, unit="tests")
    did(alice, "tests_completed", 2, NOON - timedelta(days=30))
    services.check_badges(NOON)
    did(alice, "tests_completed", 1, NOON)

    this_month = progress_of(alice, "busy")
    assert (this_month["earned"], this_month["progress"]) == (False, "1/2 tests")
    assert progress_of(alice, "busy", NOON - timedelta(days=30))["earned"] is True


def test_badges_that_nothing_earns_are_no_progress(nine, make_badge, alice):
    make_badge("by_hand", metric="")

    assert get_badge_progress(alice, NOON)["progress"]["total"] == 9


def test_progress_takes_a_handful_of_statements_however_many_badges(
    nine, make_badge, alice, django_assert_max_num_queries
):
    for number in range(20):
        make_badge(f"badge-{number}", metric=f"metric-{number}")

    with django_assert_max_num_queries(5):
        get_badge_progress(alice, NOON)


# ------------------------------------------------------------------------------------------------------------- preview


def test_a_preview_names_whom_the_badge_would_be_given_and_writes_nothing(nine, make_user, alice):
    users = [make_user(f"user-{number:02}") for number in range(25)]
    for user in users:
        did(user, "pages_read", 10)
    did(alice, "pages_read", 9)
    gone = users.pop()
    gone.is_active = False
    gone.save()
    badge = Badge(slug="reader", name="Reader", metric="pages_read", threshold=10, bonus=5)

    with reading_only():
        would = preview(badge, NOON)

    assert (would.count, would.bonus_total, would.currency) == (24, 120, "points")
    assert would.usernames == [f"user-{number:02}" for number in range(20)]


def test_a_preview_leaves_out_who_has_it_and_who_lost_it(nine, make_badge, alice, bob, carol, staff):
    badge = make_badge("thanks")
    did(alice, "tests_completed")
    did(bob, "tests_completed")
    services.check_badges(NOON)
    services.revoke(bob.badge_awards.get().pk, staff("support", "revoke_badgeaward"), "a test account")
    did(carol, "tests_completed")

    assert preview(badge, NOON).usernames == ["carol"]
    services.check_badges(NOON)
    assert preview(badge, NOON).count == 0


def test_what_is_previewed_is_what_is_given(make_badge, alice, bob):
    badge = make_badge("busy", repeat="per_period", bonus=3, active=False)
    did(alice, "tests_completed", 1, NOON)
    did(alice, "tests_completed", 1, NOON - timedelta(days=30))
    did(bob, "tests_completed", 1, NOON)

    would = preview(badge, NOON)
    badge.active = True
    badge.save()
    result = services.check_badges(NOON)

    assert (would.count, would.bonus_total, would.usernames) == (3, 9, ["alice", "bob"])
    assert (result.awarded, result.bonus) == (3, 9)


def test_a_preview_of_what_nobody_can_earn_says_why(points):
    with pytest.raises(CriterionUnknown, match="left_handed"):
        preview(Badge(slug="odd", metric="user:left_handed"), NOON)
    assert preview(Badge(slug="by-hand"), NOON).count == 0


def test_a_badge_was_given_also_if_it_was_revoked_since(nine, alice, staff):
    did(alice, "cases_won")
    services.check_badges(NOON)
    services.revoke(alice.badge_awards.get().pk, staff("support", "revoke_badgeaward"), "a test account")

    assert nine["first_win"].was_given()
    assert not nine["five_wins"].was_given()
