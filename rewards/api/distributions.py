"""Distributions under /api/distributions: what they paid, to whom and why, and what staff may do about them.

Staff with the permission to view distributions see everything. Any other user sees the figures of those that paid or
are paying, and of their rows his own. The salt of a row is shown to its owner alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.core.validators import RegexValidator
from django.db.models import QuerySet
from django.http import Http404
from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from rewards.allocation.leaves import row_leaf
from rewards.allocation.merkle import leaf_hash
from rewards.allocation.participants import TIE_POLICIES
from rewards.api.permissions import USER, staff
from rewards.api.problems import rule_stands_at
from rewards.api.serializers import ObjectField, PageQuery, ReasonField, StrictSerializer, TextField, UsernameField
from rewards.api.views import ApiView, own_or_404
from rewards.deployments.models import Deployment
from rewards.distributions import services
from rewards.distributions.corrections import reverse
from rewards.distributions.models import Distribution, Reward
from rewards.distributions.preview import compare, drafted, preview_of
from rewards.distributions.programmes import UnknownProgramme, programme_named
from rewards.distributions.queries import proof, statuses_of, tier_breakdown
from rewards.ledger.debts import REFUSE, WAYS
from rewards.pending.models import PendingReward
from rewards.users.models import User

Status = Distribution.Status

SHOWN_TO_ALL = (Status.PAYING, Status.PAID, Status.REVERSED)
TIMES = (
    "opened_at", "frozen_at", "allocated_at", "approved_at", "paying_at", "paid_at", "reversed_at",
)  # fmt: skip

ID = OpenApiParameter(
    "id",
    {"type": "integer", "minimum": 1},
    OpenApiParameter.PATH,
    examples=[OpenApiExample("The first one", value=1)],
)

# ------------------------------------------------------------------------------------------------------- what is asked


class DistributionsQuery(PageQuery):
    programme = TextField(required=False, max_length=120, help_text="Such as pool_daily or campaign:airdrop")
    period = TextField(required=False, max_length=40, help_text="A period key")
    status = serializers.ChoiceField(Status.choices, required=False)
    user = UsernameField(required=False, help_text="Where this user took part. Whoever is no staff names himself")
    deployment = serializers.UUIDField(required=False, help_text="What paid rewards of this deployment")

    def validate_programme(self, name: str) -> str:
        try:
            programme_named(name)
        except UnknownProgramme as error:
            raise ValidationError(error.message) from error
        return name


class RewardsQuery(PageQuery):
    user = UsernameField(required=False, help_text="Only this user's row. Whoever is no staff sees his own anyway")


class ProofQuery(StrictSerializer):
    user = UsernameField(required=False, help_text="Whose row; without it the caller's own")


class TiePolicyField(serializers.ChoiceField):
    def __init__(self, **options: Any) -> None:
        super().__init__(TIE_POLICIES, **options)


class AgainstRequest(StrictSerializer):
    rule = ObjectField(required=False, help_text="Without it the rule of the period")
    period_key = TextField(required=False, max_length=40, help_text="Without it the same period")


class PreviewRequest(StrictSerializer):
    programme = TextField(max_length=120)
    period_key = TextField(max_length=40)
    rule = ObjectField(required=False, help_text="Without it the rule of the period")
    tie_policy = TiePolicyField(required=False)
    against = AgainstRequest(required=False, help_text="Who gains and who loses compared with this")


class ApprovalRequest(StrictSerializer):
    digest = TextField(
        required=False,
        validators=[RegexValidator(r"\A[0-9a-f]{64}\Z", "A digest is 64 hex digits.")],
        help_text="What the approver has looked at: with another one nothing is approved",
    )


class ReasonRequest(StrictSerializer):
    reason = ReasonField()


class ReverseRequest(ReasonRequest):
    missing = serializers.ChoiceField(
        WAYS,
        default=REFUSE,
        help_text="About recipients who have spent it: nothing is taken from anybody; what is missing is lent to them, "
        "as a debt; it is written off",
    )


# ---------------------------------------------------------------------------------------------------- what is answered


class DistributionSerializer(serializers.Serializer[Any]):
    """Fields that are not required are shown to staff."""

    id = serializers.IntegerField()
    programme = serializers.CharField()
    period_key = serializers.CharField()
    starts_at = serializers.DateTimeField(allow_null=True)
    ends_at = serializers.DateTimeField(allow_null=True)
    status = serializers.ChoiceField(Status.choices)
    currency = serializers.CharField()
    amount = serializers.CharField(help_text="To distribute; like all amounts decimal text in currency units")
    paid_amount = serializers.CharField()
    recipients = serializers.IntegerField(help_text="Rows with an amount above zero")
    participants = serializers.IntegerField(help_text="All rows")
    digest = serializers.CharField(help_text="Merkle root over header and rows")
    opened_at = serializers.DateTimeField()
    frozen_at = serializers.DateTimeField(allow_null=True)
    allocated_at = serializers.DateTimeField(allow_null=True)
    approved_at = serializers.DateTimeField(allow_null=True)
    paying_at = serializers.DateTimeField(allow_null=True)
    paid_at = serializers.DateTimeField(allow_null=True)
    reversed_at = serializers.DateTimeField(allow_null=True)

    source_account = serializers.CharField(required=False)
    carried_over = serializers.CharField(required=False)
    approval_limit = serializers.CharField(required=False, allow_null=True)
    rule = serializers.DictField(required=False)
    rule_version = serializers.IntegerField(required=False, allow_null=True)
    tie_policy = serializers.CharField(required=False)
    late_events = serializers.IntegerField(required=False)
    results = serializers.DictField(required=False, help_text="What each slice paid, and the facts of the rule")
    failed_at = serializers.DateTimeField(required=False, allow_null=True)
    failed_from = serializers.CharField(required=False, help_text="The stage that a retry continues from")
    error = serializers.CharField(required=False)
    error_stack = serializers.CharField(required=False)
    reason = serializers.CharField(required=False, help_text="Why it was rejected or reversed")
    actor = serializers.CharField(required=False, allow_null=True, help_text="Who opened it; null: the schedule")
    prepared_by = serializers.CharField(required=False, allow_null=True)
    approved_by = serializers.CharField(required=False, allow_null=True)
    seconds = serializers.DictField(child=serializers.FloatField(), required=False)


class RewardSerializer(serializers.Serializer[Any]):
    reward_id = serializers.IntegerField()
    user = serializers.CharField()
    position = serializers.IntegerField()
    rank = serializers.IntegerField()
    score = serializers.CharField()
    currency = serializers.CharField()
    amount = serializers.CharField()
    breakdown = serializers.DictField(child=serializers.CharField(), help_text="What each slice gave")
    inputs = serializers.DictField(help_text="What the rule looked at besides the score")
    status = serializers.ChoiceField(Reward.Status.choices)
    salt = serializers.CharField(required=False, help_text="Shown to its owner")


class LeafSerializer(serializers.Serializer[Any]):
    position = serializers.IntegerField()
    user = serializers.CharField()
    score = serializers.CharField()
    amount = serializers.CharField()
    breakdown = serializers.DictField(child=serializers.CharField())
    salt = serializers.CharField(required=False, help_text="Shown to its owner")


class ProofSerializer(serializers.Serializer[Any]):
    root = serializers.CharField()  # type: ignore[assignment]
    tree_size = serializers.IntegerField()
    leaf_index = serializers.IntegerField()
    leaf = LeafSerializer()
    leaf_hash = serializers.CharField(required=False, help_text="In place of the salt, for who is not its owner")
    path = serializers.ListField(child=serializers.CharField())


class PlaceSerializer(serializers.Serializer[Any]):
    position = serializers.IntegerField()
    user = serializers.CharField()
    score = serializers.CharField()
    amount = serializers.CharField()


class PointSerializer(serializers.Serializer[Any]):
    position = serializers.IntegerField()
    amount = serializers.CharField()


class SliceSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    amount = serializers.CharField()
    paid = serializers.CharField()
    members = serializers.IntegerField()


class ChangeSerializer(serializers.Serializer[Any]):
    user = serializers.CharField()
    before = serializers.CharField()
    after = serializers.CharField()
    difference = serializers.CharField()


class ChangesSerializer(serializers.Serializer[Any]):
    count = serializers.IntegerField()
    sum = serializers.CharField()
    largest = ChangeSerializer(many=True)


class ComparisonSerializer(serializers.Serializer[Any]):
    currency = serializers.CharField()
    gaining = ChangesSerializer()
    losing = ChangesSerializer()
    unchanged = serializers.IntegerField()


class PreviewSerializer(serializers.Serializer[Any]):
    programme = serializers.CharField()
    period_key = serializers.CharField()
    currency = serializers.CharField()
    rule = serializers.DictField()
    tie_policy = serializers.CharField()
    amount = serializers.CharField()
    total = serializers.CharField()
    unpaid = serializers.CharField()
    participants = serializers.IntegerField()
    recipients = serializers.IntegerField()
    best = PlaceSerializer(many=True)
    quantiles = serializers.DictField(child=serializers.CharField())
    top_1_percent = serializers.CharField(help_text="The share of the best paid hundredth")
    top_10_percent = serializers.CharField()
    gini = serializers.CharField()
    curve = PointSerializer(many=True, help_text="The amount at about sixty places")
    slices = SliceSerializer(many=True)
    comparison = ComparisonSerializer(required=False, help_text="From `against` to what is previewed")


PUBLIC = {
    "id": 815,
    "programme": "pool_daily",
    "period_key": "2026-11-20",
    "starts_at": "2026-11-20T00:00:00Z",
    "ends_at": "2026-11-21T00:00:00Z",
    "status": "paid",
    "currency": "coins",
    "amount": "1000.00",
    "paid_amount": "1000.00",
    "recipients": 2,
    "participants": 3,
    "digest": "5f3a5a0c5d2f8a8a2d7b3c0d4f6a1b9e0c7d8e9fa1b2c3d4e5f60718293a4b5c",
    **{name: "2026-11-21T00:01:07Z" for name in TIMES if name != "reversed_at"},
    "reversed_at": None,
}
A_DISTRIBUTION = OpenApiExample("What everybody sees of a day", response_only=True, value=PUBLIC)
A_LEAF = {
    "position": 1,
    "user": "alice",
    "score": "30",
    "amount": "600.00",
    "breakdown": {"top10": "600.00"},
    "salt": "9b2d6f0e4c8a1357bd02468ace13579f",
}
OWN_ROW = OpenApiExample(
    "Alice's own row",
    response_only=True,
    value=A_LEAF | {"reward_id": 4711, "rank": 1, "currency": "coins", "inputs": {}, "status": "paid"},
)
A_PROOF = OpenApiExample(
    "Alice's proof",
    response_only=True,
    value={
        "root": PUBLIC["digest"],
        "tree_size": 4,
        "leaf_index": 1,
        "leaf": A_LEAF,
        "path": ["0c1b…", "77fe…"],
    },
)


# ---------------------------------------------------------------------------------------------------------- who sees it


def sees_all(caller: User) -> bool:
    return caller.is_staff and caller.has_perm("rewards.view_distribution")


def visible_to(caller: User) -> QuerySet[Distribution]:
    rows = Distribution.objects.select_related("currency")
    if not sees_all(caller):
        return rows.filter(status__in=SHOWN_TO_ALL)
    return rows.select_related(
        "source_account__user", "source_account__currency", "actor", "prepared_by", "approved_by"
    )


def user_asked_about(caller: User, username: str) -> User:
    """Raises `Http404`: whoever sees not all asks about himself, and learns not who else there is."""
    if username == caller.username:
        return caller
    if not sees_all(caller):
        raise Http404
    found: User = own_or_404(User.objects.all(), username=username)
    return found


def deployment_asked_about(caller: User, deployment_id: Any) -> Deployment:
    """Raises `Http404`, for another one's too."""
    deployments = Deployment.objects.all() if sees_all(caller) else Deployment.objects.filter(user=caller)
    found: Deployment = own_or_404(deployments, pk=deployment_id)
    return found


