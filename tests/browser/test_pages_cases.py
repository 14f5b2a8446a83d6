"""Cases in a real browser, as those see them who take part: vote, like, argue, and check a verdict that is revealed."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import Browser, Page, expect

from rewards.cases.closing import close_cases
from rewards.cases.models import Argument, ArgumentLike, Case, CaseVote
from rewards.ledger.models import Currency
from rewards.parameters.services import create_missing_parameters
from rewards.users.models import User
from tests.browser.axe import assert_accessible
from tests.browser.conftest import PASSWORD
from tests.browser.test_admin import wider_than_its_window
from tests.browser.test_pages_proof import EVIL, enter, picture
from tests.rewards.cases.conftest import REASONING, argument_of, cast, make_open_case

pytestmark = pytest.mark.browser

DILEMMA = (
    "The keeper of a lighthouse has lit the lamp every night for thirty years. Tonight his daughter is being married "
    "two villages away, and the sea is calm.\n\nMay he leave the lamp to the wind for once?"
)


@pytest.fixture
def case(chromium: Browser, transactional_db: None) -> Case:
    """Open since an hour ago; Bob, Carol and one with an unusual name have argued, Alice is still to come."""
    create_missing_parameters()
    Currency.objects.create(code="points", name="Points", decimals=0)
    began = timezone.now() - timedelta(hours=1)
    made = make_open_case("NO", opens_at=began, title="The lighthouse", context=DILEMMA)
    User.objects.create_user("alice", password=PASSWORD)
    for minutes, (name, side) in enumerate((("bob", "YES"), ("carol", "NO"), (EVIL, "NO")), start=1):
        user = User.objects.create_user(name, password=PASSWORD)
        cast(made, user, side, began + timedelta(minutes=minutes))
        argument_of(made, user, side=side, at=began + timedelta(minutes=minutes))
    made.refresh_from_db()
    return made


def closed(case: Case) -> None:
    close_cases(timezone.now() + timedelta(hours=30))
    case.refresh_from_db()
    assert case.status == "closed"


def test_alice_votes_likes_and_argues_without_leaving_the_page(case, open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.goto(f"/cases/{case.pk}/")
    page.get_by_role("link", name="Sign in to vote").click()
    expect(page).to_have_url(re.compile(f"/login/.next=/cases/{case.pk}/$"))
    enter(page, "alice", f"/cases/{case.pk}/")
    page.evaluate("window.isSamePage = true")

    page.get_by_role("button", name="Yes", exact=True).click()
    expect(page.get_by_text("A vote is final")).to_be_visible()
    assert not CaseVote.objects.filter(user__username="alice").exists()
    expect(page.get_by_role("button", name="Vote YES")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_text("You voted YES", exact=False).first).to_be_visible()
    expect(page.locator("#said")).to_have_text("You voted YES. Your vote is counted.")
    assert CaseVote.objects.get(user__username="alice").side == "YES"

    expect(page.get_by_text("Like 3 more arguments of others")).to_be_visible()
    for likes in (1, 2, 3):
        page.get_by_role("button", name="Like the argument of").first.click()
        expect(page.get_by_text(f"You like {likes} of at most 3")).to_be_visible()
    page.get_by_role("button", name="Liked the argument of bob").press("Enter")
    expect(page.get_by_text("You like 2 of at most 3")).to_be_visible()
    expect(page.get_by_role("button", name="Like the argument of bob")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_text("You like 3 of at most 3")).to_be_visible()
    assert ArgumentLike.objects.filter(user__username="alice").count() == 3

    page.get_by_label("Your argument", exact=True).fill("   ")
    page.get_by_role("button", name="Send your argument").click()
    expect(page.get_by_role("alert")).to_have_text("Write your argument first.")
    page.get_by_label("Your argument", exact=True).fill(f"{EVIL}\nHe has promised it.")
    page.get_by_role("button", name="Send your argument").click()
    expect(page.get_by_text("He has promised it.")).to_be_visible()
    assert Argument.objects.get(user__username="alice").text == f"{EVIL}\nHe has promised it."
    assert page.evaluate("window.isSamePage")


def test_a_case_that_closes_meanwhile_says_so_and_keeps_what_was_typed(case, open_page) -> None:
    cast(case, User.objects.get(username="alice"), "YES")
    for argument in case.arguments.all():
        ArgumentLike.objects.create(
            argument=argument, case=case, user=User.objects.get(username="alice"), liked_at=timezone.now()
        )
    page = open_page()
    enter(page, "alice", f"/cases/{case.pk}/")
    page.get_by_label("Your argument", exact=True).fill("I was slow.")
    Case.objects.filter(pk=case.pk).update(closes_at=timezone.now())
    page.get_by_role("button", name="Send your argument").click()
    expect(page.get_by_role("alert")).to_contain_text("This case is not open")
    expect(page.get_by_label("What you wrote")).to_have_value("I was slow.")


def test_what_htmx_is_refused_is_said_where_it_was_pressed(case, chromium, live_server) -> None:
    context = chromium.new_context(base_url=live_server.url)
    page = context.new_page()
    enter(page, "alice", f"/cases/{case.pk}/")
    Case.objects.filter(pk=case.pk).update(status="void", opens_at=None)
    page.get_by_role("button", name="Yes", exact=True).click()
    expect(page.get_by_role("alert")).to_have_text(f"There is no case {case.pk}.")
    context.set_offline(True)
    page.get_by_role("button", name="Yes", exact=True).click()
    expect(page.get_by_role("alert")).to_have_text("That did not work. Load the page again, and try once more.")
    context.close()


def test_without_javascript_everything_works_too(case, chromium, live_server) -> None:
    context = chromium.new_context(base_url=live_server.url, java_script_enabled=False)
    page = context.new_page()
    enter(page, "alice", f"/cases/{case.pk}/")
    page.get_by_role("button", name="No", exact=True).click()
    page.get_by_role("button", name="Vote NO").click()
    expect(page.get_by_text("You voted NO. Your vote is counted.")).to_be_visible()
    for likes in (1, 2, 3):
        page.get_by_role("button", name="Like the argument of").first.click()
        expect(page.get_by_text(f"You like {likes} of at most 3")).to_be_visible()
    page.get_by_label("Your argument", exact=True).fill("It was promised.")
    page.get_by_role("button", name="Send your argument").click()
    expect(page.get_by_text("Your argument stands below.")).to_be_visible()
    assert Argument.objects.get(user__username="alice").side == "NO"
    context.close()


def test_a_revealed_verdict_is_the_one_that_was_committed(case, open_page) -> None:
    closed(case)
    page = open_page()
    page.goto(f"/cases/{case.pk}/")
    expect(page.get_by_text(REASONING).first).to_be_visible()
    result = page.locator("[data-verdict] [data-check-result]")
    page.get_by_role("button", name="Check that it was sealed before").press("Enter")
    expect(result).to_contain_text("This is the verdict that was committed")
    expect(page.locator(".check-step").nth(1)).to_contain_text(case.verdict_hash)
    page.get_by_role("button", name="Try the other verdict").click()
    expect(result).to_contain_text("As it must be: with YES instead")


@pytest.mark.parametrize("change", [{"verdict": "YES"}, {"reasoning": "Another."}, {"verdict_hash": "0" * 64}])
def test_a_verdict_that_was_changed_is_not_the_one_that_was_committed(case, open_page, change) -> None:
    closed(case)
    Case.objects.filter(pk=case.pk).update(**change)
    page = open_page()
    page.goto(f"/cases/{case.pk}/")
    page.get_by_role("button", name="Check that it was sealed before").click()
    expect(page.locator("[data-verdict] [data-check-result]")).to_contain_text("This is not the verdict")
    expect(page.locator(".check-step .check-mark.wrong").first).to_be_visible()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_the_pages_can_be_read_by_everybody(case, open_page, width: int, dark: bool) -> None:
    page, look = open_page(width=width, dark=dark), f"{width}-{'dark' if dark else 'light'}"
    enter(page, "alice", f"/cases/{case.pk}/")
    alice = User.objects.get(username="alice")

    def look_at(name: str) -> None:
        picture(page, f"{name}-{look}")
        assert_accessible(page)
        assert wider_than_its_window(page) <= 0, name

    look_at("case-open")
    page.get_by_role("button", name="Yes", exact=True).click()
    expect(page.get_by_text("A vote is final")).to_be_visible()
    look_at("case-sure")
    cast(case, alice, "NO")
    for argument in case.arguments.all():
        ArgumentLike.objects.create(argument=argument, case=case, user=alice, liked_at=timezone.now())
    page.reload()
    look_at("case-arguing")
    page.goto("/cases/new/")
    look_at("case-new")
    make_open_case(opens_at=timezone.now() - timedelta(hours=2), title="W" * 200, context="W" * 300, hours=100)
    argument_of(case, alice)
    closed(case)
    page.goto("/cases/")
    look_at("cases")
    page.goto(f"/cases/{case.pk}/")
    page.get_by_role("button", name="Check that it was sealed before").click()
    expect(page.locator("[data-check-result]")).to_contain_text("This is the verdict")
    look_at("case-closed")
