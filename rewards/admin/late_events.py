"""The page of what late events would have changed about a payout, with the way to pay it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse

from rewards.admin.common.confirm import page_context, sentence_of
from rewards.admin.common.display import admin_url, amount, grouped, link_to, signed_units, units
from rewards.admin.common.tables import Table
from rewards.allocation.errors import AllocationError
from rewards.campaigns.corrections import Differences, correction_for, correction_of, differences
from rewards.common.errors import RewardsError
from rewards.distributions.models import Distribution
from rewards.distributions.programmes import LateChange

LINES_SHOWN = 200


def late_events_page(request: HttpRequest, model_admin: Any, distribution: Distribution, at: datetime) -> HttpResponse:
    """Who would have been given what; on POST a campaign that pays those who are due more, for somebody to run."""
    may_correct = model_admin.has_run_permission(request)
    if request.method == "POST":
        if not may_correct:
            raise PermissionDenied
        return _prepare(request, distribution, at)
    found, mistake = Differences([], []), ""
    try:
        found = differences(distribution)
    except RewardsError as error:
        mistake = sentence_of(error)
    except AllocationError as error:
        mistake = str(error)
    correction = correction_of(distribution)
    context = page_context(request, model_admin, distribution) | {
        "title": f"Late events of {distribution}",
        "distribution": distribution,
        "mistake": mistake,
        "figures": _figures(distribution, found),
        "table": _table(distribution, found),
        "more": max(0, len(found.missing) + len(found.given_too_much) - LINES_SHOWN),
        "correction": link_to(correction) if correction else "",
        "may_correct": may_correct and bool(found.missing) and distribution.status == Distribution.Status.PAID,
        "button": f"Prepare a correction of {amount(found.to_pay, distribution.currency)}",
        "back": admin_url(distribution),
    }
    return TemplateResponse(request, "admin/late_events.html", context)


def _prepare(request: HttpRequest, distribution: Distribution, at: datetime) -> HttpResponse:
    try:
        campaign = correction_for(distribution, request.user, at)  # type: ignore[arg-type]
    except RewardsError as error:
        messages.error(request, sentence_of(error))
    except AllocationError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, f"The campaign {campaign} pays what is missing once somebody runs it.")
    return HttpResponseRedirect(request.path)


def _figures(distribution: Distribution, found: Differences) -> list[tuple[str, str, str]]:
    currency = distribution.currency
    return [
        ("Late events", grouped(distribution.late_events), "counted for nothing"),
        ("Due more", grouped(len(found.missing)), f"{amount(found.to_pay, currency)} in all"),
        (
            "Were given too much",
            grouped(len(found.given_too_much)),
            f"{amount(found.too_much, currency)} in all, which they keep",
        ),
    ]


def _table(distribution: Distribution, found: Differences) -> Table:
    currency = distribution.currency
    columns = ["User", f"Was given ({currency.code})", f"With late events ({currency.code})", "Difference"]
    rows = [_line(each, distribution) for each in [*found.missing, *found.given_too_much][:LINES_SHOWN]]
    return Table(columns, rows, frozenset(columns[1:]), "Nobody would have been given anything else.")


def _line(change: LateChange, distribution: Distribution) -> tuple[str, str, str, str]:
    currency = distribution.currency
    return (
        change.username,
        units(change.amount, currency),
        units(change.with_late_events, currency),
        signed_units(change.with_late_events - change.amount, currency),
    )