# ------------------------------------------------------------------------------------------------------------- reading


class Distributions(ApiView):
    access = {"GET": [USER]}

    @extend_schema(
        operation_id="distributions",
        summary="Distributions, newest first",
        description=(
            "Staff with the permission rewards.view_distribution see all of them and all about them; other users those "
            "that paid or are paying, and their public figures."
        ),
        parameters=[DistributionsQuery],
        responses=DistributionSerializer(many=True),
        examples=[A_DISTRIBUTION],
    )
    def get(self, request: Request) -> Response:
        caller: User = request.user  # type: ignore[assignment]
        rows, everything = filtered(visible_to(caller), caller, self.query(DistributionsQuery)), sees_all(caller)
        return self.page(rows, lambda distribution: shown(distribution, everything))


def filtered(rows: QuerySet[Distribution], caller: User, asked: dict[str, Any]) -> QuerySet[Distribution]:
    exact = {"programme": "programme", "period": "period_key", "status": "status"}
    rows = rows.filter(**{field: asked[name] for name, field in exact.items() if name in asked})
    if "user" in asked:
        rows = rows.filter(rewards__user=user_asked_about(caller, asked["user"]))
    if "deployment" in asked:
        paid_for = PendingReward.objects.filter(deployment=deployment_asked_about(caller, asked["deployment"]))
        rows = rows.filter(pk__in=paid_for.values("distribution"))
    return rows


