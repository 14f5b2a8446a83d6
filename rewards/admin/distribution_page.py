"""What the page of one distribution shows."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from django.http import HttpRequest
from django.utils.safestring import SafeString

from rewards.admin.common.charts import Chart, bar_chart, curve_chart
from rewards.admin.common.display import admin_url, amount, badge, duration, grouped, link_to, pretty_json
from rewards.admin.common.preview import evenness_in_words, lorenz_chart
from rewards.admin.common.rule_words import rule_in_words
from rewards.admin.common.tables import Table
from rewards.audit.models import AuditEvent
from rewards.distributions.models import Distribution, Reward
from rewards.distributions.queries import payout_curve, tier_breakdown

EVENTS_SHOWN = 20


def detail_context(request: HttpRequest, distribution: Distribution) -> dict[str, Any]:
    currency = distribution.currency
    slices = tier_breakdown(distribution)
    return {
        "distribution": distribution,
        "status": badge(distribution.status),
        "figures": _figures(distribution),
        "facts": _facts(distribution),
        "stages": _stages(distribution),
        "tiers": _tier_table(slices, currency.code),
        "tier_chart": _tier_chart(slices, currency.code) if slices else None,
        "curve": _curve(distribution),
        "lorenz": _lorenz(distribution),
        "rule_words": rule_in_words(distribution.rule),
        "rule_json": pretty_json(distribution.rule),
        "log": _log(distribution),
        "events": _events(distribution),
        "rewards_url": f"{admin_url(Reward)}?distribution__id__exact={distribution.pk}",
        "events_url": f"{admin_url(AuditEvent)}?distribution__id__exact={distribution.pk}",
    }


def _figures(distribution: Distribution) -> list[tuple[str, str, str]]:
    """(label, value, note) of the row of figures at the top."""
    currency = distribution.currency
    due = distribution.amount - distribution.carried_over
    share = f"{distribution.paid_amount / due:.0%} of what is due" if due else "nothing is due"
    return [
        ("Amount", amount(distribution.amount, currency), f"from {distribution.source_account}"),
        ("Paid", amount(distribution.paid_amount, currency), share),
        ("Carried over", amount(distribution.carried_over, currency), "to the next period"),
        (
            "Recipients",
            grouped(distribution.recipients),
            f"of {grouped(distribution.participants)} participants",
        ),
    ]


def _facts(distribution: Distribution) -> list[tuple[str, Any]]:
    limit = distribution.approval_limit
    facts = [
        ("Opened by", link_to(distribution.actor) if distribution.actor else "the schedule"),
        ("Ties", distribution.tie_policy),
        ("Approval", "never needed" if limit is None else f"from {amount(limit, distribution.currency)}"),
        ("Late events", grouped(distribution.late_events)),
    ]
    if distribution.approved_by:
        facts.append(("Approved by", link_to(distribution.approved_by)))
    if distribution.prepared_by:
        facts.append(("Rule last changed by", link_to(distribution.prepared_by)))
    if distribution.reason:
        facts.append(("Reason", distribution.reason))
    facts += [(name, value) for name, value in distribution.results.get("facts", {}).items()]
    return facts


def _stages(distribution: Distribution) -> Table:
    stages = [
        ("opened", distribution.opened_at, None),
        ("frozen", distribution.frozen_at, "freeze"),
        ("allocated", distribution.allocated_at, "allocate"),
        ("approved", distribution.approved_at, None),
        ("paying", distribution.paying_at, "pay"),
        ("paid", distribution.paid_at, None),
        ("failed", distribution.failed_at, None),
        ("reversed", distribution.reversed_at, None),
    ]
    rows = [
        (name, at, duration(distribution.seconds[key]) if key in distribution.seconds else "")
        for name, at, key in stages
        if at is not None
    ]
    return Table(["Stage", "Time", "Took"], rows, frozenset({"Took"}))


def _tier_table(slices: list[dict[str, Any]], code: str) -> Table:
    columns = ["Slice", "Members", f"Given ({code})", f"Paid ({code})", "Unpaid"]
    rows = [
        (
            part["name"],
            grouped(part["members"]),
            grouped(part["amount"]),
            grouped(part["paid"]),
            "–" if part["amount"] == part["paid"] else "carried over",
        )
        for part in slices
    ]
    return Table(columns, rows, frozenset(columns[1:4]), "Nothing has been allocated yet.")


def _tier_chart(slices: list[dict[str, Any]], code: str) -> Chart:
    best = max(slices, key=lambda part: float(part["paid"]))
    return bar_chart(
        [part["name"] for part in slices],
        {"Paid": [float(part["paid"]) for part in slices]},
        x_title="Slice",
        y_title=f"Paid ({code})",
        summary=f"{len(slices)} slices; the largest, {best['name']}, pays {grouped(best['paid'])} {code}.",
    )


def _curve(distribution: Distribution) -> Chart | None:
    points = payout_curve(distribution)
    if not points:
        return None
    units, code = distribution.currency.to_units, distribution.currency.code
    first, last = points[0][1], points[-1][1]
    return curve_chart(
        [grouped(position) for position, _ in points],
        {"Payout": [float(units(minor)) for _, minor in points]},
        x_title="Place (closer together at the top)",
        y_title=f"Payout ({code})",
        summary=f"The first place gets {grouped(units(first))} {code}, place {grouped(points[-1][0])} gets "
        f"{grouped(units(last))} {code}.",
    )


def _lorenz(distribution: Distribution) -> Chart | None:
    """How evenly it was spread, as kept when it was allocated; nothing of payouts from before it was kept."""
    kept = distribution.results.get("evenness")
    if not kept:
        return None
    curve = [Fraction(share) for share in kept["lorenz"]]
    return lorenz_chart({"Payout": curve}, evenness_in_words(curve, Fraction(kept["gini"])))


def _log(distribution: Distribution) -> list[tuple[str, Any]]:
    log = getattr(distribution, "log", None)
    if log is None:
        return []
    counts = ", ".join(f"{name} {grouped(count)}" for name, count in log.counts.items())
    return [
        ("Type", log.type),
        ("Total", amount(log.total, distribution.currency)),
        ("Members per tier", counts or "–"),
        ("ECC cap", log.ecc_cap or "–"),
    ]


def _events(distribution: Distribution) -> Table:
    events = distribution.audit_events.select_related("actor", "currency").order_by("-pk")[:EVENTS_SHOWN]
    rows = [
        (
            event.timestamp,
            link_to(event, event.event_type),
            _outcome(event),
            amount(event.amount, event.currency) if event.currency else "–",
            event.actor.get_username() if event.actor else "the system",
            event.reason or event.error_message or "–",
        )
        for event in events
    ]
    return Table(["Time", "Event", "Outcome", "Amount", "By", "Note"], rows, frozenset({"Amount"}))


def _outcome(event: AuditEvent) -> SafeString:
    return badge("done", "ok") if event.success else badge("failed")
