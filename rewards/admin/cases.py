"""Cases: looked at, moderated, ended; their arguments. A verdict under seal is shown on a click, to whoever may."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, cast

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.cache import add_never_cache_headers
from django.utils.safestring import SafeString
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from unfold.contrib.filters.admin import ChoicesDropdownFilter, RadioFilter
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from rewards.admin.case_page import code, escrow_in_words, is_due, page_of, place_of, state_of, text
from rewards.admin.common.confirm import Question, ReasonForm, ask_then_do, page_context, sentence_of
from rewards.admin.common.display import admin_url, badge, exact, grouped, link_to
from rewards.admin.common.history import HistoryAdmin
from rewards.admin.common.lists import BigList, users_found
from rewards.admin.common.readonly import ReadOnlyAdmin
from rewards.admin.common.rights import CaseRights
from rewards.audit.services import record
from rewards.cases.models import Argument, Case, SealedVerdict, Side
from rewards.cases.moderation import VOIDABLE, approve_case, edit_case, reject_case, void_case
from rewards.cases.sealing import LONGEST_REASONING
from rewards.cases.services import LONGEST_CONTEXT, LONGEST_TITLE, VERDICT_SEEN
from rewards.common.errors import RewardsError
from rewards.users.models import User

Status = Case.Status

SECRET = ("verdict", "reasoning", "confidence")
"""What a moderator writes, and nobody reads again until the case is closed."""

MODERATING = {"approve", "reject", "edit"}


class FailingFilter(RadioFilter):
    title = "jobs"
    parameter_name = "jobs"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("failing", "Failing")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Case]) -> QuerySet[Case]:
        return queryset.filter(failures__gt=0) if self.value() == "failing" else queryset


@admin.register(Case)
class CaseAdmin(CaseRights, BigList, ReadOnlyAdmin, HistoryAdmin):
    change_form_template = "admin/case.html"
    empty_hint = "The job generate_case writes cases; users submit their own by the API, for somebody to moderate."
    list_display = ["name", "state", "votes", "opens", "closes", "commitment_shown", "failures_shown"]
    list_filter = [("status", ChoicesDropdownFilter), FailingFilter]
    list_select_related = ["commitment"]
    search_fields = ["title"]
    search_help_text = "Words of a title, or the start of the username of its author"
    actions_detail = ["approve", "edit", "reject", "void"]
    fieldsets: Any = []

    # ----------------------------------------------------------------------------------------------------- the list

    def find(self, queryset: QuerySet[Case], term: str) -> QuerySet[Case]:
        """Cases are few: two a day and what users submit."""
        return queryset.filter(Q(title__icontains=term.replace("\x00", "")) | Q(created_by__in=users_found(term)))

    @display(description="Case")
    def name(self, case: Case) -> str:
        return case.title

    @display(description="Status")
    def state(self, case: Case) -> SafeString:
        return state_of(case)

    @display(description="Votes")
    def votes(self, case: Case) -> str:
        total = case.yes_votes + case.no_votes
        return f"{grouped(case.yes_votes)} yes, {grouped(case.no_votes)} no" if total else "–"

    @display(description="Opens")
    def opens(self, case: Case) -> str:
        return f"{case.opens_at:%Y-%m-%d %H:%M}" if case.opens_at else "–"

    @display(description="Closes")
    def closes(self, case: Case) -> str:
        if case.closes_at is None:
            return "–"
        return f"{case.closes_at:%Y-%m-%d %H:%M}{', due' if is_due(case, timezone.now()) else ''}"

    @display(description="Commitment")
    def commitment_shown(self, case: Case) -> SafeString | str:
        if case.commitment is None:
            return "–"
        if case.commitment.payload_hash != case.verdict_hash:
            return badge("failed", "another hash")
        return badge(case.commitment.status)

    @display(description="Failures")
    def failures_shown(self, case: Case) -> str:
        return grouped(case.failures) if case.failures else "–"

    # ----------------------------------------------------------------------------------------------------- one of them

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        found = Case.objects.select_related("commitment", "created_by", "moderated_by")
        case = found.filter(pk=object_id).first() if object_id.isdecimal() else None
        extra_context = {"show_history": True} | (extra_context or {})
        if case is not None and self.has_view_permission(request, case):
            extra_context |= page_of(case, timezone.now())
            extra_context["may_unseal"] = extra_context["sealed"] and self.has_unseal_permission(request)
            extra_context["unseal_url"] = admin_url(case, "unseal")
            extra_context["own"] = case.created_by_id == request.user.pk and case.status == Status.PENDING_MODERATION
        return super().change_view(request, object_id, form_url, extra_context)

    def get_urls(self) -> list[Any]:
        from django.urls import path

        unseal = path("<int:object_id>/unseal/", self.admin_site.admin_view(self.unseal), name="rewards_case_unseal")
        return [unseal, *super().get_urls()]

    def get_actions_detail(self, request: HttpRequest, object_id: int) -> list[Any]:
        """Only what can be done now, to whoever may do it."""
        case = Case.objects.filter(pk=object_id).first()
        if case is None:
            return []
        possible = possible_actions(case, request.user.pk)
        allowed = super().get_actions_detail(request, object_id)
        return [each for each in allowed if each.action_name.rpartition("_")[2] in possible]

    # ------------------------------------------------------------------------------------------------------ moderated

    @action(
        description="Approve", url_path="approve", icon="check_circle", variant=ActionVariant.PRIMARY,
        permissions=["moderate"],
    )  # fmt: skip
    def approve(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return approve_page(request, self, self._case(request, object_id))

    @action(description="Edit", url_path="edit", icon="edit", permissions=["moderate"])
    def edit(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return edit_page(request, self, self._case(request, object_id))

    @action(
        description="Reject", url_path="reject", icon="cancel", variant=ActionVariant.DANGER, permissions=["moderate"]
    )
    def reject(self, request: HttpRequest, object_id: str) -> HttpResponse:
        case = self._case(request, object_id)
        question = Question(
            title=f"Reject “{case.title}”",
            explanation="It does not open, ever. Its author reads your reason.",
            button="Reject",
            figures=[("From", link_to(case.created_by)), ("Status", state_of(case))],
            needs_reason=True,
            dangerous=True,
        )

        def do(reason: str) -> str:
            reject_case(case.pk, cast(User, request.user), reason)
            return f"“{case.title}” is rejected."

        return self._ask(request, case, question, do)

    @action(
        description="Make void", url_path="void", icon="block", variant=ActionVariant.DANGER, permissions=["moderate"]
    )
    def void(self, request: HttpRequest, object_id: str) -> HttpResponse:
        case = self._case(request, object_id)
        question = Question(
            title=f"Make “{case.title}” void",
            explanation="Nobody is paid for it, what its escrow holds goes to the treasury, and its verdict is never "
            "revealed. This cannot be taken back.",
            button="Make void",
            figures=[
                ("Status", state_of(case)),
                ("Votes", grouped(case.yes_votes + case.no_votes)),
                ("Arguments", grouped(case.arguments.count())),
                ("To the treasury", escrow_in_words(case)),
            ],
            needs_reason=True,
            dangerous=True,
        )

        def do(reason: str) -> str:
            returned = escrow_in_words(case)
            void_case(case.pk, cast(User, request.user), reason, timezone.now())
            return f"“{case.title}” is void; {returned} went from its escrow to the treasury."

        return self._ask(request, case, question, do)

    # --------------------------------------------------------------------------------------------------- under seal

    def unseal(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """The verdict under seal, as a part of the case's page; that somebody looked is an audit event."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        case = self._case(request, object_id)
        if not self.has_unseal_permission(request):
            raise PermissionDenied
        sealed = get_object_or_404(SealedVerdict, case=case)
        record(VERDICT_SEEN, user=case.created_by, actor=cast(User, request.user), data={"case": case.pk})
        facts = [
            ("Verdict", sealed.get_verdict_display()),
            ("Reasoning", text(sealed.reasoning)),
            ("Confidence", exact(sealed.confidence)),
            ("Nonce", code(sealed.nonce)),
        ]
        answer = TemplateResponse(request, "admin/sealed_verdict.html", {"sealed_facts": facts})
        add_never_cache_headers(answer)
        return answer

    # ----------------------------------------------------------------------------------------------------------- steps

    def _case(self, request: HttpRequest, object_id: str | int) -> Case:
        if not self.has_view_permission(request):
            raise PermissionDenied
        return get_object_or_404(Case.objects.select_related("commitment", "created_by"), pk=object_id)

    def _ask(self, request: HttpRequest, case: Case, question: Question, do: Any) -> HttpResponse:
        context = page_context(request, self, case)
        return ask_then_do(request, question, do, back=admin_url(case), context=context)