class OneDistribution(ApiView):
    access = {"GET": [USER]}

    @extend_schema(
        operation_id="distribution",
        summary="A distribution",
        parameters=[ID],
        responses=DistributionSerializer,
        examples=[A_DISTRIBUTION],
    )
    def get(self, request: Request, id: int) -> Response:
        caller: User = request.user  # type: ignore[assignment]
        return Response(shown(own_or_404(visible_to(caller), pk=id), sees_all(caller)))


class DistributionRewards(ApiView):
    access = {"GET": [USER]}

    @extend_schema(
        operation_id="distribution_rewards",
        summary="Its rewards, in the order of their places",
        parameters=[ID, RewardsQuery],
        responses=RewardSerializer(many=True),
        examples=[OWN_ROW],
    )
    def get(self, request: Request, id: int) -> Response:
        """Staff who may view distributions see every row, other users their own."""
        asked = self.query(RewardsQuery)
        caller: User = request.user  # type: ignore[assignment]
        user = user_asked_about(caller, asked["user"]) if "user" in asked else None
        distribution = own_or_404(visible_to(caller), pk=id)
        rows = Reward.objects.filter(distribution=distribution).select_related("user")
        if user is not None or not sees_all(caller):
            rows = rows.filter(user=user or caller)
        return self.whole_page(rows, lambda found: shown_rows(distribution, found, caller), "position")


