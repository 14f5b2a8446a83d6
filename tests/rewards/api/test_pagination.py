"""Pages of a list that grows while it is read."""

from __future__ import annotations

from base64 import b64encode
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from django.test import Client

from rewards.api.permissions import ANYONE
from rewards.api.serializers import PageQuery
from rewards.api.urls import endpoint
from rewards.api.views import ApiView
from rewards.users.models import User

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]


class Names(ApiView):
    access = {"GET": [ANYONE]}
    ordering = "-id"

    def get(self, request: Any) -> Any:
        self.query(PageQuery)
        return self.page(User.objects.all(), lambda user: user.username, self.ordering)


class ByDate(Names):
    ordering = "date_joined"


urlpatterns = [*endpoint("names", Names), *endpoint("by-date", ByDate)]


@pytest.fixture
def seven(make_user: Any) -> None:
    for letter in "abcdefg":
        make_user(letter)


def get(url: str) -> dict[str, Any]:
    answer = Client().get(url)
    assert answer.status_code == 200, answer.content
    return answer.json()


def test_forth_and_back(seven: None) -> None:
    first = get("/names?limit=3")
    second = get(first["next"])
    third = get(second["next"])

    assert [page["results"] for page in (first, second, third)] == [["g", "f", "e"], ["d", "c", "b"], ["a"]]
    assert (first["previous"], third["next"]) == (None, None)
    assert get(second["previous"])["results"] == first["results"]
    assert get(third["previous"])["results"] == second["results"]
    assert [*first] == ["results", "next", "previous"]


def test_what_comes_meanwhile_hides_nothing(seven: None, make_user: Any) -> None:
    first = get("/names?limit=3")
    make_user("h")
    User.objects.filter(username="e").delete()

    assert get(first["next"])["results"] == ["d", "c", "b"]


def test_without_a_limit_there_are_fifty(make_user: Any) -> None:
    for number in range(60):
        make_user(f"user{number}")

    assert len(get("/names")["results"]) == 50
    assert len(get("/names?limit=500")["results"]) == 60
    assert parse_qs(urlsplit(get("/names?limit=7")["next"]).query)["limit"] == ["7"]


CURSORS = ["", "x", "%00", "==", "a" * 5000]
POSITIONS = [
    "p=x",
    "p=%00",
    "p=1.5",
    "p=" + "9" * 400,
    "o=-1",
    "o=x",
    "r=x&p=",
    "p=2026-13-45",
    "p=%ed%a0%80",
    "o=" + "9" * 99,
]


@pytest.mark.parametrize("path", ["/names", "/by-date"])
@pytest.mark.parametrize("cursor", [*CURSORS, *(quote(b64encode(each.encode()).decode()) for each in POSITIONS)])
def test_cursors_that_are_none(seven: None, path: str, cursor: str) -> None:
    answer = Client(raise_request_exception=False).get(f"{path}?cursor={cursor}")

    assert answer.status_code == 400 or answer.json()["results"] is not None
    assert answer.status_code in (200, 400)
    assert answer.status_code == 200 or [*answer.json()["errors"]] == ["cursor"]


@pytest.mark.parametrize("limit", ["0", "-1", "501", "1e1", "x", "", "9" * 5000, "%EF%BC%91", "1_0", "5.0"])
def test_limits_that_are_none(limit: str) -> None:
    answer = Client().get(f"/names?limit={limit}")

    assert (answer.status_code, [*answer.json()["errors"]]) == (400, ["limit"])
