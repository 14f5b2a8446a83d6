"""Chromium, a server with some payouts, and pages that must neither complain nor ask anyone else for anything."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.core.cache import cache
from django.core.management import call_command
from django.test import Client
from django.utils import timezone
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from pytest_django import DjangoDbBlocker
from pytest_django.live_server_helper import LiveServer

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


@contextmanager
def rows_of_a_module(django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """What is committed in here is gone afterwards: for a fixture `db` of a module whose tests share their rows."""
    with django_db_blocker.unblock():
        yield
        cache.clear()
        call_command("flush", verbosity=0, interactive=False)


@pytest.fixture(scope="module")
def server(db: None) -> Iterator[LiveServer]:
    """What `live_server` is, for a module with a `db` of its own."""
    running = LiveServer("localhost")
    yield running
    running.stop()


class Visitors:
    """Pages of a server, each in a browser of its own, that must neither complain nor ask anyone else for anything."""

    def __init__(self, chromium: Browser, address: str) -> None:
        self.chromium, self.address = chromium, address
        self.contexts: list[BrowserContext] = []
        self.complaints: list[str] = []

    def open_page(self, *, width: int = 1440, dark: bool = False, user: User | None = None) -> Page:
        """A new page; of `user`, signed in already, when one is given."""
        context = self.chromium.new_context(
            base_url=self.address,
            viewport={"width": width, "height": 900},
            color_scheme="dark" if dark else "light",
        )
        self.contexts.append(context)
        if user is not None:
            context.add_cookies([{"name": "sessionid", "value": session_of(user), "url": self.address}])
        page = context.new_page()
        self._watch(page)
        return page

    def _watch(self, page: Page) -> None:
        complaints = self.complaints
        page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request",
            lambda request: (
                complaints.append(f"foreign request: {request.url}")
                if not request.url.startswith((self.address, "data:", "blob:"))
                else None
            ),
        )
        page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))

    def leave(self) -> None:
        """Close all pages; in the end nothing may have been complained about."""
        for context in self.contexts:
            context.close()
        assert self.complaints == []


@pytest.fixture
def open_page(chromium: Browser, live_server: LiveServer) -> Iterator[Callable[..., Page]]:
    """`open_page(width=390, dark=True)`: a page of the server. In the end nothing may have been complained about."""
    visitors = Visitors(chromium, live_server.url)
    yield visitors.open_page
    visitors.leave()


@pytest.fixture
def visit(chromium: Browser, server: LiveServer) -> Iterator[Callable[..., Page]]:
    """`visit(user=carol)`: `open_page`, on rows that the tests of a module share."""
    visitors = Visitors(chromium, server.url)
    yield visitors.open_page
    visitors.leave()


def session_of(user: User) -> str:
    """The cookie of a browser in which somebody has signed in."""
    client = Client()
    client.force_login(user)
    return client.cookies["sessionid"].value


def sign_in(page: Page, name: str = "root") -> None:
    page.goto("/admin/")
    page.fill("[name=username]", name)
    page.fill("[name=password]", PASSWORD)
    page.click("text=Log in")
    page.wait_for_url("**/admin/")
