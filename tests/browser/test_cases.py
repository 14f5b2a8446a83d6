"""Cases in a real browser: approved under seal, looked at on a click, made void; transactions looked at again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone
from playwright.sync_api import Browser, Page, expect

from rewards.audit.models import AuditEvent
from rewards.cases.closing import close_cases
from rewards.cases.commitments import check_verdicts
from rewards.cases.models import Case, SealedVerdict
from rewards.cases.moderation import approve_case
from rewards.cases.services import argue, submit_case, vote
from rewards.chain.models import ChainTransaction
from rewards.ledger.models import Currency
from rewards.parameters.services import create_missing_parameters
from rewards.users.models import User
from rewards.users.roles import create_missing_roles
from tests.browser.conftest import PASSWORD, sign_in
from tests.browser.test_admin import wider_than_its_window

pytestmark = pytest.mark.browser

EVIL = "<script>alert(1)</script>"
REASONING = "Whoever keeps a lighthouse has promised it to strangers.\nHe may ask to be relieved."


@pytest.fixture
def lighthouse(chromium: Browser, transactional_db: None) -> Case:
    """A case of Alice's that waits for a moderator."""
    create_missing_parameters()
    create_missing_roles()
    Currency.objects.create(code="points", name="Points", decimals=0)
    User.objects.create_superuser("root", password=PASSWORD)
    alice = User.objects.create(username="alice")
    return submit_case(alice, "The lighthouse", f"The keeper sleeps.\n{EVIL}", timezone.now())


def opened(case: Case) -> Case:
    """Approved by somebody else two days ago, open since, with a vote and an argument; its time is over."""
    began = timezone.now() - timedelta(days=2)
    second = User.objects.create_superuser("second", password=PASSWORD)
    approve_case(case.pk, second, "NO", REASONING, Decimal("0.8"), began)
    for minutes in (0, 2):
        check_verdicts(began + timedelta(minutes=minutes))
    bob = User.objects.create(username=EVIL)
    vote(case.pk, bob, "NO", began + timedelta(minutes=3))
    argue(case.pk, bob, "NO", f"{EVIL} " + "argument " * 60, began + timedelta(minutes=4))
    case.refresh_from_db()
    assert case.status == "active"
    return case


def test_a_case_is_approved_and_its_verdict_shown_to_nobody_who_has_not_clicked(
    lighthouse, open_page: Callable[..., Page]
) -> None:
    page = open_page()
    sign_in(page)
    page.goto("/admin/rewards/case/")
    page.get_by_role("link", name="The lighthouse").click()
    page.get_by_role("link", name="Approve").click()
    page.get_by_role("button", name="Seal and commit").click()
    assert not SealedVerdict.objects.exists(), "the browser asks for what is missing"
    page.select_option("[name=verdict]", "NO")
    page.fill("[name=reasoning]", REASONING)
    page.fill("[name=confidence]", "0.85")
    page.get_by_role("button", name="Seal and commit").click()
    expect(page.get_by_text("is approved: its verdict is sealed")).to_be_visible()
    assert "strangers" not in page.content()
    assert ChainTransaction.objects.get().tx_hash in page.content()

    page.get_by_role("button", name="Show the verdict").click()
    expect(page.get_by_text("promised it to strangers")).to_be_visible()
    expect(page.get_by_text(SealedVerdict.objects.get().nonce)).to_be_visible()
    assert AuditEvent.objects.get(event_type="sealed_verdict_seen").actor.username == "root"
    page.reload()
    assert "strangers" not in page.content()


def test_an_open_case_is_made_void_with_a_reason(lighthouse, open_page: Callable[..., Page]) -> None:
    opened(lighthouse)
    page = open_page()
    sign_in(page)
    page.goto(f"/admin/rewards/case/{lighthouse.pk}/change/")
    page.get_by_role("link", name="Make void").click()
    expect(page.get_by_text("1,000 points")).to_be_visible()
    page.fill("[name=reason]", "It names somebody")
    page.get_by_role("button", name="Make void").click()
    expect(page.get_by_text("1,000 points went from its escrow to the treasury")).to_be_visible()
    expect(page.get_by_text("It names somebody")).to_be_visible()
    assert Case.objects.get().status == "void"


def test_a_transaction_is_looked_at_again(lighthouse, open_page: Callable[..., Page]) -> None:
    opened(lighthouse)
    ChainTransaction.objects.update(status="submitted", confirmations=0)
    page = open_page()
    sign_in(page)
    page.goto("/admin/rewards/chaintransaction/")
    page.get_by_role("link", name=ChainTransaction.objects.get().tx_hash[:16]).click()
    page.get_by_role("link", name="Look again now").click()
    page.get_by_role("button", name="Look now").click()
    expect(page.get_by_text("is confirmed, ")).to_be_visible()


@pytest.mark.parametrize(("width", "dark"), [(390, True), (1440, False)], ids=["small-dark", "large-light"])
def test_every_page_fits_its_window(lighthouse, open_page: Callable[..., Page], width: int, dark: bool) -> None:
    closed, waiting = opened(lighthouse), submit_case(lighthouse.created_by, "W" * 200, "W" * 300, timezone.now())
    close_cases(timezone.now())
    Case.objects.filter(pk=closed.pk).update(failures=2, error=f"It hurts.\nTraceback {EVIL} " + "x" * 300)
    page = open_page(width=width, dark=dark)
    sign_in(page)
    tx = ChainTransaction.objects.get()
    for address in (
        "case/", f"case/{closed.pk}/change/", f"case/{closed.pk}/history/", f"case/{waiting.pk}/change/",
        f"case/{waiting.pk}/approve/", f"case/{waiting.pk}/edit/", f"case/{waiting.pk}/reject/", "argument/",
        f"argument/{closed.arguments.get().pk}/change/", "chaintransaction/", f"chaintransaction/{tx.pk}/change/",
        f"chaintransaction/{tx.pk}/look/", "rewardclaim/",
    ):  # fmt: skip
        answer = page.goto(f"/admin/rewards/{address}")
        assert answer is not None
        assert answer.status == 200, address
        assert wider_than_its_window(page) <= 0, address