class DistributionProof(ApiView):
    access = {"GET": [USER]}

    @extend_schema(
        operation_id="distribution_proof",
        summary="Proof that a row is part of the digest",
        parameters=[ID, ProofQuery],
        responses=ProofSerializer,
        examples=[A_PROOF],
    )
    def get(self, request: Request, id: int) -> Response:
        """`python -m rewards.allocation.verify` checks it. Staff see another one's proof without the salt of its leaf,
        so they can follow the path from `leaf_hash`."""
        asked = self.query(ProofQuery)
        caller: User = request.user  # type: ignore[assignment]
        user = user_asked_about(caller, asked.get("user", caller.username))
        found = proof(own_or_404(visible_to(caller), pk=id), user)
        return Response(found if user == caller else without_salt(found))


# ------------------------------------------------------------------------------------------------------------- preview


class DistributionPreview(ApiView):
    access = {"POST": [staff("rewards.view_distribution")]}

    @extend_schema(
        operation_id="preview_distribution",
        summary="What a period would pay, by any rule",
        request=PreviewRequest,
        responses={200: PreviewSerializer},
        examples=[
            OpenApiExample(
                "The day by another rule",
                request_only=True,
                value={
                    "programme": "pool_daily",
                    "period_key": "2026-11-21",
                    "rule": {"rule": "equal"},
                    "against": {},
                },
            )
        ],
    )
    def post(self, request: Request) -> Response:
        """A frozen period is shared out again from what was frozen. Nothing is written."""
        asked, now = self.body(PreviewRequest), timezone.now()
        programme, period_key = asked["programme"], asked["period_key"]
        with rule_stands_at("rule"):
            draft = drafted(programme, period_key, now)
            after = preview_of(programme, period_key, draft, rule=asked.get("rule"), tie_policy=asked.get("tie_policy"))
        if "against" not in asked:
            return Response(after.as_json())
        other = asked["against"]
        other_key = other.get("period_key", period_key)
        with rule_stands_at("against.rule"):
            other_draft = draft if other_key == period_key else drafted(programme, other_key, now)
            before = preview_of(programme, other_key, other_draft, rule=other.get("rule"))
        return Response({**after.as_json(), "comparison": compare(before, after).as_json()})


