"""Ranking categories: who is ranked against whom, by what score, and what the places are paid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any, cast

from django import forms
from django.conf import settings
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import reverse_lazy
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from rewards.activity.models import Counter
from rewards.admin.campaign_form import PATH, as_sentence, paying_accounts
from rewards.admin.common.confirm import page_context, sentence_of
from rewards.admin.common.display import admin_url, badge, exact, grouped, json_block
from rewards.admin.common.fields import ReasonField, TiePolicyField
from rewards.admin.common.history import HistoryAdmin
from rewards.admin.common.lists import distinct_values
from rewards.admin.common.pairs import PairsField
from rewards.admin.common.preview import context_of
from rewards.admin.common.rule_form import Asks, OtherRule, RuleAdmin, RuleField, RuleRefused
from rewards.admin.common.rule_words import rule_in_words
from rewards.admin.pools import words_as_list
from rewards.allocation.errors import AllocationError, RuleError
from rewards.allocation.language import parse_rule
from rewards.allocation.rules import amount_needed
from rewards.common.amounts import InvalidAmount, parse_decimal
from rewards.common.errors import RewardsError
from rewards.common.periods import Month
from rewards.distributions.preview import Preview, compare, drafted, preview_of
from rewards.distributions.programmes import Draft
from rewards.distributions.rows import participants_of
from rewards.ledger.models import Currency
from rewards.monthly.checks import check_category, names_amounts
from rewards.monthly.errors import CategoryInvalid
from rewards.monthly.models import RankingCategory
from rewards.monthly.services import save_category
from rewards.users.models import User

KINDS = ("tiers", "equal", "proportional", "slices")  # a ranking names no amounts of its own
ASKS = Asks(reverse_lazy("admin:rewards_rankingcategory_rule"), KINDS, groups=False)
SHIPPED_METRICS = ("tests_completed", "correct_answers", "student_attempts")
MONTHS_OFFERED = 13
LARGEST_PREVIEWED = 200_000
NEW_RULE = {"rule": "tiers", "tiers": [{"to": 1, "each": "1000", "name": "Champion"}]}


def known_metrics() -> list[str]:
    """Metrics that were reported, and those of the categories that the product ships with."""
    return sorted({*SHIPPED_METRICS, *distinct_values(Counter, "metric")})


# ------------------------------------------------------------------------------------------------------------- the form


class CategoryForm(forms.ModelForm):
    score = PairsField(
        name_label="Metric",
        value_label="Weight",
        known_names=known_metrics,
        error_messages={"required": "Name at least one metric, with its weight."},
        help_text="The month's counter of each metric times its weight, added up. Who has none counts as zero and "
        "takes part all the same.",
    )
    tiers = RuleField(
        asks=ASKS,
        label="Rule",
        help_text="How the places are paid, in currency units. The name of a tier names its badge: Monthly Champion.",
    )
    tie_policy = TiePolicyField()
    currency = forms.ChoiceField(widget=UnfoldAdminSelectWidget(), help_text="What it is paid in.")
    source = forms.ChoiceField(
        label="Paid from", widget=UnfoldAdminSelectWidget(), help_text="The system account that pays."
    )
    amount = forms.CharField(
        label="Amount to share out",
        required=False,
        widget=UnfoldAdminTextInputWidget({"inputmode": "decimal"}),
        help_text="In currency units. Empty where every tier says what each place gets.",
    )
    approval_limit = forms.CharField(
        label="Approval limit",
        required=False,
        widget=UnfoldAdminTextInputWidget({"inputmode": "decimal"}),
        help_text="In currency units: a month that pays this much or more waits for an approver. Empty: none does.",
    )

    reason = ReasonField(required_sentence="Say why: what people are paid by changes with a reason.")

    class Meta:
        model = RankingCategory
        fields = [
            "slug", "title", "active", "group", "score", "tiers", "tie_policy", "currency", "source", "amount",
            "approval_limit",
        ]  # fmt: skip
        help_texts = {
            "slug": "Names it for good, as in monthly:students.",
            "group": "Its active members take part; `manage.py assign_group` fills it from a list. Empty: everybody.",
            "active": "Whether the next months are paid.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "tiers" not in self.fields:  # whoever may only look has no fields
            return
        fields: dict[str, Any] = self.fields
        fields["currency"].choices = [(code, code) for code in currency_codes(self.instance.currency)]
        fields["source"].choices = [(code, code) for code in paying_accounts(self.instance.source)]
        fields["tiers"].widget.asks = asks_of(self.instance)
        for name in ("amount", "approval_limit"):
            value = getattr(self.instance, name)
            self.initial[name] = "" if value is None else exact(value)
        if self.instance.pk is None:
            self.initial["tiers"] = self.initial.get("tiers") or NEW_RULE

    def clean_amount(self) -> str | None:
        return self.cleaned_data["amount"].strip() or None

    def clean_approval_limit(self) -> str | None:
        return self.cleaned_data["approval_limit"].strip() or None

    def _post_clean(self) -> None:
        """What the category as a whole lacks, each at its field."""
        super()._post_clean()  # type: ignore[misc]
        if self.errors:
            return
        try:
            check_category(self.instance)
        except CategoryInvalid as error:
            for name, sentence in error.facts["errors"].items():
                self._put(name, sentence)

    def _put(self, name: str, sentence: str) -> None:
        found = PATH.fullmatch(sentence)
        if name == "tiers" and found:
            self.add_error("tiers", RuleRefused(RuleError(*found.groups())))
        else:
            self.add_error(name if name in self.fields else None, as_sentence(sentence))


def currency_codes(chosen: str) -> list[str]:
    active = Currency.objects.filter(active=True).order_by("code").values_list("code", flat=True)
    return list(dict.fromkeys([*filter(None, [chosen]), *active]))


def asks_of(category: RankingCategory) -> Asks:
    """The rule may weigh by the metrics of the score, and by nothing else."""
    score = category.score if isinstance(category.score, dict) else {}
    return replace(ASKS, measures=tuple(score) or SHIPPED_METRICS)


# ------------------------------------------------------------------------------------------------------------- its page


@admin.register(RankingCategory)
class RankingCategoryAdmin(RuleAdmin, HistoryAdmin):
    form = CategoryForm
    empty_hint = "`manage.py setup_defaults` creates the categories students and teachers."
    list_display = ["name", "group_shown", "score_words", "pays", "state"]
    list_select_related = ["group"]
    ordering = ["slug"]
    actions = None
    actions_detail = ["preview"]
    readonly_fields = ["score_words", "score_shown", "rule_words", "rule_shown", "amount_shown", "approval_shown"]
    fieldsets = [
        (None, {"fields": ["slug", "title", "active", "reason"]}),
        ("Who", {"fields": ["group"]}),
        ("By what", {"fields": ["score"]}),
        ("What the places are paid", {"fields": ["tiers", "tie_policy", "currency", "source"]}),
        ("How much", {"fields": ["amount", "approval_limit"]}),
    ]

    def has_delete_permission(self, request: HttpRequest, obj: RankingCategory | None = None) -> bool:
        return False  # switched off instead: what it has paid is named after it

    def get_fieldsets(self, request: HttpRequest, obj: RankingCategory | None = None) -> Any:
        editable = self.has_change_permission(request, obj) if obj else self.has_add_permission(request)
        if editable:
            return self.fieldsets
        return [
            (None, {"fields": ["slug", "title", "active"]}),
            ("Who", {"fields": ["group"]}),
            ("By what", {"fields": ["score_words", "score_shown"]}),
            (
                "What the places are paid",
                {"fields": ["rule_words", "rule_shown", "tie_policy", "currency", "source"]},
            ),
            ("How much", {"fields": ["amount_shown", "approval_shown"]}),
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: RankingCategory | None = None) -> Any:
        """The name stays: payouts and badges are named by it."""
        return [*self.readonly_fields, "slug"] if obj is not None else self.readonly_fields

    def save_model(self, request: HttpRequest, obj: RankingCategory, form: Any, change: bool) -> None:
        """Who last changed it does not approve what it pays."""
        save_category(obj, cast(User, request.user), form.cleaned_data["reason"].strip())

    # --------------------------------------------------------------------------------------------------- in columns

    @display(description="Category", ordering="slug")
    def name(self, category: RankingCategory) -> str:
        return category.title or category.slug

    @display(description="Who")
    def group_shown(self, category: RankingCategory) -> str:
        return category.group.name if category.group else "every active user"

    @display(description="Score")
    def score_words(self, category: RankingCategory) -> str:
        return score_in_words(category.score)

    @display(description="Pays")
    def pays(self, category: RankingCategory) -> str:
        return pays_in_words(category)

    @display(description="State")
    def state(self, category: RankingCategory) -> SafeString:
        return badge("done", "active") if category.active else badge("none", "switched off")

    @display(description="Score as stored")
    def score_shown(self, category: RankingCategory) -> SafeString:
        return json_block(category.score)

    @display(description="In words")
    def rule_words(self, category: RankingCategory) -> SafeString:
        return words_as_list(rule_in_words(category.tiers))

    @display(description="Rule")
    def rule_shown(self, category: RankingCategory) -> SafeString:
        return json_block(category.tiers)

    @display(description="Amount to share out")
    def amount_shown(self, category: RankingCategory) -> str:
        return (
            "what the tiers say"
            if category.amount is None
            else f"{grouped(exact(category.amount))} {category.currency}"
        )

    @display(description="Approval limit")
    def approval_shown(self, category: RankingCategory) -> str:
        limit = category.approval_limit
        return "none" if limit is None else f"from {grouped(exact(limit))} {category.currency}"

    # -------------------------------------------------------------------------------------------------- previewed

    @action(description="Preview payout", url_path="preview", icon="tune", permissions=["view"])
    def preview(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """What a month would pay, the running one as far as it has come; with another rule beside it."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        category = get_object_or_404(RankingCategory.objects.select_related("group"), pk=object_id)
        return preview_page(request, self, category, timezone.now())


