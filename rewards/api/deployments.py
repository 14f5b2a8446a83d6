"""Deployments under /api/deployment: what earns by running. Deleting one pays first what it has earned."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.http import Http404
from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from rewards.api.idempotency import again_after_deadlock
from rewards.api.permissions import USER
from rewards.api.problems import PROBLEM_JSON
from rewards.api.rewards import TotalsField, amounts, sole_amount
from rewards.api.serializers import (
    PageQuery,
    ProblemSerializer,
    StrictSerializer,
    TextField,
    UsernameField,
    WholeNumberField,
)
from rewards.api.views import ApiView, own_or_404
from rewards.deployments.errors import CannotDelete
from rewards.deployments.models import Deployment, Replica
from rewards.deployments.services import (
    LONGEST_NAME,
    MOST_REPLICAS,
    CleanupResult,
    cleanup_with_distribution,
    create_deployment,
)
from rewards.users.models import User

ID = OpenApiParameter("deployment_id", {"type": "string", "format": "uuid"}, OpenApiParameter.PATH)


class DeploymentsQuery(PageQuery):
    user_id = UsernameField(required=False, help_text="Only this username's. Whoever is no staff names himself")


class DeploymentRequest(StrictSerializer):
    name = TextField(max_length=LONGEST_NAME)
    replicas = WholeNumberField(min_value=1, max_value=MOST_REPLICAS, help_text="How many run at once")


class ReplicaSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    status = serializers.ChoiceField(Replica.Status.choices)
    started_at = serializers.DateTimeField()


class DeploymentSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    name = serializers.CharField()
    status = serializers.ChoiceField(Deployment.Status.choices)
    replicas = ReplicaSerializer(many=True)
    created_at = serializers.DateTimeField()
    deleted_at = serializers.DateTimeField(allow_null=True)


class DeletionSerializer(serializers.Serializer[Any]):
    success = serializers.BooleanField()
    rewards_distributed = serializers.IntegerField()
    rewards_amount = serializers.CharField(allow_null=True, help_text="Null where there are several currencies")
    totals = TotalsField()


class Deployments(ApiView):
    access = {"GET": [USER], "POST": [USER]}
    idempotency_key = "optional"

    @extend_schema(
        operation_id="deployments",
        summary="Deployments, newest first",
        description="Users see their own, staff with the permission rewards.view_deployment everybody's.",
        parameters=[DeploymentsQuery],
        responses=DeploymentSerializer(many=True),
    )
    def get(self, request: Request) -> Response:
        caller: User = request.user  # type: ignore[assignment]
        asked, rows = self.query(DeploymentsQuery), visible_to(caller)
        if "user_id" in asked:
            if asked["user_id"] != caller.username and not sees_all(caller):
                raise Http404
            rows = rows.filter(user=own_or_404(User.objects.all(), username=asked["user_id"]))
        return self.page(rows.prefetch_related("replicas"), shown, ordering=("-created_at", "id"))

    @extend_schema(
        operation_id="create_deployment",
        summary="Start a deployment",
        request=DeploymentRequest,
        responses={201: DeploymentSerializer},
        examples=[OpenApiExample("On three replicas", request_only=True, value={"name": "web", "replicas": 3})],
    )
    def post(self, request: Request) -> Response:
        """Its replicas run, and earn, from now on."""
        asked, at = self.body(DeploymentRequest), timezone.now()

        def work() -> Response:
            return Response(shown(create_deployment(request.user, at=at, **asked)), status=201)  # type: ignore[arg-type]

        return self.once(request, work)


class OneDeployment(ApiView):
    access = {"GET": [USER], "DELETE": [USER]}

    @extend_schema(operation_id="deployment", summary="A deployment", parameters=[ID], responses=DeploymentSerializer)
    def get(self, request: Request, deployment_id: UUID) -> Response:
        """The caller's own; staff with the permission rewards.view_deployment see any. A deleted one is gone."""
        return Response(shown(own_or_404(visible_to(request.user), pk=deployment_id)))  # type: ignore[arg-type]

    @extend_schema(
        operation_id="delete_deployment",
        summary="Pay what a deployment has earned, then delete it",
        parameters=[ID],
        responses={
            200: DeletionSerializer,
            (500, PROBLEM_JSON): OpenApiResponse(
                ProblemSerializer, "`cannot_delete`: its rewards cannot be paid now, and it is as it was"
            ),
        },
    )
    def delete(self, request: Request, deployment_id: UUID) -> Response:
        """All or nothing. The caller's own; staff with the permission rewards.delete_deployment delete any."""
        caller: User = request.user  # type: ignore[assignment]
        deployment = own_or_404(visible_to(caller), pk=deployment_id)
        if deployment.user_id != caller.pk and not caller.has_perm("rewards.delete_deployment"):
            raise PermissionDenied("To delete somebody else's takes the permission rewards.delete_deployment.")
        at = timezone.now()
        # In no transaction around it: where it fails, the alert and the audit events have to stay.
        return again_after_deadlock(
            lambda: Response(deleted(cleanup_with_distribution(deployment, caller, at=at), caller))
        )


def deleted(result: CleanupResult, caller: User) -> dict[str, Any]:
    """Raises `CannotDelete`: in full for staff; for others without what is not about them."""
    if not result.success:
        own = all(failed["account_id"] == caller.username for failed in result.failed_distributions)
        told = caller.is_staff or (own and result.is_foreseen)
        sentence = result.error_message if told else "its rewards cannot be paid now; operators have been told."
        raise CannotDelete(f"Cannot delete: {sentence}")
    return {
        "success": True,
        "rewards_distributed": result.rewards_distributed,
        "rewards_amount": sole_amount(result.totals),
        "totals": amounts(result.totals),
    }


def sees_all(caller: User) -> bool:
    return caller.is_staff and caller.has_perm("rewards.view_deployment")


def visible_to(caller: User) -> QuerySet[Deployment]:
    """The deployments that stand, of the caller or of everybody."""
    standing = Deployment.objects.filter(deleted_at=None)
    return standing if sees_all(caller) else standing.filter(user=caller)


def shown(deployment: Deployment) -> dict[str, Any]:
    replicas = sorted(deployment.replicas.all(), key=lambda replica: (replica.started_at, replica.pk))
    return {
        "id": deployment.pk,
        "name": deployment.name,
        "status": deployment.status,
        "replicas": [{"id": each.pk, "status": each.status, "started_at": each.started_at} for each in replicas],
        "created_at": deployment.created_at,
        "deleted_at": deployment.deleted_at,
    }
