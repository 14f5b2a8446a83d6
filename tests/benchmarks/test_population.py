"""The population that pages are measured on keeps the promises of the ledger, and every page of it opens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.test import override_settings
from django.utils import timezone
from pytest_django import DjangoDbBlocker

from benchmarks import pages, population
from rewards.distributions.models import Distribution
from rewards.distributions.queries import verify
from rewards.ledger.checks import run_checks
from rewards.ledger.models import Transfer
from rewards.users.models import User
from tests.rewards.shared_rows import rows_for_all_tests

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db]

TRANSFERS = 10_000


@pytest.fixture(scope="module")
def plan(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[population.Plan]:
    """The population without its statistics, which cannot be taken in a transaction."""
    with rows_for_all_tests(django_db_blocker), override_settings(ENVIRONMENT="development"):
        at = timezone.now()
        population.begin(at)
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        made = population.plan_for(TRANSFERS, seed=7, at=at)
        population.write_rows(made)
        population.pay_everybody(made)
        population.refresh_boards(made)
        yield made


def test_a_population_is_as_large_as_asked_for_and_every_check_of_the_ledger_holds(plan) -> None:
    assert TRANSFERS * 0.98 < Transfer.objects.count() < TRANSFERS * 1.02
    assert User.objects.filter(username__startswith="user0").count() == plan.users
    assert [finding.offenders for finding in run_checks() if not finding.holds] == []
    everybody = Distribution.objects.get(programme="campaign:everybody")
    assert everybody.recipients > plan.users * 0.9
    assert verify(everybody) == []


def test_every_page_that_is_measured_opens_in_fewer_queries_than_allowed(plan, settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    clients = pages.signed_in()
    problems = []
    for name, (who, path) in pages.pages():
        try:
            number = pages.queries(clients[who], path)
        except ValueError as error:
            problems.append(f"{name} {path}: {error}")
            continue
        if number >= pages.MOST_QUERIES and not name.endswith(": row"):
            problems.append(f"{name} {path}: {number} queries")
    assert problems == []
