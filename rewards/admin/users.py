"""Users with all that is theirs on one page, in parts, and the groups that give rights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import BooleanRadioFilter
from unfold.decorators import action, display
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from rewards.admin.claims import amounts_in_brief
from rewards.admin.common.display import admin_url, amount, badge, link_to
from rewards.admin.common.lists import BigList
from rewards.admin.common.rights import CorrectionRights
from rewards.admin.common.rows import RowPages
from rewards.admin.common.tables import Table
from rewards.admin.corrections import correction_page, corrections_of
from rewards.admin.deployments import deployment_badge, replicas_in_words, with_replicas
from rewards.admin.ledger import statement_url, with_whole_balance
from rewards.admin.pending import due_shown, in_a_line, state_badge
from rewards.audit.models import AuditEvent
from rewards.cases.models import Argument, Case, CaseVote
from rewards.chain_claims.models import RewardClaim
from rewards.claims.models import Claim
from rewards.deployments.models import Deployment
from rewards.distributions.models import Reward
from rewards.ledger.models import DEBT, Account, Correction
from rewards.pending.models import PendingReward
from rewards.users.models import User

SHOWN = 10
ACCOUNTS_SHOWN = 50
CASES_LOOKED_AT = 200
"""Of the newest cases it is found by index who voted; of all of them it is not."""

MONEY, WAITING, CASES, AUDIT = "money", "waiting", "cases", "audit"
PARTS = {MONEY: "Overview", WAITING: "Pending and deployments", CASES: "Cases", AUDIT: "Audit"}

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
class UserAdmin(CorrectionRights, RowPages, BigList, DjangoUserAdmin, ModelAdmin):
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
    actions_detail = ["correct"]
    change_form_outer_before_template = "admin/user_money.html"
    fieldsets = [
        ("Sign-in", {"fields": ["username", "password"], "classes": ["collapse"]}),
        ("Person", {"fields": ["name", "email", "time_zone", "wallet_address"], "classes": ["collapse"]}),
        ("Programmes", {"fields": ["is_special_partner", "has_cc_market"], "classes": ["collapse"]}),
        (
            "Rights",
            {
                "fields": ["is_active", "is_staff", "is_superuser", "groups", "user_permissions"],
                "classes": ["collapse"],
            },
        ),
        ("Dates", {"fields": ["last_login", "date_joined"], "classes": ["collapse"]}),
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
        user = self.get_object(request, object_id)
        if user is not None and self.has_view_permission(request, user):
            extra_context = (extra_context or {}) | page_of(request, user)
        return super().change_view(request, object_id, form_url, extra_context)

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        own = str(object_id) == str(request.user.pk)  # nobody corrects his own account
        return [] if own else super().get_actions_detail(request, object_id)

    @action(description="Correct…", url_path="correct", icon="exposure", permissions=["correct"])
    def correct(self, request: HttpRequest, object_id: str) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        return correction_page(request, self, get_object_or_404(User, pk=object_id))


@dataclass(frozen=True)
class Section:
    """A table of a user's page, and where all of its kind stand."""

    heading: str
    table: Table
    url: str = ""
    link: str = ""
    whole: bool = False


def page_of(request: HttpRequest, user: User) -> dict[str, Any]:
    """The part of a user's page that is asked for, of what whoever asks may see: only that part is read."""
    chosen = request.GET.get("show", MONEY)
    chosen = chosen if chosen in PARTS else MONEY
    may = request.user.has_perm
    sections = [make(user) for right, make in _SECTIONS[chosen] if may(right)]  # type: ignore[union-attr]
    if chosen == MONEY:
        upper = filter(None, (part(request, user) for part in _parts))
        sections += [Section(heading, table, url, link) for heading, table, url, link in upper]
    return {"sections": sections, "parts": [(f"?show={key}", name, key == chosen) for key, name in PARTS.items()]}


