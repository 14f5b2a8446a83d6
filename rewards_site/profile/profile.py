"""GET and PATCH /profile: what a user sees and changes of himself."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from django.core.validators import RegexValidator
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from badges.api import HeldBadgeSerializer
from badges.queries import get_user_badges
from leaderboard.api import OwnPlaceSerializer
from leaderboard.queries import ranks_of
from rewards.activity.models import Counter
from rewards.api.permissions import USER
from rewards.api.serializers import StrictSerializer, TextField
from rewards.api.views import ApiView
from rewards.audit.services import record
from rewards.claims.charges import regenerate
from rewards.common.amounts import canonical_decimal
from rewards.ledger.errors import UnknownCurrency
from rewards.ledger.models import CLAIMABLE, Account
from rewards.ledger.queries import currency_named, earned
from rewards.users.models import User, valid_time_zone

POINTS = "points"
VOTES, DECIDED, WINS, ARGUMENTS = METRICS = ("votes", "cases_decided", "cases_won", "arguments")
ACCURACY_STEP = Decimal("0.0001")

without_control_characters = RegexValidator(r"\A[^\x00-\x1f\x7f]+\Z", "This is one line of printable characters.")
visible_ascii = RegexValidator(r"\A[\x21-\x7e]+\Z", "A wallet address is visible ASCII characters without spaces.")


class StatisticsSerializer(serializers.Serializer[Any]):
    votes = serializers.IntegerField()
    wins = serializers.IntegerField()
    arguments = serializers.IntegerField()
    accuracy = serializers.CharField(help_text="Wins per decided vote, 0 to 1, as decimal text")


class ProfileSerializer(serializers.Serializer[Any]):
    id = serializers.CharField(help_text="The product's id for the user")
    username = serializers.CharField()
    name = serializers.CharField()
    balances = serializers.DictField(child=serializers.CharField(), help_text="Decimal text by code of the currency")
    claimable = serializers.DictField(
        child=serializers.CharField(), help_text="What is to be claimed on the chain, by code of the currency"
    )
    total_points = serializers.CharField(help_text="Points ever earned, spent or not")
    statistics = StatisticsSerializer()
    badges = HeldBadgeSerializer(many=True)
    ranks = serializers.DictField(child=OwnPlaceSerializer(), help_text="By the slug of the board")
    wallet_address = serializers.CharField()
    time_zone = serializers.CharField()


@extend_schema_field({"type": "string", "format": "time-zone", "example": "Europe/Berlin"})
class TimeZoneField(TextField):
    """The name of a time zone, or nothing: the product's."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_blank=True, max_length=64, validators=[valid_time_zone], **options)


class ProfileChanges(StrictSerializer):
    name = TextField(required=False, allow_blank=True, max_length=150, validators=[without_control_characters])
    wallet_address = TextField(required=False, allow_blank=True, max_length=128, validators=[visible_ascii])
    time_zone = TimeZoneField(required=False, help_text="A name of the IANA time zone database")


PROFILE_EXAMPLE = OpenApiExample(
    "A player",
    response_only=True,
    value={
        "id": "alice",
        "username": "alice",
        "name": "Alice",
        "balances": {"coins": "125.50", "points": "40"},
        "claimable": {"points": "15"},
        "total_points": "90",
        "statistics": {"votes": 9, "wins": 4, "arguments": 2, "accuracy": "0.6667"},
        "badges": [
            {
                "id": 1, "name": "First Victory", "description": "Won your first case", "icon": "🏆",
                "earned_at": "2026-11-16T01:00:00Z", "bonus_points": 50,
            }
        ],
        "ranks": {"points-all-time": {"rank": 2, "points": "90"}},
        "wallet_address": "0x52908400098527886E0F7030069857D2E4169EE7",
        "time_zone": "Europe/Berlin",
    },
)  # fmt: skip


