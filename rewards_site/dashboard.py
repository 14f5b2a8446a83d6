"""The first page: is everybody paid, and if not, why. Every read is bounded, whatever the size of the tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Count, Q
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from leaderboard.admin import attach_standings, is_stale, newest
from leaderboard.models import Board
from rewards.admin.case_page import NOT_OVER
from rewards.admin.common.charts import Chart, bar_chart
from rewards.admin.common.display import admin_url, ago, amount, badge, duration, grouped, link_to
from rewards.admin.common.tables import Table
from rewards.admin.monthly import coins_in_words, is_lost, month_in_words
from rewards.admin.pending import dead_url
from rewards.alerts.models import Alert
from rewards.audit.models import AuditSeal
from rewards.audit.queries import seal_lag
from rewards.campaigns.services import CAMPAIGN_FAILED
from rewards.cases.commitments import COMMITMENT_MISMATCH
from rewards.cases.failures import CASE_FAILED
from rewards.cases.models import Case
from rewards.deployments.services import CLEANUP_FAILED
from rewards.distributions.models import Distribution
from rewards.distributions.queries import PeriodState, paid_by_day, unfinished_states, waits_for_approval
from rewards.jobs.models import JobRun, ProcessHeartbeat
from rewards.jobs.processes import SCHEDULER, WORKER, seconds_of_silence
from rewards.jobs.queries import is_stuck, newest_runs
from rewards.ledger.models import Account, Currency
from rewards.ledger.services import balance
from rewards.monthly.models import MonthlyRewardJob
from rewards.monthly.queries import distributions_of, due_months, newest_job
from rewards.monthly.services import FAILED_ALERT
from rewards.parameters.models import Parameter
from rewards.parameters.services import param
from rewards.pending.drain import due_rows
from rewards.pending.models import PendingReward
from rewards.pending.queries import dead_rewards
from rewards.pools.models import Pool
from rewards.pools.queries import next_in_line

DAYS_CHARTED = 14
DISTRIBUTIONS_SHOWN = 10
ALERTS_SHOWN = 8
MOST_COUNTED = 10_000
# What somebody was to be paid by: alerts of these causes say that he was not.
FAILURES = {
    CLEANUP_FAILED: "Deployment {} was not deleted, its rewards are not paid",
    CAMPAIGN_FAILED: "Campaign {} was not run",
    FAILED_ALERT: "Rewards of {} failed",
    CASE_FAILED: "{} is not closed, or not paid",
}
# A seal follows an event within a minute; this much later something is wrong.
SEALS_LATE_AFTER_SECONDS = 300
CHECK_OLD_AFTER = timedelta(hours=3)


@dataclass(frozen=True)
class Tile:
    """One figure; `kind` is empty, `success`, `warning` or `danger`."""

    label: str
    value: str
    note: str
    url: str
    kind: str = ""


@dataclass(frozen=True)
class CurrencyChart:
    code: str
    chart: Chart


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


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Adds `dashboard` to the context of the admin's index: what the user may see, and nothing else."""
    now = timezone.now()
    user: Any = request.user
    sees = {
        name: user.has_perm(f"rewards.view_{name}")
        for name in (
            "distribution", "pool", "jobrun", "alert", "auditseal", "processheartbeat", "pendingreward",
            "monthlyrewardjob", "case",
        )
    }  # fmt: skip
    page: dict[str, Any] = {"paused": paused_since() if param("payouts_paused") else ""}
    tiles: list[Tile] = []
    late = late_months(now) if sees["distribution"] or sees["monthlyrewardjob"] else []
    if sees["pool"]:
        tiles += pool_tiles(now)
    if sees["distribution"]:
        unfinished = unfinished_states(now)
        page |= {"charts": paid_charts(now), "distributions": newest_distributions()}
        tiles += distribution_tiles(unfinished)
        page["verdict"] = verdict(unfinished, late, now, paused=bool(page["paused"]))
    if sees["monthlyrewardjob"]:
        tiles.append(monthly_tile(late, now))
    if sees["pendingreward"]:
        tiles.append(pending_tile(now))
    if user.has_perm("leaderboard.view_board"):
        tiles.append(boards_tile(now))
    if sees["case"]:
        tiles.append(cases_tile(now))
    if sees["jobrun"]:
        tiles += job_tiles(now)
    if sees["processheartbeat"]:
        tiles += process_tiles()
    if sees["alert"]:
        page["alerts"] = open_alerts()
        tiles.append(alert_tile())
    if sees["auditseal"]:
        tiles.append(seal_tile())
    return context | {"dashboard": page | {"tiles": tiles}, "title": "Dashboard"}


