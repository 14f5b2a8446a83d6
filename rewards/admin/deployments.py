"""Deployments with their replicas and what they have earned, taken down with their payout; staking positions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, cast

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import RadioFilter
from unfold.decorators import action, display
from unfold.enums import ActionVariant

from rewards.admin.common.confirm import Question, ask_then_do, page_context
from rewards.admin.common.display import admin_url, ago, amount, badge, grouped, link_to
from rewards.admin.common.lists import BigList, users_found
from rewards.admin.common.readonly import ReadOnlyAdmin
from rewards.admin.common.rights import DeploymentRights
from rewards.admin.common.tables import Table
from rewards.admin.pending import in_a_line
from rewards.alerts.models import Alert
from rewards.common.errors import RewardsError
from rewards.deployments.models import Deployment, Replica, StakingPosition
from rewards.deployments.services import CLEANUP_FAILED, cleanup_with_distribution
from rewards.deployments.sources import STAKING
from rewards.ledger.models import Account
from rewards.ledger.queries import currency_named
from rewards.parameters.services import param
from rewards.pending.models import PendingReward
from rewards.pending.services import Owed, get_pending_rewards
from rewards.users.models import User

PENDING_SHOWN = 50
EARNING = [Replica.Status.RUNNING, Replica.Status.STOPPING]
KINDS = {"running": "success", "stopping": "warning", "stopped": "", "deleted": "", "failed": "danger"}


class NotTakenDown(RewardsError):
    """The deployment was not deleted: its rewards could not be paid. Nothing has changed."""

    code = CLEANUP_FAILED
    http_status = 409


class EndedFilter(RadioFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("standing", "Standing"), ("deleted", "Deleted")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Deployment]) -> QuerySet[Deployment]:
        standing = {"standing": True, "deleted": False}.get(self.value() or "")
        return queryset if standing is None else queryset.filter(deleted_at__isnull=standing)


@admin.register(Deployment)
class DeploymentAdmin(DeploymentRights, BigList, ReadOnlyAdmin):
    empty_hint = "Users create deployments by the API; their replicas earn while they run."
    list_display = ["name", "user_name", "state", "replicas_shown", "created_at", "deleted_at"]
    list_filter = [EndedFilter]
    list_select_related = ["user"]
    search_fields = ["user"]
    search_help_text = "Start of a username"
    actions_detail = ["take_down"]
    change_form_template = "admin/deployment.html"

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        return lookup == "user__id__exact" or super().lookup_allowed(lookup, value, request)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Deployment]:
        return with_replicas(super().get_queryset(request))

    def cursor_fields(self, request: HttpRequest) -> list[str]:
        return ["-created_at", "-pk"]

    def find(self, queryset: QuerySet[Deployment], term: str) -> QuerySet[Deployment]:
        return queryset.filter(user__in=users_found(term))

    @display(description="User")
    def user_name(self, deployment: Deployment) -> str:
        return deployment.user.get_username()

    @display(description="State")
    def state(self, deployment: Deployment) -> SafeString:
        return deployment_badge(deployment)

    @display(description="Replicas that earn")
    def replicas_shown(self, deployment: Deployment) -> str:
        return replicas_in_words(deployment)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        deployment = self.get_object(request, object_id)
        if deployment is not None and self.has_view_permission(request, deployment):
            extra_context = (extra_context or {}) | deployment_context(deployment, timezone.now())
        return super().change_view(request, object_id, form_url, extra_context)

    # --------------------------------------------------------------------------------------------------- taken down

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        stands = Deployment.objects.filter(pk=object_id, deleted_at=None).exists()
        return super().get_actions_detail(request, object_id) if stands else []

    @action(
        description="Delete with payout", url_path="take-down", icon="delete", variant=ActionVariant.DANGER,
        permissions=["take_down"],
    )  # fmt: skip
    def take_down(self, request: HttpRequest, object_id: str) -> HttpResponse:
        deployment = get_object_or_404(self.get_queryset(request), pk=object_id)
        if not self.has_view_permission(request):
            raise PermissionDenied
        now = timezone.now()
        owed = get_pending_rewards(deployment=deployment, at=now)
        question = Question(
            title=f"Delete {deployment.name} with its payout",
            explanation=f"{totals_in_words(owed)} pending for it are paid to {deployment.user}, its replicas are "
            "stopped, its resources released, and it is deleted: all of it, or nothing. This cannot be taken back.",
            button="Pay and delete",
            figures=[
                ("Pending rewards", grouped(len(owed))),
                ("To pay", totals_in_words(owed)),
                ("Replicas to stop", grouped(deployment.earning)),  # type: ignore[attr-defined]
                ("Running since", f"{deployment.created_at:%Y-%m-%d %H:%M} UTC"),
            ],
            dangerous=True,
        )

        def do(reason: str) -> str:
            return taken_down(deployment, cast(User, request.user), now)

        return ask_then_do(
            request, question, do, back=admin_url(deployment), context=page_context(request, self, deployment)
        )  # fmt: skip


def with_replicas(deployments: QuerySet[Deployment]) -> QuerySet[Deployment]:
    """The deployments with how many replicas they have, and how many of these earn."""
    all_of_it = Replica.objects.filter(deployment=OuterRef("pk"))
    return deployments.annotate(
        earning=_counted(all_of_it.filter(status__in=EARNING)), all_replicas=_counted(all_of_it)
    )


def _counted(replicas: QuerySet[Replica]) -> Coalesce:
    """For each row by itself: a join would count all of them before a page is cut off."""
    counts = replicas.order_by().values("deployment").annotate(count=Count("pk")).values("count")
    return Coalesce(Subquery(counts), 0)


def replicas_in_words(deployment: Deployment) -> str:
    return f"{grouped(deployment.earning)} of {grouped(deployment.all_replicas)}"  # type: ignore[attr-defined]


def deployment_badge(deployment: Deployment) -> SafeString:
    return badge(deployment.status, kind=KINDS[deployment.status])


def taken_down(deployment: Deployment, actor: User, at: datetime) -> str:
    """Pay and delete it; what to say. Raises `NotTakenDown`, and like `cleanup_with_distribution`."""
    result = cleanup_with_distribution(deployment, actor, at=at)
    if not result.success:
        raise NotTakenDown(f"{deployment.name} was not deleted, nothing has changed: {result.error_message}")
    paid = ", ".join(f"{grouped(str(units))} {code}" for code, units in result.totals.items()) or "nothing"
    rewards = f"{result.rewards_distributed} {'reward' if result.rewards_distributed == 1 else 'rewards'}"
    return f"{deployment.name} is deleted; {paid} in {rewards} paid to {deployment.user}."


def deployment_context(deployment: Deployment, at: datetime) -> dict[str, Any]:
    """What the page of one deployment shows at `at`."""
    owed = [] if deployment.deleted_at else get_pending_rewards(deployment=deployment, at=at)
    alert = Alert.objects.filter(code=CLEANUP_FAILED, subject=str(deployment.pk), resolved_at=None).first()
    facts = [
        ("User", link_to(deployment.user)),
        ("Id", str(deployment.pk)),
        ("Running since", deployment.created_at),
    ]
    if deployment.deleted_at:
        facts += [("Resources released", deployment.resources_released_at), ("Deleted", deployment.deleted_at)]
    return {
        "deployment": deployment,
        "status": deployment_badge(deployment),
        "facts": facts,
        "alert": alert,
        "pending": pending_table(owed),
        "pending_total": totals_in_words(owed),
        "replicas": replica_table(deployment, at),
        "queue_url": f"{admin_url(PendingReward)}?deployment__id__exact={deployment.pk}",
    }


def replica_table(deployment: Deployment, at: datetime) -> Table:
    rows = [
        (
            str(replica.pk),
            badge(replica.status, kind=KINDS[replica.status]),
            replica.started_at,
            replica.stopped_at or "–",
            f"paid up to {ago(replica.rewarded_until, at)}" if replica.rewarded_until else "nothing paid yet",
        )
        for replica in deployment.replicas.order_by("started_at", "pk")
    ]
    return Table(["Replica", "State", "Started", "Stopped", "Earnings"], rows, empty="It has no replica.")


def pending_table(owed: Sequence[Owed]) -> Table:
    """What is owed, queued or accrued: the first rows of it."""
    rows = [
        (
            each.reward_type,
            in_a_line(each.reason, 120) or each.reward_id,
            f"{grouped(str(each.amount))} {each.currency}",
        )
        for each in owed[:PENDING_SHOWN]
    ]
    return Table(["Type", "What for", "Amount"], rows, frozenset({"Amount"}), "Nothing is pending.")


def totals_in_words(owed: Sequence[Owed]) -> str:
    """`12 points and 3.50 coins`; `Nothing` for none."""
    totals: dict[str, Decimal] = {}
    for each in owed:
        totals[each.currency] = totals.get(each.currency, Decimal(0)) + each.amount
    return " and ".join(f"{grouped(str(units))} {code}" for code, units in totals.items()) or "Nothing"


# -------------------------------------------------------------------------------------------------------------- staking


class StakedFilter(EndedFilter):
    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("earning", "Earning"), ("unstaked", "Unstaked")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        earning = {"earning": True, "unstaked": False}.get(self.value() or "")
        return queryset if earning is None else queryset.filter(unstaked_at__isnull=earning)


@admin.register(StakingPosition)
class StakingPositionAdmin(BigList, ReadOnlyAdmin):
    empty_hint = "`manage.py stake` opens positions; what they set aside earns until they take it back."
    list_display = ["position", "user_name", "principal", "state", "accrued", "staked_at"]
    list_filter = [StakedFilter]
    list_select_related = ["user", "currency"]
    search_fields = ["user"]
    search_help_text = "Start of a username"
    fieldsets = [
        (None, {"fields": ["user_link", "principal", "account_link", "state"]}),
        ("What it earns", {"fields": ["yearly_rate", "accrued", "rewarded_until", "rewards_link"]}),
        ("When", {"fields": ["staked_at", "unstaked_at"]}),
    ]
    readonly_fields = ["user_link", "principal", "account_link", "state", "yearly_rate", "accrued", "rewards_link"]

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        return lookup == "user__id__exact" or super().lookup_allowed(lookup, value, request)

    def find(self, queryset: QuerySet[StakingPosition], term: str) -> QuerySet[StakingPosition]:
        return queryset.filter(user__in=users_found(term))

    @display(description="Position")
    def position(self, position: StakingPosition) -> str:
        return f"#{position.pk}"

    @display(description="User")
    def user_name(self, position: StakingPosition) -> str:
        return position.user.get_username()

    @display(description="User")
    def user_link(self, position: StakingPosition) -> SafeString | str:
        return link_to(position.user)

    @display(description="Principal")
    def principal(self, position: StakingPosition) -> str:
        return amount(position.staked, position.currency)

    @display(description="Kept on")
    def account_link(self, position: StakingPosition) -> SafeString | str:
        code = position.account_code
        return link_to(Account.objects.filter(user=position.user, code=code, currency=position.currency).first())

    @display(description="State")
    def state(self, position: StakingPosition) -> SafeString:
        return badge("none", "unstaked") if position.unstaked_at else badge("done", "earning")

    @display(description="Accrued, not yet paid")
    def accrued(self, position: StakingPosition) -> str:
        if position.unstaked_at:
            return "–"
        currency = currency_named(param("pending.currency"))
        (earner,) = STAKING.earners([position], currency)
        return amount(earner.rate.accrued(earner.start, timezone.now()), currency)

    @display(description="Yearly rate")
    def yearly_rate(self, position: StakingPosition) -> str:
        return str(param("pending.staking_apy"))

    @display(description="Rewards paid")
    def rewards_link(self, position: StakingPosition) -> SafeString:
        url = f"{admin_url(PendingReward)}?q=staking_{position.pk}_"
        return format_html('<a class="rewards-link" href="{}">Its rewards</a>', url)
