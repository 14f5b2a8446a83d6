"""The page that says what taking back a payout, or one reward of it, would do, and does it."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse

from rewards.admin.common.confirm import page_context, sentence_of
from rewards.admin.common.display import admin_url, amount, grouped
from rewards.admin.common.taking_back import ReverseForm, figures_of, short_table
from rewards.common.errors import RewardsError
from rewards.distributions.corrections import clawback_preview, take_back
from rewards.distributions.models import Distribution, Reward
from rewards.ledger.debts import LEND, REFUSE, Clawback


def reverse_page(
    request: HttpRequest, model_admin: Any, distribution: Distribution, reward: Reward | None = None
) -> HttpResponse:
    """What would go back and who lacks what; on POST it is done. What is refused is said on the page."""
    form, subject = ReverseForm(request.POST or None), reward or distribution
    if request.method == "POST" and form.is_valid():
        how = form.cleaned_data["missing"] or REFUSE
        try:
            done = take_back(
                distribution.pk,
                request.user,  # type: ignore[arg-type]
                form.cleaned_data["reason"].strip(),
                missing=how,
                reward_id=reward.pk if reward else None,
            )
        except RewardsError as error:
            messages.error(request, sentence_of(error))
        else:
            messages.success(request, _said(distribution, reward, done, how))
            return HttpResponseRedirect(admin_url(subject))
    found = clawback_preview(distribution, reward)
    context = page_context(request, model_admin, subject) | {
        "title": f"Take back the reward of {reward.user}" if reward else f"Reverse {distribution}",
        "explanation": _explanation(distribution, reward, found),
        "figures": figures_of(found, distribution.currency),
        "short": short_table(found, distribution.currency),
        "more": grouped(found.short - len(found.rows)) if found.short > len(found.rows) else "",
        "form": form,
        "choose": bool(found.short),
        "back": admin_url(subject),
    }
    return TemplateResponse(request, "admin/reverse.html", context)


def _explanation(distribution: Distribution, reward: Reward | None, found: Clawback) -> str:
    total, source = amount(found.total, distribution.currency), distribution.source_account
    if reward is not None:
        return f"{total} return to {source}; the other rewards of {distribution} stay as they are. This is final."
    return (
        f"{total} are taken back from {grouped(found.recipients)} recipients, all or none, and return to {source}. "
        "This is final: the period is not paid again."
    )


def _said(distribution: Distribution, reward: Reward | None, done: Clawback, how: str) -> str:
    currency = distribution.currency
    what = f"The reward of {reward.user}" if reward else str(distribution)
    sentence = f"{what} is reversed: {amount(done.total, currency)} are back in {distribution.source_account}."
    if not done.short:
        return sentence
    whom = str(reward.user) if reward else f"{grouped(done.short)} of the recipients"
    word = "lent to" if how == LEND else "written off for"
    return f"{sentence} {amount(done.missing_total, currency)} were {word} {whom}."
