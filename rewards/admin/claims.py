"""Claim types with the lines of their recipes, checked and tried out before they are saved; claims, read only."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import escape, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from unfold.admin import TabularInline
from unfold.contrib.filters.admin import BooleanRadioFilter, ChoicesDropdownFilter, RelatedDropdownFilter
from unfold.decorators import display
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from rewards.admin.common.confirm import Question, ask_then_do, page_context
from rewards.admin.common.display import admin_url, amount, badge, grouped, json_block, link_to
from rewards.admin.common.fields import PrettyJsonField, ReasonField
from rewards.admin.common.history import HistoryAdmin
from rewards.admin.common.lists import BigList, users_found
from rewards.admin.common.readonly import ReadOnlyAdmin
from rewards.admin.common.tables import Table
from rewards.admin.csv_lists import ClaimsCsv
from rewards.claims.errors import InvalidRecipe, KeyMissing
from rewards.claims.models import Claim, ClaimType, Line
from rewards.claims.recipes import Entry, Recipe, compile_recipe, preview
from rewards.common.errors import RewardsError
from rewards.ledger.models import Currency, Journal, Transfer
from rewards.users.models import User

NOT_SAVED = "This recipe cannot be used as it is; nothing was saved."
NOBODY_NAMED = "who claims"
LONGEST_CURRENCY_SHOWN = 30
LINE_PROBLEM = re.compile(r"line (\d+)\.(\w+)")
EXPRESSIONS = {"currency": "lumees", "amount": "10 * floor", "when": "always"}  # fields, and an example or default


# ------------------------------------------------------------------------------------------------------------- recipes


class ContextField(PrettyJsonField):
    """A JSON object; nothing means an empty one."""

    def prepare_value(self, value: Any) -> str:
        return super().prepare_value({} if value is None else value)

    def clean(self, value: Any) -> Any:
        cleaned = super().clean(value)
        if cleaned is None:
            return {}
        if not isinstance(cleaned, dict):
            raise forms.ValidationError('Write a JSON object, such as {"floor": 7}.', code="not_an_object")
        return cleaned


class ClaimTypeForm(forms.ModelForm):
    context_schema = ContextField(
        rows=14,
        required=False,
        help_text="JSON Schema of what the caller must send. A default it gives stands in for what is left out.",
    )
    sample_context = ContextField(
        rows=6, required=False, help_text="A context as a caller would send it: the preview below works it out."
    )
    reason = ReasonField(required_sentence="Say why: a change to a recipe needs a reason.")

    class Meta:
        model = ClaimType
        fields = [
            "slug", "title", "active", "callers", "scope", "starts_at", "ends_at", "limit_per_user", "limit_period",
            "key_pattern", "funded_by", "context_schema", "sample_context",
        ]  # fmt: skip
        help_texts = {"key_pattern": escape(ClaimType._meta.get_field("key_pattern").help_text)}  # it shows <names>

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.instance.form = self  # where the check of type and lines together puts what is wrong with the type


class LineForm(forms.ModelForm):
    class Meta:
        model = Line
        fields = ["order", "direction", "amount", "currency", "party", "when"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "order" not in self.fields:  # whoever may only look has no fields
            return
        self.fields["order"].required = False
        self.fields["order"].widget = UnfoldAdminTextInputWidget(
            {"inputmode": "numeric", "class": "rewards-order", "aria-label": "Order"}
        )
        if self.instance.pk is None:
            self.initial["order"] = None
        for name in EXPRESSIONS:
            self.fields[name].widget = expression_input(name.capitalize(), EXPRESSIONS[name])
        self.fields["party"].widget.attrs["placeholder"] = NOBODY_NAMED

    def clean(self) -> None:
        super().clean()
        for name in EXPRESSIONS:
            if name in self.cleaned_data:
                self.cleaned_data[name] = " ".join(self.cleaned_data[name].split("\n"))


def expression_input(label: str, placeholder: str) -> forms.Widget:
    attributes = {"rows": 1, "class": "rewards-expression", "spellcheck": "false", "autocapitalize": "off"}
    return UnfoldAdminTextareaWidget({**attributes, "aria-label": label, "placeholder": placeholder})


class LineFormSet(forms.BaseInlineFormSet):
    def clean(self) -> None:
        """Check the recipe as a whole once its fields are right: each problem is put where it is to be mended."""
        super().clean()
        owner: forms.ModelForm = self.instance.form
        if any(self.errors) or not owner.is_valid():
            return
        drafts = self.drafts()
        try:
            compile_recipe(self.instance, [draft.instance for draft in drafts])
        except InvalidRecipe as error:
            problems = dict(error.facts.get("errors") or {})
            for place in [place for place in problems if put(owner, drafts, place, problems[place])]:
                del problems[place]
            raise forms.ValidationError([NOT_SAVED, *problems.values()], code=error.code) from error

    def drafts(self) -> list[forms.ModelForm]:
        """The lines as they would be saved, in their order; those without a number follow, numbered on."""
        kept = [form for form in self.forms if self._stays(form)]
        numbered = [form for form in kept if form.cleaned_data.get("order") is not None]
        following = max((form.instance.order for form in numbered), default=0)
        for form in kept:
            if form not in numbered:
                following += 1
                form.instance.order = following
        return sorted(kept, key=lambda form: form.instance.order)

    def _stays(self, form: forms.ModelForm) -> bool:
        return (form.instance.pk is not None or form.has_changed()) and not self._should_delete_form(form)  # type: ignore[attr-defined]


def put(owner: forms.ModelForm, lines: Sequence[forms.ModelForm], place: str, sentence: str) -> bool:
    """Show a problem at its field, `key_pattern` or `line 2.amount`; False when there is no such field."""
    found = LINE_PROBLEM.fullmatch(place)
    form, name = (lines[int(found[1]) - 1], found[2]) if found else (owner, place)
    if name not in form.fields:
        return False
    form.add_error(name, sentence)
    return True


class LineInline(TabularInline):
    model = Line
    form = LineForm
    formset = LineFormSet
    extra = 0
    ordering = ["order", "id"]
    hide_title = True
    show_change_link = False
    verbose_name_plural = "what it gives and takes"
    template_before = "admin/claim_language.html"

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("rewards.view_claimtype") or self.has_change_permission(request, obj)  # type: ignore[union-attr]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """The lines are the recipe: who may change the type changes them, and nobody else."""
        action = "add" if obj is None else "change"
        return request.user.has_perm(f"rewards.{action}_claimtype")  # type: ignore[union-attr]

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_change_permission(request, obj)

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None:
            field.widget.attrs.setdefault("aria-label", db_field.verbose_name.capitalize())
        return field


# ------------------------------------------------------------------------------------------------------- what it gives


@dataclass(frozen=True)
class Preview:
    """What a recipe gives for its sample context; or, in sentences, why that cannot be said."""

    table: Table | None = None
    key: str = ""
    problems: Sequence[str] = ()


def preview_of(claim_type: ClaimType, lines: Sequence[Line]) -> Preview:
    """Work a recipe out, saved or not, as a claim would."""
    try:
        recipe = compile_recipe(claim_type, lines)
        entries = preview(recipe, claim_type.sample_context)
        return Preview(entry_table(entries), key_of(recipe, claim_type.sample_context))
    except RewardsError as error:
        problems: Mapping[str, str] = error.facts.get("errors") or {}
        return Preview(problems=[f"{place}: {problem}" for place, problem in problems.items()] or [error.message])


def preview_of_forms(form: forms.ModelForm, formset: LineFormSet) -> Preview:
    """The same for what stands in a form; its own errors come first."""
    if form.is_valid() and formset.is_valid():
        return preview_of(form.instance, [draft.instance for draft in formset.drafts()])
    problems = [str(each) for each in formset.non_form_errors() if each != NOT_SAVED] + problems_of(form)
    for number, line in enumerate(formset.forms, start=1):
        problems += [f"Line {number}, {problem}" for problem in problems_of(line)]
    return Preview(problems=problems)


def problems_of(form: forms.ModelForm) -> list[str]:
    return [
        f"{form[name].label}: {sentence}" if name in form.fields else str(sentence)
        for name, sentences in form.errors.items()
        for sentence in sentences
    ]


def entry_table(entries: Sequence[tuple[Entry, int, Currency]]) -> Table:
    rows = [
        (entry.party or NOBODY_NAMED, direction_badge(entry.direction), amount(minor, currency))
        for entry, minor, currency in entries
    ]
    return Table(
        ["Who", "Direction", "Amount"], rows, frozenset({"Amount"}), "For this context it gives and takes nothing."
    )


def direction_badge(direction: str) -> SafeString:
    credit = direction == Line.Direction.CREDIT
    return badge(direction, "gets" if credit else "gives up", kind="success" if credit else "warning")


def key_of(recipe: Recipe, context: Mapping[str, Any]) -> str:
    today = timezone.now().astimezone(settings.REWARDS_TIME_ZONE).date()
    try:
        return recipe.derive_key(context, None, today)
    except KeyMissing:
        return ""


# --------------------------------------------------------------------------------------------------------- claim types


@admin.register(ClaimType)
class ClaimTypeAdmin(HistoryAdmin):
    form = ClaimTypeForm
    inlines = [LineInline]
    parts = [(Line, "claim_type")]
    empty_hint = "`manage.py setup_defaults` creates the recipes that the product ships with."
    list_display = ["slug", "title", "state", "callers_shown", "gives", "takes", "limit_shown"]
    list_filter = [("active", BooleanRadioFilter), ("callers", ChoicesDropdownFilter)]
    ordering = ["slug"]
    search_fields = ["slug", "title"]
    actions = None
    change_form_after_template = "admin/claim_preview.html"
    fieldsets = [
        (None, {"fields": ["slug", "title", "reason"]}),
        ("Who", {"fields": ["callers", "scope"]}),
        ("When", {"fields": ["active", "starts_at", "ends_at"]}),
        ("How often, and where from", {"fields": [("limit_per_user", "limit_period"), "funded_by"]}),
        ("Key", {"fields": ["key_pattern"]}),
        ("Context", {"fields": ["context_schema", "sample_context"]}),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[ClaimType]:
        return super().get_queryset(request).prefetch_related("lines")

    def get_fieldsets(self, request: HttpRequest, obj: ClaimType | None = None) -> Any:
        """Who may only look has no reason to give, and reads JSON as it stands."""
        if self.has_change_permission(request, obj) or (obj is None and self.has_add_permission(request)):
            return self.fieldsets
        context = ("Context", {"fields": ["schema_shown", "sample_shown"]})
        return [(None, {"fields": ["slug", "title"]}), *self.fieldsets[1:-1], context]

    def get_readonly_fields(self, request: HttpRequest, obj: ClaimType | None = None) -> list[str]:
        """What claims were made under keeps its meaning: the name, for whom a key is spent, and how it is made.

        With another pattern a deed would have another key, and whoever repeats its claim would be rewarded again.
        """
        fixed = ["schema_shown", "sample_shown"]
        return [*fixed, "slug", "scope", "key_pattern"] if obj is not None and obj.claims.exists() else fixed

    # ------------------------------------------------------------------------------------------------------- in columns

    @display(description="State")
    def state(self, claim_type: ClaimType) -> SafeString:
        now = timezone.now()
        if not claim_type.active:
            return badge("none", "switched off")
        if claim_type.starts_at and now < claim_type.starts_at:
            return badge("due", "not started")
        if claim_type.ends_at and now >= claim_type.ends_at:
            return badge("none", "over")
        return badge("done", "active")

    @display(description="Claimed by")
    def callers_shown(self, claim_type: ClaimType) -> str:
        return claim_type.get_callers_display()

    @display(description="Gives")
    def gives(self, claim_type: ClaimType) -> str:
        return currencies_of(claim_type, Line.Direction.CREDIT)

    @display(description="Takes")
    def takes(self, claim_type: ClaimType) -> str:
        return currencies_of(claim_type, Line.Direction.DEBIT)

    @display(description="Limit")
    def limit_shown(self, claim_type: ClaimType) -> str:
        if claim_type.limit_per_user is None:
            return "none"
        return f"{grouped(claim_type.limit_per_user)} {claim_type.get_limit_period_display().lower()}"

    @display(description="Context schema")
    def schema_shown(self, claim_type: ClaimType) -> SafeString:
        return json_block(claim_type.context_schema)

    @display(description="Sample context")
    def sample_shown(self, claim_type: ClaimType) -> SafeString:
        return json_block(claim_type.sample_context)

    # ---------------------------------------------------------------------------------------------------------- preview

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.preview_view)
        ours = [
            path("add/preview/", view, name="rewards_claimtype_preview_new"),
            path("<int:object_id>/preview/", view, name="rewards_claimtype_preview"),
        ]
        return ours + super().get_urls()

    def preview_view(self, request: HttpRequest, object_id: int | None = None) -> HttpResponse:
        """The panel for what stands in the form; nothing is saved."""
        obj = None if object_id is None else get_object_or_404(ClaimType, pk=object_id)
        allowed = self.has_add_permission(request) if obj is None else self.has_change_permission(request, obj)
        if request.method != "POST" or not allowed:
            raise PermissionDenied
        form = self.get_form(request, obj, change=obj is not None)(request.POST, instance=obj)
        form.fields["reason"].required = False
        formsets, _ = self._create_formsets(request, form.instance, change=obj is not None)
        shown = preview_of_forms(form, formsets[0]) if formsets else preview_of(form.instance, [])
        return TemplateResponse(request, "admin/claim_preview.html", {"preview": shown, "preview_url": request.path})

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, obj: ClaimType | None = None, **kwargs: Any
    ) -> HttpResponse:
        form, inlines = context["adminform"].form, context["inline_admin_formsets"]
        if form.is_bound and inlines:
            context["preview"] = preview_of_forms(form, inlines[0].formset)
        elif obj is not None:
            context["preview"] = preview_of(obj, list(obj.lines.all()))
        else:
            context["preview"] = Preview()
        if obj is None or self.has_change_permission(request, obj):
            names = [obj.pk] if obj else []
            context["preview_url"] = reverse(f"admin:rewards_claimtype_preview{'' if obj else '_new'}", args=names)
        return super().render_change_form(request, context, *args, obj=obj, **kwargs)

    # ---------------------------------------------------------------------------------------------- saved, or let alone

    def save_model(self, request: HttpRequest, obj: ClaimType, form: Any, change: bool) -> None:
        note_reason(obj, request, form, timezone.now())
        super().save_model(request, obj, form, change)

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        """With the reason and the time of the whole, so that the history shows one change."""
        changed = formset.save(commit=False)
        for line in [*changed, *formset.deleted_objects]:
            note_reason(line, request, form, form.instance._history_date)
        for line in formset.deleted_objects:
            line.delete()
        for line in changed:
            line.save()

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """Claims point at their type, so one that was claimed stays; it can be switched off instead."""
        obj = self.get_object(request, object_id)
        if obj is None or not self.has_delete_permission(request, obj) or not obj.claims.exists():
            return super().delete_view(request, object_id, extra_context)
        if not obj.active or not self.has_change_permission(request, obj):
            switched_off = "" if obj.active else " It is switched off: nobody can claim it any more."
            messages.error(request, f"{obj} has been claimed, so it cannot be deleted.{switched_off}")
            return HttpResponseRedirect(admin_url(obj))
        question = Question(
            title=f"{obj} cannot be deleted",
            explanation="It has been claimed, and its claims are explained by it. Switch it off instead: nobody can "
            "claim it any more, and what was claimed stays as it is.",
            button="Switch it off",
            needs_reason=True,
        )

        def switch_off(reason: str) -> str:
            obj.active = False
            obj._history_user, obj._change_reason = request.user, reason  # type: ignore[attr-defined]
            obj.save()
            return f"{obj} is switched off."

        return ask_then_do(request, question, switch_off, back=admin_url(obj), context=page_context(request, self, obj))


def note_reason(obj: Any, request: HttpRequest, form: Any, at: Any) -> None:
    """What simple-history puts into the record of the coming save."""
    obj._history_user, obj._history_date = request.user, at
    obj._change_reason = form.cleaned_data["reason"].strip()


def currencies_of(claim_type: ClaimType, direction: str) -> str:
    found = dict.fromkeys(line.currency for line in claim_type.lines.all() if line.direction == direction)
    return ", ".join(Truncator(currency).chars(LONGEST_CURRENCY_SHOWN) for currency in found) or "–"


# -------------------------------------------------------------------------------------------------------------- claims


@admin.register(Claim)
class ClaimAdmin(ClaimsCsv, BigList, ReadOnlyAdmin):
    empty_hint = "Products claim by the API; what they may claim stands in the claim types."
    list_display = ["claim_key", "type_name", "user_name", "given", "taken", "claimed_at"]
    list_filter = [("claim_type", RelatedDropdownFilter)]
    list_select_related = ["user", "claim_type"]
    search_fields = ["claim_key"]
    search_help_text = "Start of a username; a username and a key; the key of a type that is claimed once for all"
    fieldsets = [
        (None, {"fields": ["user_link", "type_link", "claim_key", "once", "claimed_at"]}),
        ("What it gave", {"fields": ["result_shown", "balances_shown", "journal_link", "state"]}),
        ("What was claimed", {"fields": ["context_shown"]}),
    ]
    readonly_fields = [
        "user_link", "type_link", "once", "result_shown", "balances_shown", "journal_link", "state", "context_shown",
    ]  # fmt: skip

    def find(self, queryset: QuerySet[Claim], term: str) -> QuerySet[Claim]:
        found = claims_of_key(term)
        return queryset.filter(pk__in=found) if found else queryset.filter(user__in=users_found(term))

    @display(description="Type")
    def type_name(self, claim: Claim) -> str:
        return claim.claim_type.slug

    @display(description="Type")
    def type_link(self, claim: Claim) -> SafeString | str:
        return link_to(claim.claim_type)

    @display(description="User")
    def user_name(self, claim: Claim) -> str:
        return claim.user.get_username()

    @display(description="User")
    def user_link(self, claim: Claim) -> SafeString | str:
        return link_to(claim.user)

    @display(description="Key spent")
    def once(self, claim: Claim) -> str:
        return "for all" if claim.is_global else "for this user"

    @display(description="Gave")
    def given(self, claim: Claim) -> str:
        return amounts_in_brief(claim, "credits")

    @display(description="Took")
    def taken(self, claim: Claim) -> str:
        return amounts_in_brief(claim, "debits")

    @display(description="Gave and took")
    def result_shown(self, claim: Claim) -> SafeString:
        rows = [
            (each["user"], direction_badge(direction), f"{grouped(each['amount'])} {each['currency']}")
            for direction in (Line.Direction.CREDIT, Line.Direction.DEBIT)
            for each in (claim.result or {}).get(f"{direction}s", [])
        ]
        table = Table(["Who", "Direction", "Amount"], rows, frozenset({"Amount"}))
        return render_to_string("admin/table.html", {"table": table})

    @display(description="Balances left")
    def balances_shown(self, claim: Claim) -> str:
        balances = (claim.result or {}).get("balances", {})
        return ", ".join(f"{grouped(left)} {code}" for code, left in balances.items()) or "–"

    @display(description="Journal")
    def journal_link(self, claim: Claim) -> SafeString | str:
        return link_to(claim.journal)

    @display(description="State")
    def state(self, claim: Claim) -> SafeString | str:
        return reversal_state(claim.journal) if claim.journal else "–"

    @display(description="Context")
    def context_shown(self, claim: Claim) -> SafeString:
        return json_block(claim.context)


def claims_of_key(term: str) -> list[int]:
    """Ids of claims that a term names: a username and a key, or the key of a claim once for all. By unique indexes."""
    types = list(ClaimType.objects.values_list("pk", flat=True))
    found = list(
        Claim.objects.filter(is_global=True, claim_type__in=types, claim_key=term).values_list("pk", flat=True)
    )
    username, _, key = term.partition(" ")
    user = User.objects.filter(username=username).first() if key.strip() else None
    if user is not None:
        own = Claim.objects.filter(is_global=False, user=user, claim_type__in=types, claim_key=key.strip())
        found += own.values_list("pk", flat=True)
    return found


def amounts_in_brief(claim: Claim, side: str) -> str:
    """`100 lumees, 50 xp`; with the names where it is not the claimant alone."""
    parts = (claim.result or {}).get(side, [])
    own = claim.user.get_username()
    return (
        ", ".join(
            f"{grouped(part['amount'])} {part['currency']}" + ("" if part["user"] == own else f" to {part['user']}")
            for part in parts
        )
        or "–"
    )


def reversal_state(journal: Journal) -> SafeString:
    """Whether a journal stands, or was reversed in part or in whole, with the journals that did it."""
    mirrors = Transfer.objects.filter(reverses=OuterRef("pk"))
    transfers = list(journal.transfers.annotate(is_reversed=Exists(mirrors)).values_list("pk", "is_reversed"))
    reversed_ones = [pk for pk, is_reversed in transfers if is_reversed]
    if not reversed_ones:
        return badge("paid", "stands")
    whole = len(reversed_ones) == len(transfers)
    label = badge("reversed") if whole else badge("reversed", f"{len(reversed_ones)} of {len(transfers)} reversed")
    by = Journal.objects.filter(pk__in=Transfer.objects.filter(reverses__in=reversed_ones).values("journal"))
    return format_html_join(" ", "{}", [(label,), *((link_to(each),) for each in by.order_by("pk"))])
