"""/profile/badges and /profile/badges/progress: the user's own badges in the shape that clients know."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from badges import services
from badges.api import OwnBadgesSerializer, OwnProgressSerializer
from badges.models import BadgeAward
from rewards.users.models import User
from tests.badges.conftest import NOON, did
from tests.rewards.api.conftest import as_machine, as_user

__all__ = ["as_machine", "as_user"]

pytestmark = pytest.mark.django_db

BADGES, PROGRESS = PATHS = ("/profile/badges", "/profile/badges/progress")


@pytest.fixture(autouse=True)
def noon() -> Any:
    with time_machine.travel(NOON, tick=False):
        yield


@pytest.fixture
def alices(as_user: Any, alice: User) -> Client:
    return as_user(alice)


class TestBadges:
    def test_without_any(self, nine: Any, alices: Client) -> None:
        assert alices.get(BADGES).json() == {"user_id": "alice", "total_badges": 0, "badges": []}

    def test_newest_first_each_in_full(self, nine: Any, alices: Client, alice: User, bob: User) -> None:
        did(alice, "cases_won")
        services.check_badges(NOON - timedelta(hours=5))
        did(alice, "cases_won", 4)
        did(bob, "cases_won", 10)
        services.check_badges(NOON)

        answer = alices.get(BADGES).json()

        assert answer == {
            "user_id": "alice",
            "total_badges": 2,
            "badges": [
                {
                    "id": nine["five_wins"].pk, "name": "Winning Streak", "description": "Won 5 cases", "icon": "🔥",
                    "earned_at": "2026-11-21T12:00:00Z", "bonus_points": 200,
                },
                {
                    "id": nine["first_win"].pk, "name": "First Victory", "description": "Won your first case",
                    "icon": "🏆", "earned_at": "2026-11-21T07:00:00Z", "bonus_points": 50,
                },
            ],
        }  # fmt: skip
        assert answer.keys() == OwnBadgesSerializer().fields.keys()
        assert answer["badges"][0].keys() == OwnBadgesSerializer().fields["badges"].child.fields.keys()
        assert alices.get(f"{BADGES}/").json() == answer
        assert alices.get("/profile").json()["id"] == answer["user_id"]

    def test_one_that_was_revoked_is_gone(self, nine: Any, alices: Client, alice: User, staff: Any) -> None:
        did(alice, "cases_won")
        services.check_badges(NOON)
        services.revoke(BadgeAward.objects.get().pk, staff("otto", "revoke_badgeaward"), "by mistake")

        assert alices.get(BADGES).json()["total_badges"] == 0


class TestProgress:
    def test_every_badge_in_its_order(self, nine: Any, alices: Client, alice: User) -> None:
        did(alice, "cases_won", 2)
        services.check_badges(NOON)

        answer = alices.get(PROGRESS).json()

        progress = answer["progress"]
        assert answer.keys() == OwnProgressSerializer().fields.keys()
        assert (answer["user_id"], progress["earned"], progress["total"]) == ("alice", 1, 9)
        first, second, *_ = progress["progress_details"]
        assert first == {
            "badge_name": "first_win", "name": "First Victory", "description": "Won your first case", "icon": "🏆",
            "earned": True, "current": 2, "threshold": 1, "progress": "1/1 wins", "bonus_points": 50,
        }  # fmt: skip
        assert (second["badge_name"], second["earned"], second["progress"]) == ("five_wins", False, "2/5 wins")
        assert [each["badge_name"] for each in progress["progress_details"]] == [*nine]
        assert alices.get(f"{PROGRESS}/").json() == answer

    def test_it_is_the_callers_own(self, nine: Any, alices: Client, bob: User) -> None:
        did(bob, "cases_won", 2)
        services.check_badges(NOON)

        assert {each["current"] for each in alices.get(PROGRESS).json()["progress"]["progress_details"]} == {0}

    def test_more_badges_take_no_more_queries(self, make_badge: Any, alices: Client, alice: User) -> None:
        make_badge("one")
        did(alice, "tests_completed", 100)
        services.check_badges(NOON)
        counts = {}
        for path in (*PATHS, *PATHS):  # what is read once is read before it is counted
            with CaptureQueriesContext(connection) as few:
                alices.get(path)
            counts[path] = len(few)
        for number in range(2, 9):
            make_badge(f"badge-{number}", threshold=number)
        services.check_badges(NOON)

        for path in PATHS:
            with CaptureQueriesContext(connection) as many:
                assert len(str(alices.get(path).json())) > 8 * 100
            assert len(many) <= counts[path]


@pytest.mark.parametrize("path", PATHS)
def test_they_are_for_users_and_take_no_parameters(
    path: str, nine: Any, client: Client, as_machine: Any, alices: Client
) -> None:
    assert client.get(path).status_code == 401
    assert as_machine().get(path).status_code == 403
    for query in ("user_id=2", "user=bob", "limit=5"):
        answer = alices.get(f"{path}?{query}")
        assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")
    assert alices.post(path).status_code == 405