def _list_of(model: type[Model], user: User, field: str = "user") -> str:
    return f"{admin_url(model)}?{field}__id__exact={user.pk}"


def _search_of(model: type[Model], user: User) -> str:
    return f"{admin_url(model)}?{urlencode({'q': user.get_username()})}"


def balances_of(user: User) -> Section:
    own = Account.objects.filter(user=user).select_related("currency").order_by("currency__code", "code")
    rows = [
        (
            _account_name(account),
            amount(account.whole_balance, account.currency),  # type: ignore[attr-defined]
            statement_link(account),
        )
        for account in with_whole_balance(own)[:ACCOUNTS_SHOWN]
    ]
    empty = "No account yet: nothing was paid. The first reward, claim or correction makes one."
    table = Table(["Account", "Balance", "Statement"], rows, frozenset({"Balance"}), empty)
    return Section("Balances", table, _search_of(Account, user), "All accounts")


def _account_name(account: Account) -> SafeString | str:
    name = link_to(account, account.code or "own account")
    owes = account.code == DEBT and account.whole_balance < 0  # type: ignore[attr-defined]
    return format_html("{} {}", name, badge("owes", kind="danger")) if owes else name


def statement_link(account: Account) -> Any:
    return format_html('<a class="rewards-link" href="{}">Statement</a>', statement_url(account))


def newest_rewards_of(user: User) -> Section:
    rewards = Reward.objects.filter(user=user).select_related("distribution__currency").order_by("-distribution")
    rows = [
        (
            link_to(reward.distribution),
            reward.position,
            link_to(reward, amount(reward.amount, reward.distribution.currency)),
        )
        for reward in rewards[:SHOWN]
    ]
    empty = "No rewards yet. Whether a payout still waits stands under Periods and Distributions."
    table = Table(["Distribution", "Place", "Amount"], rows, frozenset({"Place", "Amount"}), empty)
    return Section("Newest rewards", table, _search_of(Reward, user), "All rewards")


def newest_claims_of(user: User) -> Section:
    claims = Claim.objects.filter(user=user).select_related("claim_type", "user").order_by("-pk")
    rows = [
        (
            link_to(claim, claim.claim_key),
            claim.claim_type.slug,
            amounts_in_brief(claim, "credits"),
            amounts_in_brief(claim, "debits"),
            claim.claimed_at,
        )
        for claim in claims[:SHOWN]
    ]
    empty = "Nothing was claimed. Players claim by the API; what may be claimed stands under Claim types."
    table = Table(["Key", "Type", "Gave", "Took", "Time"], rows, empty=empty)
    return Section("Newest claims", table, _list_of(Claim, user), "All claims", whole=True)


def newest_pending_of(user: User) -> Section:
    now = timezone.now()
    rewards = PendingReward.objects.filter(user=user).select_related("currency").order_by("-pk")
    rows = [
        (
            link_to(reward, in_a_line(reward.reason, 60) or reward.reward_id),
            state_badge(reward),
            amount(reward.amount, reward.currency),
            due_shown(reward, now),
        )
        for reward in rewards[:SHOWN]
    ]
    empty = "Nothing was queued. Staking and deployments queue what they earn."
    table = Table(["Reward", "State", "Amount", "Due"], rows, frozenset({"Amount"}), empty)
    return Section("Pending rewards", table, _list_of(PendingReward, user), "All pending rewards")


def deployments_of(user: User) -> Section:
    deployments = with_replicas(Deployment.objects.filter(user=user)).order_by("-created_at")
    rows = [
        (link_to(each, each.name), deployment_badge(each), replicas_in_words(each), each.created_at)
        for each in deployments[:SHOWN]
    ]
    empty = "None yet. Users create deployments by the API."
    table = Table(["Deployment", "State", "Replicas that earn", "Since"], rows, empty=empty)
    return Section("Deployments", table, _list_of(Deployment, user), "All deployments")


