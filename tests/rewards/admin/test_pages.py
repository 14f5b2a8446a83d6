"""Every page of the admin, for whoever may see it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import NoReverseMatch, URLResolver, get_resolver, reverse
from pytest_django import DjangoDbBlocker

from rewards.admin.ledger import TransferAdmin
from rewards.distributions.models import Distribution, Reward
from rewards.jobs.models import JobRun
from rewards.ledger.models import Account, Transfer
from rewards.parameters.models import Parameter
from rewards.pools.models import PartnerTransfer, Pool
from rewards.users.models import User
from tests.rewards.admin.conftest import make_whole_product
from tests.rewards.shared_rows import rows_for_all_tests

pytestmark = pytest.mark.django_db

MODELS = sorted((model for model in admin.site._registry), key=lambda model: model._meta.label)
MOST_QUERIES = 20
LARGE_TABLES = (
    "rewards_transfer", "rewards_reward", "rewards_activityevent", "rewards_journal", "rewards_account",
    "rewards_auditevent", "rewards_user", "rewards_jobrun", "rewards_claim", "rewards_pendingreward",
    "rewards_campaignparticipant", "rewards_deployment", "rewards_stakingposition",
    "badges_badgeaward", "leaderboard_cache",
    "rewards_argument", "rewards_chaintransaction", "rewards_rewardclaim",
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def whole_product(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    with rows_for_all_tests(django_db_blocker):
        make_whole_product()
        yield


@pytest.fixture
def paid_hour(db: None) -> Distribution:
    return Distribution.objects.get(programme="pool_hourly", status="paid")


@pytest.fixture
def failed_hour(db: None) -> Distribution:
    return Distribution.objects.get(status="failed")


def page(model: Any, view: str, *args: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{view}", args=args)


def get(client: Client, url: str) -> list[str]:
    """The statements that a page took; it must be there."""
    client.get(url)  # permissions of the session's user, content types: read once
    with CaptureQueriesContext(connection) as captured:
        response = client.get(url)
    assert response.status_code == 200, url
    return [query["sql"] for query in captured.captured_queries]


def refuse_counting(statements: list[str]) -> None:
    for sql in statements:
        whole_table = "COUNT(*)" in sql.upper() and " WHERE " not in sql.upper()
        assert not (whole_table and any(f'"{table}"' in sql for table in LARGE_TABLES)), sql


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_lists_and_their_rows_open_with_a_bounded_number_of_queries_and_count_no_large_table(sign_in, model) -> None:
    root = sign_in()
    statements = get(root, page(model, "changelist"))
    assert len(statements) <= MOST_QUERIES, statements
    refuse_counting(statements)

    row = model._default_manager.order_by("pk").last()
    if row is not None:
        assert len(get(root, page(model, "change", row.pk))) <= 40


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_a_search_that_finds_nothing_and_one_that_finds_something_answer(sign_in, model) -> None:
    root = sign_in()
    for term in ("alice", "2026-11", "pool", "0", "%", "'; DROP TABLE", "\x00"):
        assert root.get(page(model, "changelist"), {"q": term}).status_code == 200


def pages_of_a_row(resolver: Any, names: tuple[str, ...] = ()) -> Iterator[str]:
    """The names of all pages of the admin whose address says which row they are about."""
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLResolver):
            yield from pages_of_a_row(pattern)
        elif pattern.name and "object_id" in pattern.pattern.converters:
            yield pattern.name


PAGES_OF_A_ROW = sorted(set(pages_of_a_row(get_resolver("rewards_site.urls").namespace_dict["admin"][1])))


@pytest.mark.parametrize("name", PAGES_OF_A_ROW)
def test_what_is_no_id_is_not_found(sign_in, name) -> None:
    root = sign_in()
    try:
        url = reverse(f"admin:{name}", args=["ROW"])
    except NoReverseMatch:  # it takes numbers only, or says more than which row
        return
    for text in ("abc", "1.5", "a/b", "9" * 30, "9" * 5_000, "%00", "²"):
        assert root.get(url.replace("ROW", text)).status_code == 404, (url, text)
    for number in ("-1", "999999999", "٣٣٣٣٣٣"):
        assert root.get(url.replace("ROW", number)).status_code in (302, 403, 404), (url, number)


def test_a_viewer_sees_every_list_and_row_of_ours_and_may_change_none(sign_in) -> None:
    viewer = sign_in("Viewer")
    for model in MODELS:
        if model._meta.app_label == "auth":
            continue
        assert viewer.get(page(model, "changelist")).status_code == 200, model
        row = model._default_manager.order_by("pk").last()
        if row is not None:
            assert viewer.get(page(model, "change", row.pk)).status_code == 200, model
            assert viewer.post(page(model, "change", row.pk), {}).status_code == 403, model
            assert viewer.post(page(model, "delete", row.pk), {"post": "yes"}).status_code == 403, model
        assert viewer.post(page(model, "add"), {}).status_code == 403, model


def test_a_distribution_shows_its_rule_in_words_its_slices_and_its_curve(sign_in, paid_hour) -> None:
    shown = sign_in().get(page(Distribution, "change", paid_hour.pk)).content.decode()
    assert "top10: 20% to the first 10 places, shared equally." in shown
    assert paid_hour.digest in shown
    assert shown.count('class="chart"') == 3
    assert "reward_distributed" in shown


def test_a_failed_distribution_shows_its_error_and_stack(sign_in, failed_hour) -> None:
    shown = sign_in().get(page(Distribution, "change", failed_hour.pk)).content.decode()
    assert "It failed in the stage “open”" in shown
    assert "Traceback" in shown


def test_rewards_of_a_distribution_stand_by_place_and_are_found_by_name(sign_in, paid_hour) -> None:
    root = sign_in()
    listed = root.get(page(Reward, "changelist"), {"distribution__id__exact": paid_hour.pk}).context["cl"].result_list
    assert [reward.user.username for reward in listed] == ["alice", "bob", "carol"]
    query = {"distribution__id__exact": paid_hour.pk, "q": "bo"}
    assert [
        reward.user.username for reward in root.get(page(Reward, "changelist"), query).context["cl"].result_list
    ] == ["bob"]


def test_the_salt_of_a_reward_is_neither_shown_nor_asked_about(sign_in) -> None:
    reward = Reward.objects.exclude(salt="").first()
    root = sign_in()
    assert reward.salt not in root.get(page(Reward, "change", reward.pk)).content.decode()
    asked = root.get(page(Reward, "changelist"), {"salt__startswith": reward.salt[0]})
    assert asked.status_code == 400


def test_a_receipt_says_why_in_words_and_links_to_the_transfer(sign_in, paid_hour) -> None:
    reward = Reward.objects.get(distribution=paid_hour, position=1)
    shown = sign_in().get(page(Reward, "change", reward.pk)).content.decode()
    assert "Place 1 of 3" in shown
    assert "/admin/rewards/transfer/" in shown


def test_a_statement_runs_back_from_the_balance_page_by_page(sign_in, paid_hour, monkeypatch) -> None:
    monkeypatch.setattr("rewards.admin.ledger.STATEMENT_LINES", 2)
    account = Account.objects.get(user=None, code="pool:hourly")
    root, url, balances = sign_in(), reverse("admin:rewards_account_show_statement", args=[account.pk]), []
    before: str | None = ""
    while before is not None:
        context = root.get(url, {"before": before} if before else {}).context
        balances += [row[5] for row in context["table"].rows]
        before = context["older"]
    assert len(balances) == account.debits.count() + account.credits.count()
    assert balances[-1] == "150"  # the first hour's accrual: a quarter of six CC at 100 points


def test_a_statement_takes_few_queries_however_many_accounts_it_names(sign_in) -> None:
    account = Account.objects.get(user=None, code="pool:hourly")
    assert len(get(sign_in(), reverse("admin:rewards_account_show_statement", args=[account.pk]))) <= MOST_QUERIES


def test_a_statement_with_a_spoilt_cursor_starts_at_the_newest_line(sign_in) -> None:
    account = Account.objects.first()
    url = reverse("admin:rewards_account_show_statement", args=[account.pk])
    assert sign_in().get(url, {"before": "x:y"}).status_code == 200


def test_pages_of_a_long_list_follow_each_other_without_gap_or_repetition(sign_in, monkeypatch) -> None:
    monkeypatch.setattr(TransferAdmin, "list_per_page", 3)
    root, url, seen = sign_in(), page(Transfer, "changelist"), []
    link = ""
    while True:
        changes = root.get(url + link).context["cl"]
        seen += [transfer.pk for transfer in changes.result_list]
        if not changes.has_older:
            break
        link = changes.older_link()
    everything = list(Transfer.objects.order_by("-pk").values_list("pk", flat=True))
    assert seen == everything
    back = root.get(url + changes.newer_link()).context["cl"]
    assert [transfer.pk for transfer in back.result_list] == everything[: len(everything) - len(changes.result_list)][
        -3:
    ]


@pytest.mark.parametrize("cursor", ["x", "1~2", "~", "99999999999999999999999"])
def test_a_spoilt_cursor_leads_back_to_the_list(sign_in, cursor) -> None:
    response = sign_in().get(page(Reward, "changelist"), {"after": cursor})
    assert response.status_code in (200, 302)


def test_periods_are_listed_with_their_state(sign_in) -> None:
    shown = sign_in().get(reverse("admin:rewards_distribution_periods")).content.decode()
    assert "pool_hourly 2026-11-20T07" in shown
    for state in ("done", "stuck", "waits for approval", "missed"):
        assert state in shown
    only_daily = sign_in().get(reverse("admin:rewards_distribution_periods"), {"programme": "pool_daily"})
    assert "pool_hourly 2026-11-20T07" not in only_daily.content.decode()


def test_a_user_page_shows_balances_and_newest_rewards_only_to_whoever_may_see_them(sign_in, make_user) -> None:
    url = page(User, "change", User.objects.get(username="alice").pk)
    assert "Newest rewards" in sign_in("Viewer").get(url).content.decode()
    clerk = make_user("clerk", is_staff=True)
    clerk.user_permissions.add(Permission.objects.get(codename="view_user"))
    client = Client()
    client.force_login(clerk)
    assert "Newest rewards" not in client.get(url).content.decode()


def test_the_ledger_check_links_to_its_run_and_partner_transfers_are_listed(sign_in) -> None:
    root = sign_in()
    run = JobRun.objects.get(job="check_ledger")
    assert page(JobRun, "change", run.pk) in root.get(reverse("admin:index")).content.decode()
    assert root.get(page(PartnerTransfer, "changelist"), {"state": "unsent"}).status_code == 200


def test_pools_and_parameters_show_what_they_stand_for(sign_in) -> None:
    root = sign_in()
    assert "Daily pool" in root.get(page(Pool, "changelist")).content.decode()
    assert "Payouts are running" in root.get(page(Parameter, "changelist")).content.decode()
