"""Actions that move value: a page that says in numbers what will happen, then the deed, then what became of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from unfold.widgets import UnfoldAdminTextareaWidget

from rewards.common.errors import RewardsError


class ReasonForm(forms.Form):
    reason = forms.CharField(
        label="Reason",
        max_length=500,
        widget=UnfoldAdminTextareaWidget({"rows": 3}),
        help_text="It is kept, with your name.",
        error_messages={"required": "Say why: a reason is needed."},
    )


@dataclass(frozen=True)
class Question:
    """`title` and `explanation` say what is about to happen, `figures` in numbers; `button` is what one presses."""

    title: str
    explanation: str
    button: str
    figures: Sequence[tuple[str, Any]] = ()
    needs_reason: bool = False
    dangerous: bool = False
    hidden: dict[str, str] = field(default_factory=dict)


def ask_then_do(
    request: HttpRequest,
    question: Question,
    do: Callable[[str], str],
    *,
    back: str,
    context: dict[str, Any],
) -> HttpResponse:
    """Show the question; on POST do it (`do` gets the reason and returns what to say) and go back.

    A `RewardsError` becomes a message with its sentence and code, never an error page.
    """
    form = ReasonForm(request.POST or None) if question.needs_reason else None
    if request.method == "POST" and (form is None or form.is_valid()):
        try:
            messages.success(request, do(form.cleaned_data["reason"].strip() if form else ""))
        except RewardsError as error:
            messages.error(request, sentence_of(error))
        return HttpResponseRedirect(back)
    page = {**context, "title": question.title, "question": question, "form": form, "back": back}
    return TemplateResponse(request, "admin/confirm.html", page)


def sentence_of(error: RewardsError) -> str:
    return f"{' '.join(error.message.split())} ({error.code})"


def page_context(request: HttpRequest, model_admin: Any, obj: Any = None) -> dict[str, Any]:
    """What every page of our own needs around it."""
    request.current_app = model_admin.admin_site.name  # type: ignore[attr-defined]
    return {
        **model_admin.admin_site.each_context(request),
        "opts": model_admin.opts,
        "original": obj,
        "media": model_admin.media,
    }
