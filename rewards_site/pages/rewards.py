"""/me/rewards/: every reward of the reader's, why it is this amount, and claiming what is paid out on the chain."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from django.contrib import messages
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from rewards.admin.common.display import grouped
from rewards.admin.common.rule_words import rule_in_words
from rewards.api.views import own_or_404
from rewards.chain_claims.models import RewardClaim
from rewards.chain_claims.services import AT_ONCE, claim
from rewards.common.amounts import to_units
from rewards.common.errors import RewardsError
from rewards.distributions.models import Reward
from rewards.distributions.own import own_rewards, status_is
from rewards.distributions.titles import period_title, programme_title
from rewards.users.models import User
from rewards_site.pages.distributions import REWARD_WORDS, own_context
from rewards_site.pages.shared import is_htmx, own_page

PAGE = 25
LONGEST_ID = 18  # digits


@require_safe
@own_page
def reward_list(request: HttpRequest) -> HttpResponse:
    """All rewards, the newest payout first, a page at a time: `before` is the payout that ended the page before."""
    user: User = request.user  # type: ignore[assignment]
    status, before = request.GET.get("status", ""), whole_number(request.GET.get("before", ""))
    if status and status not in REWARD_WORDS:
        raise Http404
    rows = listed_rewards(user, PAGE + 1, status=status, before=before)
    context = {
        "rewards": rows[:PAGE],
        "older": rows[PAGE - 1]["reward"].distribution_id if len(rows) > PAGE else None,
        "status": status,
        "statuses": [(value, words[0]) for value, words in REWARD_WORDS.items()],
        "first_page": before is None,
    }
    return render(request, "pages/rewards.html", context)


@require_safe
@own_page
def reward(request: HttpRequest, pk: int) -> HttpResponse:
    """Why this amount: a part of a page for htmx, else a page. Somebody else's reward is none."""
    user: User = request.user  # type: ignore[assignment]
    found: Reward = own_or_404(own_rewards(user).select_related("distribution__currency"), pk=pk)
    context = {
        "own": own_context(found),
        "shown": shown_reward(found),
        "rule_words": rule_in_words(found.distribution.rule),
    }
    return render(request, "pages/receipt.html" if is_htmx(request) else "pages/reward.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@own_page
def claim_rewards(request: HttpRequest) -> HttpResponse:
    """Asks first: which rewards, how much, to which address. What was shown is what is claimed, and nothing besides."""
    user: User = request.user  # type: ignore[assignment]
    if request.method != "POST":
        return _ask(request, user, user.wallet_address)
    wallet = request.POST.get("wallet_address", "").strip()
    ids = [pk for text in request.POST.getlist("reward") if (pk := whole_number(text)) is not None][: AT_ONCE + 1]
    if not ids or len(ids) > AT_ONCE:
        return _ask(request, user, wallet, f"Choose one to {AT_ONCE} rewards.", 400)
    if not wallet:  # the one of the profile would take its place, and was not asked about
        return _ask(request, user, wallet, "There is no wallet address to send it to: write one.", 422)
    try:
        claims = claim(user, ids, wallet, timezone.now())
    except RewardsError as error:
        if error.http_status >= 500 and not error.is_expected:
            raise
        return _ask(request, user, wallet, error.message, error.http_status)
    done = sum(each.status == RewardClaim.Status.COMPLETED for each in claims)
    said = "paid out" if done == len(claims) else "on the way; this takes the chain a moment"
    messages.success(request, f"{len(claims)} reward{'s' if len(claims) > 1 else ''} {said}.")
    return redirect("pages:rewards")


# ------------------------------------------------------------------------------------------------------------- reading


def listed_rewards(user: User, count: int, *, status: str = "", before: int | None = None) -> list[dict[str, Any]]:
    """Up to `count` of the user's rewards as the list shows them, the newest payout first; one statement."""
    rows = own_rewards(user).select_related("distribution__currency").order_by("-distribution_id")
    if status:
        rows = rows.filter(status_is(status, user))
    if before is not None:
        rows = rows.filter(distribution_id__lt=before)
    return [shown_reward(found) for found in rows[:count]]


def shown_reward(found: Reward) -> dict[str, Any]:
    distribution = found.distribution
    word, kind = REWARD_WORDS[found.seen_as]  # type: ignore[attr-defined]
    return {
        "reward": found,
        "title": programme_title(distribution.programme),
        "period": period_title(distribution),
        "amount": grouped(distribution.currency.to_units(found.amount)),
        "currency": distribution.currency.code,
        "at": distribution.ends_at or distribution.opened_at,
        "place": f"Place {grouped(found.position)} of {grouped(distribution.participants)}",
        "status": word,
        "kind": kind,
    }


def whole_number(text: str) -> int | None:
    """The number of a row; None for what is none."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= LONGEST_ID else None


def claimable_rewards(user: User) -> QuerySet[Reward]:
    """What the user may claim now, the oldest first: what lies ready, and claims that did not get through."""
    failed = Q(chain_claim__status=RewardClaim.Status.FAILED) & status_is(Reward.Status.FAILED, user)
    ready = own_rewards(user).filter(status_is(Reward.Status.CLAIMABLE, user) | failed)
    return ready.select_related("distribution__currency").order_by("distribution_id")


def _ask(request: HttpRequest, user: User, wallet: str, problem: str = "", status: int = 200) -> HttpResponse:
    found = list(claimable_rewards(user)[:AT_ONCE])
    totals: dict[tuple[str, int], int] = defaultdict(int)
    for each in found:
        currency = each.distribution.currency
        totals[currency.code, currency.decimals] += each.amount
    context = {
        "rewards": [shown_reward(each) for each in found],
        "totals": [(grouped(to_units(minor, places)), code) for (code, places), minor in sorted(totals.items())],
        "wallet": wallet,
        "problem": problem,
        "at_once": AT_ONCE,
    }
    return render(request, "pages/claim.html", context, status=status)