# ------------------------------------------------------------------------------------------------------------- actions


def acting(method: str, summary: str, body: type[StrictSerializer] | None, **example: str) -> Callable[..., Any]:
    """The schema of something done about a distribution; the answer is the distribution."""
    return extend_schema(
        operation_id=f"{method}_distribution",
        summary=summary,
        parameters=[ID],
        request=body,
        responses={200: DistributionSerializer},
        examples=[OpenApiExample(summary, request_only=True, value=example)] if example else [],
    )


class ApproveDistribution(ApiView):
    access = {"POST": [staff("rewards.approve_distribution")]}
    idempotency_key = "optional"

    @acting("approve", "Approve what waits for it, and pay it", ApprovalRequest, digest="0f" * 32)
    def post(self, request: Request, id: int) -> Response:
        """It is paid for some seconds before the answer; a worker goes on with what is left then."""
        digest = self.body(ApprovalRequest).get("digest")
        require(id)

        def approve() -> Response:
            return Response(shown(services.approve(id, request.user, digest), True))  # type: ignore[arg-type]

        return self.once(request, approve, then=lambda: paid_along(id))


class RejectDistribution(ApiView):
    access = {"POST": [staff("rewards.approve_distribution")]}
    idempotency_key = "optional"

    @acting("reject", "Reject what waits for approval", ReasonRequest, reason="The budget is not decided yet")
    def post(self, request: Request, id: int) -> Response:
        """It is cancelled, and its amount carried over."""
        reason = self.body(ReasonRequest)["reason"]
        require(id)

        def reject() -> Response:
            return Response(shown(services.reject(id, request.user, reason), True))  # type: ignore[arg-type]

        return self.once(request, reject)


class RetryDistribution(ApiView):
    access = {"POST": [staff("rewards.run_distribution")]}
    idempotency_key = "optional"

    @acting("retry", "Go on with one that failed", None)
    def post(self, request: Request, id: int) -> Response:
        """It continues from the stage it failed in, for some seconds before the answer; then a worker goes on."""
        self.body(StrictSerializer)
        require(id)

        def resume() -> Response:
            return Response(shown(services.resume(id, request.user), True))  # type: ignore[arg-type]

        return self.once(request, resume, then=lambda: paid_along(id))


