"""A campaign in a real browser: its rule is written as a form, its list uploaded, its payout compared and run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from rewards.allocation.presets import daily_rule
from rewards.campaigns.models import Campaign
from rewards.ledger.models import Currency
from rewards.parameters.services import create_missing_parameters
from rewards.pools.models import Pool
from rewards.pools.services import create_default_pools
from rewards.users.models import User
from tests.browser.conftest import PASSWORD, sign_in
from tests.browser.test_admin import drawn, wider_than_its_window

pytestmark = pytest.mark.browser


@pytest.fixture
def coins(chromium: Browser, transactional_db: None, settings: Any, tmp_path: Path) -> Currency:
    """Coins, both pools, and Alice, Bob and Carol."""
    settings.FILE_UPLOAD_TEMP_DIR = str(tmp_path)
    create_missing_parameters()
    User.objects.create_superuser("root", password=PASSWORD)
    for name in ("alice", "bob", "carol"):
        User.objects.create(username=name, password="!")
    coins = Currency.objects.create(code="coins", name="Coins", decimals=2)
    create_default_pools(coins)
    return coins


def field(page: Page, path: str) -> Any:
    """The field of the rule's form at a path of the rule."""
    return page.locator(f"[data-rule-form] :is(input, select)[data-path='{path}']")


def written(page: Page) -> Any:
    return json.loads(page.input_value("[name=rule]"))


def save(page: Page) -> None:
    page.click("#submit-row [name=_save]")


def test_a_rule_is_written_as_a_form_with_its_words_and_mistakes_beside_it(coins, open_page) -> None:
    page = open_page()
    sign_in(page)
    page.goto("/admin/rewards/campaign/add/")
    page.fill("[name=slug]", "prizes")
    page.select_option("[name=currency]", label="coins")
    page.fill("[name=amount_units]", "100.50")
    words = page.locator("[data-rule-words]")

    field(page, "max_share").fill("0.2")
    expect(words).to_contain_text("nobody more than 20% of it")
    assert written(page) == {"rule": "proportional", "max_share": "0.2"}
    field(page, "max_share").fill("")
    assert written(page) == {"rule": "proportional"}

    field(page, "rule").select_option("slices")
    page.get_by_role("button", name="Add a slice").click()
    field(page, "slices[1].name").fill("best")
    field(page, "slices[1].weight").fill("0")
    field(page, "slices[1].members.all").select_option("top")
    field(page, "slices[1].members.top").fill("3")
    field(page, "slices[1].rule.rule").select_option("tiers")
    field(page, "slices[1].rule.tiers[0].share").fill("0.75")
    page.get_by_role("group", name="Tier 2").get_by_role("button", name="Remove this tier").click()
    problem = page.locator("[data-problem]")
    expect(problem).to_have_text("must be above zero; leave out what is not wanted")
    expect(field(page, "slices[1].weight")).to_have_attribute("aria-invalid", "true")
    save(page)
    expect(page.get_by_text("slices[1].weight: must be above zero")).to_be_visible()
    expect(field(page, "slices[1].weight")).to_have_attribute("aria-invalid", "true")
    field(page, "slices[1].weight").fill("3")
    expect(problem).to_have_count(0)
    expect(words).to_contain_text("best: 75% to the first 3 places, paid by tiers of positions")
    save(page)

    page.wait_for_url("**/change/")
    assert Campaign.objects.get().rule == {
        "rule": "slices",
        "slices": [
            {"name": "everybody", "weight": "1", "members": {"all": True}, "rule": {"rule": "equal"}},
            {
                "name": "best",
                "weight": "3",
                "members": {"top": 3},
                "rule": {"rule": "tiers", "tiers": [{"to": 1, "share": "0.75"}]},
            },
        ],
    }


