"""Rewards that are pending, and what became of rewards: /api/rewards/pending, distribute, audit-log, metrics."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import Q, QuerySet
from django.http import Http404
from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from rewards.access.models import Right
from rewards.api.permissions import STAFF, USER, machine, staff
from rewards.api.serializers import InstantField, PageQuery, StrictSerializer, TextField, UsernameField
from rewards.api.views import ApiView, own_or_404
from rewards.audit.models import AuditEvent
from rewards.common.periods import Day
from rewards.deployments.errors import UnknownDeployment
from rewards.deployments.models import Deployment
from rewards.ledger.models import Currency
from rewards.parameters.services import param
from rewards.pending.errors import UnknownAccount
from rewards.pending.models import PendingReward
from rewards.pending.queries import metrics
from rewards.pending.services import (
    DistributionResult,
    Owed,
    distribute_pending_rewards,
    get_pending_rewards,
    look_over_pending,
)
from rewards.users.models import User

MOST_LISTED = 10_000
YEARS = "^[12][0-9]{3}-"  # in every zone, and a day later, these are years that a database keeps

NOTHING_PENDING = "No pending rewards found"

# ------------------------------------------------------------------------------------------------------- what is asked


class PendingQuery(StrictSerializer):
    user_id = UsernameField(required=False, help_text="A username. Whoever is no staff names himself")
    deployment_id = serializers.UUIDField(required=False, help_text="What is pending for this deployment")


class DistributeRequest(StrictSerializer):
    user_id = UsernameField(required=False, help_text="Only what is pending for this username")
    deployment_id = serializers.UUIDField(required=False, help_text="Only what is pending for this deployment")


@extend_schema_field(
    {
        "oneOf": [
            {"type": "string", "format": "date", "pattern": YEARS},
            {"type": "string", "format": "date-time", "pattern": YEARS},
        ],
        "example": "2026-11-21",
    }
)
class DayOrInstantField(InstantField):
    """An instant, or a day in the product's time zone: its start, or its end."""

    default_error_messages = {
        "invalid": "This must be a day such as 2026-11-21, or a time with its offset, in the years 1000 to 2999."
    }

    def __init__(self, *, is_end: bool, **options: Any) -> None:
        self.is_end = is_end
        super().__init__(required=False, **options)

    def to_internal_value(self, value: Any) -> datetime:
        if not re.match(YEARS, value, re.ASCII):
            self.fail("invalid")
        if not re.fullmatch(r"[0-9-]{10}", value):
            return super().to_internal_value(value)
        try:
            day = Day(date.fromisoformat(value), settings.REWARDS_TIME_ZONE)
        except ValueError:
            return self.fail("invalid")
        return day.end if self.is_end else day.start


class AuditLogQuery(PageQuery):
    user_id = UsernameField(required=False, help_text="Events about this username")
    deployment_id = serializers.UUIDField(required=False, help_text="Events about it and its rewards")
    start_date = DayOrInstantField(is_end=False, help_text="From this day or instant on")
    end_date = DayOrInstantField(is_end=True, help_text="Up to this day, which counts, or instant, which does not")
    event_type = TextField(required=False, max_length=60, help_text="Such as reward_distributed")


# ---------------------------------------------------------------------------------------------------- what is answered


class TotalsField(serializers.DictField):
    """Amounts by the code of their currency."""

    def __init__(self, **options: Any) -> None:
        super().__init__(child=serializers.CharField(), help_text="Amount by currency", **options)


class PendingRewardSerializer(serializers.Serializer[Any]):
    reward_id = serializers.CharField()
    amount = serializers.CharField(help_text="Decimal text in currency units")
    currency = serializers.CharField()
    reason = serializers.CharField()
    reward_type = serializers.CharField(help_text="staking, deployment_runtime, task, manual, …")
    created_at = serializers.DateTimeField(help_text="When it was queued; of what accrues, since when it is unpaid")


class PendingSerializer(serializers.Serializer[Any]):
    pending_rewards = PendingRewardSerializer(many=True)
    total_pending_amount = serializers.CharField(allow_null=True, help_text="Null where there are several currencies")
    totals = TotalsField()


class FailedSerializer(serializers.Serializer[Any]):
    reward_id = serializers.CharField()
    account_id = serializers.CharField()
    error = serializers.CharField()


class LogEntrySerializer(serializers.Serializer[Any]):
    reward_id = serializers.CharField()
    account_id = serializers.CharField(help_text="A username")
    amount = serializers.CharField()
    currency = serializers.CharField()
    reason = serializers.CharField()
    timestamp = serializers.DateTimeField()
    status = serializers.ChoiceField(["success", "failed"])
    error = serializers.CharField(required=False)


