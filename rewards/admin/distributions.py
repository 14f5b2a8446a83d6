"""Distributions with what one may do about them, their rewards with receipts, and the periods of each programme."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, cast

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter, RelatedDropdownFilter
from unfold.decorators import action, display
from unfold.enums import ActionVariant

from rewards.admin.common.confirm import Question, ask_then_do, page_context
from rewards.admin.common.display import admin_url, amount, badge, duration, grouped, json_block, link_to, units
from rewards.admin.common.downloads import Exported, csv_download, file_name
from rewards.admin.common.lists import BigList, users_found, value_filter
from rewards.admin.common.readonly import ReadOnlyAdmin
from rewards.admin.common.rights import PayoutRights
from rewards.admin.common.rule_form import RuleAdmin
from rewards.admin.common.tables import Table
from rewards.admin.csv_lists import DistributionsCsv, RewardsCsv
from rewards.admin.distribution_page import detail_context
from rewards.admin.late_events import late_events_page
from rewards.admin.reversing import reverse_page
from rewards.admin.simulator import address_of, simulator_page
from rewards.distributions import services
from rewards.distributions.corrections import clawback_preview
from rewards.distributions.models import Distribution, Reward
from rewards.distributions.programmes import registered_programmes
from rewards.distributions.queries import (
    period_states,
    receipt,
    reward_lines,
    status_of,
    verify,
    waits_for_approval,
)
from rewards.users.models import User

Status = Distribution.Status

LARGEST_VERIFIED_HERE = 100_000
WAITS = "waits for approval"
PERIODS_SHOWN = 100
EXPORTED = ("period", "user", "position", "rank", "score", "amount", "status", "currency")

WITH_ACCOUNTS = Distribution.objects.select_related("currency", "source_account__currency", "source_account__user")


@admin.register(Distribution)
class DistributionAdmin(DistributionsCsv, PayoutRights, RuleAdmin, BigList, ReadOnlyAdmin):
    empty_hint = "Payouts appear here as soon as a programme's first period is due; the jobs open them."
    list_display = [
        "name", "status_badge", "starts_at", "recipients_shown", "amount_shown", "paid_shown", "duration_shown",
    ]  # fmt: skip
    list_filter = [
        ("status", ChoicesDropdownFilter),
        value_filter(Distribution, "programme", "programme"),
        ("currency", RelatedDropdownFilter),
    ]
    list_select_related = ["currency"]
    search_fields = ["period_key"]
    search_help_text = "Programme or period, such as pool_daily 2026-11"
    change_form_template = "admin/distribution.html"
    actions_list = ["periods", "simulator"]
    actions_detail = ["approve", "reject", "retry", "preview", "late", "reverse", "verify", "export"]

    def find(self, queryset: QuerySet[Distribution], term: str) -> QuerySet[Distribution]:
        for word in term.split():
            queryset = queryset.filter(Q(period_key__startswith=word) | Q(programme__startswith=word))
        return queryset

    # ----------------------------------------------------------------------------------------------------- the list

    @display(description="Distribution")
    def name(self, distribution: Distribution) -> str:
        return f"{distribution.programme} {distribution.period_key}"

    @display(description="Status")
    def status_badge(self, distribution: Distribution) -> SafeString:
        return badge(distribution.status)

    @display(description="Recipients")
    def recipients_shown(self, distribution: Distribution) -> str:
        return grouped(distribution.recipients)

    @display(description="Amount")
    def amount_shown(self, distribution: Distribution) -> str:
        return amount(distribution.amount, distribution.currency)

    @display(description="Paid")
    def paid_shown(self, distribution: Distribution) -> str:
        return units(distribution.paid_amount, distribution.currency)

    @display(description="Took")
    def duration_shown(self, distribution: Distribution) -> str:
        return duration(sum(distribution.seconds.values())) if distribution.seconds else "–"

    # ----------------------------------------------------------------------------------------------------- one of them

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        found = Distribution.objects.select_related("currency", "source_account", "actor", "approved_by", "prepared_by")
        distribution = found.filter(pk=object_id).first()
        if distribution is not None and self.has_view_permission(request, distribution):
            extra_context = (extra_context or {}) | detail_context(request, distribution)
        return super().change_view(request, object_id, form_url, extra_context)

    def get_actions_detail(self, request: HttpRequest, object_id: int) -> list[Any]:
        """Only what can be done now, to whoever may do it."""
        distribution = Distribution.objects.filter(pk=object_id).first()
        if distribution is None:
            return []
        possible = possible_actions(distribution)
        allowed = super().get_actions_detail(request, object_id)
        return [each for each in allowed if each.action_name.rpartition("_")[2] in possible]

    @action(
        description="Approve", url_path="approve", icon="check_circle", variant=ActionVariant.PRIMARY,
        permissions=["approve"],
    )  # fmt: skip
    def approve(self, request: HttpRequest, object_id: str) -> HttpResponse:
        distribution = self._distribution(request, object_id)
        digest = request.POST.get("digest") or distribution.digest
        question = Question(
            title=f"Approve {distribution}",
            explanation=f"{amount(due(distribution), distribution.currency)} will be paid to "
            f"{grouped(distribution.recipients)} recipients from {distribution.source_account}.",
            button="Approve and pay",
            figures=figures_of(distribution),
            hidden={"digest": distribution.digest},
        )

        def do(reason: str) -> str:
            services.approve(distribution.pk, request.user, digest=digest)  # type: ignore[arg-type]
            return said_after(services.pay_along(distribution.pk))

        return self._ask(request, distribution, question, do)

    @action(
        description="Reject", url_path="reject", icon="cancel", variant=ActionVariant.DANGER,
        permissions=["approve"],
    )  # fmt: skip
    def reject(self, request: HttpRequest, object_id: str) -> HttpResponse:
        distribution = self._distribution(request, object_id)
        question = Question(
            title=f"Reject {distribution}",
            explanation=f"Nobody is paid for this period. {amount(distribution.amount, distribution.currency)} "
            "are carried over to the next one.",
            button="Reject",
            figures=figures_of(distribution),
            needs_reason=True,
            dangerous=True,
        )

        def do(reason: str) -> str:
            services.reject(distribution.pk, request.user, reason)  # type: ignore[arg-type]
            return f"{distribution} is cancelled; its amount is carried over."

        return self._ask(request, distribution, question, do)

    @action(description="Retry", url_path="retry", icon="replay", permissions=["run"])
    def retry(self, request: HttpRequest, object_id: str) -> HttpResponse:
        distribution = self._distribution(request, object_id)
        unpaid = due(distribution) - distribution.paid_amount
        question = Question(
            title=f"Retry {distribution}",
            explanation=f"It failed and continues from the stage {distribution.failed_from or 'it was in'}: "
            f"what is paid already stays, {amount(unpaid, distribution.currency)} are left to pay.",
            button="Retry",
            figures=[*figures_of(distribution), ("Error", distribution.error)],
        )

        def do(reason: str) -> str:
            services.resume(distribution.pk, request.user)  # type: ignore[arg-type]
            return said_after(services.pay_along(distribution.pk))

        return self._ask(request, distribution, question, do)

    @action(description="Preview another rule", url_path="preview", icon="tune", permissions=["view"])
    def preview(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return HttpResponseRedirect(address_of(str(self._distribution(request, object_id).pk)))

    @action(description="Policy simulator", url_path="simulator", icon="tune", permissions=["view"])
    def simulator(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        return simulator_page(request, self, timezone.now())

    @action(description="Export CSV", url_path="export", icon="download", permissions=["view"])
    def export(self, request: HttpRequest, object_id: str) -> StreamingHttpResponse:
        """Its rows by place: who got what, and whether it is paid."""
        distribution, now = self._distribution(request, object_id), timezone.now()
        exported = Exported(
            cast(User, request.user), "rewards of a distribution", {"distribution": [str(distribution)]}
        )
        name = file_name(now, "rewards", distribution.programme, distribution.period_key)
        rows = ((*line, distribution.currency.code) for line in reward_lines(distribution))
        return csv_download(name, EXPORTED, rows, exported=exported)

    @action(description="Late events", url_path="late-events", icon="schedule", permissions=["view"])
    def late(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return late_events_page(request, self, self._distribution(request, object_id), timezone.now())

    @action(
        description="Reverse", url_path="reverse", icon="undo", variant=ActionVariant.DANGER,
        permissions=["reverse"],
    )  # fmt: skip
    def reverse(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return reverse_page(request, self, self._distribution(request, object_id))

    @action(description="Verify", url_path="verify", icon="fact_check", permissions=["view"])
    def verify(self, request: HttpRequest, object_id: str) -> HttpResponse:
        distribution = self._distribution(request, object_id)
        too_large = distribution.participants > LARGEST_VERIFIED_HERE
        started = time.monotonic()
        differences = [] if too_large else [each.what for each in verify(distribution)]
        context = page_context(request, self, distribution) | {
            "title": f"Verify {distribution}",
            "distribution": distribution,
            "too_large": too_large,
            "rows": grouped(distribution.participants),
            "differences": differences[:100],
            "seconds": duration(time.monotonic() - started),
            "back": admin_url(distribution),
        }
        return TemplateResponse(request, "admin/verify_distribution.html", context)

    @action(description="Periods", url_path="periods", icon="calendar_month", permissions=["view"])
    def periods(self, request: HttpRequest) -> HttpResponse:
        now = timezone.now()
        programme = request.GET.get("programme") or None
        context = page_context(request, self) | {
            "title": "Periods",
            "table": periods_table(now, programme),
            "programmes": sorted(registered_programmes()),
            "programme": programme,
            "now": now,
        }
        return TemplateResponse(request, "admin/periods.html", context)

    # ----------------------------------------------------------------------------------------------------------- steps

    def _distribution(self, request: HttpRequest, object_id: str) -> Distribution:
        if not self.has_view_permission(request):
            raise PermissionDenied
        return get_object_or_404(WITH_ACCOUNTS, pk=object_id)

    def _ask(
        self, request: HttpRequest, distribution: Distribution, question: Question, do: Callable[[str], str]
    ) -> HttpResponse:
        context = page_context(request, self, distribution)
        return ask_then_do(request, question, do, back=admin_url(distribution), context=context)


def said_after(distribution: Distribution) -> str:
    """What has become of a distribution that was just worked on."""
    paid = amount(distribution.paid_amount, distribution.currency)
    if distribution.status == Status.PAID:
        return f"{distribution} is paid: {paid} to {grouped(distribution.recipients)} recipients."
    if distribution.status == Status.FAILED:
        return f"{distribution} failed again: {distribution.error}"
    if waits_for_approval(distribution):
        return f"{distribution} is allocated and waits for approval."
    return f"{distribution} is {distribution.status}, {paid} paid so far; a worker goes on with it."


def possible_actions(distribution: Distribution) -> set[str]:
    """The actions that make sense in a distribution's status."""
    possible = {"preview"}
    if waits_for_approval(distribution):
        possible |= {"approve", "reject"}
    if distribution.status == Status.FAILED:
        possible.add("retry")
    if distribution.paid_amount and distribution.status in (Status.PAYING, Status.PAID, Status.FAILED):
        possible.add("reverse")
    if distribution.allocated_at:
        possible |= {"verify", "export"}
    if distribution.late_events:
        possible.add("late")
    return possible


