"""`setup_defaults`: a fresh product can be used as it stands; what an operator made of it stays."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group
from django.core.management import call_command

from badges.models import Badge
from leaderboard.models import Board
from rewards.ledger.models import Currency
from rewards.management.defaults import defaults_of_upper_apps
from rewards.monthly.models import RankingCategory
from tests.rewards.commands.conftest import everything_stored

pytestmark = pytest.mark.django_db


def test_a_fresh_product_has_categories_badges_and_boards(manage):
    said = manage("setup_defaults").splitlines()

    assert "ranking categories: 2 created: students, teachers" in said
    categories = RankingCategory.objects.values_list("slug", "group__name", "score", "currency", "active")
    assert list(categories) == [
        ("students", "students", {"tests_completed": "15", "correct_answers": "1"}, "coins", True),
        ("teachers", "teachers", {"student_attempts": "1"}, "coins", True),
    ]
    assert not Group.objects.filter(name__in=("students", "teachers"), permissions__isnull=False).exists()
    (badges,) = [line for line in said if line.startswith("badges: ")]
    assert badges.startswith("badges: 9 created: first_win, five_wins, ten_wins, top_argument")
    assert Badge.objects.filter(active=True).count() == 9
    boards = Board.objects.values_list("slug", "window", "currency", "size", "active")
    assert list(boards) == [
        ("points-all-time", "all_time", "points", 100, True),
        ("points-daily", "daily", "points", 100, True),
        ("points-weekly", "weekly", "points", 100, True),
    ]
    # Without these the shipped categories and badges could pay nobody.
    assert set(Currency.objects.filter(code__in=("coins", "points"), active=True).values_list("code", flat=True)) == {
        "coins",
        "points",
    }


def upper_apps() -> list[object]:
    tables = (Badge, Badge.history, Board, Board.history)
    return [list(getattr(table, "objects", table).values_list()) for table in tables]


def test_again_it_creates_nothing(manage):
    manage("setup_defaults")
    before = everything_stored(), upper_apps()

    assert all(": 0 created" in line for line in manage("setup_defaults").splitlines())
    assert (everything_stored(), upper_apps()) == before


def test_what_an_operator_changed_stays(manage):
    manage("setup_defaults")
    RankingCategory.objects.filter(slug="students").update(score={"lessons": "2"}, active=False)
    RankingCategory.objects.filter(slug="teachers").delete()
    Badge.objects.filter(slug="first_win").update(name="First of many", active=False, order=7)
    Board.objects.filter(slug="points-daily").update(size=10, active=False)

    said = manage("setup_defaults")

    assert "ranking categories: 1 created: teachers" in said
    students = RankingCategory.objects.get(slug="students")
    assert (students.score, students.active) == ({"lessons": "2"}, False)
    first = Badge.objects.get(slug="first_win")
    assert (first.name, first.active, first.order) == ("First of many", False, 7)
    daily = Board.objects.get(slug="points-daily")
    assert (daily.size, daily.active) == (10, False)


@pytest.mark.once
def test_upper_apps_name_what_they_ship_with():
    assert set(defaults_of_upper_apps()) == {"badges", "boards"}


def test_a_part_that_fails_leaves_nothing_half_made(manage, monkeypatch):
    def fail() -> list[str]:
        raise RuntimeError("no")

    monkeypatch.setattr("rewards.management.defaults._of_upper_apps", {"badges": fail})
    with pytest.raises(RuntimeError):
        call_command("setup_defaults")
    assert not Currency.objects.exists()
    assert not RankingCategory.objects.exists()
