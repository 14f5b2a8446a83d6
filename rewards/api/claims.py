"""POST /api/claims/{claim_type}: reward a deed, once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import connection
from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from rewards.access.models import Right
from rewards.api.idempotency import again_after_deadlock, key_of
from rewards.api.permissions import USER, machine
from rewards.api.serializers import EntrySerializer, ObjectField, StrictSerializer, TextField, UsernameField
from rewards.api.views import ApiView
from rewards.claims.errors import AlreadyClaimed, NotForUsers, UnknownParty
from rewards.claims.services import claim, public_result
from rewards.users.models import User


class ClaimRequest(StrictSerializer):
    claim_key = TextField(
        required=False, help_text="Names the deed. It may be left out where the context gives it, as its type says"
    )
    context = ObjectField(help_text="What the claim type asks for", default=dict)  # type: ignore[assignment]
    user = UsernameField(required=False, help_text="Who claims; for machines. A user claims for himself")


class ClaimSerializer(serializers.Serializer[Any]):
    claim_id = serializers.IntegerField()
    claim_type = serializers.CharField()
    claim_key = serializers.CharField()
    credits = EntrySerializer(many=True)
    debits = EntrySerializer(many=True)
    balances = serializers.DictField(
        child=serializers.CharField(), help_text="The claimant's, of the currencies touched, as the claim left them"
    )


class Claims(ApiView):
    access = {"POST": [machine(Right.CLAIMS_WRITE), USER]}
    idempotency_key = "optional"

    @extend_schema(
        operation_id="claim",
        summary="Reward a deed, once",
        description=(
            "The key of a claim names the deed, so the request may be repeated at will: whoever comes second gets 409 "
            "`already_claimed`, and in `claim` the first result. Victories are claimed by the product's machine key. "
            "A user may claim what his claim type allows him, for himself."
        ),
        parameters=[
            OpenApiParameter(
                "claim_type",
                {"type": "string", "pattern": "^[-a-zA-Z0-9_]+$", "maxLength": 60},
                OpenApiParameter.PATH,
                description="Its slug",
                examples=[OpenApiExample("A victory", value="pve_victory")],
            )
        ],
        request=ClaimRequest,
        responses={201: ClaimSerializer},
        examples=[
            OpenApiExample(
                "A victory, by a machine",
                request_only=True,
                value={"user": "alice", "context": {"enemy_id": "wolf", "encounter_id": "e-77"}},
            ),
            OpenApiExample(
                "It was rewarded",
                response_only=True,
                status_codes=["201"],
                value={
                    "claim_id": 4711,
                    "claim_type": "pve_victory",
                    "claim_key": "wolf_e-77",
                    "credits": [
                        {"user": "alice", "currency": "lumees", "amount": "100"},
                        {"user": "alice", "currency": "xp", "amount": "50"},
                    ],
                    "debits": [],
                    "balances": {"lumees": "1350", "xp": "420"},
                },
            ),
        ],
    )
    def post(self, request: Request, claim_type: str) -> Response:
        asked = self.body(ClaimRequest)
        at = timezone.now()
        by_user = isinstance(request.user, User)

        def work() -> Response:
            claimant = _himself(request.user, asked) if isinstance(request.user, User) else _named(asked)
            made = claim(claimant, claim_type, asked.get("claim_key"), asked["context"], by_user=by_user, at=at)
            return Response(public_result(made), status=201)

        try:
            # A claim is a transaction of its own: only an answer that is to be kept needs one around it.
            return again_after_deadlock(work) if key_of(request) is None else self.once(request, work)
        except AlreadyClaimed as error:
            # Of a deed that counts once for all, the first claim may be somebody else's: no user's business.
            if not by_user or error.claim.user_id == request.user.pk:
                error.facts["claim"] = public_result(error.claim)
            raise


def _himself(user: User, asked: Mapping[str, Any]) -> User:
    if asked.get("user", user.username) != user.username:
        raise NotForUsers("A user claims for himself: leave user out.", errors={"user": "This is not you."})
    return user


def _named(asked: Mapping[str, Any]) -> User | None:
    """Who claims for a machine; None where the recipe names its parties. Raises `UnknownParty`."""
    if "user" not in asked:
        return None
    with connection.cursor() as cursor:
        cursor.execute(_USER_NAMED, [asked["user"]])
        found = cursor.fetchone()
    if found is None:
        sentence = f"There is no user {asked['user']!r}."
        raise UnknownParty(sentence, errors={"user": sentence})
    return User.from_db(connection.alias, ["id", "username"], found)


# By hand, and two columns: this is asked of every claim. The rest of a user is read by whoever looks at it.
_USER_NAMED = "SELECT id, username FROM rewards_user WHERE username = %s"
