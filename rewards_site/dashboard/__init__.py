"""The first page: is everybody paid, and if not, why.

Every read is bounded, whatever the size of the tables, and a page takes fewer than twenty of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.http import HttpRequest
from django.utils import timezone

from rewards.admin.trends import paid_charts
from rewards.alerts.models import Alert
from rewards.parameters.models import Parameter
from rewards.parameters.services import param
from rewards.pools.balances import held_by_pools
from rewards_site.dashboard import rows, tiles
from rewards_site.dashboard.glance import LATE_AFTER, figures
from rewards_site.dashboard.recent import alerts_table, newest_distributions
from rewards_site.dashboard.verdict import FAILURES, verdict

DAYS_CHARTED = 14


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Adds `dashboard` to the context of the admin's index: what the user may see, and nothing else."""
    return context | {"dashboard": _Page(request).shown(), "title": "Dashboard"}


class _Page:
    """What a user may see, and the rows that several parts of the page share."""

    def __init__(self, request: HttpRequest) -> None:
        self.user: Any = request.user
        self.at = timezone.now()
        self.figures = figures(request)
        since, at = self.figures.get("months_since"), self.at
        sees_months = self.sees("distribution") or self.sees("monthlyrewardjob")
        self.months = rows.months(since, at, at - LATE_AFTER) if sees_months else rows.Months()
        sees_payouts = sees_months or self.sees("pool")
        self.payouts = rows.payouts(self.months.newest, at) if sees_payouts else rows.Payouts((), at)
        pools = held_by_pools() if self.sees("distribution") or self.sees("pool") else []
        self.pools = rows.in_line(pools, self.payouts)
        sees_alerts = self.sees("distribution") or self.sees("alert")
        self.alerts: list[Alert] = rows.open_alerts(tuple(FAILURES)) if sees_alerts else []

    def sees(self, model: str) -> bool:
        return self.user.has_perm(f"rewards.view_{model}")  # type: ignore[no-any-return]

    def shown(self) -> dict[str, Any]:
        paused = bool(param("payouts_paused"))
        page: dict[str, Any] = {"paused": paused_since() if paused else "", "tiles": list(self.tiles())}
        if self.sees("distribution"):
            page["verdict"] = verdict(
                self.payouts, self.pools, self.months.late, self.figures, self.alerts, paused=paused
            )
            page["charts"] = paid_charts(self.at, DAYS_CHARTED)
            page["distributions"] = newest_distributions(self.payouts.newest)
        if self.sees("alert"):
            page["alerts"] = alerts_table(self.alerts[: rows.ALERTS_SHOWN])
        return page

    def tiles(self) -> Iterator[tiles.Tile]:
        if self.sees("pool"):
            yield from tiles.pool_tiles(self.pools, self.at)
        if self.sees("distribution"):
            yield from tiles.distribution_tiles(self.payouts, self.figures["approvals"])
        if self.sees("monthlyrewardjob"):
            yield tiles.monthly_tile(self.months, self.payouts)
        if self.sees("pendingreward"):
            yield tiles.pending_tile(self.figures, self.at)
        if self.user.has_perm("leaderboard.view_board"):
            yield tiles.boards_tile(self.at)
        if self.sees("case"):
            yield tiles.cases_tile(self.figures)
        if self.sees("jobrun"):
            yield from tiles.job_tiles(self.at)
        if self.sees("processheartbeat"):
            yield from tiles.process_tiles(self.figures)
        if self.sees("alert"):
            yield tiles.alert_tile(self.figures)
        if self.sees("auditseal"):
            yield tiles.seal_tile(self.figures)


def paused_since() -> str:
    """Since when, by whom and why payouts are paused."""
    change = Parameter.history.filter(key="payouts_paused").select_related("history_user").first()
    if change is None:
        return "Nothing is paid until someone resumes them."
    who = change.history_user.get_username() if change.history_user else "the system"
    why = f": {change.history_change_reason}" if change.history_change_reason else ""
    return f"Since {change.history_date:%Y-%m-%d %H:%M} UTC, by {who}{why}. Nothing is paid until someone resumes them."
