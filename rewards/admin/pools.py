"""Pools with their rules, rates, vote weights; what accrued, what was reported."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any, cast

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import reverse, reverse_lazy
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import RadioFilter
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from rewards.admin.common.confirm import Question, ask_then_do, page_context, sentence_of
from rewards.admin.common.display import (
    admin_url,
    amount,
    badge,
    exact,
    grouped,
    json_block,
    link_to,
    units,
)
from rewards.admin.common.fields import TiePolicyField, minor_units
from rewards.admin.common.history import HistoryAdmin
from rewards.admin.common.lists import BigList, users_found, value_filter
from rewards.admin.common.readonly import ReadOnlyAdmin
from rewards.admin.common.rights import PayoutRights
from rewards.admin.common.rule_form import Asks, RuleAdmin, RuleField, checked_rule
from rewards.admin.common.rule_words import rule_in_words
from rewards.admin.common.tables import Table
from rewards.admin.liability import liability_page, may_see_liability
from rewards.admin.running import run_now
from rewards.admin.trends import may_see_trends, trends_page
from rewards.common.amounts import InvalidAmount, to_units
from rewards.common.errors import RewardsError
from rewards.jobs.models import JobRun
from rewards.ledger.models import Account
from rewards.ledger.services import balance
from rewards.pools.inputs import MEASURES, check_pool_rule
from rewards.pools.models import Accrual, CcRate, PartnerTransfer, Pool, RewardLog, VoteWeight
from rewards.pools.queries import next_in_line
from rewards.pools.services import forecast, top_up
from rewards.users.models import User

PERIODS_FORESEEN = 20
KINDS = ("equal", "proportional", "tiers", "slices")  # votes name no amounts of their own
ASKS = Asks(reverse_lazy("admin:rewards_pool_rule"), KINDS, MEASURES, groups=False)


# --------------------------------------------------------------------------------------------------------------- pools


class PoolForm(forms.ModelForm):
    rule = RuleField(
        asks=ASKS,
        help_text="How a period is shared out, in the rule language of docs/rules.md. Checked when saved.",
    )
    tie_policy = TiePolicyField()
    approval_units = forms.CharField(
        label="Approval limit",
        required=False,
        widget=UnfoldAdminTextInputWidget(),
        help_text="In currency units: a payout of this much or more waits for an approver. Empty: none does.",
    )

    class Meta:
        model = Pool
        fields = ["title", "active", "share", "rule", "tie_policy"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        limit = self.instance.approval_limit
        if limit is not None:
            self.initial["approval_units"] = to_units(limit, self.instance.currency.decimals)
        if "rule" in self.fields:
            self.fields["rule"].widget.attrs["data-currency"] = self.instance.currency_id

    def clean_rule(self) -> Any:
        return checked_rule(self.cleaned_data["rule"], self.instance.currency.decimals, check_pool_rule)

    def clean_approval_units(self) -> int | None:
        return minor_units(self.cleaned_data["approval_units"], self.instance.currency.decimals)

    def clean(self) -> None:
        super().clean()
        if "approval_units" in self.cleaned_data:
            self.instance.approval_limit = self.cleaned_data["approval_units"]


class TopUpForm(forms.Form):
    amount = forms.CharField(widget=UnfoldAdminTextInputWidget(), help_text="In currency units, from issuance.")
    period = forms.CharField(
        widget=UnfoldAdminTextInputWidget(),
        help_text="A period that is not frozen yet: an hour such as 2026-11-21T07, a day such as 2026-11-21.",
    )
    reason = forms.CharField(max_length=500, widget=UnfoldAdminTextareaWidget({"rows": 3}))
    key = forms.CharField(widget=forms.HiddenInput())

    def __init__(self, *args: Any, pool: Pool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.pool = pool

    def clean_amount(self) -> int:
        try:
            return self.pool.currency.to_minor(self.cleaned_data["amount"].strip())
        except InvalidAmount as error:
            raise forms.ValidationError(error.message, code=error.code) from error


@admin.register(Pool)
class PoolAdmin(PayoutRights, RuleAdmin, HistoryAdmin):
    form = PoolForm
    rule_check = staticmethod(check_pool_rule)
    empty_hint = "`manage.py setup_pools --currency CODE --decimals N --cc-rate R` creates the two pools."
    list_display = ["title", "account_balance", "share_shown", "approval_shown", "next_payout_shown", "active"]
    ordering = ["slug"]
    actions = None
    actions_list = ["trends", "liability"]
    actions_detail = ["run_now", "preview", "top_up"]
    readonly_fields = ["slug", "currency", "account_balance", "next_payout_shown", "rule_words", "updated_at"]
    fieldsets = [
        (None, {"fields": ["title", "slug", "currency", "account_balance", "next_payout_shown", "active"]}),
        ("How much", {"fields": ["share", "approval_units"]}),
        ("By which rule", {"fields": ["rule", "tie_policy", "updated_at"]}),
    ]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # the two pools are created by setup_pools

    def has_delete_permission(self, request: HttpRequest, obj: Pool | None = None) -> bool:
        return False

    def get_fieldsets(self, request: HttpRequest, obj: Pool | None = None) -> Any:
        if self.has_change_permission(request, obj):
            return self.fieldsets
        shown = [(None, self.fieldsets[0][1]), ("How much", {"fields": ["share", "approval_shown"]})]
        return [*shown, ("By which rule", {"fields": ["rule_words", "rule_shown", "tie_policy", "updated_at"]})]

    def get_readonly_fields(self, request: HttpRequest, obj: Pool | None = None) -> Any:
        return [*self.readonly_fields, "approval_shown", "rule_shown"]

    def history_value(self, name: str, value: Any) -> str:
        shown = super().history_value(name, value)
        return f"{shown} minor units" if name == "approval_limit" and value is not None else shown

    @display(description="Balance")
    def account_balance(self, pool: Pool) -> SafeString | str:
        account = Account.objects.filter(code=pool.account_code, currency=pool.currency, user=None).first()
        if account is None:
            return amount(0, pool.currency)
        return link_to(account, amount(balance(account), pool.currency))

    @display(description="Share of intake")
    def share_shown(self, pool: Pool) -> str:
        return "the rest" if pool.share is None else exact(pool.share)

    @display(description="Approval limit")
    def approval_shown(self, pool: Pool) -> str:
        return "none" if pool.approval_limit is None else f"from {amount(pool.approval_limit, pool.currency)}"

    @display(description="Next payout")
    def next_payout_shown(self, pool: Pool) -> str:
        period = next_in_line(pool)
        return f"{period.key}, due {period.due_at:%Y-%m-%d %H:%M} UTC" if period else "with the first vote"

    @display(description="In words")
    def rule_words(self, pool: Pool) -> SafeString:
        return words_as_list(rule_in_words(pool.rule))

    @display(description="Rule")
    def rule_shown(self, pool: Pool) -> SafeString:
        return json_block(pool.rule)

    # ---------------------------------------------------------------------------------------------- pages of their own

    def has_trends_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may_see_trends(request.user)

    def has_liability_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may_see_liability(request.user)

    @action(description="Trends", url_path="trends", icon="monitoring", permissions=["trends"])
    def trends(self, request: HttpRequest) -> HttpResponse:
        return trends_page(request, self)

    @action(description="Liability and runway", url_path="liability", icon="savings", permissions=["liability"])
    def liability(self, request: HttpRequest) -> HttpResponseBase:
        return liability_page(request, self)

    # ------------------------------------------------------------------------------------------------------- what to do

    @action(description="Run now", url_path="run", icon="play_arrow", permissions=["run"])
    def run_now(self, request: HttpRequest, object_id: str) -> HttpResponse:
        pool = get_object_or_404(Pool.objects.select_related("currency"), pk=object_id)
        table, count, problem = foreseen(pool)
        question = Question(
            title=f"Run {pool.title} now",
            explanation=problem
            or (
                f"A worker does what is due, oldest first: {count} of its periods."
                if count
                else "Nothing is due: a run would find no work and change nothing."
            ),
            button="Run now",
            figures=[("Periods", table)],
        )

        def do(reason: str) -> str:
            return run_now(f"run_{pool.slug}", request.user)

        back = f"{admin_url(JobRun)}?job=run_{pool.slug}"
        return ask_then_do(request, question, do, back=back, context=page_context(request, self, pool))

    @action(description="Preview another rule", url_path="preview", icon="tune", permissions=["view"])
    def preview(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """On the period that is paid next, as far as it has come."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        pool = get_object_or_404(Pool, pk=object_id)
        return HttpResponseRedirect(f"{reverse('admin:rewards_distribution_simulator')}?snapshot=pool:{pool.slug}")

    @action(description="Top up", url_path="top-up", icon="add_card", permissions=["change"])
    def top_up(self, request: HttpRequest, object_id: str) -> HttpResponse:
        pool = get_object_or_404(Pool.objects.select_related("currency"), pk=object_id)
        if not request.user.has_perm("rewards.change_pool"):
            raise PermissionDenied
        now = timezone.now()
        initial = {"key": f"admin:{request.user.pk}:{now:%Y%m%d%H%M%S%f}"}
        form = TopUpForm(request.POST or None, pool=pool, initial=initial)
        if request.method == "POST" and form.is_valid() and self._topped_up(request, pool, form, now):
            return HttpResponseRedirect(admin_url(pool))
        context = page_context(request, self, pool) | {
            "title": f"Top up {pool.title}",
            "form": form,
            "explanation": f"The amount is issued to {pool.account_code} and counts as accrued in that period: "
            "it is shared out with it.",
            "button": "Top up",
            "back": admin_url(pool),
        }
        return TemplateResponse(request, "admin/form_page.html", context)

    def _topped_up(self, request: HttpRequest, pool: Pool, form: TopUpForm, now: Any) -> bool:
        given, actor = form.cleaned_data, cast(User, request.user)
        try:
            journal = top_up(
                pool, given["amount"], given["period"].strip(), given["key"], given["reason"], actor, at=now
            )
        except RewardsError as error:
            form.add_error(None, sentence_of(error))
            return False
        messages.success(
            request, f"{pool.title}: {amount(given['amount'], pool.currency)} added to {given['period']} ({journal})."
        )
        return True


