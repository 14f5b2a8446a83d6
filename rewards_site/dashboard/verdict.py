"""Is everybody paid, and if not, why: one sentence, and each reason with a link to whatever tells more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.urls import reverse

from rewards.admin.common.display import admin_url, ago, grouped
from rewards.admin.pending import dead_url
from rewards.alerts.models import Alert
from rewards.campaigns.services import CAMPAIGN_FAILED
from rewards.cases.failures import CASE_FAILED
from rewards.deployments.services import CLEANUP_FAILED
from rewards.distributions.missed import PERIOD_MISSED
from rewards.distributions.queries import waits_for_approval
from rewards.monthly.models import MonthlyRewardJob
from rewards.monthly.services import FAILED_ALERT
from rewards.parameters.models import Parameter
from rewards.pending.models import PendingReward
from rewards.pools.models import Pool
from rewards.pools.periods import PoolPeriod
from rewards_site.dashboard.glance import LATE_AFTER, Figures, oldest_due
from rewards_site.dashboard.rows import ALERTS_SHOWN, Payouts

# What somebody was to be paid by: alerts of these causes say that he was not.
FAILURES = {
    CLEANUP_FAILED: "Deployment {} was not deleted, its rewards are not paid",
    CAMPAIGN_FAILED: "Campaign {} was not run",
    FAILED_ALERT: "Rewards of {} failed",
    CASE_FAILED: "{} is not closed, or not paid",
    PERIOD_MISSED: "Periods of {} have not begun",
}
# Their periods are worked out with each page; of other programmes the hourly watch tells.
WORKED_OUT = ("pool_", "monthly:")


@dataclass
class Verdict:
    """The answer in a sentence, and what it rests on as (text, address)."""

    reasons: list[tuple[str, str]] = field(default_factory=list)
    kind: str = "success"
    headline: str = "Everybody is paid."

    def add(self, kind: str, text: str, url: str) -> None:
        self.reasons.append((text, url))
        self.kind = "danger" if "danger" in (kind, self.kind) else "warning"
        self.headline = "Somebody is not paid." if self.kind == "danger" else "Payouts wait."


def verdict(
    payouts: Payouts,
    pools: Sequence[tuple[Pool, PoolPeriod | None]],
    late_months: Sequence[str],
    figures: Figures,
    alerts: Sequence[Alert],
    *,
    paused: bool,
) -> Verdict:
    """`figures` say what becomes of pending rewards, `alerts` are open ones."""
    answer = Verdict()
    if paused:
        answer.add("danger", "Payouts are paused.", admin_url(Parameter))
    for state in payouts.unfinished:
        name, url = f"{state.programme} {state.period_key}", admin_url(state.distribution)  # type: ignore[arg-type]
        if state.state == "stuck":
            answer.add("danger", f"{name} is stuck: {state.note}", url)
        elif state.distribution is not None and waits_for_approval(state.distribution):
            answer.add("warning", f"{name} waits for approval.", url)
    for text in overdue_periods(pools, payouts.at):
        answer.add("danger", text, reverse("admin:rewards_distribution_periods"))
    for month in late_months:
        answer.add("danger", f"The rewards of {month} were due and are not started.", admin_url(MonthlyRewardJob))
    for text, url in (*pending_unpaid(figures, payouts.at), *told_by_alerts(alerts)):
        answer.add("danger", text, url)
    return answer


def overdue_periods(pools: Sequence[tuple[Pool, PoolPeriod | None]], now: datetime) -> Iterator[str]:
    for pool, period in pools:
        if period is not None and pool.active and overdue(period.due_at, now):
            yield f"{pool.title}: {period.key} was due {ago(period.due_at, now)}."


def pending_unpaid(figures: Figures, now: datetime) -> Iterator[tuple[str, str]]:
    """Rewards of the queue that were given up, or that the drainer leaves lying, as (text, address)."""
    if dead := figures["dead"]:
        yield "One pending reward is dead." if dead == 1 else f"{grouped(dead)} pending rewards are dead.", dead_url()
    since = oldest_due(figures)
    if since is not None and overdue(since, now):
        yield f"Pending rewards wait: the oldest was due {ago(since, now)}.", admin_url(PendingReward)


def told_by_alerts(alerts: Sequence[Alert]) -> Iterator[tuple[str, str]]:
    """What failed, or did not begin, and has its own alert, as (text, address)."""
    failed = [alert for alert in alerts if alert.code in FAILURES]
    untold = [alert for alert in failed if alert.code != PERIOD_MISSED or not alert.subject.startswith(WORKED_OUT)]
    for alert in untold[:ALERTS_SHOWN]:
        yield f"{FAILURES[alert.code].format(alert.subject)}: {alert.message}", admin_url(alert)


def overdue(due_at: datetime, now: datetime) -> bool:
    """Whether a due payout should have begun: its job comes within the hour."""
    return now - due_at > LATE_AFTER
