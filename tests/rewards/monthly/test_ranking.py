"""Who is ranked, by what, and in which order."""

from __future__ import annotations

from datetime import timedelta
from fractions import Fraction

import numpy as np
import pytest

from rewards.activity.services import MONTHS, close_stretch
from rewards.monthly.ranking import ranking, weighed
from tests.rewards.monthly.conftest import DURING, OCTOBER, did, join

pytestmark = pytest.mark.django_db


def ranked(category) -> list[tuple[str, Fraction]]:
    found = ranking(category, OCTOBER)
    scale = 10**found.scores.decimals
    return list(zip(found.usernames, [Fraction(int(score), scale) for score in found.scores.values], strict=True))


def test_the_score_weighs_the_months_counters(category, students, alice, bob):
    join(students, alice, bob)
    did(alice, "tests_completed", "2")
    did(alice, "correct_answers", "7")
    did(bob, "correct_answers", "40.5")
    assert ranked(category()) == [("bob", Fraction("40.5")), ("alice", Fraction(37))]


def test_nobody_drops_out_for_a_counter_that_is_missing(category, students, alice, bob, carol):
    join(students, alice, bob, carol)
    did(bob, "tests_completed")
    assert ranked(category()) == [("bob", Fraction(15)), ("alice", Fraction(0)), ("carol", Fraction(0))]


def test_only_the_groups_active_users_take_part(category, students, alice, bob, carol):
    join(students, alice, bob)
    bob.is_active = False
    bob.save()
    did(carol, "tests_completed")
    assert ranked(category()) == [("alice", Fraction(0))]
    assert [name for name, _ in ranked(category("all", group=None))] == ["carol", "alice"]


def test_what_happened_in_other_months_or_by_other_metrics_does_not_count(category, students, alice, bob):
    join(students, alice, bob)
    did(alice, "tests_completed", "9", OCTOBER.start - timedelta(microseconds=1))
    did(alice, "tests_completed", "9", OCTOBER.end)
    did(alice, "chess", "900")
    did(bob, "correct_answers", "1", OCTOBER.start)
    did(bob, "correct_answers", "1", OCTOBER.end - timedelta(microseconds=1))
    assert ranked(category()) == [("bob", Fraction(2)), ("alice", Fraction(0))]


def test_equals_go_by_who_reached_it_earlier_and_then_by_name(category, students, make_user):
    people = {name: make_user(name) for name in ("dora", "Emil", "anna", "bert", "Zoe")}
    join(students, *people.values())
    for name, day in (("dora", 3), ("Emil", 2), ("anna", 3), ("bert", 3)):
        did(people[name], "tests_completed", "1", OCTOBER.start + timedelta(days=day))
    # The later event decides, though the points of the first one came before those of all others.
    did(people["Zoe"], "tests_completed", "0.5", OCTOBER.start)
    did(people["Zoe"], "tests_completed", "0.5", OCTOBER.start + timedelta(days=4))
    assert [name for name, _ in ranked(category())] == ["Emil", "anna", "bert", "dora", "Zoe"]


def test_microseconds_decide(category, students, alice, bob):
    join(students, alice, bob)
    did(alice, "tests_completed", "1", DURING + timedelta(microseconds=2))
    did(bob, "tests_completed", "1", DURING + timedelta(microseconds=1))
    assert [name for name, _ in ranked(category())] == ["bob", "alice"]


def test_events_that_came_too_late_for_their_month_do_not_count(category, students, alice, bob):
    join(students, alice, bob)
    did(alice, "tests_completed")
    close_stretch(MONTHS, OCTOBER.start, OCTOBER.end)
    did(bob, "tests_completed", "5")
    assert ranked(category()) == [("alice", Fraction(15)), ("bob", Fraction(0))]


def test_the_inputs_of_each_score_are_measures(category, students, alice):
    join(students, alice)
    did(alice, "tests_completed", "2")
    found = ranking(category(), OCTOBER)
    assert {name: list(map(int, measure.values)) for name, measure in found.measures.items()} == {
        "correct_answers": [0],
        "tests_completed": [2_000_000],
    }


@pytest.mark.once
def test_scores_beyond_64_bits_stay_exact():
    column = np.array([2**62, 1], dtype=np.int64)
    score = weighed({"votes": "1000000.5"}, {"votes": column}, 2)
    assert [Fraction(int(value), 10**score.decimals) for value in score.values] == [
        Fraction("1000000.5") * 2**62 / 10**6,
        Fraction("1000000.5") / 10**6,
    ]


@pytest.mark.once
def test_nobody_at_all_is_an_empty_score():
    assert len(weighed({"votes": "15"}, {"votes": np.zeros(0, dtype=np.int64)}, 0).values) == 0