class ReverseDistribution(ApiView):
    access = {"POST": [staff("rewards.reverse_distribution")]}
    idempotency_key = "optional"

    @acting("reverse", "Take back what one has paid", ReverseRequest, reason="Paid by the wrong rule")
    def post(self, request: Request, id: int) -> Response:
        """All of it or nothing, and for good: the units go back to the source, and the period is not paid again."""
        asked = self.body(ReverseRequest)
        require(id)

        def take_back() -> Response:
            return Response(shown(reverse(id, request.user, **asked), True))  # type: ignore[arg-type]

        return self.once(request, take_back)


def require(distribution_id: int) -> None:
    """Raises `Http404` when there is none of that id."""
    own_or_404(Distribution.objects.all(), pk=distribution_id)


def paid_along(distribution_id: int) -> Response:
    return Response(shown(services.pay_along(distribution_id), True))


# ---------------------------------------------------------------------------------------------------- as it is answered


def shown(distribution: Distribution, everything: bool) -> dict[str, Any]:
    """Its public figures, or all that staff see."""
    units = distribution.currency.to_units
    public = {
        "id": distribution.pk,
        "programme": distribution.programme,
        "period_key": distribution.period_key,
        "starts_at": distribution.starts_at,
        "ends_at": distribution.ends_at,
        "status": distribution.status,
        "currency": distribution.currency.code,
        "amount": units(distribution.amount),
        "paid_amount": units(distribution.paid_amount),
        "recipients": distribution.recipients,
        "participants": distribution.participants,
        "digest": distribution.digest,
        **{name: getattr(distribution, name) for name in TIMES},
    }
    return public | for_staff(distribution) if everything else public


def for_staff(distribution: Distribution) -> dict[str, Any]:
    units, limit = distribution.currency.to_units, distribution.approval_limit
    results = distribution.results
    if results:
        results = {**results, "slices": tier_breakdown(distribution), "unpaid": units(results.get("unpaid", 0))}
    people = {name: getattr(distribution, name) for name in ("actor", "prepared_by", "approved_by")}
    return {
        "source_account": str(distribution.source_account),
        "carried_over": units(distribution.carried_over),
        "approval_limit": None if limit is None else units(limit),
        "rule": distribution.rule,
        "rule_version": distribution.rule_version,
        "tie_policy": distribution.tie_policy,
        "late_events": distribution.late_events,
        "results": results,
        "failed_at": distribution.failed_at,
        "failed_from": distribution.failed_from,
        "error": distribution.error,
        "error_stack": distribution.error_stack,
        "reason": distribution.reason,
        **{name: person and person.username for name, person in people.items()},
        "seconds": distribution.seconds,
    }


def shown_rows(distribution: Distribution, rewards: Sequence[Reward], caller: User) -> list[dict[str, Any]]:
    statuses = statuses_of(distribution, rewards)
    return [shown_row(distribution, reward, status, caller) for reward, status in zip(rewards, statuses, strict=True)]


def shown_row(distribution: Distribution, reward: Reward, status: str, caller: User) -> dict[str, Any]:
    units = distribution.currency.to_units
    row = {
        "reward_id": reward.pk,
        "user": reward.user.username,
        "position": reward.position,
        "rank": reward.rank,
        "score": reward.score,
        "currency": distribution.currency.code,
        "amount": units(reward.amount),
        "breakdown": {name: units(minor) for name, minor in reward.breakdown.items()},
        "inputs": reward.inputs or {},
        "status": status,
    }
    return row | {"salt": reward.salt} if reward.user_id == caller.pk else row


def without_salt(found: dict[str, Any]) -> dict[str, Any]:
    """A proof for somebody else than the owner of its leaf."""
    leaf = dict(found["leaf"])
    hashed = leaf_hash(row_leaf(**leaf)).hex()
    del leaf["salt"]
    return {**found, "leaf": leaf, "leaf_hash": hashed}