def due(distribution: Distribution) -> int:
    """Minor units that its rows add up to."""
    return distribution.amount - distribution.carried_over


def figures_of(distribution: Distribution) -> list[tuple[str, Any]]:
    currency = distribution.currency
    figures = [
        ("Amount", amount(distribution.amount, currency)),
        ("To recipients", amount(due(distribution), currency)),
        ("Carried over", amount(distribution.carried_over, currency)),
        ("Recipients", grouped(distribution.recipients)),
        ("Participants", grouped(distribution.participants)),
        ("Paid so far", amount(distribution.paid_amount, currency)),
    ]
    if distribution.approval_limit is not None:
        figures.append(("Approval from", amount(distribution.approval_limit, currency)))
    return [*figures, ("Digest", format_html("<code>{}</code>", distribution.digest or "–"))]


def periods_table(now: Any, programme: str | None) -> Table:
    rows = []
    for state in period_states(now, programme, limit=PERIODS_SHOWN):
        opened = state.distribution
        name = f"{state.programme} {state.period_key}"
        rows.append(
            (
                link_to(opened, name) if opened else name,
                badge(state.state, kind="warning" if state.note == WAITS else None),
                state.note,
                amount(opened.amount, opened.currency) if opened else "–",
                grouped(opened.recipients) if opened else "–",
            )
        )
    empty = "No period is due yet. A programme's periods begin with its first activity."
    return Table(["Period", "State", "Note", "Amount", "Recipients"], rows, frozenset({"Amount", "Recipients"}), empty)


