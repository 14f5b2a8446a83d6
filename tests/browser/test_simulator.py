"""The policy simulator in a real browser: a rule changed in its form, tried, and saved after being asked."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from rewards.pools.models import Pool
from tests.browser.conftest import sign_in
from tests.browser.test_admin import drawn, wider_than_its_window

pytestmark = pytest.mark.browser


@pytest.mark.parametrize(("width", "dark"), [(1440, False), (390, True)])
def test_a_rule_is_tried_and_saved(payouts, open_page, width, dark) -> None:
    page = open_page(width=width, dark=dark)
    sign_in(page)
    page.goto("/admin/rewards/distribution/simulator/")
    page.fill("[name=q]", "pool_h")
    page.press("[name=q]", "Enter")
    page.click(f"text={payouts['paid']}")
    expect(page.get_by_role("heading", name="The rule now")).to_be_visible()
    assert not wider_than_its_window(page)

    page.locator("[data-rule-form] [data-kind]").first.select_option("proportional")
    page.locator("[data-rule-form] [data-key=max_share]").first.fill("0.05")
    page.get_by_role("button", name="Simulate").click()
    expect(page.get_by_role("heading", name="Who gains, who loses")).to_be_visible()
    assert drawn(page) == [True, True, True]
    assert not wider_than_its_window(page)

    page.get_by_role("button", name="Save as new version").click()
    expect(page.get_by_role("heading", name="Save as the rule of")).to_be_visible()
    assert not wider_than_its_window(page)
    page.get_by_role("button", name="Save the rule").click()
    expect(page.get_by_text("Say why: a reason is needed.")).to_be_visible()
    page.click("text=Back to the simulator")
    expect(page.locator("[data-rule-form] [data-key=max_share]").first).to_have_value("0.05")
    page.get_by_role("button", name="Save as new version").click()
    page.fill("[name=reason]", "Nobody gets more than a twentieth")
    page.get_by_role("button", name="Save the rule").click()
    expect(page.get_by_text("has a new rule")).to_be_visible()
    assert Pool.objects.get(slug="hourly").rule == {"rule": "proportional", "max_share": "0.05"}