class DistributeSerializer(serializers.Serializer[Any]):
    success = serializers.BooleanField()
    rewards_distributed = serializers.IntegerField()
    total_amount = serializers.CharField(allow_null=True, help_text="Null where there are several currencies")
    totals = TotalsField()
    failed_distributions = FailedSerializer(many=True, help_text="The reward that stood in the way of all")
    error_message = serializers.CharField(allow_null=True)
    audit_log = LogEntrySerializer(many=True)
    message = serializers.CharField(required=False, help_text="There where nothing was pending")


class AuditEventSerializer(serializers.Serializer[Any]):
    event_id = serializers.UUIDField()
    event_type = serializers.CharField()
    reward_id = serializers.CharField()
    account_id = serializers.CharField(allow_null=True, help_text="Whom it is about: a username")
    amount = serializers.CharField(allow_null=True)
    currency = serializers.CharField(allow_null=True)
    reason = serializers.CharField()
    status = serializers.ChoiceField(["success", "failed"])
    timestamp = serializers.DateTimeField()
    error_message = serializers.CharField()
    data = serializers.DictField()  # type: ignore[assignment]


class DurationsSerializer(serializers.Serializer[Any]):
    last = serializers.FloatField(allow_null=True, help_text="Seconds")
    mean = serializers.FloatField(allow_null=True)
    longest = serializers.FloatField(allow_null=True)


class MetricsSerializer(serializers.Serializer[Any]):
    total_distributions = serializers.IntegerField()
    successful_distributions = serializers.IntegerField()
    failed_distributions = serializers.IntegerField()
    total_amount_distributed = serializers.CharField(
        allow_null=True, help_text="Null where there are several currencies"
    )
    totals = TotalsField()
    rollbacks_performed = serializers.IntegerField()
    pending_depth = serializers.IntegerField(help_text="Rewards in the queue")
    dead = serializers.IntegerField(help_text="Rewards that failed for good and wait for an operator")
    durations = DurationsSerializer()


# ------------------------------------------------------------------------------------------------------------- pending


class Pending(ApiView):
    access = {"GET": [USER]}

    @extend_schema(
        operation_id="pending_rewards",
        summary="Rewards that are owed and not paid yet",
        description=(
            "The queue, the oldest first, then what has accrued by now. Users see their own, staff with the permission "
            f"rewards.view_pendingreward everybody's. The first {MOST_LISTED:,} are listed; the totals are of all."
        ),
        parameters=[PendingQuery],
        responses=PendingSerializer,
    )
    def get(self, request: Request) -> Response:
        user, deployment = asked_about(request.user, self.query(PendingQuery))  # type: ignore[arg-type]
        owed, totals = look_over_pending(user, deployment, at=timezone.now(), most=MOST_LISTED)
        answer = {
            "pending_rewards": [shown_owed(each) for each in owed],
            "total_pending_amount": sole_amount(totals),
            "totals": amounts(totals),
        }
        return Response(answer)


def asked_about(caller: User, asked: Mapping[str, Any]) -> tuple[User | None, Deployment | None]:
    """Whose rewards and those of which deployment; None: of all. Raises `Http404` for what the caller may not see."""
    sees_all = caller.is_staff and caller.has_perm("rewards.view_pendingreward")
    username = asked.get("user_id", None if sees_all else caller.username)
    if username != caller.username and not sees_all:
        raise Http404
    user = None if username is None else own_or_404(User.objects.all(), username=username)
    if "deployment_id" not in asked:
        return user, None
    deployments = Deployment.objects.all() if sees_all else Deployment.objects.filter(user=caller)
    return user, own_or_404(deployments, pk=asked["deployment_id"])


def amounts(totals: Mapping[str, Decimal]) -> dict[str, str]:
    return {code: f"{amount:f}" for code, amount in sorted(totals.items())}


def sole_amount(totals: Mapping[str, Decimal]) -> str | None:
    """The one amount of these; nothing of the currency of pending rewards where there is none, None for several."""
    if len(totals) > 1:
        return None
    if totals:
        return next(iter(amounts(totals).values()))
    currency = Currency.objects.filter(code=param("pending.currency")).first()
    return currency.to_units(0) if currency else "0"


def shown_owed(owed: Owed) -> dict[str, Any]:
    return {
        "reward_id": owed.reward_id,
        "amount": f"{owed.amount:f}",
        "currency": owed.currency,
        "reason": owed.reason,
        "reward_type": owed.reward_type,
        "created_at": owed.created_at,
    }


# ---------------------------------------------------------------------------------------------------------- distribute


class Distribute(ApiView):
    access = {"POST": [staff("rewards.run_distribution"), machine(Right.REWARDS_DISTRIBUTE)]}
    idempotency_key = "optional"

    @extend_schema(
        operation_id="distribute_pending_rewards",
        summary="Pay what is pending, all of it or nothing",
        request=DistributeRequest,
        responses={200: DistributeSerializer},
        examples=[
            OpenApiExample("Everything", request_only=True, value={}),
            OpenApiExample("What is pending for a user", request_only=True, value={"user_id": "alice"}),
        ],
    )
    def post(self, request: Request) -> Response:
        """Of everybody, of a user, for a deployment. Each reward is paid once, so the call may be repeated without a
        key. When one of them cannot be paid none is: the answer is 200 with `success` false and names it."""
        asked, at = self.body(DistributeRequest), timezone.now()
        actor = request.user if isinstance(request.user, User) else None
        return self.once(request, lambda: Response(distributed(asked, actor, at)))


