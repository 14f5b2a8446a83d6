"""Pictures of the product for README and docs: it is started with demo data, looked at in Chromium, and stopped again.

python -m devtools.shots OUTPUT
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from devtools.application import FOLDER_BROKER, application_environment, choose_broker_url, held
from devtools.children import Children, StopRequested
from devtools.environment import PYTHON, ROOT, DevelopmentError
from devtools.ports import LOOPBACK, free_port
from devtools.run import READY_WITHIN_SECONDS, is_healthy, prepare, start_broker, start_product

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM_ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
PASSWORD = "demo"  # as in rewards/management/demo.py
STAFF, RECIPIENT = "admin", "ada.byron"
WIDE, NARROW, LOWEST, HIGHEST = 1280, 390, 400, 1_400
STILL = "*, *::before, *::after { animation: none !important; transition: none !important }"
PATIENCE_MILLISECONDS = 60_000

Steps = Callable[["Page"], None]
"""How to come to the page: from wherever the browser is to what is to be seen."""


@dataclass(frozen=True)
class Shot:
    """`shows` is a selector of what must be there; the picture ends below the page, or `most` pixels from its top."""

    name: str
    who: str
    steps: Steps
    shows: str
    width: int = WIDE
    dark: bool = False
    most: int = HIGHEST


def take_shots(output: Path) -> int:
    """Write a PNG for each of `SHOTS` into a folder; DevelopmentError says which page could not be had."""
    chromium = find_chromium()
    with tempfile.TemporaryDirectory(prefix="shots-") as folder:
        data, port = Path(folder), free_port()
        with held(data) as lock:
            broker_url = choose_broker_url(data)
            environment = application_environment(data, broker_url) | own_data(data, broker_url)
            with Children(ROOT, environment, shared_files=[lock]) as children:
                try:
                    if broker_url != FOLDER_BROKER:
                        start_broker(children, data, broker_url)
                    prepare(children, demo=True)
                    for command in ("check_ledger", "seal_audit"):
                        children.run(command, PYTHON, "manage.py", command)
                    start_product(children, port, demo=False)
                    children.watch(until=lambda: is_healthy(port), timeout_seconds=READY_WITHIN_SECONDS)
                    address = f"http://{LOOPBACK}:{port}"
                    children.run("shots", PYTHON, "-m", "devtools.shots", chromium, address, output)
                except StopRequested:
                    return 130
    return 0


def own_data(data: Path, broker_url: str) -> dict[str, str]:
    """Whatever databases the shell or `.env` names: they are not for pictures."""
    return {
        "DATABASE_URL": f"sqlite:///{data / 'db.sqlite3'}",
        "PARTNER_DATABASE_URL": f"sqlite:///{data / 'partner.sqlite3'}",
        "CELERY_BROKER_URL": broker_url,
        "REWARDS_ENVIRONMENT": "development",
        "ALLOWED_HOSTS": LOOPBACK,
        "LOG_LEVEL": "WARNING",
    }


def find_chromium() -> str:
    path = next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    if path is None:
        raise DevelopmentError(
            "Pictures are taken with Chromium, which is not here: apt-get install --no-install-recommends chromium"
        )
    return path


# ------------------------------------------------------------------------------------------------------ coming to pages


def at(address: str) -> Steps:
    return lambda page: open_page(page, address)


def first_row_of(address: str) -> Steps:
    """The page of the first row of a list of the back-office."""
    return lambda page: follow(page, address, "#result_list th a, #result_list td a[href*='/change/']")


def link_on(address: str, selector: str) -> Steps:
    return lambda page: follow(page, address, selector)


def open_page(page: Page, address: str) -> None:
    answer = page.goto(address)
    if answer is None or not answer.ok:
        raise DevelopmentError(f"{address} answered {answer.status if answer else 'nothing'}")


def follow(page: Page, address: str, selector: str) -> None:
    open_page(page, address)
    link = page.locator(selector).first.get_attribute("href")
    if link is None:
        raise DevelopmentError(f"nothing to follow on {address}")
    open_page(page, link)


def simulate(page: Page) -> None:
    """Equal shares beside the rule of the newest daily payout."""
    follow(page, "/admin/rewards/distribution/simulator/?q=pool_daily", "a[href*='snapshot=']")
    page.locator("[data-rule-form] select[data-path='rule']").first.select_option("equal")
    page.get_by_role("button", name="Simulate").click()


def prove(page: Page) -> None:
    """The newest daily payout that the recipient had a part in, its row checked."""
    follow(page, "/me/", "a[href^='/distributions/']")
    page.get_by_role("button", name="Check my row").click()


DAILY = "/admin/rewards/distribution/?programme=pool_daily&status__exact=paid"
SHOTS = [
    Shot("distribution", STAFF, first_row_of(DAILY), "canvas.chart"),
    Shot("simulator", STAFF, simulate, "text=Gini", most=2_000),
    Shot("user", STAFF, first_row_of(f"/admin/rewards/user/?q={RECIPIENT}"), "text=Balance"),
    Shot("trends", STAFF, at("/admin/rewards/pool/trends/"), "canvas.chart"),
    Shot("liability", STAFF, at("/admin/rewards/pool/liability/"), "h2"),
    Shot("my-page", RECIPIENT, at("/me/"), "#latest-title"),
    Shot("my-page-narrow-dark", RECIPIENT, at("/me/"), "#latest-title", width=NARROW, dark=True, most=1_000),
    Shot("leaderboard", RECIPIENT, link_on("/leaderboard/", "main a[href^='/leaderboard/']"), "main table"),
    Shot("proof", RECIPIENT, prove, "text=Your row is part of the digest"),
    Shot("case", RECIPIENT, link_on("/cases/", "main a[href^='/cases/']:not([href$='/new/'])"), "#dilemma-title"),
    # The last ones: worker and scheduler have been heard of by now.
    Shot("dashboard", STAFF, at("/admin/"), ".rewards-verdict"),
    Shot("dashboard-dark", STAFF, at("/admin/"), ".rewards-verdict", dark=True),
]


# ------------------------------------------------------------------------------------------------------ taking pictures


def look(chromium: str, address: str, output: Path) -> None:
    from playwright.sync_api import sync_playwright

    output.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGUMENTS)
        for shot in SHOTS:
            try:
                take(browser, address, shot, output / f"{shot.name}.png")
            except Exception as error:  # whatever it was: the page is named, and no later one is taken instead
                raise DevelopmentError(f"No picture of {shot.name}: {error}") from error
            print(f"{shot.name}.png", flush=True)
        browser.close()


def take(browser: Browser, address: str, shot: Shot, path: Path) -> None:
    """One picture, in a browser of its own."""
    context = browser.new_context(
        base_url=address,
        viewport={"width": shot.width, "height": LOWEST},
        color_scheme="dark" if shot.dark else "light",
        reduced_motion="reduce",
    )
    context.set_default_timeout(PATIENCE_MILLISECONDS)
    page = context.new_page()
    sign_in(page, shot.who)
    shot.steps(page)
    page.locator(shot.shows).first.wait_for()
    page.add_style_tag(content=STILL)
    height = page.evaluate("Math.max(document.body.scrollHeight, document.documentElement.scrollHeight)")
    page.set_viewport_size({"width": shot.width, "height": max(LOWEST, min(height, shot.most))})
    page.wait_for_load_state("networkidle")
    page.screenshot(path=path, animations="disabled")
    context.close()


def sign_in(page: Page, name: str) -> None:
    page.goto("/admin/login/" if name == STAFF else "/login/")
    page.fill("[name=username]", name)
    page.fill("[name=password]", PASSWORD)
    page.locator("main [type=submit], form [type=submit]").first.click()
    page.wait_for_url(lambda url: "login" not in url)


if __name__ == "__main__":
    try:
        look(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
    except DevelopmentError as error:
        sys.exit(str(error))
