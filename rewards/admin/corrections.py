"""Corrections: given to a user or taken from him after a look at the numbers, listed, and taken back."""

from __future__ import annotations

from datetime import datetime
from typing import Any, cast
from uuid import uuid4

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import RelatedDropdownFilter
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from rewards.admin.common.confirm import Question, ReasonForm, ask_then_do, page_context, sentence_of
from rewards.admin.common.display import admin_url, amount, badge, link_to, signed_units, units
from rewards.admin.common.lists import BigList, users_found
from rewards.admin.common.readonly import ReadOnlyAdmin
from rewards.admin.common.rights import CorrectionRights
from rewards.admin.common.tables import Table
from rewards.common.amounts import InvalidAmount
from rewards.common.errors import RewardsError
from rewards.ledger.corrections import correct, daily_limit, done_today, left_today, require_allowed, take_back
from rewards.ledger.errors import OwnCorrection
from rewards.ledger.models import BURN, DEBT, ISSUANCE, TREASURY, Account, Correction, Currency
from rewards.ledger.services import balance
from rewards.users.models import User

GIVE, TAKE = "give", "take"
DEEDS = {
    f"{GIVE}:{TREASURY}": "Give from the treasury",
    f"{GIVE}:{ISSUANCE}": "Give newly issued units",
    f"{TAKE}:{TREASURY}": "Take, into the treasury",
    f"{TAKE}:{BURN}": "Take, and burn",
}
CONFIRMED = "confirmed"


class CorrectionForm(ReasonForm):
    deed = forms.ChoiceField(label="What to do", choices=list(DEEDS.items()), widget=UnfoldAdminSelectWidget())
    currency = forms.ModelChoiceField(
        Currency.objects.filter(active=True).order_by("code"),
        to_field_name="code",
        empty_label="Choose one",
        widget=UnfoldAdminSelectWidget(),
    )
    amount = forms.CharField(
        max_length=40, widget=UnfoldAdminTextInputWidget(), help_text="In currency units, above zero, such as 12.50."
    )
    key = forms.CharField(max_length=64, widget=forms.HiddenInput())

    field_order = ["deed", "currency", "amount", "reason", "key"]

    def clean(self) -> dict[str, Any]:
        given = super().clean() or self.cleaned_data
        if "currency" in given and "amount" in given and "deed" in given:
            way, _, given["against"] = given["deed"].partition(":")
            try:
                minor = given["currency"].to_minor(given["amount"].strip())
                given["signed"] = minor if way == GIVE else -minor
            except InvalidAmount as error:
                self.add_error("amount", error.message)
        return given


def correction_page(request: HttpRequest, model_admin: Any, user: User) -> HttpResponse:
    """The form, then what it comes to in numbers, then the deed: for whoever has the right, about somebody else."""
    actor, now = cast(User, request.user), timezone.now()
    if user.pk == actor.pk:
        messages.error(request, sentence_of(OwnCorrection()))
        return HttpResponseRedirect(admin_url(user))
    initial = {"key": uuid4().hex, "currency": request.GET.get("currency")}
    form = CorrectionForm(request.POST or None, initial=initial)
    if request.method == "POST" and form.is_valid():
        if CONFIRMED in request.POST:
            if _done(request, form, user, now):
                return HttpResponseRedirect(admin_url(user))
        elif figures := _figures(form, user, actor, now):
            return _asked(request, model_admin, user, form, figures)
    context = page_context(request, model_admin, user) | {
        "title": f"Correct an account of {user}",
        "form": form,
        "explanation": "Units are given or taken at once, with your name and reason, and cannot be edited afterwards: "
        "a correction is taken back by its mirror. The next page says what it comes to.",
        "table": standing_of(user, actor, now),
        "button": "Look at the numbers",
        "back": admin_url(user),
    }
    return TemplateResponse(request, "admin/form_page.html", context)


def _asked(request: HttpRequest, model_admin: Any, user: User, form: CorrectionForm, figures: Any) -> HttpResponse:
    given = form.cleaned_data
    shown, taken = amount(abs(given["signed"]), given["currency"]), given["signed"] < 0
    question = Question(
        title=f"{'Take' if taken else 'Give'} {shown} {'from' if taken else 'to'} {user}",
        explanation=f"{DEEDS[given['deed']]}: {shown}, once, even if this form is sent twice.",
        button=f"{'Take' if taken else 'Give'} {shown}",
        figures=figures,
        dangerous=taken,
        hidden={name: request.POST[name] for name in form.fields} | {CONFIRMED: "1"},
    )
    page = page_context(request, model_admin, user) | {
        "title": question.title, "question": question, "form": None, "back": admin_url(user),
    }  # fmt: skip
    return TemplateResponse(request, "admin/confirm.html", page)


