"""The first page answers whether everybody is paid, in a few statements however much there is; and the sidebar."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from leaderboard.models import Board
from rewards.alerts.services import raise_alert
from rewards.campaigns.services import CAMPAIGN_FAILED
from rewards.distributions.missed import PERIOD_MISSED
from rewards.distributions.models import Distribution
from rewards.ledger.models import Account, Currency
from rewards.ledger.services import balance, system_account
from rewards.parameters.services import forget, set_parameter
from rewards.pending.services import queue_reward
from rewards.users.models import User
from tests.rewards.admin.conftest import make_whole_product
from tests.rewards.admin.test_pages import refuse_counting

pytestmark = pytest.mark.django_db

MOST_STATEMENTS = 19


@pytest.fixture
def whole_product(db: None) -> None:
    make_whole_product()


def statements_of(client: Client) -> list[str]:
    """All that the page takes, from the session on, with every cache of the process empty."""
    forget()
    with CaptureQueriesContext(connection) as captured:
        response = client.get(reverse("admin:index"))
    assert response.status_code == 200
    return [query["sql"] for query in captured.captured_queries]


def shown_to(client: Client) -> str:
    return client.get(reverse("admin:index")).content.decode()


def tile_of(client: Client, label: str) -> Any:
    tiles = client.get(reverse("admin:index")).context["dashboard"]["tiles"]
    return next(tile for tile in tiles if tile.label == label)


# ------------------------------------------------------------------------------------------------------ the statements


def test_the_dashboard_answers_in_few_statements_whether_everybody_is_paid(sign_in, whole_product) -> None:
    for client in (sign_in(), sign_in("Viewer")):
        statements = statements_of(client)
        refuse_counting(statements)
        assert len(statements) <= MOST_STATEMENTS, "\n".join(statements)
        shown = shown_to(client)
        assert "Somebody is not paid." in shown
        assert "pool_hourly 2026-11-20T08 waits for approval." in shown
        assert "pool_hourly 2026-11-20T09 is stuck" in shown
        assert "9 hold" in shown
        assert "pool_nearly_dry treasury" in shown


def test_much_more_of_everything_takes_no_statement_more(sign_in, whole_product) -> None:
    viewer = sign_in("Viewer")
    set_parameter("payouts_paused", True, actor=None, reason="as many as there can be")
    before = len(statements_of(viewer))
    for number in range(5):
        currency = Currency.objects.create(code=f"coin-{number}", decimals=2)
        Board.objects.create(slug=f"board-{number}", source="metric", metric="cc_vote")
        raise_alert(CAMPAIGN_FAILED, f"campaign-{number}")
        for day in range(4):
            distribution_of(currency, f"campaign:{number}", day)
    assert len(statements_of(viewer)) == before <= MOST_STATEMENTS
    assert "Paid per day and programme, coin-4" in shown_to(viewer)


def test_an_installation_without_anything_takes_no_more(sign_in) -> None:
    assert len(statements_of(sign_in("Viewer"))) <= MOST_STATEMENTS
    assert "Everybody is paid." in shown_to(sign_in("Viewer"))


def test_pools_without_a_payout_take_no_more(sign_in, pools) -> None:
    viewer = sign_in("Viewer")
    set_parameter("payouts_paused", True, actor=None, reason="as many as there can be")
    assert len(statements_of(viewer)) <= MOST_STATEMENTS
    assert "no vote yet: nothing is due" in shown_to(viewer)


def distribution_of(currency: Currency, programme: str, day: int) -> Distribution:
    at = timezone.now() - timedelta(days=day + 1)
    return Distribution.objects.create(
        programme=programme, period_key=f"{day}", starts_at=at, ends_at=at, currency=currency, status="paid",
        source_account=system_account("treasury", currency), amount=100, paid_amount=100,
    )  # fmt: skip


# -------------------------------------------------------------------------------------------------------- what it says


def test_the_dashboard_says_who_paused_payouts_and_why(sign_in, whole_product) -> None:
    root = sign_in()
    root.post(reverse("admin:rewards_parameter_pause"), {"reason": "Numbers look odd"})
    shown = shown_to(root)
    assert "Payouts are paused" in shown
    assert "by root: Numbers look odd" in shown


def test_the_dashboard_of_someone_without_rights_shows_nothing_but_says_whom_to_ask(make_user, whole_product) -> None:
    client = Client()
    client.force_login(make_user("newcomer", is_staff=True))
    shown = shown_to(client)
    assert "Ask an administrator" in shown
    assert "pool_hourly" not in shown
    assert "Trends" not in shown


def test_a_pool_is_shown_with_all_that_it_holds_and_its_next_period(sign_in, waiting_hour) -> None:
    tile = tile_of(sign_in("Viewer"), "Hourly pool")
    assert tile.note.startswith("next: 2026-11-20T09")
    account = Account.objects.get(code="pool:hourly")
    assert tile.value == f"{balance(account)} points" != "0 points"


def test_a_failure_is_told_though_newer_alerts_fill_the_table(sign_in, roles) -> None:
    raise_alert(CAMPAIGN_FAILED, "grants", "There is no list.")
    for number in range(12):
        raise_alert("something_else", str(number))
    shown = shown_to(sign_in("Viewer"))
    assert "Campaign grants was not run: There is no list." in shown
    assert tile_of(sign_in("Viewer"), "Open alerts").value == "13"


def test_the_queue_says_since_when_the_oldest_reward_is_due_whatever_its_priority(sign_in, points, make_user) -> None:
    alice = make_user("alice")
    now = timezone.now()
    queue_reward(alice, points, 1, "new", priority="high", at=now)
    queue_reward(alice, points, 1, "old", priority="low", at=now - timedelta(hours=2))
    tile = tile_of(sign_in("Viewer"), "Pending rewards")
    assert (tile.value, tile.note, tile.kind) == ("2", "the oldest due 2 h ago", "warning")
    shown = shown_to(sign_in("Viewer"))
    assert "Somebody is not paid." in shown
    assert "Pending rewards wait: the oldest was due 2 h ago." in shown


def test_a_run_of_a_campaign_that_nobody_began_is_somebody_who_is_not_paid(sign_in, roles) -> None:
    raise_alert(PERIOD_MISSED, "campaign:grants", "It was due.")
    shown = shown_to(sign_in("Viewer"))
    assert "Somebody is not paid." in shown
    assert "Periods of campaign:grants have not begun: It was due." in shown


def test_periods_that_the_page_works_out_itself_are_not_told_of_by_an_alert_that_may_be_an_hour_old(
    sign_in, roles
) -> None:
    for subject in ("pool_hourly", "monthly:students"):
        raise_alert(PERIOD_MISSED, subject, "It was due.")
    assert "Everybody is paid." in shown_to(sign_in("Viewer"))


# --------------------------------------------------------------------------------------------------------- the sidebar


def entries(client: Client, path: str = "") -> dict[str, dict[str, Any]]:
    groups = client.get(path or reverse("admin:index")).context["sidebar_navigation"]
    return {str(item["title"]): item for group in groups for item in group["items"]}


def test_sidebar_and_tile_say_the_same_numbers(sign_in, whole_product) -> None:
    root = sign_in()
    shown = entries(root)
    assert (
        str(shown["Distributions"]["badge_callback" if "badge_callback" in shown["Distributions"] else "badge"]) == "1"
    )
    assert tile_of(root, "Wait for approval").value == "1"


def test_every_page_of_the_sidebar_opens_and_marks_its_own_entry_alone(sign_in, whole_product) -> None:
    root = sign_in()
    for title, item in entries(root).items():
        marked = [name for name, each in entries(root, item["link"]).items() if each["active"]]
        assert marked == [title]


def test_times_of_schedules_are_found_from_the_schedules(sign_in, whole_product) -> None:
    root = sign_in()
    assert not {"Crontabs", "Intervals", "Clocked", "Solar"} & set(entries(root))
    marked = entries(root, reverse("admin:django_celery_beat_crontabschedule_changelist"))
    assert marked["Schedules"]["active"]


def test_trends_and_liability_stand_below_the_dashboard_for_those_who_may_see_them(sign_in, make_user) -> None:
    assert list(entries(sign_in("Viewer")))[:3] == ["Dashboard", "Trends", "Liability and runway"]
    newcomer: User = make_user("newcomer", is_staff=True)
    client = Client()
    client.force_login(newcomer)
    assert list(entries(client)) == ["Dashboard"]


def test_the_rules_in_one_file_stand_in_the_sidebar_for_those_who_may_see_all_of_them(sign_in, make_user) -> None:
    assert "Import rules" in entries(sign_in("Viewer"))
    newcomer: User = make_user("newcomer", is_staff=True)
    newcomer.user_permissions.add(Permission.objects.get(codename="view_parameter"))
    client = Client()
    client.force_login(newcomer)
    assert "Parameters" in entries(client)
    assert "Import rules" not in entries(client)


def test_a_page_of_the_admin_counts_for_its_sidebar_once(sign_in, whole_product) -> None:
    root: Client = sign_in()
    url = reverse("admin:rewards_currency_changelist")
    root.get(url)
    with CaptureQueriesContext(connection) as captured:
        root.get(url)
    badges: Callable[[str], bool] = lambda sql: "pending_moderation" in sql or "\"status\" = 'allocated'" in sql  # noqa: E731
    assert sum(badges(query["sql"]) for query in captured.captured_queries) == 1
