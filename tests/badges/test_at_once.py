"""An event that completes a badge gives it when it is committed."""

from __future__ import annotations

import logging

import pytest
from django.db import transaction

from badges import services
from badges.models import Badge, BadgeAward
from rewards.activity import followers
from rewards.parameters.services import set_parameter
from tests.badges.conftest import NOON, badges_of, did, points_of


@pytest.fixture
def committed(django_capture_on_commit_callbacks):
    """In a block of this, what waits for the commit happens at its end."""
    return lambda: django_capture_on_commit_callbacks(execute=True)


def test_the_fifth_win_brings_the_badge_and_its_bonus_at_once(nine, alice, bob, committed):
    did(bob, "cases_won", 4)
    with committed():
        did(alice, "cases_won", 4)
    assert badges_of(alice) == {"first_win"}

    with committed():
        did(alice, "cases_won", 1)

    assert badges_of(alice) == {"first_win", "five_wins"}
    assert points_of(alice) == 250
    assert badges_of(bob) == set()  # nobody looked at him


def test_events_that_are_rolled_back_bring_nothing(nine, alice, committed):
    def win_and_fail():
        with transaction.atomic():
            did(alice, "cases_won", 5)
            raise ZeroDivisionError

    with committed(), pytest.raises(ZeroDivisionError):
        win_and_fail()

    assert not BadgeAward.objects.exists()


def test_events_of_more_users_than_the_parameter_says_are_left_to_the_check(nine, alice, bob):
    did(alice, "cases_won")
    did(bob, "cases_won")
    set_parameter("badges.at_once_users", 1, actor=None, reason="a small machine")

    services.follow_activity({alice.pk, bob.pk}, {"cases_won"}, NOON)
    assert not BadgeAward.objects.exists()

    services.follow_activity({alice.pk}, {"cases_won"}, NOON)
    assert badges_of(alice) == {"first_win"}


def test_events_that_no_badge_counts_cost_no_statement(nine, alice, django_assert_num_queries):
    did(alice, "cases_won")
    services.follow_activity({alice.pk}, {"cc_vote"}, NOON)

    with django_assert_num_queries(0):
        services.follow_activity({alice.pk}, {"cc_vote"}, NOON)


def test_a_badge_that_was_made_a_moment_ago_is_followed_too(nine, make_badge, alice):
    services.follow_activity({alice.pk}, {"pages_read"}, NOON)
    make_badge("reader", metric="pages_read")
    did(alice, "pages_read")

    services.follow_activity({alice.pk}, {"pages_read"}, NOON)

    assert badges_of(alice) == {"reader"}


def test_what_cannot_be_given_at_once_holds_up_neither_the_events_nor_other_badges(nine, make_badge, alice, committed):
    make_badge("thanks", metric="cases_won")
    set_parameter("badges.currency", "gold", actor=None, reason="a slip of the pen")

    with committed():
        did(alice, "cases_won")

    assert badges_of(alice) == {"thanks"}


def test_who_follows_and_fails_harms_neither_the_events_nor_others_who_follow(
    nine, alice, committed, monkeypatch, caplog
):
    def fails(*about):
        raise ZeroDivisionError("the follower is broken")

    monkeypatch.setattr(followers, "_followers", [fails, services.follow_activity])

    with caplog.at_level(logging.ERROR), committed():
        did(alice, "cases_won")

    assert badges_of(alice) == {"first_win"}


def test_a_threshold_beyond_all_counters_is_never_reached(make_badge, alice):
    make_badge("never", threshold=2**63 - 1)
    did(alice, "tests_completed", 9_000_000_000_000)

    assert services.award_at_once([alice.pk], NOON) == 0
    assert services.check_badges(NOON).awarded == 0
    assert Badge.objects.get().was_given() is False