def distributed(asked: Mapping[str, Any], actor: User | None, at: datetime) -> dict[str, Any]:
    owed = get_pending_rewards(*to_be_paid(asked), at=at)
    result = distribute_pending_rewards(owed, at=at, actor=actor)
    return shown_result(result) | ({} if owed else {"message": NOTHING_PENDING})


def to_be_paid(asked: Mapping[str, Any]) -> tuple[User | None, Deployment | None]:
    """Whose, and for which deployment; None: all. Raises `UnknownAccount`, `UnknownDeployment`."""
    user = deployment = None
    if "user_id" in asked:
        user = User.objects.filter(username=asked["user_id"]).first()
        if user is None:
            sentence = f"There is no user {asked['user_id']!r}."
            raise UnknownAccount(sentence, errors={"user_id": sentence})
    if "deployment_id" in asked:
        deployment = Deployment.objects.filter(pk=asked["deployment_id"]).first()
        if deployment is None:
            raise UnknownDeployment(errors={"deployment_id": "There is no such deployment."})
    return user, deployment


def shown_result(result: DistributionResult) -> dict[str, Any]:
    return {
        "success": result.success,
        "rewards_distributed": result.total_rewards_distributed,
        "total_amount": sole_amount(result.totals),
        "totals": amounts(result.totals),
        "failed_distributions": result.failed_distributions,
        "error_message": result.error_message,
        "audit_log": [entry | {"amount": f"{entry['amount']:f}"} for entry in result.audit_log[:MOST_LISTED]],
    }


# ----------------------------------------------------------------------------------------------------------- audit log


class AuditLog(ApiView):
    access = {"GET": [staff("rewards.view_auditevent")]}

    @extend_schema(
        operation_id="audit_log",
        summary="What happened to rewards, newest first",
        parameters=[AuditLogQuery],
        responses=AuditEventSerializer(many=True),
    )
    def get(self, request: Request) -> Response:
        """Append-only: `manage.py verify_audit` finds an event that was changed or removed."""
        return self.page(events(self.query(AuditLogQuery)), shown_event, ordering=("-timestamp", "-id"))


def events(asked: Mapping[str, Any]) -> QuerySet[AuditEvent]:
    """The events that are asked for. Every filter has an index. Raises `Http404` for an unknown user or deployment."""
    found = AuditEvent.objects.select_related("user", "currency")
    if "user_id" in asked:
        found = found.filter(user=own_or_404(User.objects.all(), username=asked["user_id"]))
    if "deployment_id" in asked:
        found = found.filter(about_deployment(asked["deployment_id"]))
    if "event_type" in asked:
        found = found.filter(event_type=asked["event_type"])
    if "start_date" in asked:
        found = found.filter(timestamp__gte=asked["start_date"])
    if "end_date" in asked:
        found = found.filter(timestamp__lt=asked["end_date"])
    return found


def about_deployment(deployment_id: UUID) -> Q:
    """Events that name the deployment, and those of the distributions that paid its rewards as a whole.

    The first are looked for among the events of the users it concerns, and among failures that are nobody's: those have
    an index, what an event's data say has none.
    """
    owner = own_or_404(Deployment.objects.all(), pk=deployment_id).user_id
    rewards = PendingReward.objects.filter(deployment=deployment_id).values_list("user", "distribution").distinct()
    users, distributions = {owner}, set()
    for user, distribution in rewards.order_by():
        users.add(user)
        distributions.add(distribution)
    where_to_look = Q(user__in=users) | Q(event_type="distribution_failed", user=None)
    names_it = Q(data__deployment=str(deployment_id))
    return where_to_look & names_it | Q(distribution__in=distributions - {None}, user=None)


def shown_event(event: AuditEvent) -> dict[str, Any]:
    currency = event.currency
    return {
        "event_id": event.event_id,
        "event_type": event.event_type,
        "reward_id": event.reward_id,
        "account_id": event.user.get_username() if event.user else None,
        "amount": currency.to_units(event.amount) if currency and event.amount is not None else None,
        "currency": currency.code if currency else None,
        "reason": event.reason,
        "status": "success" if event.success else "failed",
        "timestamp": event.timestamp,
        "error_message": event.error_message,
        "data": event.data,
    }


# ------------------------------------------------------------------------------------------------------------- metrics


class Metrics(ApiView):
    access = {"GET": [STAFF, machine(Right.READ)]}

    @extend_schema(
        operation_id="reward_metrics",
        summary="How often pending rewards were paid, and what waits",
        responses=MetricsSerializer,
    )
    def get(self, request: Request) -> Response:
        """From the database: every process answers the same."""
        return Response(metrics())