def paused_since() -> str:
    """Since when, by whom and why payouts are paused."""
    change = Parameter.history.filter(key="payouts_paused").select_related("history_user").first()
    if change is None:
        return "Nothing is paid until someone resumes them."
    who = change.history_user.get_username() if change.history_user else "the system"
    why = f": {change.history_change_reason}" if change.history_change_reason else ""
    return f"Since {change.history_date:%Y-%m-%d %H:%M} UTC, by {who}{why}. Nothing is paid until someone resumes them."


# -------------------------------------------------------------------------------------------------------- is all paid?


def verdict(unfinished: Iterable[PeriodState], late: Iterable[str], now: datetime, *, paused: bool) -> Verdict:
    answer = Verdict()
    if paused:
        answer.add("danger", "Payouts are paused.", admin_url(Parameter))
    for state in unfinished:
        name, url = f"{state.programme} {state.period_key}", admin_url(state.distribution)  # type: ignore[arg-type]
        if state.state == "stuck":
            answer.add("danger", f"{name} is stuck: {state.note}", url)
        elif state.distribution is not None and waits_for_approval(state.distribution):
            answer.add("warning", f"{name} waits for approval.", url)
    periods = reverse("admin:rewards_distribution_periods")
    for pool, period in pools_in_line():
        if period is not None and pool.active and overdue(period.due_at, now):
            answer.add("danger", f"{pool.title}: {period.key} was due {ago(period.due_at, now)}.", periods)
    for month in late:
        answer.add("danger", f"The rewards of {month} were due and are not started.", admin_url(MonthlyRewardJob))
    for text, url in unpaid_otherwise():
        answer.add("danger", text, url)
    return answer


def unpaid_otherwise() -> Iterator[tuple[str, str]]:
    """Whom no period would tell of, as (text, address): rewards given up; what failed and has its own alert."""
    if dead := dead_rewards():
        yield "One pending reward is dead." if dead == 1 else f"{grouped(dead)} pending rewards are dead.", dead_url()
    failed = Alert.objects.filter(code__in=FAILURES, resolved_at=None).order_by("-last_seen")
    for alert in failed[:ALERTS_SHOWN]:
        yield f"{FAILURES[alert.code].format(alert.subject)}: {alert.message}", admin_url(alert)


def late_months(now: datetime) -> list[str]:
    """Months whose rewards the schedule should have started by now, as `2026-10`."""
    return [month.key for month in due_months(now) if overdue(month.end, now)]


def overdue(due_at: datetime, now: datetime) -> bool:
    """Whether a due payout should have begun: its job comes within the hour."""
    return now - due_at > timedelta(hours=1)


def pools_in_line() -> list[tuple[Pool, Any]]:
    return [(pool, next_in_line(pool)) for pool in Pool.objects.select_related("currency").order_by("-slug")]


# --------------------------------------------------------------------------------------------------------------- tiles


def pool_tiles(now: datetime) -> list[Tile]:
    tiles = []
    for pool, period in pools_in_line():
        account = Account.objects.filter(code=pool.account_code, currency=pool.currency, user=None).first()
        held = amount(balance(account) if account else 0, pool.currency)
        if period is None:
            note, kind = "no vote yet: nothing is due", ""
        elif not pool.active:
            note, kind = "switched off", "warning"
        else:
            note = f"next: {period.key}, {ago(period.due_at, now)}"
            kind = "danger" if overdue(period.due_at, now) else ""
        tiles.append(Tile(pool.title, held, note, admin_url(pool), kind))
    return tiles


def distribution_tiles(unfinished: list[PeriodState]) -> list[Tile]:
    waiting = [each for each in unfinished if each.note == "waits for approval"]
    stuck = [each for each in unfinished if each.state == "stuck"]
    running = len(unfinished) - len(waiting) - len(stuck)
    distributions = admin_url(Distribution)
    first = next((each.distribution for each in waiting if each.distribution), None)
    return [
        Tile(
            "Wait for approval", grouped(len(waiting)), str(first) if first else "nothing to approve",
            f"{distributions}?status__exact=allocated", "warning" if waiting else "",
        ),
        Tile(
            "Failed or stuck", grouped(len(stuck)), f"{running} running",
            reverse("admin:rewards_distribution_periods"), "danger" if stuck else "success",
        ),
    ]  # fmt: skip