def _figures(form: CorrectionForm, user: User, actor: User, at: datetime) -> list[tuple[str, Any]]:
    """What it comes to, before → after. Empty where it cannot be done: the form says why."""
    given = form.cleaned_data
    currency, change, against = given["currency"], given["signed"], given["against"]
    has, other = balance_of(currency, user=user), balance_of(currency, code=against)
    try:
        require_allowed(user, currency, change, actor, at)
    except RewardsError as error:
        form.add_error("amount", sentence_of(error))
    if has + change < 0:
        form.add_error("amount", f"{user} has {amount(has, currency)}: no more can be taken.")
    if against == TREASURY and other - change < 0:
        form.add_error("amount", f"The treasury has {amount(other, currency)}: no more can be given from it.")
    if form.errors:
        return []
    left = left_today(actor, currency, at)
    return [
        ("User", link_to(user)),
        ("Change", f"{signed_units(change, currency)} {currency.code}"),
        ("Balance", f"{amount(has, currency)} → {amount(has + change, currency)}"),
        (against.capitalize(), f"{amount(other, currency)} → {amount(other - change, currency)}"),
        ("Left of your limit today", f"{amount(left, currency)} → {amount(left - abs(change), currency)}"),
        ("Reason", given["reason"]),
    ]


def balance_of(currency: Currency, *, user: User | None = None, code: str = "") -> int:
    """Minor units on an account that need not stand yet."""
    account = Account.objects.filter(user=user, code=code, currency=currency).first()
    return balance(account) if account else 0


def _done(request: HttpRequest, form: CorrectionForm, user: User, at: datetime) -> bool:
    """Post it and say so; False where it is refused, which the form then says."""
    given = form.cleaned_data
    try:
        correction = correct(
            user, given["currency"], given["signed"], against=given["against"], key=given["key"],
            reason=given["reason"], actor=cast(User, request.user), at=at,
        )  # fmt: skip
    except RewardsError as error:
        form.add_error(None, sentence_of(error))
        return False
    messages.success(request, said(correction))
    return True


def said(correction: Correction) -> SafeString:
    shown = amount(abs(correction.amount), correction.currency)
    deed = "were given to" if correction.amount > 0 else "were taken from"
    journal = link_to(correction.journal, "its journal")
    return format_html("{} {} {}: {}, {}.", shown, deed, correction.user, link_to(correction), journal)


def standing_of(user: User, actor: User, at: datetime) -> Table:
    """What the user has and owes in each currency, and what is left to `actor` today."""
    accounts = Account.objects.filter(user=user, code__in=["", DEBT]).select_related("currency")
    balances: dict[Currency, dict[str, int]] = {}
    for account in accounts.order_by("currency__code"):
        balances.setdefault(account.currency, {})[account.code] = account.balance
    done = done_today(actor, at)
    rows = [
        (
            currency.code,
            units(held.get("", 0), currency),
            units(-held.get(DEBT, 0), currency),
            units(max(0, daily_limit(currency) - done.get(currency.pk, 0)), currency),
        )
        for currency, held in balances.items()
    ]
    columns = ["Currency", "Has", "Owes", "Left of your limit today"]
    return Table(columns, rows, frozenset(columns[1:]), f"{user} has no account yet: the first correction makes one.")


# ------------------------------------------------------------------------------------------------------------ the list


