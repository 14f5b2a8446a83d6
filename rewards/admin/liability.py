"""Liability and runway: what users hold, what they are owed, and how long the accounts that pay will last."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from django.core.exceptions import PermissionDenied
from django.db.models import Count, F, Sum
from django.http import HttpRequest, HttpResponseBase
from django.template.response import TemplateResponse
from django.utils import timezone

from rewards.admin.common.confirm import page_context
from rewards.admin.common.display import ago, amount, badge, link_to
from rewards.admin.common.downloads import Exported, csv_download, file_name
from rewards.admin.common.tables import Table
from rewards.common.reading import found_by_any
from rewards.distributions.models import Distribution
from rewards.ledger.liability import outstanding
from rewards.ledger.models import Currency
from rewards.parameters.services import param
from rewards.pending.models import PendingReward
from rewards.pools.runway import LOOKED_BACK, Runway, runways, watches
from rewards.users.models import User

Status = Distribution.Status
OWED = (Status.ALLOCATED, Status.APPROVED, Status.PAYING)
Pending = PendingReward.Status
UNPAID = (Pending.QUEUED, Pending.FAILED)
MOST_QUEUED = 10_000  # of each of these so many are added up
LIABILITY_COLUMNS = ["Currency", "Held by users", "Claimable on the chain", "Owed by distributions", "Queued"]
RUNWAY_COLUMNS = ["Account", "Balance", "In per day", "Out per day", "Lasts", "Counted from"]


@dataclass(frozen=True)
class Liability:
    """Of one currency, in minor units; `claimable` is a part of `held` and None while no watch has noted it."""

    currency: Currency
    held: int
    claimable: int | None
    owed: int
    queued: int
    more_queued: bool


def may_see_liability(user: Any) -> bool:
    return bool(user.has_perm("rewards.view_account"))


def liability_page(request: HttpRequest, model_admin: Any) -> HttpResponseBase:
    """`?csv=liability` and `?csv=runway` download the tables. Whoever may not see accounts gets 403."""
    if not may_see_liability(request.user):
        raise PermissionDenied
    now = timezone.now()
    wanted = request.GET.get("csv", "")
    exported = Exported(cast(User, request.user), wanted)
    if wanted == "runway":
        lines = map(runway_line, runways(now))
        return csv_download(file_name(now, wanted), RUNWAY_FIELDS, lines, exported=exported)
    found, noted_at = liabilities(now)
    if wanted == "liability":
        lines = map(liability_line, found)
        return csv_download(file_name(now, wanted), LIABILITY_FIELDS, lines, exported=exported)
    context = page_context(request, model_admin) | {
        "opts": None,
        "title": "Liability and runway",
        "liability": liability_table(found),
        "noted": ago(noted_at, now) if noted_at else "not yet",
        "runway": runway_table(runways(now)),
        "days": LOOKED_BACK.days,
        "alert_days": param("pools.runway_alert_days"),
    }
    return TemplateResponse(request, "admin/liability.html", context)


# ---------------------------------------------------------------------------------------------------------- liability


def liabilities(at: datetime) -> tuple[list[Liability], datetime | None]:
    """Of every currency in which somebody holds or is owed something; and when what is claimable was noted."""
    held, owed = outstanding(), owed_by_distributions()
    queued, counted = queued_rewards()
    newest = watches(at - LOOKED_BACK)[-1:]
    on_chain = {int(pk): minor for each in newest for pk, minor in each.claimable.items()}
    found = [
        Liability(
            currency, held[currency.pk], on_chain.get(currency.pk, 0) if newest else None, owed[currency.pk],
            queued[currency.pk], counted >= MOST_QUEUED,
        )
        for currency in Currency.objects.order_by("code")
        if held[currency.pk] or owed[currency.pk] or queued[currency.pk]
    ]  # fmt: skip
    return found, newest[0].at if newest else None


def owed_by_distributions() -> Counter[int]:
    """Minor units that are allocated or approved and not paid yet, by the id of the currency."""
    rows = Distribution.objects.filter(status__in=[*OWED, Status.FAILED], allocated_at__isnull=False)
    left = Sum(F("amount") - F("carried_over") - F("paid_amount"))
    return Counter({pk: int(total) for pk, total in rows.order_by().values_list("currency").annotate(left=left)})


def queued_rewards() -> tuple[Counter[int], int]:
    """Minor units of the first rewards of the queue, by the id of the currency; and how many rewards those are.

    What is dead is owed until somebody queues it again; what has expired is not.
    """
    some = [PendingReward.objects.filter(status=status)[:MOST_QUEUED] for status in UNPAID]
    rows = found_by_any(*some).order_by().values_list("currency")
    found = list(rows.annotate(Sum("amount"), Count("pk")))
    return Counter({pk: int(total) for pk, total, _ in found}), sum(count for _, _, count in found)


def liability_table(found: Sequence[Liability]) -> Table:
    rows = [
        (
            link_to(each.currency, each.currency.code),
            amount(each.held, each.currency),
            amount(each.claimable, each.currency),
            amount(each.owed, each.currency),
            ("at least " if each.more_queued else "") + amount(each.queued, each.currency),
        )
        for each in found
    ]
    return Table(LIABILITY_COLUMNS, rows, frozenset(LIABILITY_COLUMNS[1:]), "Nobody holds anything, or is owed it.")


LIABILITY_FIELDS = ["currency", "held_by_users", "claimable_on_chain", "owed_by_distributions", "queued"]


def liability_line(each: Liability) -> list[str]:
    figures = (each.held, each.claimable, each.owed, each.queued)
    return [each.currency.code, *("" if minor is None else each.currency.to_units(minor) for minor in figures)]


# -------------------------------------------------------------------------------------------------------------- runway


def runway_table(found: Sequence[Runway]) -> Table:
    rows = [
        (
            link_to(each.account),
            amount(each.held, each.account.currency),
            per_day(each, each.inflow),
            per_day(each, each.outflow),
            badge("", lasts(each), kind=kind_of(each)),
            counted_from(each),
        )
        for each in found
    ]
    empty = "No account of the system with a floor exists yet. Payouts and `manage.py fund` create them."
    return Table(RUNWAY_COLUMNS, rows, frozenset(RUNWAY_COLUMNS[1:4]), empty)


def per_day(each: Runway, moved: int | None) -> str:
    return "–" if moved is None else amount(each.per_day(moved), each.account.currency)


def lasts(each: Runway) -> str:
    days = each.days_left
    if each.inflow is None or each.outflow is None:
        return "not known yet"
    if days is not None:
        return f"{days:.1f} days" if days >= 1 else f"{days * 24:.0f} hours"
    if not each.inflow and not each.outflow:
        return "nothing moves"
    return "fills faster than it pays" if each.inflow > each.outflow else "about as much comes in as goes out"


def kind_of(each: Runway) -> str:
    days = each.days_left
    if days is None:
        return ""
    if days < 1:
        return "danger"
    return "warning" if days < param("pools.runway_alert_days") else "success"


def counted_from(each: Runway) -> str:
    return "accruals, payouts, top-ups, reversals" if each.is_pool else "its balance every hour"


RUNWAY_FIELDS = ["account", "currency", "balance", "inflow_per_day", "outflow_per_day", "days_left", "counted_from"]


def runway_line(each: Runway) -> list[str]:
    currency, days = each.account.currency, each.days_left
    moved = ["" if minor is None else currency.to_units(each.per_day(minor)) for minor in (each.inflow, each.outflow)]
    shown = "" if days is None else f"{days:.2f}"
    return [each.account.code, currency.code, currency.to_units(each.held), *moved, shown, counted_from(each)]