def foreseen(pool: Pool) -> tuple[Table, str, str]:
    """What a run would do: the first periods with their figures, how many in words, and what stands in the way."""
    code = pool.currency.code
    columns = ["Period", f"Amount ({code})", "Recipients", f"Would pay ({code})", f"Carried on ({code})"]
    try:
        lines = list(islice(forecast(pool, timezone.now()), PERIODS_FORESEEN + 1))
    except RewardsError as error:
        return Table(columns, [], empty="Cannot be worked out."), "", sentence_of(error)
    rows = [
        (
            line.period_key, units(line.amount, pool.currency), grouped(line.recipients),
            units(line.paid, pool.currency), units(line.carried, pool.currency),
        )
        for line in lines[:PERIODS_FORESEEN]
    ]  # fmt: skip
    more = len(lines) > PERIODS_FORESEEN
    count = f"{PERIODS_FORESEEN} and more" if more else str(len(lines)) if lines else ""
    return Table(columns, rows, frozenset(columns[1:]), "Nothing is due."), count, ""


def words_as_list(words: Iterable[Any]) -> SafeString:
    """Nested sentences as a nested list."""
    items, waiting = [], list(words)
    for index, each in enumerate(waiting):
        if isinstance(each, list):
            continue
        below = waiting[index + 1] if index + 1 < len(waiting) and isinstance(waiting[index + 1], list) else []
        items.append(format_html("<li>{}{}</li>", each, words_as_list(below) if below else ""))
    return format_html('<ul class="rewards-words">{}</ul>', SafeString("".join(items)))


