"""The policy simulator: the rule as it is beside the rule as edited, on a frozen snapshot or on what is paid next.

Trying a rule writes nothing. Saving it asks first, and goes through what keeps the rule (`rule_owners`).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, cast

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse

from rewards.admin.common.confirm import ReasonForm, page_context, sentence_of
from rewards.admin.common.display import admin_url, grouped, pretty_json
from rewards.admin.common.history import difference
from rewards.admin.common.preview import context_of
from rewards.admin.common.rule_form import OtherRule
from rewards.admin.common.rule_words import rule_in_words
from rewards.admin.rule_owners import Owner, RuleChanged, may_change, save_rule
from rewards.admin.simulated import (
    LARGEST_SIMULATED,
    Subject,
    address_of,
    coming_next,
    snapshots_found,
    subject_named,
)
from rewards.allocation.errors import AllocationError
from rewards.allocation.rules import check_rule
from rewards.common.errors import RewardsError
from rewards.distributions.models import Distribution
from rewards.distributions.preview import compare, drafted
from rewards.users.models import User

SAVE, ASK, YES = "save", "ask", "yes"
"""What the buttons send: `ask` shows what saving would change, `yes` saves it."""
NOTHING_KEEPS_IT = "No pool, ranking category or campaign keeps the rule of {}: there is nowhere to save another one."
SAME_RULE = "This is the rule as it stands: nothing would change."


def simulator_page(request: HttpRequest, model_admin: Any, at: datetime) -> HttpResponse:
    """Without `?snapshot=` there is a choice of them. A rule that is sent is tried, and saved if that is asked for."""
    name = request.GET.get("snapshot", "")
    if not name:
        return _choice(request, model_admin, at)
    subject = subject_named(name, request, at)
    form = _form(request, subject)
    result: dict[str, Any] = {}
    if request.method == "POST" and not subject.too_large and form.is_valid():
        result = _simulated(subject, form, at)
        if result and request.POST.get(SAVE) in (ASK, YES):
            answer = _save(request, model_admin, subject, form, result, at)
            if answer is not None:
                return answer
    context = page_context(request, model_admin, _crumb(subject)) | _page(request, subject, form) | result
    return TemplateResponse(request, "admin/simulator.html", context)


def _crumb(subject: Subject) -> Distribution | None:
    return subject.page if isinstance(subject.page, Distribution) else None


def _choice(request: HttpRequest, model_admin: Any, at: datetime) -> HttpResponse:
    term = request.GET.get("q", "").strip()
    context = page_context(request, model_admin) | {
        "title": "Policy simulator",
        "term": term,
        "snapshots": snapshots_found(term),
        "coming": coming_next(request, at),
    }
    return TemplateResponse(request, "admin/simulator_choice.html", context)


def _form(request: HttpRequest, subject: Subject) -> OtherRule:
    rule, tie_policy = subject.rule_now
    check = subject.owner.check if subject.owner else check_rule
    own = {"rule": rule, "tie_policy": tie_policy}
    return OtherRule(request.POST or None, initial=own, asks=subject.asks, currency=subject.currency, check=check)


def _page(request: HttpRequest, subject: Subject, form: OtherRule) -> dict[str, Any]:
    rule, tie_policy = subject.rule_now
    return {
        "title": f"Simulate another rule for {subject}",
        "subject": subject,
        "page_url": admin_url(subject.page),
        "form": form,
        "now_words": rule_in_words(rule),
        "now_json": pretty_json(rule),
        "now_ties": tie_policy,
        "too_large": grouped(LARGEST_SIMULATED) if subject.too_large else "",
        "command": f"manage.py preview {subject} --rule '…'",
        "version": subject.owner.version if subject.owner else "",
        "not_saved_because": _not_saved_because(request, subject, form),
    }


def _not_saved_because(request: HttpRequest, subject: Subject, form: OtherRule) -> str:
    """Why there is no button to save it; empty: there is one."""
    owner = subject.owner
    if owner is None:
        return NOTHING_KEEPS_IT.format(subject.programme)
    if owner.stands_against:
        return owner.stands_against
    if not may_change(owner, request):
        return f"Saving it takes the right to change {owner.name}."
    if form.is_bound and form.is_valid() and not owner.is_changed_by(**form.cleaned_data):
        return SAME_RULE
    return ""


def _simulated(subject: Subject, form: OtherRule, at: datetime) -> dict[str, Any]:
    """The figures of both rules; nothing, with a mistake in the form, when the edited one cannot be worked out."""
    asked = form.cleaned_data
    try:
        draft = drafted(subject.programme, subject.period_key, at)
        edited = subject.by_rule(draft, asked["rule"], asked["tie_policy"])
    except AllocationError as error:
        form.refuse(error)
        return {}
    except RewardsError as error:
        form.add_error(None, sentence_of(error))
        return {}
    try:
        now = subject.by_rule(draft, *subject.rule_now)
    except AllocationError as error:  # it may be the reason why another rule is looked for
        return context_of(edited) | {"now_problem": str(error)}
    return context_of(edited, compare(now, edited))


# --------------------------------------------------------------------------------------------------------------- saving


def _save(
    request: HttpRequest, model_admin: Any, subject: Subject, form: OtherRule, result: dict[str, Any], at: datetime
) -> HttpResponse | None:
    """The question, or the deed; None when the form has been told what is wrong, or there is nothing to save."""
    owner = subject.owner
    if owner is None or owner.stands_against:
        form.add_error(None, owner.stands_against if owner else NOTHING_KEEPS_IT.format(subject.programme))
        return None
    if not may_change(owner, request):
        raise PermissionDenied
    if not owner.is_changed_by(**form.cleaned_data):
        return None
    if request.POST.get("version") != owner.version:
        form.add_error(None, sentence_of(RuleChanged()))
        return None
    reason = ReasonForm(request.POST if request.POST[SAVE] == YES else None)
    if reason.is_valid():
        return _saved(request, model_admin, owner, form, reason.cleaned_data["reason"].strip(), at)
    context = page_context(request, model_admin, _crumb(subject)) | _page(request, subject, form) | result
    question = {"title": f"Save as the rule of {owner.name}", "reason": reason} | _differences(owner, form)
    return TemplateResponse(request, "admin/simulator_save.html", context | question)


def _saved(
    request: HttpRequest, model_admin: Any, owner: Owner, form: OtherRule, reason: str, at: datetime
) -> HttpResponse | None:
    actor, kept = cast(User, request.user), owner.kept
    try:
        save_rule(owner, **form.cleaned_data, version=owner.version, actor=actor, reason=reason, at=at)
    except AllocationError as error:
        form.refuse(error)
        return None
    except RewardsError as error:
        form.add_error(None, sentence_of(error))
        return None
    model_admin.admin_site.get_model_admin(type(kept)).log_change(request, kept, f"Changed rule. {reason}")
    messages.success(request, f"{owner.name} has a new rule. Its history has the one before.")
    return HttpResponseRedirect(admin_url(kept))


def _differences(owner: Owner, form: OtherRule) -> dict[str, Any]:
    """What of the rule would change: in words, and line by line."""
    asked = form.cleaned_data
    return {
        "owner": owner,
        "edited_words": rule_in_words(asked["rule"]),
        "edited_json": pretty_json(asked["rule"]),
        "edited_ties": asked["tie_policy"],
        "lines": list(difference(pretty_json(owner.rule), pretty_json(asked["rule"]))),
    }


__all__ = ["address_of", "simulator_page"]
