"""Every page of the back-office, as axe-core sees it: in light, and its colours in dark, too."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from django.contrib import admin
from django.urls import reverse
from django_celery_beat.models import PeriodicTask
from playwright.sync_api import Browser, Page
from pytest_django import DjangoDbBlocker

from badges.models import Badge
from leaderboard.models import Board
from rewards.campaigns.models import Campaign
from rewards.claims.models import ClaimType
from rewards.distributions.models import Distribution
from rewards.monthly.models import RankingCategory
from rewards.users.models import User
from tests.browser.axe import COLOUR_RULES, told, violations
from tests.browser.conftest import rows_of_a_module
from tests.rewards.admin.conftest import make_whole_product

pytestmark = pytest.mark.browser

MODELS = sorted(admin.site._registry, key=lambda model: model._meta.label)
FORMS = [User, Campaign, ClaimType, RankingCategory, Badge, Board, PeriodicTask]  # each of a kind of its own
EXCEPTIONS = [
    # Django's script for choosing groups and rights (superusers only) gives its question mark a label without a role.
    ("aria-prohibited-attr", ".selector .help-tooltip"),
]
GO_DARK = "document.documentElement.classList.add('dark')"


@pytest.fixture(scope="module")
def db(chromium: Browser, django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    with rows_of_a_module(django_db_blocker):
        yield


@pytest.fixture(scope="module")
def root(db: None) -> User:
    """A superuser, with at least one row of everything that has a page."""
    make_whole_product()
    return User.objects.create_superuser("root")


def addresses_of_lists() -> Iterator[str]:
    yield from ("/admin/", reverse("admin:rewards_distribution_periods"), reverse("admin:rewards_pendingreward_dead"))
    yield from (page_of(model, "changelist") for model in MODELS)


def addresses_of_rows() -> Iterator[str]:
    for model in MODELS:
        row = model._default_manager.order_by("pk").last()
        if row is not None:
            yield page_of(model, "change", row.pk)


def addresses_of_forms() -> Iterator[str]:
    yield from (page_of(model, "add") for model in FORMS)


def addresses_of_pages() -> Iterator[str]:
    """What is neither a list nor a row of a model."""
    yield from (reverse(f"admin:rewards_pool_{name}") for name in ("trends", "liability"))
    simulator = reverse("admin:rewards_distribution_simulator")
    paid = Distribution.objects.filter(status=Distribution.Status.PAID).earliest("pk")
    yield from (simulator, f"{simulator}?snapshot={paid.pk}", f"{simulator}?snapshot=pool:daily")
    yield reverse("admin:rewards_user_correct", args=[User.objects.get(username="alice").pk])
    yield reverse("admin:rewards_parameter_rules")


def page_of(model: type, name: str, *args: object) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{name}", args=args)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "addresses",
    [addresses_of_lists, addresses_of_rows, addresses_of_forms, addresses_of_pages],
    ids=["lists", "rows", "forms", "pages"],
)
def test_what_a_machine_can_find(
    root: User, visit: Callable[..., Page], addresses: Callable[[], Iterator[str]]
) -> None:
    page = visit(user=root)
    found = []
    for address in addresses():
        answer = page.goto(address)
        assert answer is not None
        assert answer.status == 200, address
        in_light = violations(page, EXCEPTIONS)
        page.evaluate(GO_DARK)
        in_dark = violations(page, EXCEPTIONS, rules=COLOUR_RULES)
        found += [f"{address}: {told(each)}" for each in in_light]
        found += [f"{address} in dark: {told(each)}" for each in in_dark]
    assert not found, "\n".join(found)