def possible_actions(case: Case, user_id: int | None) -> set[str]:
    """The actions that make sense in a case's status; nobody decides on his own."""
    if case.created_by_id is not None and case.created_by_id == user_id:
        return set()
    if case.status == Status.PENDING_MODERATION:
        return MODERATING
    return {"void"} if case.status in VOIDABLE else set()


# ---------------------------------------------------------------------------------------------------------- the verdict


class NeverShown:
    """A field whose value goes one way: a form that is shown again comes back empty."""

    def bound_data(self, data: Any, initial: Any) -> Any:
        return None


class SecretChoice(NeverShown, forms.ChoiceField): ...


class SecretText(NeverShown, forms.CharField): ...


class SecretDecimal(NeverShown, forms.DecimalField): ...


class VerdictForm(forms.Form):
    """What is sealed. Neither a value nor a part of it is in any sentence about it."""

    verdict = SecretChoice(
        choices=[("", "Choose a side"), *Side.choices],
        widget=UnfoldAdminSelectWidget(),
        error_messages={"invalid_choice": "The verdict is Yes or No.", "required": "Choose a side."},
    )
    reasoning = SecretText(
        max_length=LONGEST_REASONING,
        widget=UnfoldAdminTextareaWidget({"rows": 8}),
        help_text="Why: published with the verdict when the case is closed.",
        error_messages={
            "required": "Say why.",
            "max_length": f"Write at most {LONGEST_REASONING:,} characters.",
            "null_characters_not_allowed": "It has a character that cannot be kept.",
        },
    )
    confidence = SecretDecimal(
        min_value=Decimal(0),
        max_value=Decimal(1),
        max_digits=7,
        decimal_places=6,
        widget=UnfoldAdminTextInputWidget({"inputmode": "decimal", "pattern": r"0|1|[01]?\.[0-9]{1,6}"}),
        help_text="How sure the verdict is, from 0 to 1, such as 0.85.",
        error_messages=dict.fromkeys(
            ("required", "invalid", "min_value", "max_value", "max_digits", "max_decimal_places", "max_whole_digits"),
            "A number from 0 to 1, such as 0.85.",
        ),
    )