# ------------------------------------------------------------------------------------------------- rates and weights


@admin.register(CcRate)
class CcRateAdmin(HistoryAdmin):
    empty_hint = "Without a rate no hour can be accrued: add one that starts before the first vote."
    list_display = ["starts_at", "units_shown", "bonus_shown"]
    ordering = ["-starts_at"]
    actions = None

    def has_delete_permission(self, request: HttpRequest, obj: CcRate | None = None) -> bool:
        return False  # hours were accrued by it; a new one from a later instant replaces it

    @display(description="Currency units per CC")
    def units_shown(self, rate: CcRate) -> str:
        return exact(rate.units_per_cc)

    @display(description="Market bonus rate")
    def bonus_shown(self, rate: CcRate) -> str:
        return exact(rate.bonus_rate)


@admin.register(VoteWeight)
class VoteWeightAdmin(HistoryAdmin):
    empty_hint = "Every vote type counts 1. Add the types that count otherwise."
    list_display = ["vote_type", "weight_shown"]
    ordering = ["vote_type"]
    actions = None

    @display(description="Weight")
    def weight_shown(self, weight: VoteWeight) -> str:
        return exact(weight.weight)


# ------------------------------------------------------------------------------------------- what happened, read only


@admin.register(Accrual)
class AccrualAdmin(BigList, ReadOnlyAdmin):
    empty_hint = "Hours are accrued when they are over and due, from the first vote on."
    list_display = ["hour", "votes", "voters", "cc_shown", "rate_shown", "intake_shown", "hourly_shown", "daily_shown"]
    list_select_related = ["currency"]
    fieldsets = [
        (None, {"fields": ["hour", "votes", "voters", "cc_shown", "rate_shown"]}),
        ("Into the pools", {"fields": ["intake_shown", "hourly_shown", "daily_shown", "journal_link", "accrued_at"]}),
    ]
    readonly_fields = ["cc_shown", "rate_shown", "intake_shown", "hourly_shown", "daily_shown", "journal_link"]

    def cursor_fields(self, request: HttpRequest) -> list[str]:
        return ["-hour"]

    @display(description="CC")
    def cc_shown(self, accrual: Accrual) -> str:
        return grouped(exact(accrual.cc_amount))

    @display(description="Units per CC")
    def rate_shown(self, accrual: Accrual) -> str:
        return "–" if accrual.units_per_cc is None else exact(accrual.units_per_cc)

    @display(description="Intake")
    def intake_shown(self, accrual: Accrual) -> str:
        return amount(accrual.intake, accrual.currency)

    @display(description="To the hourly pool")
    def hourly_shown(self, accrual: Accrual) -> str:
        return units(accrual.hourly_amount, accrual.currency)

    @display(description="To the daily pool")
    def daily_shown(self, accrual: Accrual) -> str:
        return units(accrual.daily_amount, accrual.currency)

    @display(description="Journal")
    def journal_link(self, accrual: Accrual) -> SafeString | str:
        return link_to(accrual.journal)


