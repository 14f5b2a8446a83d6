"""The figures of the dashboard: each says what it counts, what is behind it, and whether somebody has to look."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import OuterRef, Subquery
from django.urls import reverse

from leaderboard.admin import is_stale
from leaderboard.models import Board, Standings
from rewards.admin.common.display import admin_url, ago, amount, duration, grouped
from rewards.admin.monthly import coins_in_words, is_lost, month_in_words
from rewards.admin.pending import dead_url
from rewards.alerts.models import Alert
from rewards.audit.chain import BEGINNING, Place
from rewards.audit.models import AuditSeal
from rewards.audit.queries import unsealed_after
from rewards.cases.models import Case
from rewards.distributions.models import Distribution
from rewards.jobs.models import JobRun, ProcessHeartbeat
from rewards.jobs.processes import SCHEDULER, WORKER
from rewards.jobs.queries import is_stuck, newest_runs
from rewards.monthly.models import MonthlyRewardJob
from rewards.parameters.services import param
from rewards.pending.models import PendingReward
from rewards.pools.models import Pool
from rewards.pools.periods import PoolPeriod
from rewards_site.dashboard.glance import MOST_COUNTED, Figures, oldest_due
from rewards_site.dashboard.rows import Months, Payouts
from rewards_site.dashboard.verdict import overdue

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


def counted(number: int) -> str:
    """A count as far as it was counted."""
    return grouped(number) if number <= MOST_COUNTED else f"over {grouped(MOST_COUNTED)}"


# ------------------------------------------------------------------------------------------------------------- payouts


def pool_tiles(pools: Sequence[tuple[Pool, PoolPeriod | None]], now: datetime) -> Iterator[Tile]:
    for pool, period in pools:
        if period is None:
            note, kind = "no vote yet: nothing is due", ""
        elif not pool.active:
            note, kind = "switched off", "warning"
        else:
            note = f"next: {period.key}, {ago(period.due_at, now)}"
            kind = "danger" if overdue(period.due_at, now) else ""
        held: int = pool.held  # type: ignore[attr-defined]
        yield Tile(pool.title, amount(held, pool.currency), note, admin_url(pool), kind)


def distribution_tiles(payouts: Payouts, approvals: int) -> Iterator[Tile]:
    unfinished = payouts.unfinished
    waiting = [each for each in unfinished if each.note == "waits for approval"]
    stuck = [each for each in unfinished if each.state == "stuck"]
    running = len(unfinished) - len(waiting) - len(stuck)
    first = next((each.distribution for each in waiting if each.distribution), None)
    yield Tile(
        "Wait for approval", counted(approvals), str(first) if first else "nothing to approve",
        f"{admin_url(Distribution)}?status__exact=allocated", "warning" if approvals else "",
    )  # fmt: skip
    yield Tile(
        "Failed or stuck", grouped(len(stuck)), f"{running} running",
        reverse("admin:rewards_distribution_periods"), "danger" if stuck else "success",
    )  # fmt: skip


def monthly_tile(months: Months, payouts: Payouts) -> Tile:
    """The newest month: paid, being paid, failed; orange when nobody is at it, red when a month is late."""
    job, late = months.newest, months.late
    url = admin_url(job) if job else admin_url(MonthlyRewardJob)
    if late:
        return Tile("Monthly rewards", f"{late[-1]} late", "not started", url, "danger")
    if job is None:
        return Tile("Monthly rewards", "none yet", "paid on the first of a month", url)
    paid, month = coins_in_words(payouts.of_month(job)), month_in_words(job)
    if job.status == MonthlyRewardJob.Status.COMPLETED:
        return Tile("Monthly rewards", month, f"completed, {paid}", url, "success")
    if job.status == MonthlyRewardJob.Status.FAILED:
        return Tile("Monthly rewards", month, f"failed, {paid} paid", url, "danger")
    lost = is_lost(job, payouts.at)
    return Tile("Monthly rewards", month, "nobody is at it" if lost else "processing", url, "warning" if lost else "")


def pending_tile(figures: Figures, now: datetime) -> Tile:
    """How many rewards are queued; red when some are dead, orange when the drainer leaves lying what is due."""
    shown, dead = counted(figures["queued"]), figures["dead"]
    if dead:
        return Tile("Pending rewards", shown, f"{counted(dead)} dead", dead_url(), "danger")
    since = oldest_due(figures)
    late = since is not None and overdue(since, now)
    note = f"the oldest due {ago(since, now)}" if since else "nothing is due"
    return Tile("Pending rewards", shown, note, admin_url(PendingReward), "warning" if late else "success")


def cases_tile(figures: Figures) -> Tile:
    """How many cases are open; red when a job fails with some or a commitment differs, orange when some are late."""
    cases, shown = admin_url(Case), counted(figures["cases"])
    if differing := figures["differing"]:
        note = "1 commitment differs" if differing == 1 else f"{counted(differing)} commitments differ"
        return Tile("Open cases", shown, note, admin_url(Alert), "danger")
    if failing := figures["failing_cases"]:
        return Tile("Open cases", shown, f"{counted(failing)} failing", f"{cases}?jobs=failing", "danger")
    if late := figures["late_cases"]:
        return Tile("Open cases", shown, f"{counted(late)} should be closed", cases, "warning")
    note = f"{counted(figures['moderation'])} to moderate" if figures["moderation"] else "none to moderate"
    return Tile("Open cases", shown, note, cases, "success" if figures["cases"] else "")


def boards_tile(now: datetime) -> Tile:
    """How many boards there are; orange when the refresh leaves some lying."""
    newest = Standings.objects.filter(board=OuterRef("pk"), closed=False).order_by("-as_of")
    boards = list(
        Board.objects.filter(active=True).annotate(
            as_of=Subquery(newest.values("as_of")[:1]), ranked_by=Subquery(newest.values("ranked_by")[:1])
        )
    )
    shown = [Standings(as_of=board.as_of) for board in boards if board.ranked_by == board.ranks_by]
    late = [
        board for board in boards
        if board.ranked_by != board.ranks_by or is_stale(Standings(as_of=board.as_of), now)
    ]  # fmt: skip
    if late:
        return Tile("Boards", f"{grouped(len(late))} stale", ", ".join(map(str, late[:3])), admin_url(Board), "warning")
    since = min((standings.as_of for standings in shown), default=None)
    note = f"refreshed {ago(since, now)}" if since else "none is active"
    return Tile("Boards", grouped(len(boards)), note, admin_url(Board), "success" if since else "")


# -------------------------------------------------------------------------------------------------------- the machinery


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


def process_tiles(figures: Figures) -> Iterator[Tile]:
    stale = param("health.stale_after_seconds")
    for kind in (WORKER, SCHEDULER):
        silence: timedelta | None = figures[f"{kind}_silence"]
        seconds = None if silence is None else max(0, int(silence.total_seconds()))
        alive = seconds is not None and seconds <= stale
        value = "alive" if alive else "not running" if seconds is None else "silent"
        note = "no process is there" if seconds is None else f"heard of {duration(float(seconds))} ago"
        yield Tile(kind.capitalize(), value, note, admin_url(ProcessHeartbeat), "success" if alive else "danger")


def alert_tile(figures: Figures) -> Tile:
    found, critical = figures["alerts"], figures["critical"]
    kind = "danger" if critical else "warning" if found else "success"
    return Tile(
        "Open alerts", counted(found), f"{counted(critical)} critical" if found else "none", admin_url(Alert), kind
    )


def seal_tile(figures: Figures) -> Tile:
    numbers = [figures[f"seal_{name}"] for name in ("base_event", "last_transaction_number", "last_event")]
    waiting, seconds = unsealed_after(BEGINNING if None in numbers else Place(*numbers), MOST_COUNTED + 1)
    late = seconds > SEALS_LATE_AFTER_SECONDS
    note = f"oldest {duration(float(int(seconds)))} old" if waiting else "every event is sealed"
    return Tile(
        "Audit seals", f"{counted(waiting)} to seal", note, admin_url(AuditSeal), "warning" if late else "success"
    )