def monthly_tile(late: list[str], now: datetime) -> Tile:
    """The newest month: paid, being paid, failed; orange when nobody is at it, red when a month is late."""
    job = newest_job()
    url = admin_url(job) if job else admin_url(MonthlyRewardJob)
    if late:
        return Tile("Monthly rewards", f"{late[-1]} late", "not started", url, "danger")
    if job is None:
        return Tile("Monthly rewards", "none yet", "paid on the first of a month", url)
    paid, month = coins_in_words(distributions_of(job)), month_in_words(job)
    if job.status == MonthlyRewardJob.Status.COMPLETED:
        return Tile("Monthly rewards", month, f"completed, {paid}", url, "success")
    if job.status == MonthlyRewardJob.Status.FAILED:
        return Tile("Monthly rewards", month, f"failed, {paid} paid", url, "danger")
    lost = is_lost(job, now)
    return Tile("Monthly rewards", month, "nobody is at it" if lost else "processing", url, "warning" if lost else "")


def boards_tile(now: datetime) -> Tile:
    """How many boards there are; orange when the refresh leaves some lying."""
    boards = list(Board.objects.filter(active=True))
    attach_standings(boards)
    late = [board for board in boards if (standings := newest(board)) is None or is_stale(standings, now)]
    oldest = min((standings.as_of for board in boards if (standings := newest(board))), default=None)
    if late:
        return Tile("Boards", f"{grouped(len(late))} stale", ", ".join(map(str, late[:3])), admin_url(Board), "warning")
    note = f"refreshed {ago(oldest, now)}" if oldest else "none is active"
    return Tile("Boards", grouped(len(boards)), note, admin_url(Board), "success" if oldest else "")


def pending_tile(now: datetime) -> Tile:
    """How many rewards are queued; red when some are dead, orange when the drainer leaves lying what is due."""
    queued = PendingReward.objects.filter(status=PendingReward.Status.QUEUED)[: MOST_COUNTED + 1].count()
    shown = grouped(queued) if queued <= MOST_COUNTED else f"over {grouped(MOST_COUNTED)}"
    if dead := dead_rewards():
        return Tile("Pending rewards", shown, f"{grouped(dead)} dead", dead_url(), "danger")
    since = oldest_due(now)
    late = since is not None and overdue(since, now)
    note = f"the oldest due {ago(since, now)}" if since else "nothing is due"
    return Tile("Pending rewards", shown, note, admin_url(PendingReward), "warning" if late else "success")


def oldest_due(now: datetime) -> datetime | None:
    """Since when the reward that is due longest has been due; the index gives the first of each priority."""
    first = [
        due_rows(now).filter(priority=priority).order_by("queued_at", "pk").first()
        for priority in PendingReward.Priority.values
    ]
    return min((reward.not_before or reward.queued_at for reward in first if reward), default=None)


def cases_tile(now: datetime) -> Tile:
    """How many cases are open; red when a job fails with some or a commitment differs, orange when some are late."""
    counts, cases = case_counts(now), admin_url(Case)
    shown = grouped(counts["open"])
    differing = Alert.objects.filter(code=COMMITMENT_MISMATCH, resolved_at=None).count()
    if differing:
        note = "1 commitment differs" if differing == 1 else f"{grouped(differing)} commitments differ"
        return Tile("Open cases", shown, note, admin_url(Alert), "danger")
    if counts["failing"]:
        return Tile("Open cases", shown, f"{grouped(counts['failing'])} failing", f"{cases}?jobs=failing", "danger")
    if counts["late"]:
        return Tile("Open cases", shown, f"{grouped(counts['late'])} should be closed", cases, "warning")
    note = f"{grouped(counts['waiting'])} to moderate" if counts["waiting"] else "none to moderate"
    return Tile("Open cases", shown, note, cases, "success" if counts["open"] else "")


def case_counts(now: datetime) -> dict[str, int]:
    """Of the cases that are not over: `open`, `late` to be closed, `waiting` for a moderator, `failing`."""
    is_open = Q(status=Case.Status.ACTIVE)
    not_over = Q(status__in=NOT_OVER) | Q(status=Case.Status.CLOSED, settled_at=None)
    return Case.objects.filter(not_over).aggregate(
        open=Count("pk", filter=is_open),
        late=Count("pk", filter=is_open & Q(closes_at__lt=now - timedelta(hours=1))),
        waiting=Count("pk", filter=Q(status=Case.Status.PENDING_MODERATION)),
        failing=Count("pk", filter=Q(failures__gt=0)),
    )


def job_tiles(now: datetime) -> list[Tile]:
    runs = newest_runs()
    lost_after = param("jobs.lost_after_seconds")
    broken = [
        run for run in runs.values()
        if run.status in (JobRun.Status.FAILED, JobRun.Status.LOST) or is_stuck(run, now, lost_after)
    ]  # fmt: skip
    note = ", ".join(run.job for run in broken[:3]) or f"{len(runs)} jobs have run"
    tile = Tile("Failed jobs", grouped(len(broken)), note, admin_url(JobRun), "danger" if broken else "success")
    return [tile, ledger_tile(runs.get("check_ledger"), now)]


