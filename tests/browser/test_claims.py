"""A recipe in a real browser: a line is edited, tried out, saved, and seen in the history."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, Page, expect

from rewards.claims.models import ClaimType, Line
from rewards.ledger.models import Currency
from rewards.users.models import User
from tests.browser.conftest import PASSWORD, sign_in
from tests.browser.test_admin import wider_than_its_window

pytestmark = pytest.mark.browser


@pytest.fixture
def ascension(chromium: Browser, transactional_db: None) -> ClaimType:
    """Ten lumees a floor, shown for floor 7."""
    User.objects.create_superuser("root", password=PASSWORD)
    Currency.objects.create(code="lumees", name="Lumees", decimals=0)
    claim_type = ClaimType.objects.create(slug="ascension", sample_context={"floor": 7}, key_pattern="floor_<floor>")
    Line.objects.create(claim_type=claim_type, order=1, currency="lumees", amount="10 * floor")
    return claim_type


def test_a_line_is_edited_tried_out_saved_and_seen_in_the_history(ascension, open_page: Callable[..., Page]) -> None:
    page = open_page()
    sign_in(page)
    page.goto(f"/admin/rewards/claimtype/{ascension.pk}/change/")
    panel = page.locator("#claim-preview")
    expect(panel).to_contain_text("70 lumees")

    page.fill("[name=lines-0-amount]", "10 * flor +")
    panel.get_by_role("button", name="Preview").click()
    expect(panel.get_by_role("alert")).to_contain_text("Line 1, Amount")
    page.fill("[name=lines-0-amount]", "12 * floor")
    panel.get_by_role("button", name="Preview").click()
    expect(panel).to_contain_text("84 lumees")
    assert ascension.lines.get().amount == "10 * floor"  # nothing was saved by looking

    page.get_by_role("link", name="Add another Line").click()
    page.fill("[name=lines-1-currency]", "lumees")
    page.fill("[name=lines-1-amount]", "1")
    page.fill("[name=reason]", "Balance of the autumn")
    page.get_by_role("button", name="Save and continue editing").click()
    expect(panel).to_contain_text("84 lumees")
    assert list(ascension.lines.values_list("order", "amount")) == [(1, "12 * floor"), (2, "1")]

    page.get_by_role("link", name="History", exact=True).click()
    newest = page.locator(".rewards-version").first
    expect(newest).to_contain_text("changed by root")
    expect(newest).to_contain_text("Balance of the autumn")
    expect(newest).to_contain_text("10 * floor → 12 * floor")
    expect(newest).to_contain_text("Line “gives 1 lumees” created")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1024, 1440])
def test_a_recipe_fits_its_window_also_with_an_error(
    ascension, open_page: Callable[..., Page], width: int, dark: bool
) -> None:
    ascension.lines.update(amount=" + ".join(["floor"] * 60))
    page = open_page(width=width, dark=dark)
    sign_in(page)
    page.goto(f"/admin/rewards/claimtype/{ascension.pk}/change/")
    assert wider_than_its_window(page) <= 0
    page.locator(".rewards-language summary").click()
    page.fill("[name=lines-0-amount]", "flor * " * 60)
    page.fill("[name=reason]", "Try")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("This recipe cannot be used as it is; nothing was saved.")).to_be_visible()
    assert wider_than_its_window(page) <= 0
    page.goto(f"/admin/rewards/claimtype/{ascension.pk}/history/")
    assert wider_than_its_window(page) <= 0
