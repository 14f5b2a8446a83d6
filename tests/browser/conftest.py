"""Chromium, a server with some payouts, and pages that must neither complain nor ask anyone else for anything."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from rewards.alerts.services import raise_alert
from rewards.common.periods import ONE_HOUR, Hour
from rewards.distributions.models import Distribution
from rewards.jobs.schedules import create_missing_schedules
from rewards.jobs.services import run_job
from rewards.ledger.models import Currency
from rewards.parameters.services import create_missing_parameters
from rewards.pools.models import Pool
from rewards.pools.services import run_daily, run_hourly
from rewards.users.models import User
from tests.rewards.admin.conftest import create_pools, votes

CHROMIUM_ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-default-apps", "--disable-sync", "--no-first-run",
]  # fmt: skip
PASSWORD = "correct horse"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("no Chromium on this machine: `apt-get install --no-install-recommends chromium`")
    with pytest.MonkeyPatch.context() as environment:
        # Playwright runs a loop in this thread, where Django takes every query for one of a coroutine.
        environment.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_ARGUMENTS)
            yield browser
            browser.close()


@pytest.fixture
def payouts(chromium: Browser, transactional_db: None) -> dict[str, Distribution]:
    """An hour of yesterday that is `paid`, one `waiting` for an approver, an alert, and two who may sign in."""
    create_missing_parameters()
    create_missing_schedules()
    create_pools(Currency.objects.create(code="points", name="Points", decimals=0))
    for name in ("root", "second"):
        User.objects.create_superuser(name, password=PASSWORD)
    now = timezone.now()
    first = Hour.containing(now - timedelta(hours=30))
    votes(first.key, *(f"partner{number:02d}" for number in range(30)))
    run_hourly(first.end + ONE_HOUR)
    Pool.objects.filter(slug="hourly").update(approval_limit=1)
    votes(first.next().key, "partner01", "partner02", "<script>alert(1)</script>")
    run_hourly(first.next().end + ONE_HOUR)
    run_daily(now)
    run_job("check_ledger", lambda progress: {"promises": 9, "broken": 0})
    raise_alert("pool_nearly_dry", "treasury", "Three days are left.")
    hourly = Distribution.objects.filter(programme="pool_hourly")
    return {"paid": hourly.get(period_key=first.key), "waiting": hourly.get(period_key=first.next().key)}


@pytest.fixture
def open_page(chromium: Browser, live_server: Any) -> Iterator[Callable[..., Page]]:
    """`open_page(width=390, dark=True)`: a page of the server. In the end nothing may have been complained about."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def watch(page: Page) -> None:
        page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request",
            lambda request: (
                complaints.append(f"foreign request: {request.url}")
                if not request.url.startswith((live_server.url, "data:", "blob:"))
                else None
            ),
        )
        page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))

    def open_one(*, width: int = 1440, dark: bool = False) -> Page:
        context = chromium.new_context(
            base_url=live_server.url,
            viewport={"width": width, "height": 900},
            color_scheme="dark" if dark else "light",
        )
        contexts.append(context)
        page = context.new_page()
        watch(page)
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert complaints == []


def sign_in(page: Page, name: str = "root") -> None:
    page.goto("/admin/")
    page.fill("[name=username]", name)
    page.fill("[name=password]", PASSWORD)
    page.click("text=Log in")
    page.wait_for_url("**/admin/")
