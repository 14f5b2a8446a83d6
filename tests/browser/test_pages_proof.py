"""A row's proof in a real browser: verified, and refused as soon as anything in it is another."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from rewards.distributions import services
from rewards.distributions.models import Distribution, Reward
from rewards.distributions.queries import proof
from rewards.ledger.models import Currency
from rewards.users.models import User
from tests.browser.axe import assert_accessible
from tests.browser.conftest import PASSWORD
from tests.browser.test_admin import wider_than_its_window
from tests.rewards.distributions.conftest import open_prize, prize  # noqa: F401

pytestmark = pytest.mark.browser

EVIL = '<script>alert(1)</script> "é|\u2028😀'
RULE = {
    "rule": "slices",
    "slices": [
        {"name": "best 😀", "weight": "1", "members": {"top": 3}, "rule": {"rule": "equal"}},
        {"name": "all", "weight": "2", "members": {"all": True}, "rule": {"rule": "proportional"}},
    ],
}
SHOTS = os.environ.get("SCREENSHOTS")
"""A folder for pictures of the pages, for who wants to look at them."""


@pytest.fixture
def coins(chromium: Browser, transactional_db: None) -> Currency:
    return Currency.objects.create(code="coins", name="Coins", decimals=2)


@pytest.fixture
def paid(prize, open_prize) -> Distribution:  # noqa: F811
    """1,000.00 coins to 21, the best first; the fourth of them has an unusual name."""
    names = [f"user{number:02d}" for number in range(20)]
    names.insert(3, EVIL)
    for name in names:
        User.objects.create_user(name, password=PASSWORD)
    prize.scores = {name: 400 - 19 * place for place, name in enumerate(names)}
    prize.prize = 100_000
    found = open_prize("1", RULE)
    services.advance(found.pk)
    found.refresh_from_db()
    assert found.status == "paid"
    return found


def enter(page: Page, name: str, address: str) -> None:
    """Sign in as recipients do, and come back to the page."""
    page.goto(f"/login/?next={address}")
    page.fill("[name=username]", name)
    page.fill("[name=password]", PASSWORD)
    page.locator("form[method=post] button[type=submit]").last.click()
    page.wait_for_url(f"**{address}")


def picture(page: Page, name: str) -> None:
    if SHOTS:
        page.screenshot(path=f"{SHOTS}/{name}.png", full_page=True)


def check(page: Page) -> Any:
    return page.locator("[data-proof]")


@pytest.mark.parametrize("name", ["user00", "user19", EVIL], ids=["first", "last", "unusual"])
def test_a_row_is_followed_to_the_digest_and_a_changed_one_is_not(
    paid, open_page: Callable[..., Page], name: str
) -> None:
    page = open_page()
    enter(page, name, f"/distributions/{paid.pk}/")
    result = check(page).locator("[data-check-result]")
    page.get_by_role("button", name="Check my row").press("Enter")
    expect(result).to_contain_text("Your row is part of the digest")
    expect(result).to_contain_text("right")
    steps = check(page).locator(".check-step")
    reward = Reward.objects.get(distribution=paid, user__username=name)
    expect(steps).to_have_count(len(proof(paid, reward.user)["path"]) + 4)
    expect(steps.last).to_contain_text(paid.digest)
    expect(check(page).locator(".check-step .wrong")).to_have_count(0)

    page.get_by_role("button", name="Change one unit and check again").press("Enter")
    expect(result).to_contain_text("As it must be")
    expect(steps.last.locator(".check-mark")).to_contain_text("wrong")
    page.get_by_role("button", name="Check my row").click()
    expect(result).to_contain_text("Your row is part of the digest")


def test_a_row_that_was_changed_in_the_database_does_not_lead_to_the_digest(paid, open_page) -> None:
    Distribution.objects.filter(pk=paid.pk).update(digest="0" * 63 + "1")
    page = open_page()
    enter(page, "user05", f"/distributions/{paid.pk}/")
    page.get_by_role("button", name="Check my row").click()
    expect(check(page).locator("[data-check-result]")).to_contain_text("does not lead to the published digest")


def test_anybody_checks_a_proof_that_he_was_given(paid, open_page) -> None:
    page = open_page()
    page.goto(f"/distributions/{paid.pk}/")
    page.get_by_text("Check a proof that somebody gave you").click()
    result = page.locator("[data-pasted] [data-check-result]")

    def paste(text: str) -> None:
        page.get_by_label("The proof, as JSON").fill(text)
        page.get_by_role("button", name="Check it against this digest").click()

    given = proof(paid, User.objects.get(username="user07"))
    paste(json.dumps(given, indent=2))
    expect(result).to_contain_text("This row is part of the digest: user07, place 9")
    leaf = given["leaf"]
    for changed, said in (
        ({**given, "leaf": {**leaf, "user": "user06"}}, "does not lead to the digest"),
        ({**given, "leaf": {**leaf, "salt": "0" * 32}}, "does not lead to the digest"),
        ({**given, "leaf": {**leaf, "breakdown": {}}}, "does not lead to the digest"),
        ({**given, "leaf": {**leaf, "more": 1}}, "does not consist of"),
        ({**given, "leaf_index": given["leaf_index"] + 1}, "does not lead to the digest"),
        ({**given, "tree_size": given["tree_size"] + 1}, "does not lead to the digest"),
        ({**given, "root": "0" * 64}, "does not lead to the digest"),
        ({**given, "path": given["path"][:-1]}, "does not lead to the digest"),
        ({**given, "path": [given["path"][0], *given["path"]]}, "does not lead to the digest"),
        ({**given, "path": ["xy"]}, "not a list of hashes"),
        ({**given, "leaf": {**leaf, "position": 1.5}}, "cannot be followed"),
        ({"root": given["root"]}, "it has no tree_size, leaf_index, leaf, path"),
        ([], "This is no proof"),
    ):
        paste(json.dumps(changed))
        expect(result).to_contain_text(said)
        expect(result).to_contain_text("wrong")
    paste("{")
    expect(result).to_contain_text("This is not JSON")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_the_page_can_be_read_by_everybody(paid, open_page, width: int, dark: bool) -> None:
    page = open_page(width=width, dark=dark)
    name = f"{width}-{'dark' if dark else 'light'}"
    page.goto(f"/distributions/{paid.pk}/")
    assert_accessible(page)
    assert wider_than_its_window(page) <= 0
    enter(page, EVIL, f"/distributions/{paid.pk}/")
    page.get_by_role("button", name="Check my row").click()
    expect(check(page).locator("[data-check-result]")).to_contain_text("part of the digest")
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
    picture(page, f"distribution-{name}")
    assert_accessible(page)
    assert wider_than_its_window(page) <= 0
    page.get_by_role("button", name="Change one unit and check again").click()
    expect(check(page).locator("[data-check-result]")).to_contain_text("As it must be")
    assert_accessible(page)


def test_without_hashing_the_page_says_how_to_check_offline(paid, open_page) -> None:
    page = open_page()
    page.add_init_script("Object.defineProperty(Crypto.prototype, 'subtle', {get: () => undefined})")
    enter(page, "user05", f"/distributions/{paid.pk}/")
    expect(check(page)).to_contain_text("This browser offers no hashing here")
    expect(page.get_by_role("button", name="Check my row")).to_be_disabled()
    page.get_by_text("Check it without this page").click()
    expect(page.get_by_text("python -m rewards.allocation.verify proof.json")).to_be_visible()
