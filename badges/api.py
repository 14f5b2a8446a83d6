"""GET /profile/badges and /profile/badges/progress: what the user holds, and how far he is with the others."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from badges.queries import get_badge_progress, get_user_badges
from rewards.api.permissions import USER
from rewards.api.serializers import StrictSerializer
from rewards.api.views import ApiView
from rewards.users.models import User


class HeldBadgeSerializer(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    name = serializers.CharField()
    description = serializers.CharField()
    icon = serializers.CharField(help_text="An emoji, or the address of an image")
    earned_at = serializers.DateTimeField()
    bonus_points = serializers.IntegerField()


class OwnBadgesSerializer(serializers.Serializer[Any]):
    user_id = serializers.CharField(help_text="The product's id for the user, as in /profile")
    total_badges = serializers.IntegerField()
    badges = HeldBadgeSerializer(many=True)


class BadgeProgressSerializer(serializers.Serializer[Any]):
    badge_name = serializers.CharField(help_text="Names the badge for programs")
    name = serializers.CharField()
    description = serializers.CharField()
    icon = serializers.CharField(help_text="An emoji, or the address of an image")
    earned = serializers.BooleanField()
    current = serializers.IntegerField()
    threshold = serializers.IntegerField()
    progress = serializers.CharField(help_text="Both in words, as in 2/5 wins")
    bonus_points = serializers.IntegerField()


class ProgressSerializer(serializers.Serializer[Any]):
    earned = serializers.IntegerField()
    total = serializers.IntegerField()
    progress_details = BadgeProgressSerializer(many=True)


class OwnProgressSerializer(serializers.Serializer[Any]):
    user_id = serializers.CharField(help_text="The product's id for the user, as in /profile")
    progress = ProgressSerializer()


FIRST_WIN = {"name": "First Victory", "description": "Won your first case", "icon": "🏆", "bonus_points": 50}
FIVE_WINS = {"name": "Winning Streak", "description": "Won 5 cases", "icon": "🔥", "bonus_points": 200}

BADGES_EXAMPLE = OpenApiExample(
    "One badge",
    response_only=True,
    value={
        "user_id": "alice",
        "total_badges": 1,
        "badges": [{"id": 1, **FIRST_WIN, "earned_at": "2026-11-16T01:00:00Z"}],
    },
)
PROGRESS_EXAMPLE = OpenApiExample(
    "One of two",
    response_only=True,
    value={
        "user_id": "alice",
        "progress": {
            "earned": 1,
            "total": 2,
            "progress_details": [
                {
                    "badge_name": "first_win", **FIRST_WIN,
                    "earned": True, "current": 2, "threshold": 1, "progress": "1/1 wins",
                },
                {
                    "badge_name": "five_wins", **FIVE_WINS,
                    "earned": False, "current": 2, "threshold": 5, "progress": "2/5 wins",
                },
            ],
        },
    },
)  # fmt: skip


class OwnBadges(ApiView):
    access = {"GET": [USER]}

    @extend_schema(
        operation_id="own_badges",
        summary="The user's own badges, newest first",
        responses=OwnBadgesSerializer,
        examples=[BADGES_EXAMPLE],
    )
    def get(self, request: Request) -> Response:
        self.query(StrictSerializer)
        caller: User = request.user  # type: ignore[assignment]
        return Response(get_user_badges(caller))


class OwnProgress(ApiView):
    access = {"GET": [USER]}

    @extend_schema(
        operation_id="own_badge_progress",
        summary="How far the user is with each badge",
        responses=OwnProgressSerializer,
        examples=[PROGRESS_EXAMPLE],
    )
    def get(self, request: Request) -> Response:
        self.query(StrictSerializer)
        caller: User = request.user  # type: ignore[assignment]
        return Response(get_badge_progress(caller, timezone.now()))
