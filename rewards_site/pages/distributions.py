"""The page of one distribution: what it shared out and by which rule; and for who took part his row, why it is so much,
and the proof that it is part of the digest, which his own browser checks.

Whoever is not staff sees the distributions that the API shows him, and a row of his own as soon as it is approved.
Names and rows of others are not on it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from rewards.admin.common.display import STATUS_KINDS, grouped, pretty_json
from rewards.admin.common.rule_words import rule_in_words
from rewards.api.distributions import SHOWN_TO_ALL, sees_all
from rewards.api.views import own_or_404
from rewards.cases.programme import case_id_of
from rewards.distributions.models import Distribution, Reward
from rewards.distributions.queries import payout_curve, receipt, reward_of, tier_breakdown
from rewards.distributions.titles import period_title, programme_title
from rewards.users.models import User
from rewards_site.pages.shared import open_page
from rewards_site.pages.svg import Curve, curve

FEWEST_RECIPIENTS_TOLD_APART = 10
"""Among fewer, what places and slices got would tell everybody what each person got: only they see it then."""

STAGES = (
    ("Opened", "opened_at"),
    ("Frozen", "frozen_at"),
    ("Allocated", "allocated_at"),
    ("Approved", "approved_at"),
    ("Paid", "paid_at"),
    ("Reversed", "reversed_at"),
)
REWARD_WORDS = {
    "none": ("nothing to pay", ""),
    "allocated": ("on its way", "info"),
    "paid": ("paid", "good"),
    "claimable": ("to be claimed", "info"),
    "processing": ("on its way to the chain", "warn"),
    "failed": ("did not get through", "bad"),
    "reversed": ("taken back", "bad"),
}
"""What each status of a reward is called, and the badge that it wears."""
BADGES = {"success": "good", "warning": "warn", "danger": "bad", "info": "info"}


@require_safe
@open_page
def distribution(request: HttpRequest, pk: int) -> HttpResponse:
    """Raises `Http404` for what the reader does not see, such as one that waits for approval."""
    found: Distribution = own_or_404(seen_by(request.user), pk=pk)
    reward = own_reward(found, request.user)
    context = figures_context(found) | {"own": own_context(reward) if reward else None, "proof_url": None}
    if reward is not None or found.recipients >= FEWEST_RECIPIENTS_TOLD_APART or sees_everything(request.user):
        context |= parts_context(found, reward)
    if reward is not None and found.status in SHOWN_TO_ALL:
        context["proof_url"] = reverse("distribution_proof", args=[found.pk])
    return render(request, "pages/distribution.html", context)


def sees_everything(reader: Any) -> bool:
    return isinstance(reader, User) and sees_all(reader)


def seen_by(reader: Any) -> QuerySet[Distribution]:
    """The distributions that pay or have paid; those that were approved where the reader has a row, too; staff see all
    that are allocated."""
    rows = Distribution.objects.select_related("currency", "source_account")
    if sees_everything(reader):
        return rows.filter(allocated_at__isnull=False)
    seen = Q(status__in=SHOWN_TO_ALL)
    if isinstance(reader, User):
        own = Reward.objects.filter(distribution=OuterRef("pk"), user=reader)
        seen |= Q(approved_at__isnull=False) & Q(Exists(own))
    return rows.filter(seen)


def own_reward(distribution: Distribution, reader: Any) -> Reward | None:
    if not isinstance(reader, User):
        return None
    reward = reward_of(distribution, reader)
    if reward is not None:
        reward.distribution = distribution
    return reward


# ------------------------------------------------------------------------------------------------------ what is shown


def figures_context(distribution: Distribution) -> dict[str, Any]:
    """What everybody who sees it is told."""
    units, code = distribution.currency.to_units, distribution.currency.code
    case_id = case_id_of(distribution.period_key)
    return {
        "distribution": distribution,
        "title": programme_title(distribution.programme),
        "period": period_title(distribution),
        "status": (status_word(distribution), BADGES.get(STATUS_KINDS.get(distribution.status, ""), "")),
        "case_url": reverse("pages:case", args=[case_id]) if case_id is not None else "",
        "figures": [
            ("To share out", grouped(units(distribution.amount)), code),
            ("Paid", grouped(units(distribution.paid_amount)), code),
            ("Recipients", grouped(distribution.recipients), "with an amount above zero"),
            ("Took part", grouped(distribution.participants), "in the ranking"),
        ],
        "stages": [(name, at) for name, field in STAGES if (at := getattr(distribution, field))],
        "rule_words": rule_in_words(distribution.rule),
        "rule_json": pretty_json(distribution.rule),
        "tree_size": distribution.participants + 1,
        "unit": units(1),
    }


def status_word(distribution: Distribution) -> str:
    if distribution.status == Distribution.Status.PAID and distribution.payout == "chain":
        return "to be claimed"
    return {"paying": "being paid", "reversed": "taken back"}.get(distribution.status, distribution.status)


def parts_context(distribution: Distribution, reward: Reward | None) -> dict[str, Any]:
    """What the slices paid, and the curves over the places."""
    slices = tier_breakdown(distribution)
    return {
        "slices": [
            {
                "name": part["name"],
                "members": grouped(part["members"]),
                "amount": grouped(part["amount"]),
                "paid": grouped(part["paid"]),
            }
            for part in slices
        ],
        "curve": curve_of(distribution, reward),
        "lorenz": lorenz_of(distribution),
    }


def curve_of(distribution: Distribution, reward: Reward | None) -> Curve | None:
    """What each place got, closer together at the top; the reader's own place is marked."""
    points = payout_curve(distribution)
    if not points:
        return None
    units, code = distribution.currency.to_units, distribution.currency.code
    (_, first), (last_place, last) = points[0], points[-1]
    return curve(
        [(place, float(units(minor))) for place, minor in points],
        title="Payout by place",
        summary=f"The first place got {grouped(units(first))} {code}, place {grouped(last_place)} got "
        f"{grouped(units(last))} {code}.{' The large dot is your place.' if reward else ''}",
        x_title="Place",
        y_title=f"Payout in {code}",
        shown_y=lambda value: f"{value:,.10g}",
        mark=(reward.position, float(units(reward.amount))) if reward else None,
    )


def lorenz_of(distribution: Distribution) -> Curve | None:
    """How evenly it was shared: what part of it those with the least have together."""
    evenness = distribution.results.get("evenness", {})
    shares = evenness.get("lorenz", [])
    if len(shares) < 2:
        return None
    steps, half = len(shares) - 1, float(shares[len(shares) // 2])
    return curve(
        [(100 * step / steps, 100 * float(share)) for step, share in enumerate(shares)],
        title="Lorenz curve",
        summary=f"The half that got least has {half:.1%} of it together. Gini coefficient "
        f"{float(evenness['gini']):.3f}: 0 where all get the same, close to 1 where one gets all. "
        "The dashed line is where all get the same.",
        x_title="Percent of those who took part, the least paid first",
        y_title="Percent of what was paid",
        reference=((0, 0), (100, 100)),
    )


def own_context(reward: Reward) -> dict[str, Any]:
    """The reader's row and why it is this amount."""
    told = receipt(reward)
    return {
        "reward": reward,
        "told": told,
        "amount": grouped(told["amount"]),
        "place": f"{grouped(reward.position)} of {grouped(reward.distribution.participants)}",
        "status": REWARD_WORDS[told["status"]],
        "slices": told["slices"],
        "paid_at": datetime.fromisoformat(told["paid_at"]) if told["paid_at"] else None,
    }
