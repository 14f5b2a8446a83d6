"""/leaderboard/: the boards, open to all; who is signed in sees his own place and who stands around it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe
from rest_framework.exceptions import Throttled

from leaderboard.errors import NoSuchMonth, UnknownBoard
from leaderboard.models import Board
from leaderboard.queries import (
    BoardPage,
    Line,
    active_boards,
    board_named,
    board_page,
    is_stale,
    months_of,
    own_places,
    points_text,
)
from rewards.admin.common.display import grouped
from rewards.api.throttles import count_look_back
from rewards.users.models import User
from rewards_site.pages.rewards import whole_number
from rewards_site.pages.shared import open_page, problem_page

PAGE = 25


@require_safe
@open_page
def board_list(request: HttpRequest) -> HttpResponse:
    places = own_places(request.user, timezone.now()) if isinstance(request.user, User) else []
    own = {place.board.pk: {"place": place, "points": grouped(place.points)} for place in places}
    boards = [{"board": board, **own.get(board.pk, {})} for board in active_boards()]
    return render(request, "pages/boards.html", {"boards": boards})


@require_safe
@open_page
def board(request: HttpRequest, slug: str) -> HttpResponse:
    """Some places of a board, now or of a month: `after` is the last place of the page before.

    What no refresh has is worked out, some times a minute only (429).
    """
    try:
        return _board(request, board_named(slug))
    except (UnknownBoard, NoSuchMonth):
        sentence = "There is no such board, or no such month of it. The leaderboards are listed under Leaderboards."
        return problem_page(request, sentence, 404)
    except Throttled as error:
        response = problem_page(request, "This board is asked for very often just now. Try again in a minute.", 429)
        response["Retry-After"] = str(getattr(error, "wait", None) or 60)
        return response


def _board(request: HttpRequest, found: Board) -> HttpResponse:
    at = timezone.now()
    user = request.user if isinstance(request.user, User) else None
    month, after = request.GET.get("month") or None, _after(request, found)
    places = (after + 1, after + PAGE + 1)  # one more tells whether the last one shares its rank
    look_back: Any = partial(count_look_back, request)  # type: ignore[arg-type]  # it reads what both requests have
    page = board_page(found, at, user=user, around=user is not None, month=month, places=places, before_live=look_back)
    context = board_context(page, user, after) | {
        "windows": sibling_boards(found),
        "months": months_of(found, at),
        "is_stale": is_stale(page, at),
    }
    return render(request, "pages/board.html", context)


# ------------------------------------------------------------------------------------------------------ what is shown


def board_context(page: BoardPage, user: User | None, after: int) -> dict[str, Any]:
    shown, me = min(page.users, page.board.size), page.me
    top = shown_lines(page.board, page.entries, user)
    return {
        "page": page,
        "board": page.board,
        "lines": [line for line in top if line["place"] <= after + PAGE],
        "around": shown_lines(page.board, page.around, user) if me else [],
        "me": me,
        "my_points": grouped(points_text(page.board, me.points)) if me else "",
        "unit": page.board.currency
        if page.board.source == Board.Source.POINTS
        else page.board.metric.replace("_", " "),
        "users": grouped(page.users),
        "shown": shown,
        "first": after + 1,
        "last": min(after + PAGE, shown),
        "older": after + PAGE if after + PAGE < shown else None,
        "newer": max(0, after - PAGE) if after else None,
    }


def shown_lines(board: Board, lines: Sequence[Line], user: User | None) -> list[dict[str, Any]]:
    """Lines as the table shows them, each with whether it shares its rank with a neighbour."""
    ranks_below = [*(line.rank for line in lines[1:]), None]
    return [
        {
            "rank": line.rank,
            "place": line.place,
            "is_shared": line.rank < line.place or line.rank == rank_below,
            "username": line.username,
            "points": grouped(points_text(board, line.points)),
            "wins": grouped(line.wins),
            "participations": grouped(line.participations),
            "is_me": user is not None and line.user_id == user.pk,
        }
        for line, rank_below in zip(lines, ranks_below, strict=False)
    ]


def sibling_boards(board: Board) -> list[Board]:
    """The active boards that rank the same in other windows, this one among them; nothing when it is alone."""
    same = {"source": board.source, "time_zone": board.time_zone, "active": True}
    what = {"currency": board.currency} if board.source == Board.Source.POINTS else {"metric": board.metric}
    order = ["daily", "weekly", "monthly", "all_time"]
    found = sorted(Board.objects.filter(**same, **what), key=lambda each: (order.index(each.window), each.slug))
    return found if len(found) > 1 else []


def _after(request: HttpRequest, board: Board) -> int:
    """The place after which the page begins. Raises `Http404` for what is no place of the board."""
    after = whole_number(request.GET.get("after") or "0")
    if after is None or after >= board.size:
        raise Http404
    return after
