"""GET /profile/rewards and a receipt for each: what the user's part of every payout was, and why."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet, Sum
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from rewards.api.permissions import USER
from rewards.api.serializers import PageQuery, StrictSerializer
from rewards.api.views import ApiView, own_or_404
from rewards.common.amounts import to_units
from rewards.distributions.models import Reward
from rewards.distributions.own import own_rewards, status_is
from rewards.distributions.queries import receipt
from rewards.users.models import User

ID = OpenApiParameter(
    "id",
    {"type": "integer", "minimum": 1},
    OpenApiParameter.PATH,
    examples=[OpenApiExample("One of his rewards", value=4711)],
)


class RewardsQuery(PageQuery):
    status = serializers.ChoiceField(Reward.Status.choices, required=False)


class PayoutSerializer(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    programme = serializers.CharField()
    period_key = serializers.CharField()
    ends_at = serializers.DateTimeField(allow_null=True)


class OwnRewardSerializer(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    distribution = PayoutSerializer()
    amount = serializers.CharField(help_text="Decimal text in currency units")
    currency = serializers.CharField()
    position = serializers.IntegerField()
    rank = serializers.IntegerField(help_text="Place in which equals share a number")
    score = serializers.CharField()
    breakdown = serializers.DictField(child=serializers.CharField(), help_text="What each slice of the rule gave")
    status = serializers.ChoiceField(Reward.Status.choices, help_text="none: took part, and nothing to pay")


class OwnRewardsSerializer(serializers.Serializer[Any]):
    results = OwnRewardSerializer(many=True)
    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)
    totals = serializers.DictField(
        child=serializers.DictField(child=serializers.CharField()),
        allow_null=True,
        help_text="Of all own rewards, whatever is listed: amount by status by currency. Null where a cursor is given",
    )


class ReceiptSliceSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    amount = serializers.CharField()
    slice_amount = serializers.CharField(help_text="What the slice shared out")
    members = serializers.IntegerField(help_text="How many it was shared among")
    weight = serializers.CharField(allow_null=True)
    weights = serializers.CharField(allow_null=True, help_text="What the weights of all members add up to")
    raw_share = serializers.CharField(allow_null=True, help_text="The exact share, before rounding, cap and minimum")


class ReceiptSerializer(serializers.Serializer[Any]):
    reward_id = serializers.IntegerField()
    programme = serializers.CharField()
    period_key = serializers.CharField()
    rule = serializers.DictField()
    rule_version = serializers.IntegerField(allow_null=True)
    tie_policy = serializers.CharField()
    rounding_unit = serializers.CharField()
    position = serializers.IntegerField()
    rank = serializers.IntegerField()
    participants = serializers.IntegerField()
    score = serializers.CharField()
    inputs = serializers.DictField(help_text="Further inputs of the rule, as they were frozen")
    facts = serializers.DictField(help_text="What the rule found out about all participants")
    currency = serializers.CharField()
    amount = serializers.CharField()
    slices = ReceiptSliceSerializer(many=True)
    status = serializers.ChoiceField(Reward.Status.choices)
    transfer = serializers.IntegerField(allow_null=True, help_text="Id of the transfer that paid it")
    paid_at = serializers.DateTimeField(allow_null=True)
    words = serializers.CharField(help_text="All of it in sentences")


A_REWARD = {
    "id": 4711,
    "distribution": {
        "id": 12, "programme": "monthly:students", "period_key": "2026-10", "ends_at": "2026-11-01T00:00:00Z",
    },
    "amount": "500",
    "currency": "coins",
    "position": 2,
    "rank": 2,
    "score": "321",
    "breakdown": {"Elite": "500"},
    "status": "paid",
}  # fmt: skip
A_RECEIPT = {
    "reward_id": 4711,
    "programme": "pool_daily",
    "period_key": "2026-11-20",
    "rule": {"rule": "equal"},
    "rule_version": 3,
    "tie_policy": "earliest",
    "rounding_unit": "0.01",
    "position": 1,
    "rank": 1,
    "participants": 3,
    "score": "30",
    "inputs": {},
    "facts": {},
    "currency": "coins",
    "amount": "3.34",
    "slices": [
        {
            "name": "equal", "amount": "3.34", "slice_amount": "10.00", "members": 3, "weight": "1", "weights": "3",
            "raw_share": "10/3",
        }
    ],
    "status": "paid",
    "transfer": 815,
    "paid_at": "2026-11-21T00:01:07Z",
    "words": "Place 1 of 3 with a score of 30; pool_daily shared out 10.00 coins for 2026-11-20. …",
}  # fmt: skip


class OwnRewards(ApiView):
    access = {"GET": [USER]}

    @extend_schema(
        operation_id="own_rewards",
        summary="The user's own rewards, the newest payout first",
        parameters=[RewardsQuery],
        responses=OwnRewardsSerializer,
        examples=[
            OpenApiExample(
                "Paid twice, and once taken back",
                response_only=True,
                value={
                    "results": [A_REWARD],
                    "next": None,
                    "previous": None,
                    "totals": {"coins": {"paid": "500", "reversed": "100"}},
                },
            )
        ],
    )
    def get(self, request: Request) -> Response:
        """His part of every payout that was approved, also where there was nothing to pay. The first page has the
        totals of all of them; those that a cursor leads to have null instead."""
        asked = self.query(RewardsQuery)
        caller: User = request.user  # type: ignore[assignment]
        own = own_rewards(caller)
        rows = own.filter(status_is(asked["status"], caller)) if "status" in asked else own
        answer = self.page(rows.select_related("distribution__currency"), shown, "-distribution_id")
        answer.data["totals"] = None if "cursor" in asked else totals(own)  # they read all his rows
        return answer


class RewardReceipt(ApiView):
    access = {"GET": [USER]}

    @extend_schema(
        operation_id="reward_receipt",
        summary="Why this amount",
        parameters=[ID],
        responses=ReceiptSerializer,
        examples=[OpenApiExample("Of a day", response_only=True, value=A_RECEIPT)],
    )
    def get(self, request: Request, id: int) -> Response:
        """Rule, inputs, place, shares before and after rounding, and the transfer: in numbers, and in words."""
        self.query(StrictSerializer)
        caller: User = request.user  # type: ignore[assignment]
        reward = own_or_404(own_rewards(caller).select_related("distribution__currency"), pk=id)
        return Response(receipt(reward))


# ------------------------------------------------------------------------------------------------------------- reading


def totals(own: QuerySet[Any]) -> dict[str, dict[str, str]]:
    """Amount by status by currency, of what there was something to pay."""
    sums = (
        own.filter(amount__gt=0)
        .values_list("distribution__currency__code", "distribution__currency__decimals", "seen_as")
        .annotate(total=Sum("amount"))
        .order_by("distribution__currency__code", "seen_as")
    )
    found: dict[str, dict[str, str]] = {}
    for code, decimals, status, total in sums:
        found.setdefault(code, {})[status] = to_units(int(total), decimals)
    return found


def shown(reward: Reward) -> dict[str, Any]:
    distribution = reward.distribution
    units = distribution.currency.to_units
    return {
        "id": reward.pk,
        "distribution": {
            "id": distribution.pk,
            "programme": distribution.programme,
            "period_key": distribution.period_key,
            "ends_at": distribution.ends_at,
        },
        "amount": units(reward.amount),
        "currency": distribution.currency.code,
        "position": reward.position,
        "rank": reward.rank,
        "score": reward.score,
        "breakdown": {name: units(minor) for name, minor in reward.breakdown.items()},
        "status": reward.seen_as,  # type: ignore[attr-defined]
    }
