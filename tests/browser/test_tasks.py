"""The most frequent tasks, each done in a browser by who has the role for it, and refused to who has not.

The tests share their rows and change different ones of them. `docs/tasks/` tells the same steps to people.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import unfold
from django.contrib import admin
from django.contrib.auth.models import Group
from django.utils import timezone
from playwright.sync_api import Browser, Page, expect
from pytest_django import DjangoDbBlocker

from rewards.cases.models import CaseVote
from rewards.common.periods import ONE_HOUR, Hour
from rewards.distributions.models import Distribution, Reward
from rewards.jobs.models import JobRun
from rewards.jobs.schedules import create_missing_schedules
from rewards.jobs.services import run_job
from rewards.ledger.models import Account, Currency
from rewards.ledger.services import balance
from rewards.monthly.models import MonthlyRewardJob, RankingCategory
from rewards.monthly.services import run_job as run_month
from rewards.monthly.setup import create_default_categories
from rewards.parameters.services import create_missing_parameters, forget
from rewards.pools.models import Pool
from rewards.pools.services import run_hourly
from rewards.users.models import User
from rewards.users.roles import create_missing_roles
from tests.browser.conftest import rows_of_a_module
from tests.rewards.admin.conftest import create_pools, votes
from tests.rewards.cases.conftest import make_open_case

pytestmark = pytest.mark.browser

STAFF = {
    "vera": "Viewer", "sam": "Support", "olga": "Operator", "anna": "Approver", "adam": "Administrator",
}  # fmt: skip
RECIPIENTS = ("alice", "bob", "carol")
ROOT = Path(__file__).parents[2]
THEMES = [Path(module.__file__).parent / "templates" for module in (unfold, admin)]
APPS = ("rewards", "rewards_site", "badges", "leaderboard")
UNKNOWN_MEASURE = {"rule": "proportional", "by": "nothing"}

Visit = Callable[..., Page]


@pytest.fixture(scope="module")
def db(chromium: Browser, django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    with rows_of_a_module(django_db_blocker):
        forget()
        yield


@pytest.fixture(scope="module")
def world(db: None) -> SimpleNamespace:
    """Somebody of each role; Alice, Bob and Carol; hours that are paid, that wait and that failed; an open case."""
    create_missing_parameters()
    create_missing_schedules()
    create_missing_roles()
    points = Currency.objects.create(code="points", name="Points", decimals=0)
    create_pools(points)
    people = {name: User.objects.create(username=name, is_staff=True) for name in STAFF}
    for name, role in STAFF.items():
        people[name].groups.add(Group.objects.get(name=role))
    people |= {name: User.objects.create(username=name) for name in RECIPIENTS}
    now = timezone.now()
    return SimpleNamespace(**people, points=points, **hours(now, people["adam"]), case=make_open_case(opens_at=now))


def hours(at: datetime, preparer: User) -> dict[str, Distribution]:
    """One paid hour to read, one to take back, two that wait (one was prepared by somebody), one that failed."""
    hour, made, pools = Hour.containing(at - timedelta(hours=20)), {}, Pool.objects.filter(slug="hourly")
    usual = pools.get().rule
    for name in ("paid", "mistaken", "waiting", "odd", "failed"):
        if name == "waiting":
            pools.update(approval_limit=1)
        if name == "failed":
            pools.update(approval_limit=None, rule=UNKNOWN_MEASURE)
        votes(hour.key, *RECIPIENTS)
        run_hourly(hour.end + ONE_HOUR)
        made[name] = Distribution.objects.get(programme="pool_hourly", period_key=hour.key)
        hour = hour.next()
    pools.update(rule=usual)
    Distribution.objects.filter(pk=made["waiting"].pk).update(prepared_by=preparer)
    return made


def address(row: Any, action: str = "") -> str:
    """The page of a row, or of something that can be done with it."""
    of = f"/admin/{row._meta.app_label}/{row._meta.model_name}/{row.pk}"
    return f"{of}/{action}/" if action else f"{of}/change/"


def status(page: Page, where: str) -> int:
    """What a page that may be refused answers; asked beside the page, where a refusal is no complaint."""
    return page.request.get(where).status


def press(page: Page, name: str) -> None:
    """A link or a button of exactly this name."""
    button, link = (page.get_by_role(role, name=name, exact=True) for role in ("button", "link"))
    button.or_(link).first.click()


def give_a_reason(page: Page, reason: str) -> None:
    page.get_by_label("Reason").fill(reason)


# ---------------------------------------------------------------------------------- is everybody paid, and if not, why


def test_a_viewer_sees_who_is_not_paid_and_why_and_can_change_nothing(world, visit: Visit) -> None:
    page = visit(user=world.vera)
    page.goto("/admin/")
    expect(page.get_by_role("heading", name="Somebody is not paid")).to_be_visible()
    page.get_by_role("link", name=str(world.failed)).first.click()
    expect(page.get_by_text("has no measure “nothing”").or_(page.get_by_text("nothing")).first).to_be_visible()
    for name in ("Retry", "Approve", "Reject", "Reverse"):
        expect(page.get_by_role("link", name=name, exact=True)).to_have_count(0)
    for row, action in (
        (world.waiting, "approve"), (world.waiting, "reject"), (world.failed, "retry"), (world.paid, "reverse"),
    ):  # fmt: skip
        assert status(page, address(row, action)) == 403, action


# ----------------------------------------------------------------------------------------------- approving, or refusing


def test_what_waits_is_not_approved_by_who_prepared_it_but_read_and_paid_by_another_one(world, visit: Visit) -> None:
    page = visit(user=world.adam)
    page.goto(address(world.waiting))
    press(page, "Approve")
    press(page, "Approve and pay")
    expect(page.get_by_text("(own_approval)")).to_be_visible()

    page = visit(user=world.anna)
    page.goto("/admin/")
    page.get_by_role("link", name=str(world.waiting)).first.click()
    press(page, "Approve")
    expect(page.get_by_text("points will be paid to 3 recipients")).to_be_visible()
    press(page, "Approve and pay")
    expect(page.get_by_text(f"{world.waiting} is paid")).to_be_visible()
    assert Distribution.objects.get(pk=world.waiting.pk).approved_by == world.anna


def test_an_approver_rejects_with_a_reason_and_nobody_is_paid(world, visit: Visit) -> None:
    page = visit(user=world.anna)
    page.goto(address(world.odd))
    press(page, "Reject")
    give_a_reason(page, "One voter has every vote")
    press(page, "Reject")
    expect(page.get_by_text("is cancelled; its amount is carried over")).to_be_visible()
    assert Distribution.objects.get(pk=world.odd.pk).status == "cancelled"


# --------------------------------------------------------------------------------------- a payout failed, or was wrong


def test_an_operator_retries_a_failed_payout_once_its_cause_is_gone(world, visit: Visit) -> None:
    Distribution.objects.filter(pk=world.failed.pk).update(rule=world.paid.rule)
    page = visit(user=world.olga)
    page.goto(address(world.failed))
    press(page, "Retry")
    expect(page.get_by_text("It failed and continues from the stage")).to_be_visible()
    press(page, "Retry")
    expect(page.get_by_text(f"{world.failed} is paid")).to_be_visible()
    assert status(page, address(world.waiting, "approve")) == 403


def test_an_approver_takes_back_one_reward_and_then_the_whole_payout(world, visit: Visit) -> None:
    of_alice = Reward.objects.get(distribution=world.mistaken, user=world.alice)
    page = visit(user=world.anna)
    page.goto(address(of_alice))
    press(page, "Take back")
    give_a_reason(page, "Voted for herself")
    press(page, "Take it back")
    expect(page.get_by_text("The reward of alice is reversed")).to_be_visible()
    page.goto(address(world.mistaken))
    press(page, "Reverse")
    give_a_reason(page, "The votes of this hour were bought")
    press(page, "Take it back")
    expect(page.get_by_text(f"{world.mistaken} is reversed")).to_be_visible()
    assert Distribution.objects.get(pk=world.mistaken.pk).status == "reversed"


# ------------------------------------------------------------------------------------------------- a partner asks why


def test_support_answers_a_partner_who_asks_why(world, visit: Visit) -> None:
    page = visit(user=world.sam)
    page.goto("/admin/rewards/user/")
    page.get_by_role("searchbox").or_(page.locator("#searchbar")).first.fill("ali")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="alice", exact=True).click()
    reward = Reward.objects.get(distribution=world.paid, user=world.alice)
    page.locator(f"a[href='{address(reward)}']").first.click()
    expect(page.get_by_role("heading", name="Receipt")).to_be_visible()
    expect(page.get_by_text("1 of 3 (rank 1)")).to_be_visible()
    expect(page.get_by_role("heading", name="From which slices")).to_be_visible()


# --------------------------------------------------------------------------------------------------------- corrections


def test_support_corrects_an_account_within_the_limit_of_a_day(world, visit: Visit) -> None:
    before = own_balance(world, world.carol)
    page = visit(user=world.sam)
    page.goto(address(world.carol))
    press(page, "Correct…")
    fill_correction(page, units="5000")
    expect(page.get_by_text("correction_limit")).to_be_visible()
    fill_correction(page, units="25")
    press(page, "Give 25 points")
    expect(page.get_by_text("25 points were given to carol")).to_be_visible()
    assert own_balance(world, world.carol) == before + 25


def test_nobody_corrects_an_account_without_the_right_or_his_own(world, visit: Visit) -> None:
    page = visit(user=world.vera)
    assert status(page, address(world.carol, "correct")) == 403
    page = visit(user=world.sam)
    page.goto(address(world.sam, "correct"))
    expect(page.get_by_text("(own_correction)")).to_be_visible()


def fill_correction(page: Page, *, units: str) -> None:
    page.locator("[name=deed]").select_option(label="Give newly issued units")
    page.locator("[name=currency]").select_option(label="points")
    page.locator("[name=amount]").fill(units)
    page.locator("[name=reason]").fill("A lesson that was not counted")
    press(page, "Look at the numbers")


def own_balance(world: SimpleNamespace, user: User) -> int:
    return balance(Account.objects.get(user=user, code="", currency=world.points))


# ------------------------------------------------------------------------------------------------------ rules and jobs


def test_an_administrator_tries_another_rule_and_saves_it_with_a_reason(world, visit: Visit) -> None:
    page = visit(user=world.adam)
    page.goto(address(world.paid))
    press(page, "Preview another rule")
    page.locator("[name=rule]").evaluate("field => field.closest('details')?.setAttribute('open', '')")
    page.locator("[data-rule-form] select[data-path='rule']").select_option("equal")
    press(page, "Simulate")
    expect(page.get_by_role("columnheader", name="Gini").or_(page.get_by_text("Gini")).first).to_be_visible()
    press(page, "Save as new version…")
    give_a_reason(page, "Everybody asked for it")
    press(page, "Save the rule")
    expect(page.get_by_text("has a new rule. Its history has the one before.")).to_be_visible()
    pool = Pool.objects.get(slug="hourly")
    assert pool.rule == {"rule": "equal"}
    press(page, "History")
    expect(page.get_by_text("Everybody asked for it").first).to_be_visible()


def test_a_viewer_tries_a_rule_and_cannot_save_it(world, visit: Visit) -> None:
    page = visit(user=world.vera)
    page.goto(address(world.paid, "preview"))
    page.locator("[data-rule-form] select[data-path='rule']").select_option("proportional")
    press(page, "Simulate")
    expect(page.get_by_text("Saving it takes the right to change")).to_be_visible()
    expect(page.get_by_role("button", name="Save as new version…")).to_have_count(0)


def test_an_operator_runs_a_job_now_and_reads_its_result(world, visit: Visit) -> None:
    page = visit(user=world.olga)
    page.goto("/admin/django_celery_beat/periodictask/")
    page.get_by_role("link", name="check_ledger").first.click()
    press(page, "Run now")
    press(page, "Run now")
    expect(page.get_by_text("A worker was asked to run check_ledger")).to_be_visible()
    run_job("check_ledger", lambda progress: {"promises": 9, "broken": 0})  # the worker does
    page.reload()
    page.locator("#result_list").get_by_role("link", name="check_ledger").first.click()
    expect(page.get_by_text("promises").first).to_be_visible()
    assert JobRun.objects.filter(job="check_ledger", status="succeeded").exists()


# -------------------------------------------------------------------------------------------------------- a month


def test_a_month_is_started_by_an_operator_watched_and_approved_by_somebody_else(world, visit: Visit) -> None:
    create_default_categories()
    RankingCategory.objects.update(currency="points")
    page = visit(user=world.olga)
    page.goto("/admin/rewards/monthlyrewardjob/")
    press(page, "Start a month")
    press(page, "Start")
    expect(page.get_by_text("are started")).to_be_visible()
    job = MonthlyRewardJob.objects.get()
    run_month(job, timezone.now())  # the worker does
    page.reload()
    expect(page.get_by_text("completed").or_(page.get_by_text("done")).first).to_be_visible()


# ------------------------------------------------------------------------------------------------ what recipients do


def test_alice_reads_why_she_got_so_much_and_her_browser_checks_it(world, visit: Visit) -> None:
    page = visit(user=world.alice, width=390)
    page.goto("/me/")
    expect(page.get_by_role("heading", name="Latest rewards")).to_be_visible()
    page.get_by_text("Why this amount").first.click()
    page.goto(f"/distributions/{world.paid.pk}/")
    expect(page.get_by_text("1 of 3").first).to_be_visible()
    press(page, "Check my row")
    expect(page.get_by_text("Your row is part of the digest")).to_be_visible()


def test_bob_votes_once_in_a_case_after_being_asked(world, visit: Visit) -> None:
    page = visit(user=world.bob)
    page.goto("/cases/")
    page.get_by_role("link", name=world.case.title).click()
    press(page, "Yes")
    expect(page.get_by_text("A vote is final")).to_be_visible()
    press(page, "Vote YES")
    expect(page.get_by_text("You voted YES").first).to_be_visible()
    assert CaseVote.objects.get(user=world.bob).side == "YES"


# ----------------------------------------------------------------------------------------------- what people are told


def test_every_name_on_the_pages_of_tasks_stands_on_the_screen() -> None:
    files = [path for app in APPS for path in (ROOT / app).rglob("*.py")]
    files += [path for folder in (ROOT / "templates", *THEMES) for path in folder.rglob("*.html")]
    written = "\n".join(path.read_text() for path in files)
    pages = sorted((ROOT / "docs" / "tasks").glob("*.md"))
    assert len(pages) == 6
    for page in pages:
        for name in re.findall(r"\*\*(.+?)\*\*", page.read_text()):
            named = re.compile(rf"[\">}}“]\s*{re.escape(name)}\s*[\"<{{”]")
            assert named.search(written), f"{page.name}: {name}"