def test_the_rules_of_the_pools_go_through_the_form_unchanged_and_json_stays_at_hand(coins, open_page) -> None:
    pool = Pool.objects.get(slug="daily")
    page = open_page()
    sign_in(page)
    page.goto(f"/admin/rewards/pool/{pool.pk}/change/")
    assert field(page, "slices[1].rule.by").input_value() == "ecc"
    assert field(page, "slices[0].rule.slices[2].members.at_least.votes").input_value() == "3"
    assert written(page) == daily_rule()
    field(page, "slices[1].rule.weight_cap.times").fill("6")
    changed = daily_rule()
    changed["slices"][1]["rule"]["weight_cap"]["times"] = "6"
    assert written(page) == changed

    page.locator("[data-rule-json] > summary").click()
    page.fill("[name=rule]", '{"rule": "equal"}')
    expect(field(page, "rule")).to_have_value("equal")
    page.fill("[name=rule]", '{"rule": "fixed"}')
    expect(page.get_by_text("the form has no fields for")).to_be_visible()
    expect(page.locator("[data-problem]")).to_contain_text("votes name no amounts of their own")
    page.fill("[name=rule]", json.dumps(changed))
    save(page)
    page.wait_for_url("**/pool/")
    assert Pool.objects.get(pk=pool.pk).rule == changed


def test_a_list_is_uploaded_compared_with_another_rule_and_paid(coins, open_page, tmp_path) -> None:
    campaign = Campaign.objects.create(slug="prizes", currency=coins, amount=6_000, rule={"rule": "proportional"})
    file = tmp_path / "list.csv"
    page = open_page()
    sign_in(page)
    page.goto(f"/admin/rewards/campaign/{campaign.pk}/change/")
    page.get_by_role("link", name="Upload a list").click()
    for content in ("user,weight\nalice,3\nbob,-2\n", "user,weight\nalice,3\nbob,2\ncarol,1\n"):
        file.write_text(content)
        page.set_input_files("[name=file]", file)
        page.get_by_role("button", name="Look at it").click()
        if "-" in content:
            expect(page.get_by_text("1 bad line: nothing is stored.")).to_be_visible()
            expect(page.get_by_text("the weight is negative")).to_be_visible()
    expect(page.get_by_text("60.00 coins")).to_be_visible()
    page.get_by_role("button", name="Take this list").click()
    expect(page.get_by_text("prizes: 3 lines are its list now.")).to_be_visible()

    page.get_by_role("link", name="Preview payout").click()
    field(page, "rule").select_option("equal")
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("heading", name="Who gains, who loses")).to_be_visible()
    assert drawn(page) == [True, True, True]
    page.get_by_role("link", name="Back to the campaign").click()

    page.get_by_role("link", name="Run", exact=True).click()
    expect(page.get_by_text("60.00 coins for 3 recipients are paid from issuance at once.")).to_be_visible()
    page.get_by_role("button", name="Run it").click()
    expect(page.get_by_text("is paid: 60.00 coins to 3 recipients.")).to_be_visible()
    campaign.refresh_from_db()
    assert campaign.status == "done"


@pytest.mark.parametrize(("width", "dark"), [(390, True), (1440, False)], ids=["small-dark", "large-light"])
def test_the_form_fits_its_window_and_shows_the_fields_of_the_chosen_source(
    coins, open_page: Callable[..., Page], width: int, dark: bool
) -> None:
    page = open_page(width=width, dark=dark)
    sign_in(page)
    for pool in Pool.objects.all():
        page.goto(f"/admin/rewards/pool/{pool.pk}/change/")
        assert wider_than_its_window(page) <= 0
    page.goto("/admin/rewards/campaign/add/")
    expect(page.locator("[name=metric]")).to_be_hidden()
    page.select_option("[name=participants_source]", "counter")
    expect(page.locator("[name=metric]")).to_be_visible()
    expect(page.locator("[name=month]")).to_be_hidden()
    page.select_option("[name=period]", "month")
    expect(page.locator("[name=month]")).to_be_visible()
    field(page, "rule").select_option("slices")
    assert wider_than_its_window(page) <= 0