def score_in_words(score: Any) -> str:
    """`15 × tests_completed + 1 × correct_answers`, what counts most first: the database keeps no order."""
    if not isinstance(score, dict):
        return "no score"
    pairs = sorted(score.items(), key=lambda pair: (-number_in(pair[1]), pair[0]))
    return " + ".join(f"{weight} × {metric}" for metric, weight in pairs) or "no score"


def number_in(weight: Any) -> Decimal:
    try:
        return parse_decimal(weight)
    except InvalidAmount:
        return Decimal(0)


def pays_in_words(category: RankingCategory) -> str:
    """The first place of tiers, or what is shared out."""
    if category.amount is not None:
        return f"{grouped(exact(category.amount))} {category.currency} shared out"
    tiers = category.tiers.get("tiers") if isinstance(category.tiers, dict) else None
    if isinstance(tiers, list) and tiers and isinstance(tiers[0], dict) and "each" in tiers[0]:
        return f"{len(tiers)} tiers, the first {grouped(str(tiers[0]['each']))} {category.currency}"
    return "–"


# ---------------------------------------------------------------------------------------------------------- the preview


class MonthAndRule(OtherRule):
    """The month to look at, and a rule that may be another one."""

    month = forms.ChoiceField(widget=UnfoldAdminSelectWidget(), help_text="The running month as far as it has come.")
    field_order = ["month", "rule", "tie_policy"]

    def __init__(self, *args: Any, months: Sequence[Month], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        fields: dict[str, Any] = self.fields
        fields["month"].choices = [
            (month.key, f"{month.start.astimezone(month.zone):%B %Y}{'' if place else ', running'}")
            for place, month in enumerate(months)
        ]
        self.order_fields(self.field_order)


def preview_page(request: HttpRequest, model_admin: Any, category: RankingCategory, at: datetime) -> HttpResponse:
    currency = Currency.objects.filter(code=category.currency).first()
    months = months_offered(at)
    own = {"month": months[0].key, "rule": category.tiers, "tie_policy": category.tie_policy}
    too_large = takes_part_too_many(category)
    context = page_context(request, model_admin, category) | {
        "title": f"What {category} would pay",
        "explanation": "The ranking of a month and what its places would be paid. Nothing is written.",
        "too_large": f"more than {grouped(LARGEST_PREVIEWED)}" if too_large else "",
        "command": f"manage.py preview {category.programme} {months[0].key}",
        "back": admin_url(category),
    }
    if currency is None:
        context |= {"too_large": "", "problem": f"There is no currency {category.currency}: choose another."}
        return TemplateResponse(request, "admin/category_preview.html", context | {"form": forms.Form()})
    form = MonthAndRule(request.POST or None, initial=own, asks=asks_of(category), currency=currency, months=months)
    if not too_large and (not form.is_bound or form.is_valid()):
        context |= previewed(category, form, form.cleaned_data if form.is_bound else own, at)
    return TemplateResponse(request, "admin/category_preview.html", context | {"form": form})


def previewed(category: RankingCategory, form: MonthAndRule, asked: dict[str, Any], at: datetime) -> dict[str, Any]:
    """The figures, beside those of the own rule where another one is asked for; or what stands in the way."""
    try:
        draft = drafted(category.programme, asked["month"], at)
        shown = by_rule(category, asked["month"], draft, asked["rule"], asked["tie_policy"])
    except AllocationError as error:
        if not form.is_bound:
            return {"problem": as_sentence(str(error))}
        form.refuse(error)
        return {}
    except RewardsError as error:
        return {"problem": as_sentence(sentence_of(error))}
    if (asked["rule"], asked["tie_policy"]) == (category.tiers, category.tie_policy):
        return context_of(shown)
    try:
        own = by_rule(category, asked["month"], draft, category.tiers, category.tie_policy)
    except AllocationError:  # it may be the reason why another rule is looked for
        return context_of(shown)
    return context_of(shown, compare(own, shown))


def by_rule(category: RankingCategory, month: str, draft: Draft, rule: Any, tie_policy: str) -> Preview:
    """The month's ranking paid by a rule. Raises `AllocationError`."""
    amount = amount_by(category, draft, rule, tie_policy)
    return preview_of(category.programme, month, replace(draft, amount=amount, rule=rule, tie_policy=tie_policy))


def amount_by(category: RankingCategory, draft: Draft, rule: Any, tie_policy: str) -> int:
    """What there is to share out; where the tiers say how much, another rule comes to another amount."""
    decimals = draft.currency.decimals
    if category.amount is not None or not names_amounts(parse_rule(rule, decimals)):
        return draft.amount
    return amount_needed(rule, participants_of(draft.snapshot), decimals=decimals, tie_policy=tie_policy)


def months_offered(at: datetime) -> list[Month]:
    """The running month and those before it, newest first."""
    months = [Month.containing(at, settings.REWARDS_TIME_ZONE)]
    while len(months) < MONTHS_OFFERED:
        months.append(months[-1].previous())
    return months


def takes_part_too_many(category: RankingCategory) -> bool:
    """Counted no further than it has to be."""
    users = User.objects.filter(is_active=True)
    if category.group_id is not None:
        users = users.filter(groups=category.group_id)
    return users[: LARGEST_PREVIEWED + 1].count() > LARGEST_PREVIEWED
