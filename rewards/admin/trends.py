"""Trends: what was paid, what the pools held, how long the queue was, how long the jobs took."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise
from statistics import median
from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db.models import IntegerField, Subquery
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone

from rewards.admin.common.charts import Chart, bar_chart, time_chart
from rewards.admin.common.confirm import page_context
from rewards.admin.common.display import amount, duration, grouped
from rewards.common.reading import found_by_any, read_together
from rewards.distributions.queries import paid_by_day
from rewards.jobs.models import JobRun
from rewards.jobs.registry import JOBS
from rewards.ledger.models import Currency
from rewards.pools.balances import balances_at, held_by_pools, pool_moves
from rewards.users.models import User

RANGES = (7, 30, 90)
MOST_PROGRAMMES = 7  # as many as there are colours that can be told apart
OTHERS = "others"
RUNS_LOOKED_AT = 100
POINTS_A_DAY = {7: 4, 30: 1, 90: 1}
RIGHTS = {
    "paid": "rewards.view_distribution",
    "pools": "rewards.view_pool",
    "queue": "rewards.view_pendingreward",
    "jobs": "rewards.view_jobrun",
}


@dataclass(frozen=True)
class CurrencyChart:
    code: str
    chart: Chart


def may_see_trends(user: Any) -> bool:
    return any(user.has_perm(right) for right in RIGHTS.values())


def trends_page(request: HttpRequest, model_admin: Any) -> HttpResponse:
    """`?days=7`, 30 or 90. Shows what the user may see; whoever may see none of it gets 403."""
    user: Any = request.user
    if not may_see_trends(user):
        raise PermissionDenied
    chosen = request.GET.get("days", "")
    days = int(chosen) if chosen in map(str, RANGES) else RANGES[0]
    now = timezone.now()
    draw: dict[str, Any] = {
        "paid": lambda: paid_charts(now, days),
        "pools": lambda: pool_charts(now, days),
        "queue": lambda: queue_chart(user, now, days),
        "jobs": jobs_chart,
    }
    context = page_context(request, model_admin) | {
        "opts": None,
        "title": "Trends",
        "days": days,
        "ranges": RANGES,
        **{name: draw[name]() for name, right in RIGHTS.items() if user.has_perm(right)},
    }
    return TemplateResponse(request, "admin/trends.html", context)


# -------------------------------------------------------------------------------------------------------- what is paid


def paid_charts(now: datetime, days: int) -> list[CurrencyChart]:
    """A chart for each currency in which something was paid for periods of the last days, today among them."""
    zone = settings.REWARDS_TIME_ZONE
    today = now.astimezone(zone).date()
    shown = [today - timedelta(days=back) for back in reversed(range(days))]
    first = datetime(shown[0].year, shown[0].month, shown[0].day, tzinfo=zone)
    paid: dict[Currency, dict[str, Counter[date]]] = defaultdict(lambda: defaultdict(Counter))
    for currency, programme, day, minor in paid_by_day(first, zone):
        paid[currency][programme][day] += minor
    return [CurrencyChart(currency.code, _paid_chart(currency, found, shown)) for currency, found in paid.items()]


def _paid_chart(currency: Currency, of_programmes: dict[str, Counter[date]], days: Sequence[date]) -> Chart:
    totals = Counter({programme: found.total() for programme, found in of_programmes.items()})
    named = [programme for programme, _ in totals.most_common(MOST_PROGRAMMES)]
    shown = {programme: of_programmes[programme] for programme in sorted(named)}
    if rest := [found for programme, found in of_programmes.items() if programme not in shown]:
        shown[OTHERS] = sum(rest, Counter())
    most, largest = totals.most_common(1)[0]
    return bar_chart(
        [f"{day:%d %b}" for day in days],
        {programme: [float(currency.to_units(found[day])) for day in days] for programme, found in shown.items()},
        x_title="Day of the period",
        y_title=f"Paid ({currency.code})",
        summary=f"{amount(totals.total(), currency)} paid for the periods of the last {len(days)} days, "
        f"most of it by {most}: {amount(largest, currency)}.",
        stacked=True,
        shown=_number,
    )


# ---------------------------------------------------------------------------------------------------- pools, the queue


def instants_of(now: datetime, days: int) -> list[datetime]:
    """The ends of even steps up to now, oldest first; the start of the range is the first."""
    step = timedelta(days=1) / POINTS_A_DAY[days]
    return [now - step * back for back in reversed(range(days * POINTS_A_DAY[days] + 1))]


def pool_charts(now: datetime, days: int) -> list[CurrencyChart]:
    """What the pools held, a chart for each currency."""
    instants, pools = instants_of(now, days), held_by_pools()
    moves = pool_moves(pools, instants[0])
    of_currency: dict[Currency, dict[str, list[int]]] = defaultdict(dict)
    for pool in pools:
        held, moved = pool.held, moves.get(pool.account_id, ())  # type: ignore[attr-defined]
        of_currency[pool.currency][pool.title] = balances_at(held, moved, instants)
    return [
        CurrencyChart(currency.code, _pool_chart(currency, found, instants)) for currency, found in of_currency.items()
    ]


def _pool_chart(currency: Currency, held: dict[str, list[int]], instants: Sequence[datetime]) -> Chart:
    spans = [
        f"{title} holds {amount(found[-1], currency)}, between {amount(min(found), currency)} and "
        f"{amount(max(found), currency)} in this time"
        for title, found in held.items()
    ]
    return time_chart(
        _labels(instants),
        {title: [float(currency.to_units(minor)) for minor in found] for title, found in held.items()},
        x_title="Time (UTC)",
        y_title=f"Balance ({currency.code})",
        summary=f"{'; '.join(spans)}.",
        shown=_number,
    )


def queue_chart(user: Any, now: datetime, days: int) -> Chart:
    """How many rewards were queued, as the newest run of the drainer before each instant left it: a look an instant."""
    instants = instants_of(now, days)
    runs = JobRun.objects.filter(job="drain_pending", results__queued__isnull=False).order_by("-started_at")
    runs = runs.annotate(queued=Cast(KeyTextTransform("queued", "results"), IntegerField()))
    looks = {
        f"at_{number}": Subquery(runs.filter(started_at__gt=earlier, started_at__lte=instant).values("queued")[:1])
        for number, (earlier, instant) in enumerate(pairwise(instants))
    }
    depths: list[int | None] = list(read_together(User.objects.filter(pk=user.pk), looks).values())
    known = [depth for depth in depths if depth is not None]
    return time_chart(
        _labels(instants[1:]) if known else [],
        {"queued": depths if known else []},
        x_title="Time (UTC)",
        y_title="Pending rewards (count)",
        summary=f"{grouped(known[-1])} rewards were queued after the newest run, at most {grouped(max(known))} in this "
        "time."
        if known
        else "The drainer has not said yet how many rewards it leaves queued. Each of its runs does.",
        shown=_number,
    )


def _labels(instants: Sequence[datetime]) -> list[str]:
    return [f"{instant:%d %b %H:%M}" for instant in instants]


def _number(value: float) -> str:
    return grouped(f"{value:.8f}".rstrip("0").rstrip("."))


# ------------------------------------------------------------------------------------------------------------ the jobs


def jobs_chart() -> Chart:
    """The median and the slowest of each job's newest runs that succeeded."""
    succeeded = JobRun.objects.filter(status=JobRun.Status.SUCCEEDED, seconds__isnull=False)
    of_jobs = [succeeded.filter(job=job).order_by("-started_at")[:RUNS_LOOKED_AT] for job in JOBS]
    took: dict[str, list[float]] = defaultdict(list)
    for job, seconds in found_by_any(*of_jobs).values_list("job", "seconds"):
        took[job].append(seconds or 0.0)
    jobs = sorted(took, key=lambda job: -max(took[job]))
    slowest = f"The slowest is {jobs[0]} with {duration(max(took[jobs[0]]))}." if jobs else "No job has run yet."
    return bar_chart(
        jobs,
        {
            "median": [round(median(took[job]), 3) for job in jobs],
            "slowest": [round(max(took[job]), 3) for job in jobs],
        },
        x_title="Job",
        y_title="Duration (seconds)",
        summary=f"The newest {RUNS_LOOKED_AT} runs of each job that succeeded. {slowest}",
        shown=lambda seconds: duration(seconds),
    )
