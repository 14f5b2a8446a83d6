"""Boards in the admin: what they rank, where everybody stands, refreshed on demand; past months."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import RelatedDropdownFilter
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminSelectWidget

from leaderboard.models import Board, Entry, Standings
from leaderboard.queries import own_places, points_text
from leaderboard.services import refresh_board
from rewards.activity.checks import is_metric
from rewards.activity.models import Counter
from rewards.admin.common.confirm import Question, ask_then_do, page_context
from rewards.admin.common.display import admin_url, ago, badge, duration, grouped, link_to
from rewards.admin.common.fields import SuggestingInput
from rewards.admin.common.history import HistoryAdmin
from rewards.admin.common.lists import distinct_values
from rewards.admin.common.readonly import ReadOnlyAdmin
from rewards.admin.common.tables import Table
from rewards.admin.running import run_now
from rewards.admin.users import on_the_page_of_a_user
from rewards.audit.services import record
from rewards.ledger.models import Currency
from rewards.parameters.services import param
from rewards.users.models import User

JOB = "refresh_leaderboards"
RUN = "django_celery_beat.change_periodictask"
"""The right to run a job out of its turn: refreshing a board is one."""
WHAT_IT_RANKS = ("source", "currency", "metric", "window", "time_zone")
LONG_REFRESH_SECONDS = 5
PLACES_SHOWN = 25
MONTHS_SHOWN = 24
# A refresh that was missed is no matter, one after the other is.
LATE_AFTER_REFRESHES = 2


# --------------------------------------------------------------------------------------------------------------- boards


class BoardForm(forms.ModelForm):
    class Meta:
        model = Board
        fields = ["slug", "title", "active", *WHAT_IT_RANKS, "size"]
        help_texts = {
            "slug": "Names it for good, as in /api/leaderboards/points-weekly.",
            "active": "Whether it is refreshed and shown.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        fields: dict[str, Any] = self.fields
        if "currency" in fields:  # whoever may only look, and a board with a past, has no such fields
            fields["currency"] = forms.ChoiceField(
                choices=[("", "–"), *((code, code) for code in currency_codes(self.instance.currency))],
                required=False,
                initial=self.instance.currency,
                widget=UnfoldAdminSelectWidget(),
                help_text="Credits in it from the system's accounts are the points.",
            )
        if "metric" in fields:
            fields["metric"].widget = SuggestingInput(lambda: distinct_values(Counter, "metric"))
            fields["metric"].help_text = "Such as cases_won."

    def clean(self) -> None:
        super().clean()
        given = self.cleaned_data
        source, metric = given.get("source"), (given.get("metric") or "").strip()
        if source == Board.Source.POINTS and not given.get("currency"):
            self.add_error("currency", "Say in which currency points are earned.")
        if source == Board.Source.METRIC and not is_metric(metric):
            self.add_error("metric", "Write the name of a metric, such as cases_won.")
        if source == Board.Source.METRIC:
            given["currency"] = ""
        elif source == Board.Source.POINTS:
            given["metric"] = ""


def currency_codes(chosen: str) -> list[str]:
    codes = Currency.objects.filter(active=True).order_by("code").values_list("code", flat=True)
    return list(dict.fromkeys([*filter(None, [chosen]), *codes]))


@admin.register(Board)
class BoardAdmin(HistoryAdmin):
    form = BoardForm
    change_form_template = "admin/board.html"
    empty_hint = "`manage.py setup_defaults` creates the boards points-all-time, points-weekly and points-daily."
    list_display = ["name", "ranks", "window", "state", "refreshed", "users_shown", "size"]
    ordering = ["slug"]
    actions = None
    actions_detail = ["refresh"]
    fieldsets = [
        (None, {"fields": ["slug", "title", "active"]}),
        ("What it ranks", {"fields": list(WHAT_IT_RANKS)}),
        ("What it shows", {"fields": ["size"]}),
    ]

    def has_delete_permission(self, request: HttpRequest, obj: Board | None = None) -> bool:
        return False  # switched off instead: closed months stay

    def has_refresh_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.is_active and request.user.has_perm(RUN)  # type: ignore[union-attr]

    def get_readonly_fields(self, request: HttpRequest, obj: Board | None = None) -> list[str]:
        """What it ranks stays once a month is closed: its past would mean something else. Make another board."""
        if obj is None:
            return []
        return ["slug", *(WHAT_IT_RANKS if has_past(obj) else [])]

    def get_fieldsets(self, request: HttpRequest, obj: Board | None = None) -> Any:
        """Of what is fixed, only what says something."""
        if obj is None or self._may_say_what_it_ranks(request, obj):
            return self.fieldsets
        unused = {"metric" if obj.source == Board.Source.POINTS else "currency"}
        unused |= set() if obj.window == Board.Window.MONTHLY else {"time_zone"}
        ranks = {"fields": [name for name in WHAT_IT_RANKS if name not in unused]}
        return [self.fieldsets[0], (self.fieldsets[1][0], ranks), self.fieldsets[2]]

    def _may_say_what_it_ranks(self, request: HttpRequest, board: Board) -> bool:
        return self.has_change_permission(request, board) and not has_past(board)

    # ----------------------------------------------------------------------------------------------------- the list

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """With the newest standings of each, by one query instead of one a line."""
        changes = super().get_changelist_instance(request)
        attach_standings(changes.result_list)
        return changes

    @display(description="Board", ordering="slug")
    def name(self, board: Board) -> str:
        return str(board)

    @display(description="Ranks by")
    def ranks(self, board: Board) -> str:
        return ranks_by(board)

    @display(description="State")
    def state(self, board: Board) -> SafeString:
        return state_of(board, newest(board), timezone.now())

    @display(description="Shows")
    def refreshed(self, board: Board) -> str:
        standings = newest(board)
        return ago(standings.as_of) if standings else "–"

    @display(description="Users")
    def users_shown(self, board: Board) -> str:
        standings = newest(board)
        return grouped(standings.users) if standings else "–"

    # ------------------------------------------------------------------------------------------------------ one board

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        board = Board.objects.filter(pk=object_id).first()
        if board is not None and self.has_view_permission(request, board):
            attach_standings([board])
            extra_context = (extra_context or {}) | page_of(board, timezone.now())
        return super().change_view(request, object_id, form_url, extra_context)

    @action(
        description="Refresh now", url_path="refresh", icon="refresh", variant=ActionVariant.PRIMARY,
        permissions=["refresh"],
    )  # fmt: skip
    def refresh(self, request: HttpRequest, object_id: str) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        board = get_object_or_404(Board, pk=object_id)
        attach_standings([board])
        standings = newest(board)
        question = Question(
            title=f"Refresh {board} now",
            explanation="It is worked out anew from the ledger and the activity, as of now. Readers see the old board "
            "until the new one is there. The schedule does the same every few minutes.",
            button="Refresh",
            figures=[
                ("Shows now", f"{standings.as_of:%Y-%m-%d %H:%M:%S} UTC" if standings else "nothing yet"),
                ("Users", grouped(standings.users) if standings else "–"),
                ("The last refresh took", duration(standings.seconds) if standings else "–"),
            ],
        )

        def do(reason: str) -> str:
            return refreshed_now(board, standings, request.user)

        return ask_then_do(request, question, do, back=admin_url(board), context=page_context(request, self, board))


def refreshed_now(board: Board, standings: Standings | None, actor: Any) -> str:
    """Refresh it here, or have a worker do it where that takes long; what to say."""
    if standings is not None and standings.seconds > LONG_REFRESH_SECONDS:
        return run_now(JOB, actor)
    record("job_requested", actor=actor, data={"job": JOB, "board": board.slug})
    made = refresh_board(board, timezone.now())
    if made is None:
        return f"{board} was refreshed by somebody else in the meantime."
    return f"{board} is refreshed: {grouped(made.users)} users, in {duration(made.seconds)}."


# ------------------------------------------------------------------------------------------------------------- in words


def ranks_by(board: Board) -> str:
    return f"{board.currency} earned" if board.source == Board.Source.POINTS else board.metric


def state_of(board: Board, standings: Standings | None, at: datetime) -> SafeString:
    """`fresh`, `stale` after two refreshes were missed, `not refreshed yet`, `switched off`."""
    if not board.active:
        return badge("none", "switched off")
    if standings is None:
        return badge("missed", "not refreshed yet")
    return badge("missed", "stale") if is_stale(standings, at) else badge("done", "fresh")


def is_stale(standings: Standings, at: datetime) -> bool:
    return at - standings.as_of > timedelta(seconds=LATE_AFTER_REFRESHES * param("leaderboard.fresh_seconds"))


# -------------------------------------------------------------------------------------------------------- its standings


def attach_standings(boards: Iterable[Board]) -> None:
    """The newest standings of each board, but for those of months that are over, and of what it ranked before."""
    found = {board.pk: board for board in boards}
    for board in found.values():
        board.newest = None  # type: ignore[attr-defined]
    for standings in Standings.objects.filter(board__in=found, closed=False).order_by("as_of"):
        board = found[standings.board_id]
        if standings.ranked_by == board.ranks_by:
            board.newest = standings  # type: ignore[attr-defined]


def has_past(board: Board) -> bool:
    return board.standings.filter(closed=True).exists()


def newest(board: Board) -> Standings | None:
    """As attached."""
    return board.newest  # type: ignore[attr-defined]


def page_of(board: Board, at: datetime) -> dict[str, Any]:
    standings = newest(board)
    shown = f"{standings.as_of:%Y-%m-%d %H:%M:%S} UTC" if standings else "nothing yet"
    return {
        "board": board,
        "state": state_of(board, standings, at),
        "figures": [
            ("Shows", shown, ago(standings.as_of, at) if standings else "refresh it, or wait for the schedule"),
            ("Users", grouped(standings.users) if standings else "–", "have points"),
            ("Refresh took", duration(standings.seconds) if standings else "–", ""),
        ],
        "places": places_table(standings) if standings else None,
        "standings_url": admin_url(standings) if standings else "",
        "months": months_table(board) if board.window == Board.Window.MONTHLY else None,
        "months_url": f"{admin_url(Standings)}?board__id__exact={board.pk}",
    }


def places_table(standings: Standings, first: int = PLACES_SHOWN) -> Table:
    """The first places, as the refresh found them."""
    board, entries = standings.board, Entry.objects.filter(standings=standings).select_related("user")
    unit = board.currency if board.source == Board.Source.POINTS else board.metric
    columns = ["Rank", "User", f"Points ({unit})", "Wins", "Participations"]
    rows = [
        (
            grouped(entry.rank),
            link_to(entry.user),
            grouped(points_text(board, entry.points)),
            grouped(entry.wins),
            grouped(entry.participations),
        )
        for entry in entries.order_by("place")[:first]
    ]
    return Table(columns, rows, frozenset(columns[2:]), "Nobody has points on it.")


def months_table(board: Board) -> Table:
    closed = board.standings.filter(closed=True).order_by("-month")[:MONTHS_SHOWN]
    rows = [(link_to(each, each.month), grouped(each.users), each.as_of) for each in closed]
    return Table(["Month", "Users", "As of"], rows, frozenset({"Users"}), "No month is over yet.")


@admin.register(Standings)
class StandingsAdmin(ReadOnlyAdmin):
    """One of each board, and one of each month that is over: few rows."""

    change_form_template = "admin/standings.html"
    empty_hint = "Boards are refreshed every few minutes by refresh_leaderboards; what each finds stands here."
    list_display = ["name", "month_shown", "as_of", "users_shown", "took", "state"]
    list_filter = [("board", RelatedDropdownFilter)]
    list_select_related = ["board"]
    list_per_page = 50
    ordering = ["-as_of"]
    fieldsets: Any = []

    def get_queryset(self, request: HttpRequest) -> QuerySet[Standings]:
        return super().get_queryset(request).select_related("board")

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        found = Standings.objects.select_related("board")
        standings = found.filter(pk=object_id).first()
        if standings is not None and self.has_view_permission(request, standings):
            extra_context = (extra_context or {}) | {
                "standings": standings,
                "state": self.state(standings),
                "figures": [
                    ("As of", f"{standings.as_of:%Y-%m-%d %H:%M:%S} UTC", ago(standings.as_of)),
                    ("Users", grouped(standings.users), "have points"),
                    ("Refresh took", duration(standings.seconds), ""),
                ],
                "places": places_table(standings, standings.board.size),
                "board_link": link_to(standings.board, "The board"),
            }
        return super().change_view(request, object_id, form_url, extra_context)

    @display(description="Board")
    def name(self, standings: Standings) -> str:
        return str(standings.board)

    @display(description="Month", ordering="month")
    def month_shown(self, standings: Standings) -> str:
        return standings.month or "–"

    @display(description="Users", ordering="users")
    def users_shown(self, standings: Standings) -> str:
        return grouped(standings.users)

    @display(description="Took")
    def took(self, standings: Standings) -> str:
        return duration(standings.seconds)

    @display(description="State")
    def state(self, standings: Standings) -> SafeString:
        if standings.closed:
            return badge("none", "closed")
        return badge("missed", "stale") if is_stale(standings, timezone.now()) else badge("done", "fresh")


# ------------------------------------------------------------------------------------------------ on the page of a user


def places_of(request: HttpRequest, user: User) -> tuple[str, Table, str, str] | None:
    """Where a user stood on each board at its last refresh, for whoever may see boards."""
    if not request.user.has_perm("leaderboard.view_board"):  # type: ignore[union-attr]
        return None
    rows = [
        (
            link_to(place.board),
            f"{grouped(place.me.rank)} of {grouped(place.users)}" if place.me else "–",
            place.points if place.me else "none",
            place.as_of or "never refreshed",
        )
        for place in own_places(user, timezone.now())
    ]
    empty = "There is no active board. Boards are made under Boards."
    table = Table(["Board", "Place", "Points", "As of"], rows, frozenset({"Place", "Points"}), empty)
    return "Ranks on boards", table, admin_url(Board), "All boards"


on_the_page_of_a_user(places_of)