# ------------------------------------------------------------------------------------------------------------- rewards


@admin.register(Reward)
class RewardAdmin(RewardsCsv, PayoutRights, BigList, ReadOnlyAdmin):
    empty_hint = "Rewards appear here with the first distribution."
    list_display = ["place", "user_name", "distribution_name", "score", "amount_shown"]
    list_select_related = ["user", "distribution__currency"]
    search_fields = ["user__username"]
    search_help_text = "Start of a username"
    change_form_template = "admin/reward.html"
    exclude = ["salt"]
    actions_detail = ["reverse"]

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        if lookup.startswith("salt"):  # it hides amounts from neighbours; its owner alone sees it
            return False
        return lookup == "distribution__id__exact" or super().lookup_allowed(lookup, value, request)

    def cursor_fields(self, request: HttpRequest) -> list[str]:
        """Within one distribution by place, which is what its unique index gives; else newest first."""
        within_one = "distribution__id__exact" in request.GET
        return ["position"] if within_one else ["-pk"]

    def find(self, queryset: QuerySet[Reward], term: str) -> QuerySet[Reward]:
        return queryset.filter(user__in=users_found(term))

    @display(description="Place")
    def place(self, reward: Reward) -> str:
        return grouped(reward.position)

    @display(description="User")
    def user_name(self, reward: Reward) -> str:
        return reward.user.get_username()

    @display(description="Distribution")
    def distribution_name(self, reward: Reward) -> str:
        return str(reward.distribution)

    @display(description="Amount")
    def amount_shown(self, reward: Reward) -> str:
        return amount(reward.amount, reward.distribution.currency)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        found = Reward.objects.select_related("user", "distribution__currency")
        reward = found.filter(pk=object_id).first()
        if reward is not None and self.has_view_permission(request, reward):
            extra_context = (extra_context or {}) | receipt_context(reward)
        return super().change_view(request, object_id, form_url, extra_context)

    def get_actions_detail(self, request: HttpRequest, object_id: int) -> list[Any]:
        """Only a reward that is paid, or waits to be claimed, is taken back."""
        reward = Reward.objects.select_related("distribution").filter(pk=object_id).first()
        stands = reward is not None and clawback_preview(reward.distribution, reward).recipients > 0
        return super().get_actions_detail(request, object_id) if stands else []

    @action(
        description="Take back", url_path="reverse", icon="undo", variant=ActionVariant.DANGER,
        permissions=["reverse"],
    )  # fmt: skip
    def reverse(self, request: HttpRequest, object_id: str) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        related = Reward.objects.select_related(
            "user", "distribution__currency", "distribution__source_account__currency"
        )
        reward = get_object_or_404(related, pk=object_id)
        return reverse_page(request, self, reward.distribution, reward)


def receipt_context(reward: Reward) -> dict[str, Any]:
    """The receipt of a reward: why this amount, in words and numbers."""
    slip = receipt(reward)
    code = slip["currency"]
    slices = [
        (part["name"], grouped(part["members"]), grouped(part["slice_amount"]), grouped(part["amount"]))
        for part in slip["slices"]
    ]
    columns = ["Slice", "Members", f"Slice ({code})", f"This reward ({code})"]
    return {
        "reward": reward,
        "receipt": slip,
        "status": badge(status_of(reward), status_of(reward)),
        "amount": amount(reward.amount, reward.distribution.currency),
        "user_link": link_to(reward.user),
        "distribution_link": link_to(reward.distribution),
        "inputs": [(name, value) for name, value in slip["inputs"].items()],
        "facts": [(name, value) for name, value in slip["facts"].items()],
        "slices": Table(columns, slices, frozenset(columns[1:]), "No slice of the rule reached this place."),
        "rule": json_block(slip["rule"]),
    }