@admin.register(RewardLog)
class RewardLogAdmin(BigList, ReadOnlyAdmin):
    empty_hint = "One line for each pool payout."
    list_display = ["distribution_name", "time", "total_shown", "counts_shown", "cap_shown"]
    list_filter = [value_filter(RewardLog, "type", "type")]
    list_select_related = ["distribution__currency"]
    fieldsets = [
        (None, {"fields": ["distribution", "type", "time", "total_shown", "counts_block", "ecc_cap", "created_at"]})
    ]
    readonly_fields = ["total_shown", "counts_block"]

    def cursor_fields(self, request: HttpRequest) -> list[str]:
        return ["-time", "-pk"] if request.GET.get("type") else ["-pk"]

    @display(description="Distribution")
    def distribution_name(self, log: RewardLog) -> str:
        return str(log.distribution)

    @display(description="Total")
    def total_shown(self, log: RewardLog) -> str:
        return amount(log.total, log.distribution.currency)

    @display(description="Members per tier")
    def counts_shown(self, log: RewardLog) -> str:
        return ", ".join(f"{name} {grouped(count)}" for name, count in log.counts.items()) or "–"

    @display(description="ECC cap")
    def cap_shown(self, log: RewardLog) -> str:
        return log.ecc_cap or "–"

    @display(description="Members per tier")
    def counts_block(self, log: RewardLog) -> SafeString:
        return json_block(log.counts)


class TransferStateFilter(RadioFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("unsent", "Not sent yet"), ("sent", "Sent")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[PartnerTransfer]) -> QuerySet[PartnerTransfer]:
        unsent = {"unsent": True, "sent": False}.get(self.value() or "")
        return queryset if unsent is None else queryset.filter(sent_at__isnull=unsent)


@admin.register(PartnerTransfer)
class PartnerTransferAdmin(PayoutRights, BigList, ReadOnlyAdmin):
    empty_hint = "Hourly rewards of users with the special-partner flag are sent from here."
    list_display = ["partner_name", "time", "amount_shown", "state", "attempts", "last_error", "sent_at"]
    list_filter = [TransferStateFilter]
    list_select_related = ["partner", "currency"]
    search_fields = ["partner__username"]
    search_help_text = "Start of a username"
    actions_list = ["send"]
    fieldsets = [
        (None, {"fields": ["partner", "time", "amount_shown", "state"]}),
        ("Sending", {"fields": ["attempts", "last_error", "created_at", "sent_at"]}),
    ]
    readonly_fields = ["amount_shown", "state"]

    def find(self, queryset: QuerySet[PartnerTransfer], term: str) -> QuerySet[PartnerTransfer]:
        return queryset.filter(partner__in=users_found(term))

    @display(description="Partner")
    def partner_name(self, transfer: PartnerTransfer) -> str:
        return transfer.partner.get_username()

    @display(description="Amount")
    def amount_shown(self, transfer: PartnerTransfer) -> str:
        return amount(transfer.amount, transfer.currency)

    @display(description="State")
    def state(self, transfer: PartnerTransfer) -> SafeString:
        if transfer.sent_at:
            return badge("sent")
        return badge("failing") if transfer.last_error else badge("waiting")

    @action(description="Send now", url_path="send", icon="send", permissions=["run"])
    def send(self, request: HttpRequest) -> HttpResponse:
        unsent = PartnerTransfer.objects.filter(sent_at__isnull=True)
        question = Question(
            title="Send partner transfers now",
            explanation="A worker sends what has not arrived yet. What arrived before is not sent again.",
            button="Send now",
            figures=[
                ("Waiting", grouped(unsent.count())),
                ("Of them failing", grouped(unsent.exclude(last_error="").count())),
            ],
        )
        back = admin_url(PartnerTransfer)
        return ask_then_do(
            request, question, lambda reason: run_now("export_partners", request.user), back=back,
            context=page_context(request, self),
        )  # fmt: skip
