"""What the theme asks for by name (see UNFOLD in the settings): the sidebar, its badges, the environment's label."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse

from rewards.alerts.models import Alert
from rewards.cases.models import Case
from rewards.distributions.models import Distribution
from rewards.pending.queries import dead_rewards

# (heading, [(title, icon, model)]); a title with a path instead of a model is a page of its own.
SIDEBAR: list[tuple[str, list[tuple[str, str, str]]]] = [
    (
        "Pay out",
        [
            ("Distributions", "payments", "rewards.distribution"),
            ("Periods", "calendar_month", "rewards.distribution:periods"),
            ("Rewards", "redeem", "rewards.reward"),
            ("Campaigns", "campaign", "rewards.campaign"),
            ("Monthly rewards", "event_available", "rewards.monthlyrewardjob"),
            ("Pending rewards", "hourglass_top", "rewards.pendingreward"),
            ("Reward logs", "summarize", "rewards.rewardlog"),
            ("Partner transfers", "outbox", "rewards.partnertransfer"),
        ],
    ),
    (
        "Earn",
        [
            ("Activity", "how_to_vote", "rewards.activityevent"),
            ("Accruals", "water_drop", "rewards.accrual"),
            ("Claims", "task_alt", "rewards.claim"),
            ("Deployments", "dns", "rewards.deployment"),
            ("Staking", "savings", "rewards.stakingposition"),
        ],
    ),
    (
        "Cases",
        [
            ("Cases", "gavel", "rewards.case"),
            ("Arguments", "forum", "rewards.argument"),
            ("Chain transactions", "link", "rewards.chaintransaction"),
            ("Claims on the chain", "account_balance_wallet", "rewards.rewardclaim"),
        ],
    ),
    (
        "Ledger",
        [
            ("Accounts", "account_balance_wallet", "rewards.account"),
            ("Journals", "menu_book", "rewards.journal"),
            ("Transfers", "swap_horiz", "rewards.transfer"),
            ("Currencies", "toll", "rewards.currency"),
        ],
    ),
    (
        "People",
        [
            ("Users", "person", "rewards.user"),
            ("Groups", "group", "auth.group"),
            ("Badge awards", "workspace_premium", "badges.badgeaward"),
            ("Standings", "leaderboard", "leaderboard.standings"),
        ],
    ),
    (
        "Rules",
        [
            ("Pools", "pie_chart", "rewards.pool"),
            ("CC rates", "currency_exchange", "rewards.ccrate"),
            ("Vote weights", "balance", "rewards.voteweight"),
            ("Claim types", "receipt", "rewards.claimtype"),
            ("Ranking categories", "social_leaderboard", "rewards.rankingcategory"),
            ("Badges", "military_tech", "badges.badge"),
            ("Boards", "format_list_numbered", "leaderboard.board"),
            ("Parameters", "tune", "rewards.parameter"),
        ],
    ),
    (
        "Jobs",
        [
            ("Job runs", "play_circle", "rewards.jobrun"),
            ("Schedules", "schedule", "django_celery_beat.periodictask"),
            ("Crontabs", "event_repeat", "django_celery_beat.crontabschedule"),
            ("Intervals", "timer", "django_celery_beat.intervalschedule"),
            ("Clocked", "alarm", "django_celery_beat.clockedschedule"),
            ("Solar", "wb_sunny", "django_celery_beat.solarschedule"),
            ("Processes", "memory", "rewards.processheartbeat"),
        ],
    ),
    (
        "System",
        [
            ("Alerts", "notifications", "rewards.alert"),
            ("API keys", "key", "rewards.apikey"),
            ("Access tokens", "badge", "rewards.accesstoken"),
            ("Audit events", "history", "rewards.auditevent"),
            ("Audit seals", "verified", "rewards.auditseal"),
        ],
    ),
]

MOST_WAITING = 999

# target: (what counts, how it looks)
BADGES = {
    "rewards.distribution": ("rewards_site.admin.approvals_badge", "warning"),
    "rewards.alert": ("rewards_site.admin.alerts_badge", "warning"),
    "rewards.pendingreward": ("rewards_site.admin.dead_badge", "danger"),
    "rewards.case": ("rewards_site.admin.moderation_badge", "warning"),
}


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """The sidebar: what the user may look at, grouped."""
    dashboard = {"title": "Dashboard", "icon": "dashboard", "link": reverse("admin:index")}
    groups: list[dict[str, Any]] = [{"items": [dashboard]}]
    for heading, entries in SIDEBAR:
        items = [_item(request, *entry) for entry in entries if _may_view(request, entry[2])]
        if items:
            groups.append({"title": heading, "items": items})
    return groups


def _item(request: HttpRequest, title: str, icon: str, target: str) -> dict[str, Any]:
    model, _, view = target.partition(":")
    link = reverse(f"admin:{model.replace('.', '_')}_{view or 'changelist'}")
    periods = reverse("admin:rewards_distribution_periods")
    active = request.path == periods if view else request.path.startswith(link) and request.path != periods
    item = {"title": title, "icon": icon, "link": link, "active": active}
    if target in BADGES:
        counts, variant = BADGES[target]
        if globals()[counts.rpartition(".")[2]](request):
            item |= {"badge": counts, "badge_variant": variant}
    return item


def _may_view(request: HttpRequest, target: str) -> bool:
    app, _, model = target.partition(":")[0].partition(".")
    user: Any = request.user
    return user.has_perm(f"{app}.view_{model}") or user.has_perm(f"{app}.change_{model}")


def approvals_badge(request: HttpRequest) -> int | str:
    """How many distributions wait for an approval; they are few, and a partial index knows them."""
    return Distribution.objects.filter(status=Distribution.Status.ALLOCATED).count() or ""


def alerts_badge(request: HttpRequest) -> int | str:
    return Alert.objects.filter(resolved_at__isnull=True).count() or ""


def dead_badge(request: HttpRequest) -> int | str:
    """How many rewards failed for good; a partial index knows them."""
    return dead_rewards() or ""


def moderation_badge(request: HttpRequest) -> int | str:
    """How many cases wait for a moderator; an index knows them."""
    return Case.objects.filter(status=Case.Status.PENDING_MODERATION)[: MOST_WAITING + 1].count() or ""


def environment(request: HttpRequest) -> list[str] | None:
    """A label beside the title, so that nobody mistakes one installation for another."""
    kinds = {"development": "info", "test": "warning"}
    kind = kinds.get(settings.ENVIRONMENT)
    return [settings.ENVIRONMENT.capitalize(), kind] if kind else None


def stylesheet(request: HttpRequest) -> str:
    return static("rewards/admin.css")


def favicon(request: HttpRequest) -> str:
    return static("rewards/favicon.svg")