@sensitive_post_parameters(*SECRET)
@sensitive_variables("form")
def approve_page(request: HttpRequest, model_admin: Any, case: Case) -> HttpResponse:
    """The form, and its sealing. Once sent, what was written is in no page: after a mistake it is written again."""
    form = VerdictForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            approve_case(case.pk, cast(User, request.user), at=timezone.now(), **form.cleaned_data)
        except RewardsError as error:
            messages.error(request, sentence_of(error))
        else:
            messages.success(
                request,
                f"“{case.title}” is approved: its verdict is sealed, its hash on the way to the chain. It opens once "
                "the chain has taken it.",
            )
        return HttpResponseRedirect(admin_url(case))
    context = page_context(request, model_admin, case) | {
        "title": f"Approve “{case.title}”",
        "case": case,
        "form": form,
        "back": admin_url(case),
    }
    answer = TemplateResponse(request, "admin/case_approve.html", context)
    add_never_cache_headers(answer)
    return answer


# ------------------------------------------------------------------------------------------------------------- its text


class TextsForm(ReasonForm):
    """Title and context of a submitted case, and why they are changed."""

    title = forms.CharField(max_length=LONGEST_TITLE, widget=UnfoldAdminTextInputWidget())
    context = forms.CharField(max_length=LONGEST_CONTEXT, widget=UnfoldAdminTextareaWidget({"rows": 12}))
    field_order = ["title", "context", "reason"]


def edit_page(request: HttpRequest, model_admin: Any, case: Case) -> HttpResponse:
    form = TextsForm(request.POST or None, initial={"title": case.title, "context": case.context})
    if request.method == "POST" and form.is_valid():
        try:
            edit_case(case.pk, cast(User, request.user), **form.cleaned_data)
        except RewardsError as error:
            messages.error(request, sentence_of(error))
        else:
            messages.success(request, f"“{form.cleaned_data['title']}” is changed.")
        return HttpResponseRedirect(admin_url(case))
    context = page_context(request, model_admin, case) | {
        "title": f"Edit “{case.title}”",
        "explanation": "Its author submitted it in these words. They can be mended as long as it waits; the history "
        "keeps both.",
        "form": form,
        "button": "Save",
        "back": admin_url(case),
    }
    return TemplateResponse(request, "admin/form_page.html", context)


# ------------------------------------------------------------------------------------------------------------ arguments


@admin.register(Argument)
class ArgumentAdmin(BigList, ReadOnlyAdmin):
    empty_hint = "Users argue once they have voted in a case and like three arguments of others."
    list_display = ["text_shown", "case_title", "user_name", "side", "likes", "place", "created_at"]
    list_filter = ["side"]
    list_select_related = ["case", "user"]
    search_fields = ["user"]
    search_help_text = "Start of a username"
    fieldsets = [
        (None, {"fields": ["case_link", "user_link", "side", "text", "likes", "place", "created_at"]}),
    ]
    readonly_fields = ["case_link", "user_link", "place"]

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        return lookup == "case__id__exact" or super().lookup_allowed(lookup, value, request)

    def find(self, queryset: QuerySet[Argument], term: str) -> QuerySet[Argument]:
        return queryset.filter(user__in=users_found(term))

    @display(description="Argument")
    def text_shown(self, argument: Argument) -> str:
        words = " ".join(argument.text.split())
        return words if len(words) <= 120 else f"{words[:119]}…"

    @display(description="Case")
    def case_title(self, argument: Argument) -> str:
        return argument.case.title

    @display(description="Case")
    def case_link(self, argument: Argument) -> SafeString | str:
        return link_to(argument.case)

    @display(description="User")
    def user_name(self, argument: Argument) -> str:
        return argument.user.get_username()

    @display(description="User")
    def user_link(self, argument: Argument) -> SafeString | str:
        return link_to(argument.user)

    @display(description="Place")
    def place(self, argument: Argument) -> str:
        return place_of(argument)
