"""The back-office in a real browser: signing in, reading the charts, approving a payout."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from rewards.distributions.models import Distribution
from rewards.parameters.services import param
from tests.browser.conftest import sign_in

pytestmark = pytest.mark.browser

PAGES = [
    "/admin/",
    "/admin/rewards/distribution/",
    "/admin/rewards/distribution/periods/",
    "/admin/rewards/reward/",
    "/admin/rewards/account/",
    "/admin/rewards/journal/",
    "/admin/rewards/transfer/",
    "/admin/rewards/activityevent/",
    "/admin/rewards/accrual/",
    "/admin/rewards/claim/",
    "/admin/rewards/campaign/",
    "/admin/rewards/pendingreward/",
    "/admin/rewards/pendingreward/dead/",
    "/admin/rewards/deployment/",
    "/admin/rewards/claimtype/add/",
    "/admin/rewards/pool/",
    "/admin/rewards/parameter/",
    "/admin/rewards/jobrun/",
    "/admin/rewards/alert/",
    "/admin/rewards/auditevent/",
    "/admin/rewards/user/",
    "/admin/django_celery_beat/periodictask/",
]


def drawn(page: Page) -> list[bool]:
    """For each chart, whether anything but the empty canvas is there."""
    return page.evaluate(
        """() => [...document.querySelectorAll("canvas.chart")].map(canvas => {
            const blank = document.createElement("canvas");
            [blank.width, blank.height] = [canvas.width, canvas.height];
            return canvas.toDataURL() !== blank.toDataURL();
        })"""
    )


def wider_than_its_window(page: Page) -> int:
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


def test_the_dashboard_tells_at_a_glance_and_draws_its_chart(payouts, open_page: Callable[..., Page]) -> None:
    page = open_page()
    sign_in(page)
    expect(page.get_by_text("waits for approval.")).to_be_visible()
    expect(page.get_by_text("9 hold")).to_be_visible()
    # Read aloud without its icon.
    expect(page.get_by_role("link", name="Campaigns", exact=True).first).to_be_visible()
    expect(page.get_by_role("link", name="pool_nearly_dry treasury")).to_be_visible()
    assert drawn(page) == [True]


def test_a_distribution_shows_its_charts(payouts, open_page: Callable[..., Page]) -> None:
    page = open_page()
    sign_in(page)
    page.goto(f"/admin/rewards/distribution/{payouts['paid'].pk}/change/")
    assert drawn(page) == [True, True, True]
    expect(page.get_by_text("top1000: 20% to the first 1000 places, shared equally.")).to_be_visible()


def test_an_approver_reads_the_figures_approves_and_sees_it_paid(payouts, open_page: Callable[..., Page]) -> None:
    page = open_page()
    sign_in(page, "second")
    page.goto("/admin/rewards/distribution/")
    page.click(f"text={payouts['waiting']}")
    page.click("text=Approve")
    expect(page.get_by_text("points will be paid to 3 recipients")).to_be_visible()
    page.click("text=Approve and pay")
    expect(page.get_by_text(f"{payouts['waiting']} is paid")).to_be_visible()
    assert Distribution.objects.get(pk=payouts["waiting"].pk).approved_by.username == "second"


def test_payouts_are_paused_with_a_reason_and_every_visitor_of_the_dashboard_sees_it(
    payouts, open_page: Callable[..., Page]
) -> None:
    page = open_page()
    sign_in(page)
    page.goto("/admin/rewards/parameter/")
    page.get_by_role("link", name="Pause payouts").click()
    page.fill("[name=reason]", "Numbers look odd")
    page.click("text=Pause all payouts >> nth=-1")
    expect(page.get_by_role("heading", name="Payouts are paused")).to_be_visible()
    page.goto("/admin/")
    expect(page.get_by_text("by root: Numbers look odd")).to_be_visible()
    assert param("payouts_paused") is True


def test_names_that_are_markup_stay_text(payouts, open_page: Callable[..., Page]) -> None:
    """The page fails on any dialog: none may open."""
    page = open_page()
    sign_in(page)
    page.goto(f"/admin/rewards/reward/?distribution__id__exact={payouts['waiting'].pk}")
    expect(page.get_by_text("<script>alert(1)</script>").first).to_be_visible()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_every_list_fits_its_window_without_complaints_or_foreign_requests(
    payouts, open_page: Callable[..., Page], width: int, dark: bool
) -> None:
    page = open_page(width=width, dark=dark)
    sign_in(page)
    distributions = [f"/admin/rewards/distribution/{each.pk}/change/" for each in payouts.values()]
    for address in [*PAGES, *distributions]:
        answer = page.goto(address)
        assert answer is not None
        assert answer.status == 200, address
        assert wider_than_its_window(page) <= 0, address
    assert page.evaluate("document.documentElement.classList.contains('dark')") is dark