class Profile(ApiView):
    access = {"GET": [USER], "PATCH": [USER]}

    @extend_schema(
        operation_id="profile",
        summary="The user's own profile",
        responses=ProfileSerializer,
        examples=[PROFILE_EXAMPLE],
    )
    def get(self, request: Request) -> Response:
        self.query(StrictSerializer)
        return Response(profile_of(request.user, timezone.now()))  # type: ignore[arg-type]

    @extend_schema(
        operation_id="change_profile",
        summary="Change name, wallet address or time zone",
        description="Fields that are left out stay as they are; an empty text takes a value away.",
        request=ProfileChanges,
        responses=ProfileSerializer,
        examples=[
            OpenApiExample(
                "A wallet", request_only=True, value={"wallet_address": "0x52908400098527886E0F7030069857D2E4169EE7"}
            ),
            PROFILE_EXAMPLE,
        ],
    )
    def patch(self, request: Request) -> Response:
        user = change_profile(request.user, self.body(ProfileChanges))  # type: ignore[arg-type]
        return Response(profile_of(user, timezone.now()))


# ------------------------------------------------------------------------------------------------------------- profile


def profile_of(user: User, at: datetime) -> dict[str, Any]:
    """The user's profile at `at`. Charges that are due by then are posted first, so it writes."""
    with transaction.atomic():
        regenerate(user, at)
    return {
        "id": user.username,
        "username": user.username,
        "name": user.name,
        "balances": balances(user),
        "claimable": claimable(user),
        "total_points": total_points(user),
        "statistics": statistics(user),
        "badges": get_user_badges(user)["badges"],
        "ranks": ranks_of(user, at),
        "wallet_address": user.wallet_address,
        "time_zone": user.time_zone,
    }


def balances(user: User) -> dict[str, str]:
    """Code → decimal text, of every currency the user has an account in. Such an account's row is its balance."""
    return _by_currency(Account.objects.filter(user=user, code=""))


def claimable(user: User) -> dict[str, str]:
    """The same of what was paid out to him on the chain and he has not got yet: unclaimed, or under way."""
    return _by_currency(Account.objects.filter(user=user, code=CLAIMABLE, balance__gt=0))


def _by_currency(accounts: QuerySet[Account]) -> dict[str, str]:
    found = accounts.select_related("currency").order_by("currency__code")
    return {account.currency.code: account.currency.to_units(account.balance) for account in found}


def total_points(user: User) -> str:
    """The points he has ever earned, spent or not, as decimal text."""
    try:
        currency = currency_named(POINTS)
    except UnknownCurrency:
        return "0"
    return currency.to_units(earned(user, currency))


def statistics(user: User) -> dict[str, Any]:
    """Counts of what he did, and the share of his decided votes that won, as decimal text.

    A product that does not report `cases_decided` decides at once: its `votes` stand in.
    """
    counters = Counter.objects.filter(user=user, metric__in=METRICS, month="")
    counts = dict.fromkeys(METRICS, Decimal(0)) | dict(counters.values_list("metric", "quantity"))
    decided = counts[DECIDED] or counts[VOTES]
    accuracy = (counts[WINS] / decided).quantize(ACCURACY_STEP, ROUND_HALF_UP) if decided else Decimal(0)
    return {
        "votes": int(counts[VOTES]),
        "wins": int(counts[WINS]),
        "arguments": int(counts[ARGUMENTS]),
        "accuracy": canonical_decimal(accuracy),
    }


def change_profile(user: User, changes: Mapping[str, str]) -> User:
    """Write the fields that differ, and an audit event that names them; the user as he is then."""
    with transaction.atomic():
        stored = User.objects.select_for_update(no_key=True).get(pk=user.pk)
        changed = [field for field, value in changes.items() if getattr(stored, field) != value]
        for field in changed:
            setattr(stored, field, changes[field])
        if changed:
            stored.save(update_fields=changed)
            record("profile_changed", user=stored, actor=stored, data={"fields": sorted(changed)})
    return stored