def ledger_tile(run: JobRun | None, now: datetime) -> Tile:
    url = f"{admin_url(JobRun)}?job=check_ledger"
    if run is None:
        return Tile("Ledger check", "not yet", "check_ledger has not run", url, "warning")
    if run.status == JobRun.Status.RUNNING:
        return Tile("Ledger check", "running", f"since {ago(run.started_at, now)}", url)
    broken = run.results.get("broken")
    if run.status != JobRun.Status.SUCCEEDED or broken:
        shown = "failed" if broken is None else f"{broken} broken"
        return Tile("Ledger check", shown, ago(run.started_at, now), url, "danger")
    promises = run.results.get("promises", 0)
    old = now - run.started_at > CHECK_OLD_AFTER
    return Tile(
        "Ledger check", f"{promises} hold", ago(run.started_at, now), admin_url(run), "warning" if old else "success"
    )


def process_tiles() -> list[Tile]:
    stale = param("health.stale_after_seconds")
    tiles = []
    for kind in (WORKER, SCHEDULER):
        silence = seconds_of_silence(kind)
        alive = silence is not None and silence <= stale
        value = "alive" if alive else "not running" if silence is None else "silent"
        note = "no process is there" if silence is None else f"heard of {duration(float(int(silence)))} ago"
        tiles.append(
            Tile(kind.capitalize(), value, note, admin_url(ProcessHeartbeat), "success" if alive else "danger")
        )
    return tiles


def alert_tile() -> Tile:
    found = list(Alert.objects.filter(resolved_at__isnull=True).values_list("severity", flat=True)[:100])
    critical = found.count(Alert.Severity.CRITICAL)
    kind = "danger" if critical else "warning" if found else "success"
    return Tile("Open alerts", grouped(len(found)), f"{critical} critical" if found else "none", admin_url(Alert), kind)


def seal_tile() -> Tile:
    waiting, seconds = seal_lag()
    late = seconds > SEALS_LATE_AFTER_SECONDS
    note = f"oldest {duration(float(int(seconds)))} old" if waiting else "every event is sealed"
    return Tile(
        "Audit seals", f"{grouped(waiting)} to seal", note, admin_url(AuditSeal), "warning" if late else "success"
    )


# ----------------------------------------------------------------------------------------------------- chart and tables


def paid_charts(now: datetime) -> list[CurrencyChart]:
    """A chart for each currency in which something was paid."""
    zone = settings.REWARDS_TIME_ZONE
    today = now.astimezone(zone).date()
    days = [today - timedelta(days=back) for back in reversed(range(DAYS_CHARTED))]
    first = datetime(days[0].year, days[0].month, days[0].day, tzinfo=zone)
    paid: dict[Currency, dict[str, dict[date, int]]] = defaultdict(lambda: defaultdict(dict))
    for currency, programme, day, minor in paid_by_day(first, zone):
        paid[currency][programme][day] = minor
    return [
        CurrencyChart(currency.code, _paid_chart(currency, of_programmes, days))
        for currency, of_programmes in paid.items()
    ]


def _paid_chart(currency: Currency, of_programmes: dict[str, dict[date, int]], days: list[date]) -> Chart:
    series = {
        programme: [float(currency.to_units(of_days.get(day, 0))) for day in days]
        for programme, of_days in of_programmes.items()
    }
    total = sum(minor for of_days in of_programmes.values() for minor in of_days.values())
    return bar_chart(
        [f"{day:%d %b}" for day in days],
        series,
        x_title="Day of the period",
        y_title=f"Paid ({currency.code})",
        summary=f"{amount(total, currency)} paid for the periods of the last {len(days)} days.",
        stacked=True,
    )


def newest_distributions() -> Table:
    newest = Distribution.objects.select_related("currency").order_by("-pk")[:DISTRIBUTIONS_SHOWN]
    rows = [
        (
            link_to(each, f"{each.programme} {each.period_key}"),
            badge(each.status),
            grouped(each.recipients),
            amount(each.paid_amount, each.currency),
        )
        for each in newest
    ]
    empty = "No payout yet. Votes come in by the API or `manage.py import_votes`; what is due is paid by the jobs."
    return Table(["Distribution", "Status", "Recipients", "Paid"], rows, frozenset({"Recipients", "Paid"}), empty)


def open_alerts() -> Table:
    alerts = Alert.objects.filter(resolved_at__isnull=True).order_by("-last_seen")[:ALERTS_SHOWN]
    rows = [(link_to(each), badge(each.severity), each.message or "–", ago(each.last_seen)) for each in alerts]
    return Table(["Alert", "Severity", "Message", "Last seen"], rows, frozenset(), "None: nothing needs you.")
