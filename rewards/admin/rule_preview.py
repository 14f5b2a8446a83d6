"""The page on which another rule is tried on a distribution, or on the period that a pool pays next."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse_lazy

from rewards.admin.common.confirm import page_context, sentence_of
from rewards.admin.common.display import admin_url, grouped
from rewards.admin.common.preview import context_of
from rewards.admin.common.rule_form import Asks, OtherRule
from rewards.allocation.errors import AllocationError
from rewards.common.errors import RewardsError
from rewards.distributions.models import Distribution
from rewards.distributions.preview import compare, preview, with_rule
from rewards.pools.inputs import MEASURES
from rewards.pools.models import Pool

LARGEST_SHOWN_HERE = 200_000
# What the rule may name depends on the programme: the pools' measures are offered, others are written as JSON.
ASKS = Asks(reverse_lazy("admin:rewards_distribution_rule"), measures=MEASURES)


@dataclass(frozen=True)
class Period:
    """A period of a programme and the rule that it has; `page` is whose page the preview belongs to."""

    page: Distribution | Pool
    programme: str
    key: str
    rule: dict[str, Any]
    tie_policy: str
    participants: int = 0

    def __str__(self) -> str:
        return f"{self.programme} {self.key}"


def period_of(distribution: Distribution) -> Period:
    return Period(
        distribution, distribution.programme, distribution.period_key, distribution.rule, distribution.tie_policy,
        distribution.participants,
    )  # fmt: skip


def preview_page(request: HttpRequest, model_admin: Any, period: Period, at: datetime) -> HttpResponse:
    """The rule as it is, to be changed; once it is sent, what it would pay beside what the own rule pays."""
    too_large = period.participants > LARGEST_SHOWN_HERE
    own = {"rule": period.rule, "tie_policy": period.tie_policy}
    form = OtherRule(request.POST or None, initial=own, asks=ASKS, currency=period.page.currency)
    result: dict[str, Any] = {}
    if request.method == "POST" and not too_large and form.is_valid():
        result = _result(period, form, at)
    context = page_context(request, model_admin, period.page) | result | {
        "title": f"Preview another rule for {period}",
        "explanation": "The same participants and the same amount, shared out by another rule. Nothing is written: "
        "not the rule, not a payout.",
        "form": form,
        "too_large": grouped(period.participants) if too_large else "",
        "command": f"manage.py preview {period} --rule '…'",
        "back": admin_url(period.page),
    }  # fmt: skip
    return TemplateResponse(request, "admin/preview.html", context)


def _result(period: Period, form: OtherRule, at: datetime) -> dict[str, Any]:
    """The figures, or nothing and a mistake in the form."""
    try:
        shown = preview(period.programme, period.key, at=at, **form.cleaned_data)
    except AllocationError as error:
        form.refuse(error)
        return {}
    except RewardsError as error:
        form.add_error(None, sentence_of(error))
        return {}
    try:
        own = with_rule(shown, period.rule, period.tie_policy)
    except AllocationError:  # it may be the reason why another rule is looked for
        return context_of(shown)
    return context_of(shown, compare(own, shown))
