"""POST /profile/rewards/claim: a user claims rewards that are paid out on the chain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from rewards.api.permissions import USER
from rewards.api.serializers import MAX_WHOLE, StrictSerializer, TextField, WholeNumberField
from rewards.api.views import ApiView
from rewards.chain_claims.models import RewardClaim
from rewards.chain_claims.services import AT_ONCE, begin_claims, send_claims
from rewards.distributions.models import Reward
from rewards_site.profile.profile import visible_ascii

SEEN_AS = {
    RewardClaim.Status.PROCESSING.value: Reward.Status.PROCESSING.value,
    RewardClaim.Status.COMPLETED.value: Reward.Status.PAID.value,
    RewardClaim.Status.FAILED.value: Reward.Status.FAILED.value,
}
CLAIMED = (Reward.Status.PROCESSING, Reward.Status.PAID, Reward.Status.FAILED)


class RewardClaimRequest(StrictSerializer):
    reward_ids = serializers.ListField(
        child=WholeNumberField(min_value=1, max_value=MAX_WHOLE), min_length=1, max_length=AT_ONCE
    )
    wallet_address = TextField(
        required=False, max_length=128, validators=[visible_ascii], help_text="Left out: the one in the profile"
    )


class ClaimedRewardSerializer(serializers.Serializer[Any]):
    id = serializers.IntegerField(help_text="Of the reward")
    status = serializers.ChoiceField([(each.value, each.label) for each in CLAIMED])
    amount = serializers.CharField(help_text="Decimal text in currency units")
    currency = serializers.CharField()
    wallet_address = serializers.CharField()
    tx_hash = serializers.CharField(allow_null=True, help_text="Null until the transaction is signed")


class ClaimAnswer(serializers.Serializer[Any]):
    rewards = ClaimedRewardSerializer(many=True)


WALLET = "0x52908400098527886E0F7030069857D2E4169EE7"
TX_HASH = "0x88df016429689c079f3b2f6ad39fa052532c56795b733da78a91ebe6a713944b"


class ClaimRewards(ApiView):
    access = {"POST": [USER]}
    idempotency_key = "optional"

    @extend_schema(
        operation_id="claim_rewards",
        summary="Claim rewards that are paid out on the chain",
        request=RewardClaimRequest,
        responses={200: ClaimAnswer, 202: ClaimAnswer},
        examples=[
            OpenApiExample(
                "Two rewards", request_only=True, value={"reward_ids": [4711, 4712], "wallet_address": WALLET}
            ),
            OpenApiExample(
                "Under way",
                response_only=True,
                status_codes=["202"],
                value={
                    "rewards": [
                        {
                            "id": 4711, "status": "processing", "amount": "15", "currency": "points",
                            "wallet_address": WALLET, "tx_hash": TX_HASH,
                        }
                    ]
                },
            ),
        ],
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        """All of them or none. 202: transactions are under way, `GET /profile/rewards` tells what becomes of them; 200:
        all are paid already. Claiming again what is claimed changes nothing; what has failed is tried again.
        """
        wanted = self.body(RewardClaimRequest)
        at = timezone.now()
        claims: list[RewardClaim] = []

        def begin() -> Response:
            claims[:] = begin_claims(
                request.user,  # type: ignore[arg-type]
                wanted["reward_ids"],
                wanted.get("wallet_address", ""),
                at,
            )
            return answer(claims)

        return self.once(request, begin, then=lambda: answer(send_claims(claims, at)))


def answer(claims: Sequence[RewardClaim]) -> Response:
    done = all(claim.status == RewardClaim.Status.COMPLETED for claim in claims)
    return Response({"rewards": [shown(claim) for claim in claims]}, status=200 if done else 202)


def shown(claim: RewardClaim) -> dict[str, Any]:
    reward, tx = claim.reward, claim.transaction
    currency = reward.distribution.currency
    return {
        "id": reward.pk,
        "status": SEEN_AS[claim.status],
        "amount": currency.to_units(reward.amount),
        "currency": currency.code,
        "wallet_address": claim.wallet_address,
        "tx_hash": tx.tx_hash if tx else None,
    }
