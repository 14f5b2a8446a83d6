"""Badges, a board and the month's rewards in a real browser: looked at, switched on, weighed, refreshed, revoked."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group
from django.utils import timezone
from playwright.sync_api import Browser, Page, expect

from badges.models import Badge, BadgeAward
from badges.services import check_badges
from leaderboard.models import Board
from rewards.activity.services import NewEvent, record_events
from rewards.ledger.models import Currency
from rewards.monthly.models import RankingCategory
from rewards.monthly.queries import previous_month
from rewards.monthly.services import run_job, start_job
from rewards.monthly.setup import create_default_categories
from rewards.parameters.services import create_missing_parameters
from rewards.users.models import User
from tests.browser.conftest import PASSWORD, sign_in
from tests.browser.test_admin import drawn, wider_than_its_window

pytestmark = pytest.mark.browser

EVIL = "<script>alert(1)</script>"


@pytest.fixture
def school(chromium: Browser, transactional_db: None) -> None:
    """Four students who made tests last month and this one, the shipped categories, and points and coins."""
    create_missing_parameters()
    User.objects.create_superuser("root", password=PASSWORD)
    for code in ("points", "coins"):
        Currency.objects.create(code=code, name=code.capitalize(), decimals=0)
    now = timezone.now()
    events = [
        NewEvent(f"{name}-{at:%m}", name, "tests_completed", number, at)
        for number, name in enumerate(("alice", "bob", "carol", EVIL), start=1)
        for at in (previous_month(now).start + timedelta(days=3), now)
    ]
    assert record_events(events, create_users=True, at=now).accepted == len(events)
    create_default_categories()
    Group.objects.get(name="students").user_set.set(User.objects.exclude(username="root"))


@pytest.fixture
def tester(school: None) -> Badge:
    """For six tests, switched off: Carol would get it, and somebody with an evil name."""
    return Badge.objects.create(
        slug="tester", name="Tester", icon="⭐", metric="tests_completed", threshold=6, unit="tests", bonus=25
    )


def save(page: Page) -> None:
    page.click("#submit-row [name=_save]")


def test_a_badge_is_switched_on_after_a_look_and_one_of_its_awards_revoked(
    tester, open_page: Callable[..., Page]
) -> None:
    page = open_page()
    sign_in(page)
    page.goto("/admin/badges/badge/")
    page.get_by_role("link", name="Tester").click()
    page.locator("[name=active]").check()
    save(page)
    expect(page.get_by_role("heading", name="Switch on Tester")).to_be_visible()
    expect(page.get_by_text("50 points")).to_be_visible()
    expect(page.locator(".rewards-names")).to_contain_text(EVIL)
    assert not Badge.objects.get().active
    page.get_by_role("button", name="Switch on").click()
    page.wait_for_url("**/badges/badge/")
    assert Badge.objects.get().active
    check_badges(timezone.now())

    page.goto("/admin/badges/badgeaward/?q=carol")
    page.get_by_role("link", name="Tester").click()
    page.get_by_role("link", name="Revoke").click()
    expect(page.get_by_text("25 points of bonus go back")).to_be_visible()
    page.fill("[name=reason]", "Copied the tests")
    page.get_by_role("button", name="Revoke").click()
    expect(page.get_by_text("Tester of carol is revoked.")).to_be_visible()
    expect(page.get_by_text("Copied the tests")).to_be_visible()
    assert BadgeAward.objects.get(user__username="carol").revoked_at


def test_what_earns_a_held_badge_is_changed_as_a_new_version(tester, open_page: Callable[..., Page]) -> None:
    Badge.objects.update(active=True)
    check_badges(timezone.now())
    page = open_page()
    sign_in(page)
    page.goto(f"/admin/badges/badge/{tester.pk}/change/")
    expect(page.locator("[name=threshold]")).to_have_count(0)
    page.get_by_role("link", name="Change what earns it").click()
    page.fill("[name=threshold]", "4")
    page.get_by_role("button", name="Look at it").click()
    expect(page.locator(".rewards-names")).to_have_text("bob")
    page.get_by_role("button", name="Change").click()
    expect(page.get_by_text("version 2 is earned from now on")).to_be_visible()
    tester.refresh_from_db()
    assert (tester.version, tester.threshold) == (2, 4)


def test_a_score_is_weighed_in_rows_and_its_payout_previewed(school, open_page: Callable[..., Page]) -> None:
    category = RankingCategory.objects.get(slug="teachers")
    page = open_page()
    sign_in(page)
    page.goto(f"/admin/rewards/rankingcategory/{category.pk}/change/")
    first, written = page.get_by_role("group", name="Row 1"), lambda: json.loads(page.input_value("[name=score]"))
    assert first.get_by_label("Metric", exact=True).input_value() == "student_attempts"
    first.get_by_label("Weight", exact=True).fill("2.5")
    page.get_by_role("button", name="Add a metric").click()
    second = page.get_by_role("group", name="Row 2")
    second.get_by_label("Metric", exact=True).fill("student_attempts")
    expect(second.get_by_role("alert")).to_be_visible()
    second.get_by_label("Metric", exact=True).fill("tests_completed")
    expect(second.get_by_role("alert")).to_be_hidden()
    second.get_by_label("Weight", exact=True).fill("1")
    assert written() == {"student_attempts": "2.5", "tests_completed": "1"}
    first.get_by_role("button", name="Remove").click()
    assert written() == {"tests_completed": "1"}
    page.select_option("[name=group]", label="students")
    page.fill("[name=reason]", "Teachers are tested too")
    save(page)
    page.wait_for_url("**/rankingcategory/")
    category.refresh_from_db()
    assert category.score == {"tests_completed": "1"}

    page.goto(f"/admin/rewards/rankingcategory/{category.pk}/preview/")
    page.select_option("[name=month]", index=1)
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_text("2,500 coins").first).to_be_visible()
    assert drawn(page) == [True, True]
    page.locator("[data-rule-form] [data-path='tiers[0].each']").fill("3000")
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("heading", name="Who gains, who loses")).to_be_visible()
    expect(page.get_by_text(EVIL).first).to_be_visible()


def test_a_board_is_made_with_the_fields_of_its_source_and_refreshed(school, open_page: Callable[..., Page]) -> None:
    page = open_page()
    sign_in(page)
    page.goto("/admin/leaderboard/board/add/")
    expect(page.locator("[name=metric]")).to_be_hidden()
    page.select_option("[name=source]", "metric")
    expect(page.locator("[name=metric]")).to_be_visible()
    expect(page.locator("[name=currency]")).to_be_hidden()
    expect(page.locator("[name=time_zone]")).to_be_hidden()
    page.select_option("[name=window]", "monthly")
    expect(page.locator("[name=time_zone]")).to_be_visible()
    page.fill("[name=slug]", "tests")
    page.fill("[name=metric]", "tests_completed")
    page.get_by_role("button", name="Save and continue editing").click()
    page.get_by_role("link", name="Refresh now").click()
    page.get_by_role("button", name="Refresh").click()
    expect(page.get_by_text("tests is refreshed: 4 users")).to_be_visible()
    expect(page.get_by_role("cell", name=EVIL)).to_be_visible()
    assert Board.objects.get().standings.get().users == 4


@pytest.mark.parametrize(("width", "dark"), [(390, True), (1440, False)], ids=["small-dark", "large-light"])
def test_every_page_fits_its_window(tester, open_page: Callable[..., Page], width: int, dark: bool) -> None:
    Badge.objects.update(active=True, icon="/static/rewards/favicon.svg")
    check_badges(timezone.now())
    board = Board.objects.create(slug="tests", source="metric", metric="tests_completed", window="monthly")
    RankingCategory.objects.filter(slug="teachers").update(source="nowhere")
    month = previous_month(timezone.now())
    job, _ = start_job(month.year, month.month, by="schedule", at=timezone.now())
    run_job(job, timezone.now())
    page = open_page(width=width, dark=dark)
    sign_in(page)
    award, category = BadgeAward.objects.first(), RankingCategory.objects.get(slug="students")
    for address in (
        "badges/badge/", "badges/badge/add/", f"badges/badge/{tester.pk}/change/",
        f"badges/badge/{tester.pk}/criteria/",
        "badges/badgeaward/", f"badges/badgeaward/{award.pk}/change/", f"badges/badgeaward/{award.pk}/revoke/",
        "leaderboard/board/", f"leaderboard/board/{board.pk}/change/", "leaderboard/standings/",
        "rewards/rankingcategory/", f"rewards/rankingcategory/{category.pk}/change/",
        f"rewards/rankingcategory/{category.pk}/preview/", "rewards/monthlyrewardjob/",
        f"rewards/monthlyrewardjob/{job.pk}/change/", f"rewards/monthlyrewardjob/{job.pk}/retry/",
        "rewards/monthlyrewardjob/start/", f"rewards/user/{award.user_id}/change/",
    ):  # fmt: skip
        answer = page.goto(f"/admin/{address}")
        assert answer is not None
        assert answer.status == 200, address
        assert wider_than_its_window(page) <= 0, address
