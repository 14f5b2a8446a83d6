"""Users with their balances, newest rewards, claims and more on one page, and the groups that give rights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import BooleanRadioFilter
from unfold.decorators import display
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from rewards.admin.claims import amounts_in_brief
from rewards.admin.common.display import admin_url, amount, badge, link_to
from rewards.admin.common.lists import BigList
from rewards.admin.common.rows import RowPages
from rewards.admin.common.tables import Table
from rewards.admin.deployments import deployment_badge, replicas_in_words, with_replicas
from rewards.admin.ledger import statement_url, with_whole_balance
from rewards.admin.pending import due_shown, in_a_line, state_badge
from rewards.claims.models import Claim
from rewards.deployments.models import Deployment
from rewards.distributions.models import Reward
from rewards.ledger.models import DEBT, Account
from rewards.pending.models import PendingReward
from rewards.users.models import User

REWARDS_SHOWN = 10
CLAIMS_SHOWN = 10
PENDING_SHOWN = 10
DEPLOYMENTS_SHOWN = 10
ACCOUNTS_SHOWN = 50

Part = tuple[str, Table, str, str]
"""Heading, table, and the address and text of a link below it."""
_parts: list[Callable[[HttpRequest, User], Part | None]] = []


def on_the_page_of_a_user(part: Callable[[HttpRequest, User], Part | None]) -> None:
    """Show something of an upper app on a user's page; None where whoever asks may not see it."""
    if part not in _parts:
        _parts.append(part)


admin.site.unregister(Group)


class UserForm(UserChangeForm):
    class Meta(UserChangeForm.Meta):
        labels = {"is_special_partner": "Special partner", "has_cc_market": "CC market"}


@admin.register(User)
class UserAdmin(RowPages, BigList, DjangoUserAdmin, ModelAdmin):
    form = UserForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    empty_hint = "Users are created here, by the API, or by the import of their activity."
    list_display = ["username", "name", "email", "is_active", "is_staff", "special_partner", "cc_market"]
    list_filter = [
        ("is_staff", BooleanRadioFilter),
        ("is_active", BooleanRadioFilter),
        ("is_special_partner", BooleanRadioFilter),
        ("has_cc_market", BooleanRadioFilter),
    ]
    list_filter_submit = True
    search_fields = ["username__startswith"]
    search_help_text = "Start of a username"
    actions = None
    ordering = ["username"]
    filter_horizontal = ["groups", "user_permissions"]
    readonly_fields = ["last_login", "date_joined"]
    change_form_outer_after_template = "admin/user_money.html"
    fieldsets = [
        (None, {"fields": ["username", "password"]}),
        ("Person", {"fields": ["name", "email", "time_zone", "wallet_address"]}),
        ("Programmes", {"fields": ["is_special_partner", "has_cc_market"]}),
        ("Rights", {"fields": ["is_active", "is_staff", "is_superuser", "groups", "user_permissions"]}),
        ("Dates", {"fields": ["last_login", "date_joined"]}),
    ]
    add_fieldsets = [(None, {"fields": ["username", "usable_password", "password1", "password2"]})]

    @display(description="Special partner", boolean=True)
    def special_partner(self, user: User) -> bool:
        return user.is_special_partner

    @display(description="CC market", boolean=True)
    def cc_market(self, user: User) -> bool:
        return user.has_cc_market

    def find(self, queryset: QuerySet[User], term: str) -> QuerySet[User]:
        return queryset.filter(username__startswith=term)

    def cursor_fields(self, request: HttpRequest) -> list[str]:
        return ["username"]

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> list[str]:
        """Rights are given by superusers alone: who may edit users does not thereby make himself one."""
        fixed = list(self.readonly_fields)
        if not request.user.is_superuser:  # type: ignore[union-attr]
            fixed += ["is_staff", "is_superuser", "groups", "user_permissions"]
            if obj is not None and obj.is_superuser:
                fixed += ["username", "email", "is_active", "name", "time_zone", "wallet_address"]
        return fixed

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return False  # switched off instead: the ledger, rewards and audit name them

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:
        """Whoever could set a superuser's password would be one."""
        target = User.objects.filter(pk=id).first() if str(id).isdecimal() else None
        if target is not None and (target.is_superuser or target.is_staff) and not request.user.is_superuser:  # type: ignore[union-attr]
            raise PermissionDenied
        return super().user_change_password(request, id, form_url)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        user = User.objects.filter(pk=object_id).first()
        if user is not None:
            extra_context = (extra_context or {}) | money_of(request, user)
        return super().change_view(request, object_id, form_url, extra_context)