def newest_corrections_of(user: User) -> Section:
    table = corrections_of(user, SHOWN)
    return Section("Corrections", table, _list_of(Correction, user), "All corrections")


def chain_claims_of(user: User) -> Section:
    claims = RewardClaim.objects.filter(user=user).select_related("reward__distribution__currency").order_by("-pk")
    rows = [
        (
            link_to(each, str(each.reward.distribution)),
            badge(each.status),
            amount(each.reward.amount, each.reward.distribution.currency),
            each.claimed_at,
        )
        for each in claims[:SHOWN]
    ]
    empty = "Nothing was claimed on the chain. Users claim by the API what a payout on the chain gave them."
    table = Table(["Payout", "State", "Amount", "Claimed"], rows, frozenset({"Amount"}), empty)
    return Section("Claims on the chain", table, _search_of(RewardClaim, user), "All claims on the chain")


def votes_of(user: User) -> Section:
    """His votes in the newest cases, and what he argued there."""
    newest = Case.objects.order_by("-pk").values("pk")[:CASES_LOOKED_AT]
    votes = list(CaseVote.objects.filter(user=user, case__in=newest).select_related("case").order_by("-case")[:SHOWN])
    argued = {each.case_id: each for each in Argument.objects.filter(user=user, case__in=[v.case_id for v in votes])}
    rows = [(link_to(vote.case), vote.side, _argument_shown(argued.get(vote.case_id)), vote.voted_at) for vote in votes]
    empty = f"No vote in the newest {CASES_LOOKED_AT} cases. Who may vote in one stands on its page."
    table = Table(["Case", "Voted", "Argued", "Time"], rows, empty=empty)
    return Section("Votes and arguments", table, _search_of(Argument, user), "All arguments", whole=True)


def _argument_shown(argument: Argument | None) -> SafeString | str:
    if argument is None:
        return "–"
    place = f", place {argument.top_place}" if argument.top_place else ""
    return link_to(argument, f"{argument.side}, likes: {argument.likes}{place}")


def submitted_by(user: User) -> Section:
    cases = Case.objects.filter(created_by=user).order_by("-pk")
    rows = [(link_to(case), badge(case.status), case.created_at) for case in cases[:SHOWN]]
    empty = "Submitted none. Users submit cases by the API, and a moderator approves them."
    table = Table(["Case", "State", "Submitted"], rows, empty=empty)
    return Section("Submitted cases", table, _list_of(Case, user, "created_by"), "All submitted cases", whole=True)


def events_about(user: User) -> Section:
    events = AuditEvent.objects.filter(user=user).select_related("actor", "currency").order_by("-pk")
    rows = [
        (
            link_to(event, event.event_type),
            amount(event.amount, event.currency) if event.currency else "–",
            event.actor or "the system",
            event.reason or event.error_message or "–",
            event.timestamp,
        )
        for event in events[:SHOWN]
    ]
    empty = "No event is about this user alone. What concerns a whole payout stands on the page of its distribution."
    table = Table(["Event", "Amount", "By", "Reason", "Time"], rows, frozenset({"Amount"}), empty)
    return Section("Audit events about this user", table, _list_of(AuditEvent, user), "All of them", whole=True)


_SECTIONS: dict[str, list[tuple[str, Callable[[User], Section]]]] = {
    MONEY: [
        ("rewards.view_account", balances_of),
        ("rewards.view_reward", newest_rewards_of),
        ("rewards.view_claim", newest_claims_of),
        ("rewards.view_correction", newest_corrections_of),
    ],
    WAITING: [
        ("rewards.view_pendingreward", newest_pending_of),
        ("rewards.view_deployment", deployments_of),
        ("rewards.view_rewardclaim", chain_claims_of),
    ],
    CASES: [("rewards.view_casevote", votes_of), ("rewards.view_case", submitted_by)],
    AUDIT: [("rewards.view_auditevent", events_about)],
}


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
