"""A user's page: what is his, in parts, of what whoever asks may see, in few statements."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from rewards.users.models import User
from tests.rewards.admin.conftest import make_whole_product
from tests.rewards.shared_rows import rows_for_all_tests

pytestmark = pytest.mark.django_db

MOST_QUERIES = 19
PARTS = {
    "money": ["Balances", "Newest rewards", "Newest claims", "Corrections", "Badges", "Ranks on boards"],
    "waiting": ["Pending rewards", "Deployments", "Claims on the chain"],
    "cases": ["Votes and arguments", "Submitted cases"],
    "audit": ["Audit events about this user"],
}


@pytest.fixture(scope="module", autouse=True)
def whole_product(django_db_setup: None, django_db_blocker: Any) -> Any:
    with rows_for_all_tests(django_db_blocker):
        make_whole_product()
        yield


@pytest.fixture
def url() -> str:
    return reverse("admin:rewards_user_change", args=[User.objects.get(username="alice").pk])


def headings(response: Any) -> list[str]:
    return re.findall(r"<h2>([^<]+)</h2>", response.content.decode())


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("role", ["Support", None])
def test_each_part_shows_its_tables_in_few_statements(sign_in, url, part, role) -> None:
    client = sign_in(role)
    client.get(url)
    with CaptureQueriesContext(connection) as captured:
        shown = client.get(url, {"show": part})
    assert [heading for heading in PARTS[part] if heading not in headings(shown)] == []
    assert f'href="?show={part}" aria-current="page"' in shown.content.decode()
    assert len(captured) <= MOST_QUERIES, [each["sql"] for each in captured.captured_queries]


def test_every_link_below_a_table_leads_to_a_list(sign_in, url) -> None:
    root = sign_in()
    for part in PARTS:
        for section in root.get(url, {"show": part}).context["sections"]:
            answer = root.get(section.url)
            assert (answer.status_code, section.heading) == (200, section.heading), section.url


def test_who_has_nothing_reads_what_to_do(sign_in, make_user) -> None:
    newcomer = reverse("admin:rewards_user_change", args=[make_user("newcomer").pk])
    client = sign_in("Viewer")
    for part in PARTS:
        for section in client.get(newcomer, {"show": part}).context["sections"]:
            assert section.table.empty != "Nothing yet."
            assert section.table.rows == [] or section.heading == "Ranks on boards"


def test_a_part_that_is_none_is_the_first(sign_in, url) -> None:
    assert "Balances" in headings(sign_in().get(url, {"show": "secrets"}))


def test_only_what_one_may_see_is_there(make_user, client, url) -> None:
    clerk = make_user("clerk", is_staff=True)
    clerk.user_permissions.add(Permission.objects.get(codename="view_user"))
    client.force_login(clerk)
    for part, names in PARTS.items():
        shown = headings(client.get(url, {"show": part}))
        assert [name for name in names if name in shown] == []