def money_of(request: HttpRequest, user: User) -> dict[str, Any]:
    """Balances, newest rewards, claims, what is pending and what runs, for whoever may see them."""
    shown: dict[str, Any] = {}
    if request.user.has_perm("rewards.view_account"):
        shown["balances"] = balances_of(user)
    if request.user.has_perm("rewards.view_reward"):
        shown["newest_rewards"] = newest_rewards_of(user)
        shown["rewards_url"] = f"{admin_url(Reward)}?q={user.get_username()}"
    if request.user.has_perm("rewards.view_claim"):
        shown["newest_claims"] = newest_claims_of(user)
        shown["claims_url"] = f"{admin_url(Claim)}?user__id__exact={user.pk}"
    if request.user.has_perm("rewards.view_pendingreward"):
        shown["newest_pending"] = newest_pending_of(user)
        shown["pending_url"] = f"{admin_url(PendingReward)}?user__id__exact={user.pk}"
    if request.user.has_perm("rewards.view_deployment"):
        shown["deployments"] = deployments_of(user)
        shown["deployments_url"] = f"{admin_url(Deployment)}?user__id__exact={user.pk}"
    shown["parts"] = list(filter(None, (part(request, user) for part in _parts)))
    return shown


def balances_of(user: User) -> Table:
    own = Account.objects.filter(user=user).select_related("currency").order_by("currency__code", "code")
    rows = [
        (
            _account_name(account),
            amount(account.whole_balance, account.currency),  # type: ignore[attr-defined]
            statement_link(account),
        )
        for account in with_whole_balance(own)[:ACCOUNTS_SHOWN]
    ]
    return Table(["Account", "Balance", "Statement"], rows, frozenset({"Balance"}), "No account yet: nothing was paid.")


def _account_name(account: Account) -> SafeString | str:
    name = link_to(account, account.code or "own account")
    owes = account.code == DEBT and account.whole_balance < 0  # type: ignore[attr-defined]
    return format_html("{} {}", name, badge("owes", kind="danger")) if owes else name


def statement_link(account: Account) -> Any:
    return format_html('<a class="rewards-link" href="{}">Statement</a>', statement_url(account))


def newest_rewards_of(user: User) -> Table:
    rewards = Reward.objects.filter(user=user).select_related("distribution__currency").order_by("-distribution")
    rows = [
        (
            link_to(reward.distribution),
            reward.position,
            link_to(reward, amount(reward.amount, reward.distribution.currency)),
        )
        for reward in rewards[:REWARDS_SHOWN]
    ]
    return Table(["Distribution", "Place", "Amount"], rows, frozenset({"Place", "Amount"}), "No rewards yet.")


def newest_claims_of(user: User) -> Table:
    claims = Claim.objects.filter(user=user).select_related("claim_type", "user").order_by("-pk")
    rows = [
        (
            link_to(claim, claim.claim_key),
            claim.claim_type.slug,
            amounts_in_brief(claim, "credits"),
            amounts_in_brief(claim, "debits"),
            claim.claimed_at,
        )
        for claim in claims[:CLAIMS_SHOWN]
    ]
    return Table(["Key", "Type", "Gave", "Took", "Time"], rows, empty="Nothing was claimed.")


def newest_pending_of(user: User) -> Table:
    now = timezone.now()
    rewards = PendingReward.objects.filter(user=user).select_related("currency").order_by("-pk")
    rows = [
        (
            link_to(reward, in_a_line(reward.reason, 60) or reward.reward_id),
            state_badge(reward),
            amount(reward.amount, reward.currency),
            due_shown(reward, now),
        )
        for reward in rewards[:PENDING_SHOWN]
    ]
    return Table(["Reward", "State", "Amount", "Due"], rows, frozenset({"Amount"}), "Nothing was queued.")


def deployments_of(user: User) -> Table:
    deployments = with_replicas(Deployment.objects.filter(user=user)).order_by("-created_at")
    rows = [
        (link_to(each, each.name), deployment_badge(each), replicas_in_words(each), each.created_at)
        for each in deployments[:DEPLOYMENTS_SHOWN]
    ]
    return Table(["Deployment", "State", "Replicas that earn", "Since"], rows, empty="None yet.")


@admin.register(Group)
class GroupAdmin(RowPages, DjangoGroupAdmin, ModelAdmin):
    actions = None
    show_facets = admin.ShowFacets.NEVER
    empty_hint = "A group bundles rights: make one for each role, then add users to it."
    list_display = ["name", "rights"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Group]:
        return super().get_queryset(request).annotate(rights=Count("permissions"))

    @display(description="Rights")
    def rights(self, group: Group) -> int:
        return group.rights  # type: ignore[attr-defined]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.is_superuser and super().has_add_permission(request)  # type: ignore[union-attr]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A group gives rights: who could edit one could give himself any."""
        return request.user.is_superuser and super().has_change_permission(request, obj)  # type: ignore[union-attr]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.is_superuser and super().has_delete_permission(request, obj)  # type: ignore[union-attr]
