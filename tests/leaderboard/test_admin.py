"""Boards in the back-office: what they rank, where everybody stands, refreshed on demand."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.urls import reverse
from django.utils import timezone

from leaderboard import admin as pages
from leaderboard.models import Board, Standings
from leaderboard.services import refresh_board
from rewards.activity.services import NewEvent, record_events
from rewards.audit.models import AuditEvent
from tests.leaderboard.conftest import credited, did
from tests.rewards.admin import conftest as staff_of_the_admin

sign_in, roles = staff_of_the_admin.sign_in, staff_of_the_admin.roles
parameters_read_again = staff_of_the_admin.parameters_read_again

pytestmark = pytest.mark.django_db


def address(view: str, *args: Any, model: str = "board") -> str:
    return reverse(f"admin:leaderboard_{model}_{view}", args=args)


def said(response: Any) -> str:
    return " ".join(str(message) for message in get_messages(response.wsgi_request))


def filled(**changes: Any) -> dict[str, Any]:
    """The form as a browser sends it."""
    return {
        "slug": "wins", "title": "Wins", "active": "on", "source": "metric", "currency": "", "metric": "cases_won",
        "window": "monthly", "time_zone": "", "size": 50,
    } | changes  # fmt: skip


def errors_of(answer: Any) -> dict[str, str]:
    assert answer.status_code == 200, "it was saved"
    return {name: " ".join(sentences) for name, sentences in answer.context["adminform"].form.errors.items()}


@pytest.fixture
def earned(points, alice, bob, carol) -> None:
    """An hour ago Alice and Bob earned 70 each, Carol 5."""
    for user, amount in ((alice, 70), (bob, 70), (carol, 5)):
        credited(user, points, amount, timezone.now() - timedelta(hours=1))


# ------------------------------------------------------------------------------------------------------- what they rank


def test_a_board_of_points_and_one_of_a_metric_are_written_with_what_they_need(sign_in, points) -> None:
    root = sign_in()
    assert root.post(address("add"), filled()).status_code == 302
    assert root.post(address("add"), filled(slug="all", source="points", currency="points")).status_code == 302
    wins, everything = Board.objects.get(slug="wins"), Board.objects.get(slug="all")
    assert (wins.source, wins.metric, wins.currency, wins.size) == ("metric", "cases_won", "", 50)
    assert (everything.source, everything.metric, everything.currency) == ("points", "", "points")
    assert wins.history.get().history_user.username == "root"


@pytest.mark.parametrize(
    ("fields", "field", "sentence"),
    [
        ({"metric": ""}, "metric", "Write the name of a metric"),
        ({"source": "points", "currency": ""}, "currency", "in which currency"),
        ({"source": "points", "currency": "nothing"}, "currency", "Select a valid choice"),
        ({"size": 0}, "size", "greater than or equal to 1"),
        ({"size": 10_001}, "size", "less than or equal to 10000"),
        ({"time_zone": "Mars/Olympus"}, "time_zone", "zone"),
        ({"slug": ""}, "slug", "required"),
    ],
)
def test_a_board_that_makes_no_sense_is_refused_at_its_field(sign_in, points, fields, field, sentence) -> None:
    assert sentence in errors_of(sign_in().post(address("add"), filled(**fields)))[field]
    assert not Board.objects.exists()


def test_a_board_that_ranks_something_else_shows_nothing_until_it_is_refreshed(sign_in, make_board, earned) -> None:
    board, root = make_board(), sign_in()
    refresh_board(board, timezone.now())
    sent = filled(source="points", currency="points", window="weekly", title="Week")
    assert root.post(address("change", board.pk), sent).status_code == 302
    board.refresh_from_db()
    assert (board.window, board.slug) == ("weekly", "points")
    shown = root.get(address("change", board.pk))
    assert "not refreshed yet" in shown.context["state"]
    assert shown.context["places"] is None


def test_what_a_board_ranks_stays_once_a_month_of_it_is_closed(sign_in, make_board) -> None:
    board, root = make_board(window="monthly"), sign_in()
    Standings.objects.create(board=board, month="2026-01", as_of=timezone.now(), closed=True)
    assert root.post(address("change", board.pk), filled(title="Other", size=7)).status_code == 302
    board.refresh_from_db()
    assert (board.title, board.size, board.source, board.window) == ("Other", 7, "points", "monthly")


def test_the_history_says_what_was_changed(sign_in, make_board) -> None:
    board, root = make_board(size=100), sign_in()
    root.post(address("change", board.pk), filled(source="points", currency="points", window="all_time", size=20))
    assert "<del>100</del> → <ins>20</ins>" in root.get(address("history", board.pk)).content.decode()


# --------------------------------------------------------------------------------------------------------- its standing


def test_the_page_of_a_board_shows_who_stands_where_and_as_of_when(sign_in, make_board, earned) -> None:
    board = make_board()
    refresh_board(board, timezone.now())
    context = sign_in().get(address("change", board.pk)).context
    rows = [(row[0], row[2]) for row in context["places"].rows]
    assert rows == [("1", "70"), ("1", "70"), ("3", "5")]
    assert context["figures"][1][1] == "3"
    assert "fresh" in context["state"]


def test_a_board_that_was_never_refreshed_says_so(sign_in, make_board) -> None:
    shown = sign_in().get(address("change", make_board().pk)).content.decode()
    assert "not refreshed yet" in shown
    assert "First places" not in shown


def test_a_board_is_stale_after_two_refreshes_were_missed(sign_in, make_board, earned) -> None:
    board, now = make_board(), timezone.now()
    refresh_board(board, now - timedelta(minutes=29))
    standings = board.standings.get()
    assert not pages.is_stale(standings, now)
    assert pages.is_stale(standings, now + timedelta(minutes=2))
    Standings.objects.update(as_of=now - timedelta(hours=2))
    assert "stale" in sign_in().get(address("changelist")).content.decode()


def test_past_months_are_listed_and_open(sign_in, make_board, alice) -> None:
    board = make_board("wins", metric="cases_won", window="monthly")
    did(alice, "cases_won", 3, timezone.now())
    refresh_board(board, timezone.now())
    closed = Standings.objects.create(
        board=board, month="2026-01", as_of=timezone.now(), users=9, closed=True, ranked_by=board.ranks_by
    )
    root = sign_in()
    shown = root.get(address("change", board.pk)).content.decode()
    assert address("change", closed.pk, model="standings") in shown
    page = root.get(address("change", closed.pk, model="standings"))
    assert page.status_code == 200
    assert "closed" in page.context["state"]


def test_names_that_are_markup_stay_text(sign_in, make_board) -> None:
    at = timezone.now()
    evil = NewEvent("e", "<script>alert(1)</script>", "cases_won", "3", at)
    assert record_events([evil], create_users=True, at=at).accepted == 1
    board = make_board("wins", metric="cases_won", title="<b>Wins</b>")
    refresh_board(board, timezone.now())
    shown = sign_in().get(address("change", board.pk)).content.decode()
    assert "<script>alert(1)" not in shown
    assert "<b>Wins" not in shown
    assert "&lt;script&gt;alert(1)" in shown


# -------------------------------------------------------------------------------------------------------- refreshed now


def test_an_operator_refreshes_a_board_and_it_is_written_who_did(sign_in, make_board, earned, carol, points) -> None:
    board, operator = make_board(), sign_in("Operator")
    url = address("refresh", board.pk)
    assert "as of now" in operator.get(url).content.decode()
    assert not Standings.objects.exists()
    answer = operator.post(url)
    assert "is refreshed: 3 users" in said(answer)
    assert board.standings.get().users == 3
    assert AuditEvent.objects.get(event_type="job_requested").actor.username == "operator"

    credited(carol, points, 100, timezone.now())
    operator.post(url)
    assert board.standings.get().entries.order_by("place").first().user == carol


def test_a_board_that_takes_long_is_left_to_a_worker(sign_in, make_board, earned, monkeypatch) -> None:
    board, asked = make_board(), []
    refresh_board(board, timezone.now())
    Standings.objects.update(seconds=60)
    monkeypatch.setattr("rewards.admin.running.poke", lambda job, trigger: asked.append(job) or True)
    answer = sign_in().post(address("refresh", board.pk))
    assert asked == ["refresh_leaderboards"]
    assert "A worker was asked" in said(answer)
    assert board.standings.get().seconds == 60


@pytest.mark.parametrize("role", ["Viewer", "Support", "Approver"])
def test_whoever_may_only_look_refreshes_nothing(sign_in, make_board, earned, role) -> None:
    board, client = make_board(), sign_in(role)
    assert client.get(address("change", board.pk)).status_code == 200
    assert client.get(address("refresh", board.pk)).status_code == 403
    assert client.post(address("refresh", board.pk)).status_code == 403
    assert not Standings.objects.exists()


@pytest.mark.parametrize("role", ["Viewer", "Support", "Operator", "Approver"])
def test_only_administrators_change_boards(sign_in, make_board, role) -> None:
    board, client = make_board(), sign_in(role)
    assert client.post(address("change", board.pk), filled(title="Mine")).status_code == 403
    assert client.post(address("add"), filled()).status_code == 403
    assert Board.objects.get().title == ""
    assert sign_in("Administrator").post(address("add"), filled()).status_code == 302


@pytest.mark.parametrize("role", [None, "Administrator"])
def test_nobody_deletes_a_board_or_writes_standings(sign_in, make_board, earned, role) -> None:
    board, client = make_board(), sign_in(role)
    refresh_board(board, timezone.now())
    standings = board.standings.get()
    assert client.post(address("delete", board.pk), {"post": "yes"}).status_code == 403
    for view, *args in (("add",), ("change", standings.pk), ("delete", standings.pk)):
        assert client.post(address(view, *args, model="standings"), {"users": 1, "post": "yes"}).status_code == 403
    assert board.standings.get().users == 3


# -------------------------------------------------------------------------------------------------------- the dashboard


def test_the_dashboard_says_how_many_boards_are_stale(sign_in, make_board, earned) -> None:
    board, viewer = make_board(title="All of it"), sign_in("Viewer")
    shown = viewer.get(reverse("admin:index")).content.decode()
    assert "1 stale" in shown
    assert "All of it" in shown
    refresh_board(board, timezone.now())
    shown = viewer.get(reverse("admin:index")).content.decode()
    assert "stale" not in shown
    assert "refreshed" in shown