@admin.register(Correction)
class CorrectionAdmin(CorrectionRights, BigList, ReadOnlyAdmin):
    empty_hint = "Nothing was corrected yet. Open a user and choose “Correct…”."
    list_display = ["number", "created_at", "user_name", "change", "against", "actor_name", "reason", "state"]
    list_filter = [("currency", RelatedDropdownFilter)]
    list_select_related = ["user", "actor", "currency", "journal", "taken_back_by"]
    search_fields = ["user"]
    search_help_text = "Start of the username of whoever was corrected"
    actions_detail = ["take_back"]
    fieldsets = [
        (None, {"fields": ["user_link", "change", "against", "reason", "actor_link", "created_at"]}),
        ("Where it stands", {"fields": ["journal_link", "state", "takes_back_link", "taken_back_by_link"]}),
    ]
    readonly_fields = [
        "user_link", "change", "actor_link", "reason", "journal_link", "state", "takes_back_link", "taken_back_by_link",
    ]  # fmt: skip

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        return lookup == "user__id__exact" or super().lookup_allowed(lookup, value, request)

    def find(self, queryset: QuerySet[Correction], term: str) -> QuerySet[Correction]:
        return queryset.filter(user__in=users_found(term))

    @display(description="Correction")
    def number(self, correction: Correction) -> str:
        return f"#{correction.pk}"

    @display(description="User")
    def user_name(self, correction: Correction) -> str:
        return correction.user.get_username()

    @display(description="User")
    def user_link(self, correction: Correction) -> SafeString | str:
        return link_to(correction.user)

    @display(description="Change")
    def change(self, correction: Correction) -> str:
        return change_shown(correction)

    @display(description="By")
    def actor_name(self, correction: Correction) -> str:
        return correction.actor.get_username()

    @display(description="By")
    def actor_link(self, correction: Correction) -> SafeString | str:
        return link_to(correction.actor)

    @display(description="Reason")
    def reason(self, correction: Correction) -> str:
        return correction.journal.reason

    @display(description="State")
    def state(self, correction: Correction) -> SafeString | str:
        return state_of(correction)

    @display(description="Journal")
    def journal_link(self, correction: Correction) -> SafeString | str:
        return link_to(correction.journal)

    @display(description="Takes back")
    def takes_back_link(self, correction: Correction) -> SafeString | str:
        return link_to(correction.takes_back)

    @display(description="Taken back by")
    def taken_back_by_link(self, correction: Correction) -> SafeString | str:
        return link_to(getattr(correction, "taken_back_by", None))

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        correction = Correction.objects.select_related("taken_back_by").filter(pk=object_id).first()
        stands = correction is not None and can_be_taken_back(correction)
        return super().get_actions_detail(request, object_id) if stands else []

    @action(
        description="Take back", url_path="take-back", icon="undo", variant=ActionVariant.DANGER,
        permissions=["correct"],
    )  # fmt: skip
    def take_back(self, request: HttpRequest, object_id: str) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        found = Correction.objects.select_related("user", "currency", "journal", "taken_back_by")
        correction = get_object_or_404(found, pk=object_id)
        actor, now = cast(User, request.user), timezone.now()
        if correction.user_id == actor.pk or (request.method == "GET" and not can_be_taken_back(correction)):
            messages.error(request, "It concerns you, or was taken back already: look at what stands below.")
            return HttpResponseRedirect(admin_url(correction))
        return ask_then_do(
            request,
            question_of(correction, actor, now),
            lambda reason: said(take_back(correction, reason=reason, actor=actor, at=now)),
            back=admin_url(correction),
            context=page_context(request, self, correction),
        )


def question_of(correction: Correction, actor: User, at: datetime) -> Question:
    """What taking it back comes to."""
    currency, change = correction.currency, -correction.amount
    has, left = balance_of(currency, user=correction.user), left_today(actor, currency, at)
    return Question(
        title=f"Take back {change_shown(correction)} of {correction.user}",
        explanation="The same units go back the way they came, and the two stand beside each other. It counts towards "
        "your limit, and is refused where they were spent.",
        button="Take it back",
        figures=[
            ("User", link_to(correction.user)),
            ("Change", f"{signed_units(change, currency)} {currency.code}"),
            ("Balance", f"{amount(has, currency)} → {amount(has + change, currency)}"),
            ("Left of your limit today", f"{amount(left, currency)} → {amount(left - abs(change), currency)}"),
            ("Was corrected because", correction.journal.reason),
        ],
        needs_reason=True,
        dangerous=True,
    )


def can_be_taken_back(correction: Correction) -> bool:
    return correction.takes_back_id is None and getattr(correction, "taken_back_by", None) is None


def change_shown(correction: Correction) -> str:
    return f"{signed_units(correction.amount, correction.currency)} {correction.currency.code}"


def state_of(correction: Correction) -> SafeString | str:
    if correction.takes_back_id is not None:
        return badge("takes back", kind="info")
    return badge("stands", kind="success") if can_be_taken_back(correction) else badge("taken back", kind="warning")


def corrections_of(user: User, most: int) -> Table:
    """The newest corrections of a user."""
    newest = Correction.objects.filter(user=user).order_by("-pk")
    newest = newest.select_related("actor", "currency", "journal", "taken_back_by")
    rows = [
        (link_to(each, change_shown(each)), state_of(each), each.journal.reason, each.actor, each.created_at)
        for each in newest[:most]
    ]
    return Table(
        ["Change", "State", "Reason", "By", "Time"],
        rows,
        frozenset({"Change"}),
        "Nothing was corrected. Support does, by “Correct…” above.",
    )


def correct_url(user_id: int, currency: Currency | None = None) -> str:
    """Where a user's account is corrected."""
    chosen = f"?currency={currency.code}" if currency else ""
    return reverse("admin:rewards_user_correct", args=[user_id]) + chosen
