"""GET /api/leaderboards and /api/leaderboards/{slug}: the boards, open to all."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any

from django.core.validators import RegexValidator
from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import NotAuthenticated, PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from leaderboard.models import Board
from leaderboard.queries import BoardPage, Line, active_boards, board_named, board_page, points_text
from rewards.api.permissions import ANYONE
from rewards.api.rewards import YEARS
from rewards.api.serializers import InstantField, PageQuery, StrictSerializer, TextField
from rewards.api.throttles import count_look_back
from rewards.api.views import ApiView
from rewards.users.models import User

MONTH = r"\A[12][0-9]{3}-(0[1-9]|1[0-2])\Z"
ME = "me"

SLUG = OpenApiParameter(
    "slug",
    {"type": "string", "pattern": "^[-a-zA-Z0-9_]+$", "maxLength": 60},
    OpenApiParameter.PATH,
    examples=[OpenApiExample("All points", value="points-all-time")],
)

# ------------------------------------------------------------------------------------------------------- what is asked


@extend_schema_field({"type": "string", "format": "date-time", "pattern": YEARS, "example": "2026-11-01T00:00:00Z"})
class PastInstantField(InstantField):
    def to_internal_value(self, value: Any) -> datetime:
        if not re.match(YEARS, value, re.ASCII):
            self.fail("invalid")
        return super().to_internal_value(value)


class BoardQuery(StrictSerializer):
    around = serializers.ChoiceField([ME], required=False, help_text="me: who stands around the caller, 5 on each side")
    at = PastInstantField(required=False, help_text="The board as it was then: an instant in the past, with offset")
    month = TextField(
        required=False,
        validators=[RegexValidator(MONTH, "This must be a month such as 2026-10.")],
        help_text="Of a monthly board: this one instead of now's",
    )


# ---------------------------------------------------------------------------------------------------- what is answered


class ListedBoardSerializer(serializers.Serializer[Any]):
    slug = serializers.CharField()
    title = serializers.CharField()
    window = serializers.ChoiceField(Board.Window.choices)
    source = serializers.ChoiceField(Board.Source.choices)  # type: ignore[assignment]
    size = serializers.IntegerField(help_text="How many places it shows")
    as_of = serializers.DateTimeField(allow_null=True, help_text="What its last refresh shows; null: there was none")


class LineSerializer(serializers.Serializer[Any]):
    rank = serializers.IntegerField(help_text="Equals share it: 1, 2, 2, 4")
    user = serializers.CharField()
    points = serializers.CharField(help_text="Decimal text")
    wins = serializers.IntegerField(help_text="Cases won in the window of the board")
    participations = serializers.IntegerField()


class OwnPlaceSerializer(serializers.Serializer[Any]):
    rank = serializers.IntegerField()
    points = serializers.CharField(help_text="Decimal text")


class BoardSerializer(serializers.Serializer[Any]):
    slug = serializers.CharField()
    title = serializers.CharField()
    as_of = serializers.DateTimeField(help_text="The instant that all of it shows")
    entries = LineSerializer(many=True, help_text="The first places")
    me = OwnPlaceSerializer(allow_null=True, help_text="Null for nobody, and for who has no points on it")
    around = LineSerializer(many=True, help_text="With around=me: those above, the caller, those below")


ALICE = {"rank": 1, "user": "alice", "points": "1250", "wins": 4, "participations": 12}
BOB = {"rank": 2, "user": "bob", "points": "900", "wins": 2, "participations": 9}
A_BOARD = OpenApiExample(
    "As Bob sees it, with around=me",
    response_only=True,
    value={
        "slug": "points-all-time",
        "title": "Points of all time",
        "as_of": "2026-11-21T07:30:00Z",
        "entries": [ALICE, BOB],
        "me": {"rank": 2, "points": "900"},
        "around": [ALICE, BOB],
    },
)

# --------------------------------------------------------------------------------------------------------------- calls


class Leaderboards(ApiView):
    access = {"GET": [ANYONE]}

    @extend_schema(
        operation_id="leaderboards",
        summary="The boards",
        parameters=[PageQuery],
        responses=ListedBoardSerializer(many=True),
    )
    def get(self, request: Request) -> Response:
        self.query(PageQuery)
        return self.page(active_boards(), listed, "slug")


class Leaderboard(ApiView):
    access = {"GET": [ANYONE]}

    @extend_schema(
        operation_id="leaderboard",
        summary="A board, now or as it was",
        parameters=[SLUG, BoardQuery],
        responses=BoardSerializer,
        examples=[A_BOARD],
    )
    def get(self, request: Request, slug: str) -> Response:
        """Of now it is what the last refresh found while that is fresh, of a month that is over what it closed with.
        All else, such as an instant of the past, is worked out to the unit: so it can be asked for some times a minute
        only (429)."""
        asked, at, board = self.query(BoardQuery), timezone.now(), board_named(slug)
        user = who_asks(request, asked)
        page = board_page(
            board,
            at,
            user=user,
            around="around" in asked,
            instant=asked.get("at"),
            month=asked.get("month"),
            before_live=partial(count_look_back, request),
        )
        return Response(shown(page))


def who_asks(request: Request, asked: Mapping[str, Any]) -> User | None:
    """The user who is signed in. Raises `NotAuthenticated` where somebody is needed who stands on the board."""
    if isinstance(request.user, User):
        return request.user
    if "around" in asked:
        raise PermissionDenied("Only users stand on a board.") if request.auth else NotAuthenticated
    return None


# ---------------------------------------------------------------------------------------------------- as it is answered


def listed(board: Any) -> dict[str, Any]:
    return {
        "slug": board.slug,
        "title": board.title,
        "window": board.window,
        "source": board.source,
        "size": board.size,
        "as_of": board.as_of,
    }


def shown(page: BoardPage) -> dict[str, Any]:
    board, me = page.board, page.me
    return {
        "slug": board.slug,
        "title": board.title,
        "as_of": page.as_of,
        "entries": [shown_line(board, line) for line in page.entries],
        "me": {"rank": me.rank, "points": points_text(board, me.points)} if me else None,
        "around": [shown_line(board, line) for line in page.around],
    }


def shown_line(board: Board, line: Line) -> dict[str, Any]:
    return {
        "rank": line.rank,
        "user": line.username,
        "points": points_text(board, line.points),
        "wins": line.wins,
        "participations": line.participations,
    }
