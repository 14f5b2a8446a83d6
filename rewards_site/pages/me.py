"""/me/: what a user has and what is to be claimed, badges, places on boards, the latest rewards. It writes nothing."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from badges.icons import icon_html
from badges.queries import get_badge_progress, get_user_badges
from leaderboard.queries import own_places
from rewards.admin.common.display import grouped
from rewards.claims.charges import REGENERATING, Charges, charges
from rewards.users.models import User
from rewards_site.pages.rewards import listed_rewards
from rewards_site.pages.shared import own_page
from rewards_site.profile.profile import balances, claimable, statistics, total_points

LATEST = 5
NEXT_BADGES = 6


@require_safe
@own_page
def me(request: HttpRequest) -> HttpResponse:
    user: User = request.user  # type: ignore[assignment]
    at = timezone.now()
    held, latest = get_user_badges(user)["badges"], listed_rewards(user, LATEST)
    context = {
        "tiles": tiles(user, at),
        "claimable": [(code, grouped(amount)) for code, amount in claimable(user).items()],
        "statistics": statistics_shown(user),
        "held": [
            badge | {"earned_at": datetime.fromisoformat(badge["earned_at"]), "icon": icon_html(badge["icon"])}
            for badge in held
        ],
        "progress": badges_to_come(user, at),
        "places": [(place, grouped(place.points)) for place in own_places(user, at)],
        "latest": latest,
        "has_more": len(latest) == LATEST,
    }
    return render(request, "pages/me.html", context)


def tiles(user: User, at: datetime) -> list[dict[str, Any]]:
    """A tile for each balance. Charges that are due count, though they are posted when they are spent."""
    amounts, coming = balances(user), charges(user, at)
    shown = dict(amounts)
    if coming.maximum and (coming.balance or REGENERATING in amounts):
        shown[REGENERATING] = str(coming.balance)
    return [
        {
            "currency": code,
            "shown": grouped(amount),
            "note": _charges_note(coming) if code == REGENERATING else "",
            "has_account": code in amounts,
        }
        for code, amount in sorted(shown.items())
    ]


def statistics_shown(user: User) -> list[tuple[str, str]]:
    counted = statistics(user)
    share = float(counted["accuracy"])
    # More wins than votes: a product that reports the one without the other. That is a share of nothing.
    accuracy = f"{100 * share:.1f} %" if counted["votes"] and share <= 1 else "–"
    return [
        ("Points ever earned", grouped(total_points(user))),
        ("Votes", grouped(counted["votes"])),
        ("Wins", grouped(counted["wins"])),
        ("Votes that won", accuracy),
        ("Arguments", grouped(counted["arguments"])),
    ]


def badges_to_come(user: User, at: datetime) -> list[dict[str, Any]]:
    """The badges not earned yet, the nearest first."""
    details = get_badge_progress(user, at)["progress"]["progress_details"]
    left = [
        detail | {"icon": icon_html(detail["icon"])}
        for detail in details
        if not detail["earned"] and detail["threshold"]
    ]
    return sorted(left, key=lambda detail: -min(1.0, detail["current"] / detail["threshold"]))[:NEXT_BADGES]


def _charges_note(coming: Charges) -> str:
    if coming.next_at is None:
        return f"of {coming.maximum}: all are there"
    return f"of {coming.maximum}; the next one at {timezone.localtime(coming.next_at):%H:%M}"
