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
from rewards.distributions.queries import waits_for_approval
from rewards.monthly.models import MonthlyRewardJob
from rewards.monthly.services import FAILED_ALERT
from rewards.parameters.models import Parameter
from rewards.pools.models import Pool
from rewards.pools.periods import PoolPeriod
from rewards_site.dashboard.glance import LATE_AFTER
from rewards_site.dashboard.rows import ALERTS_SHOWN, Payouts

# What somebody was to be paid by: alerts of these causes say that he was not.
FAILURES = {
    CLEANUP_FAILED: "Deployment {} was not deleted, its rewards are not paid",
    CAMPAIGN_FAILED: "Campaign {} was not run",
    FAILED_ALERT: "Rewards of {} failed",
    CASE_FAILED: "{} is not closed, or not paid",
}


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
    dead: int,
    alerts: Sequence[Alert],
    *,
    paused: bool,
) -> Verdict:
    """`dead` counts pending rewards that were given up, `alerts` are open ones."""
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
    for text, url in unpaid_otherwise(dead, alerts):
        answer.add("danger", text, url)
    return answer


def overdue_periods(pools: Sequence[tuple[Pool, PoolPeriod | None]], now: datetime) -> Iterator[str]:
    for pool, period in pools:
        if period is not None and pool.active and overdue(period.due_at, now):
            yield f"{pool.title}: {period.key} was due {ago(period.due_at, now)}."


def unpaid_otherwise(dead: int, alerts: Sequence[Alert]) -> Iterator[tuple[str, str]]:
    """Whom no period would tell of, as (text, address): rewards given up; what failed and has its own alert."""
    if dead:
        yield "One pending reward is dead." if dead == 1 else f"{grouped(dead)} pending rewards are dead.", dead_url()
    failed = [alert for alert in alerts if alert.code in FAILURES]
    for alert in failed[:ALERTS_SHOWN]:
        yield f"{FAILURES[alert.code].format(alert.subject)}: {alert.message}", admin_url(alert)


def overdue(due_at: datetime, now: datetime) -> bool:
    """Whether a due payout should have begun: its job comes within the hour."""
    return now - due_at > LATE_AFTER
