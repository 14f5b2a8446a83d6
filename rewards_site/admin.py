"""What the theme asks for by name (see UNFOLD in the settings): the sidebar, its badges, the environment's label."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse

from rewards.admin.exchange import may_see_rules
from rewards.admin.liability import may_see_liability
from rewards.admin.trends import may_see_trends
from rewards_site.dashboard.glance import figures

# (heading, [(title, icon, target)]); the target is a model, or a page of its own beside the model's list.
SIDEBAR: list[tuple[str, list[tuple[str, str, str]]]] = [
    (
        "",
        [
            ("Trends", "monitoring", "rewards.pool:trends"),
            ("Liability and runway", "savings", "rewards.pool:liability"),
        ],
    ),
    (
        "Pay out",
        [
            ("Distributions", "payments", "rewards.distribution"),
            ("Periods", "event_upcoming", "rewards.distribution:periods"),
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
            ("Corrections", "edit_note", "rewards.correction"),
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
            ("Simulator", "science", "rewards.distribution:simulator"),
            ("Parameters", "tune", "rewards.parameter"),
            ("Import rules", "upload_file", "rewards.parameter:rules"),
        ],
    ),
    (
        "Jobs",
        [
            ("Job runs", "play_circle", "rewards.jobrun"),
            ("Schedules", "schedule", "django_celery_beat.periodictask"),
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

# Pages of their own ask for more, or other, rights than their model's list.
MAY_SEE = {
    "rewards.pool:trends": may_see_trends,
    "rewards.pool:liability": may_see_liability,
    "rewards.parameter:rules": may_see_rules,
}

# Schedules link to the kinds of times that they run at: those are no entries of their own, and light up theirs.
WITHIN = {
    "django_celery_beat.periodictask": (
        "crontabschedule", "intervalschedule", "clockedschedule", "solarschedule",
    ),
}  # fmt: skip

# target: (what counts, how it looks)
BADGES = {
    "rewards.distribution": ("rewards_site.admin.approvals_badge", "warning"),
    "rewards.alert": ("rewards_site.admin.alerts_badge", "warning"),
    "rewards.pendingreward": ("rewards_site.admin.dead_badge", "danger"),
    "rewards.case": ("rewards_site.admin.moderation_badge", "warning"),
}
MOST_SHOWN = 999


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """The sidebar: what the user may look at, grouped."""
    index = reverse("admin:index")
    dashboard = {"title": "Dashboard", "icon": "dashboard", "link": index, "active": request.path == index}
    groups: list[dict[str, Any]] = []
    for heading, entries in SIDEBAR:
        items = [_item(request, *entry) for entry in entries if _may_view(request, entry[2])]
        if not heading:
            items.insert(0, dashboard)
        if items:
            groups.append({"title": heading, "items": items} if heading else {"items": items})
    return groups


def _item(request: HttpRequest, title: str, icon: str, target: str) -> dict[str, Any]:
    link = _address(target)
    item = {"title": title, "icon": icon, "link": link, "active": _is_active(request.path, target, link)}
    if target in BADGES:
        counts, variant = BADGES[target]
        if globals()[counts.rpartition(".")[2]](request):
            item |= {"badge": counts, "badge_variant": variant}
    return item


def _is_active(path: str, target: str, link: str) -> bool:
    """Whether a path belongs to an entry: a page of its own alone, else all below the list that have no entry."""
    within = [reverse(f"admin:django_celery_beat_{name}_changelist") for name in WITHIN.get(target, ())]
    if ":" in target:
        return path == link
    return path.startswith((link, *within)) and path not in _pages_of_their_own()


def _pages_of_their_own() -> set[str]:
    return {_address(target) for _, entries in SIDEBAR for _, _, target in entries if ":" in target}


def _address(target: str) -> str:
    model, _, view = target.partition(":")
    return reverse(f"admin:{model.replace('.', '_')}_{view or 'changelist'}")


def _may_view(request: HttpRequest, target: str) -> bool:
    user: Any = request.user
    if target in MAY_SEE:
        return MAY_SEE[target](user)
    app, _, model = target.partition(":")[0].partition(".")
    return user.has_perm(f"{app}.view_{model}") or user.has_perm(f"{app}.change_{model}")


def approvals_badge(request: HttpRequest) -> int | str:
    """How many distributions wait for an approval."""
    return _shown(request, "approvals")


def alerts_badge(request: HttpRequest) -> int | str:
    return _shown(request, "alerts")


def dead_badge(request: HttpRequest) -> int | str:
    """How many rewards failed for good."""
    return _shown(request, "dead")


def moderation_badge(request: HttpRequest) -> int | str:
    """How many cases wait for a moderator."""
    return _shown(request, "moderation")


def _shown(request: HttpRequest, name: str) -> int | str:
    count = figures(request).get(name) or 0
    return f"{MOST_SHOWN}+" if count > MOST_SHOWN else count or ""


def environment(request: HttpRequest) -> list[str] | None:
    """A label beside the title, so that nobody mistakes one installation for another."""
    kinds = {"development": "info", "test": "warning"}
    kind = kinds.get(settings.ENVIRONMENT)
    return [settings.ENVIRONMENT.capitalize(), kind] if kind else None


def stylesheet(request: HttpRequest) -> str:
    return static("rewards/admin.css")


def icons_script(request: HttpRequest) -> str:
    return static("rewards/icons.js")


def favicon(request: HttpRequest) -> str:
    return static("rewards/favicon.svg")
