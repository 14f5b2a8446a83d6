"""The pages for recipients in Chromium: signing in, why an amount, boards, by keyboard, narrow, in the dark."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from leaderboard.services import create_default_boards, refresh_boards
from rewards.distributions.models import Distribution
from rewards.users.models import User
from tests.browser.axe import assert_accessible
from tests.browser.conftest import PASSWORD

pytestmark = [pytest.mark.browser, pytest.mark.once]

BOARD = "/leaderboard/points-all-time/"

OpenPage = Callable[..., Page]


@pytest.fixture
def recipient(payouts: dict[str, Distribution]) -> User:
    """Who got the most of an hour of thirty partners, and stands on the boards."""
    create_default_boards()
    refresh_boards(timezone.now())
    first = payouts["paid"].rewards.order_by("position")[0].user
    first.name = "Ada Byron"
    first.set_password(PASSWORD)
    first.save()
    return first


def sign_in(page: Page, user: User, address: str = "/me/") -> None:
    page.goto(address)
    page.get_by_label("Username").fill(user.username)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"**{address}")


def fits(page: Page) -> bool:
    return page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_signs_in_reads_why_an_amount_and_signs_out(recipient: User, open_page: OpenPage) -> None:
    page = open_page()
    page.goto("/")
    expect(page).to_have_title("Sign in · Rewards")
    assert_accessible(page)
    page.get_by_label("Username").fill(recipient.username)
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("do not fit together")
    assert_accessible(page)

    sign_in(page, recipient)
    expect(page.get_by_role("heading", level=1)).to_have_text("Ada Byron")
    why = page.get_by_role("link", name="Why this amount").first
    expect(why).to_have_attribute("aria-expanded", "false")
    why.click()
    expect(page.locator(".why-body").first).to_contain_text("with a score of")
    expect(why).to_have_attribute("aria-expanded", "true")
    assert page.url.endswith("/me/")
    assert_accessible(page)
    page.get_by_role("button", name="Close").click()
    expect(why).to_have_attribute("aria-expanded", "false")
    expect(why).to_be_focused()

    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/login/")


def test_pages_through_a_board(recipient: User, open_page: OpenPage) -> None:
    page = open_page()
    page.goto("/leaderboard/")
    page.get_by_role("link", name="Points of all time").click()
    rows = page.locator("section[aria-labelledby=top-title] tbody tr")
    expect(rows).to_have_count(25)
    page.get_by_role("link", name="Next places").click()
    expect(page.get_by_role("heading", name=re.compile("Places 26 to 3[0-9]"))).to_be_visible()
    assert 0 < rows.count() < 25
    assert_accessible(page)
    page.get_by_role("link", name="Higher places").click()
    expect(rows).to_have_count(25)

    page.get_by_role("main").get_by_role("link", name="Sign in").click()
    page.get_by_label("Username").fill(recipient.username)
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.locator("section[aria-labelledby=own-title] tr.is-me")).to_contain_text("you")


def test_by_keyboard_alone(recipient: User, open_page: OpenPage) -> None:
    page = open_page()
    page.goto("/login/")
    expect(page.get_by_label("Username")).to_be_focused()
    page.keyboard.type(recipient.username)
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/me/")

    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    why = page.get_by_role("link", name="Why this amount").first
    for _ in range(12):
        page.keyboard.press("Tab")
        if why.evaluate("element => element === document.activeElement"):
            break
    expect(why).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".why-body").first).to_contain_text("with a score of")


@pytest.mark.parametrize("dark", [False, True])
def test_fits_a_narrow_screen_in_light_and_dark(recipient: User, open_page: OpenPage, dark: bool) -> None:
    page = open_page(width=320, dark=dark)
    sign_in(page, recipient)
    for address in ("/me/", "/me/rewards/", "/me/statement/", "/me/rewards/claim/", "/leaderboard/", BOARD):
        page.goto(address)
        assert fits(page), address
        assert_accessible(page)


def test_the_look_that_was_chosen_is_kept(recipient: User, open_page: OpenPage) -> None:
    def ground(page: Page) -> str:
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    page = open_page()
    page.goto("/leaderboard/")
    toggle, light = page.get_by_role("button", name="Dark"), ground(page)
    expect(toggle).to_have_attribute("aria-pressed", "false")
    toggle.click()
    expect(toggle).to_have_attribute("aria-pressed", "true")
    assert ground(page) != light
    assert_accessible(page)
    page.goto("/login/")
    assert ground(page) != light
    page.get_by_role("button", name="Dark").click()
    assert ground(page) == light


def test_works_without_javascript(recipient: User, open_page: OpenPage, chromium, live_server) -> None:
    context = chromium.new_context(base_url=live_server.url, java_script_enabled=False)
    page = context.new_page()
    sign_in(page, recipient)
    page.get_by_role("link", name="Why this amount").first.click()
    expect(page.get_by_role("main")).to_contain_text("with a score of")
    context.close()
