"""/metrics for Prometheus. Everything is read from the database, so every process reports the same."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from django.db.models import Count, F, Max, Q, Sum
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from rewards.access.errors import CredentialRefused
from rewards.access.models import Right
from rewards.access.services import find_api_key
from rewards.alerts.models import Alert
from rewards.api.authentication import API_KEY_HEADER, CHALLENGE
from rewards.audit.queries import seal_lag
from rewards.distributions.models import Distribution
from rewards.jobs.models import JobRun
from rewards.jobs.processes import SCHEDULER, WORKER, seconds_of_silence
from rewards.jobs.registry import JOBS
from rewards.ledger.models import Account
from rewards.parameters.services import param
from rewards.pools.models import PartnerTransfer

# None of them is paid, so PostgreSQL takes the index distribution_not_paid.
FINISHED = (Distribution.Status.PAID, Distribution.Status.CANCELLED, Distribution.Status.REVERSED)
ONE_DAY = timedelta(days=1)


@never_cache
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """The text format, for API keys with the right `read` and for staff: 401 or 403 for everyone else."""
    try:
        refusal = _refusal_of_key(request) if API_KEY_HEADER in request.headers else _refusal_of_session(request)
    except CredentialRefused as error:
        refusal = _refuse(401, error.message)
    if refusal is not None:
        return refusal
    registry = CollectorRegistry()
    registry.register(Rewards())
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def _refusal_of_key(request: HttpRequest) -> HttpResponse | None:
    key = find_api_key(request.headers[API_KEY_HEADER], timezone.now())
    return None if key.may(Right.READ) else _refuse(403, f"This needs an API key with the right {Right.READ.value}.")


def _refusal_of_session(request: HttpRequest) -> HttpResponse | None:
    if not request.user.is_authenticated:
        return _refuse(401, "Sign in first, or send an API key.")
    return None if request.user.is_staff else _refuse(403, "Only staff may read this.")


def _refuse(status: int, sentence: str) -> HttpResponse:
    challenge = {"WWW-Authenticate": CHALLENGE} if status == 401 else {}
    return HttpResponse(f"{sentence}\n", status=status, content_type="text/plain", headers=challenge)


class Rewards(Collector):
    """Asked once per scrape."""

    def describe(self) -> list[GaugeMetricFamily]:
        return []  # nothing is read when it is registered

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield from payouts()
        yield from jobs()
        yield from processes()
        yield from audit()
        yield _one("rewards_unsent_partner_transfers", "Rows of the partner outbox not sent yet", _unsent())
        yield _many("rewards_open_alerts", "Alerts that are open", ["severity"], _open_alerts())


def payouts() -> Iterator[GaugeMetricFamily]:
    pools = Account.objects.filter(Q(code__startswith="pool:") | Q(code="treasury"), user=None)
    balances = pools.annotate(total=F("balance") + Sum("changes__amount", default=0))
    yield _many(
        "rewards_pool_balance_minor_units",
        "Balance of each pool and of the treasury",
        ["account", "currency"],
        [
            ((code, currency), total)
            for code, currency, total in balances.values_list("code", "currency__code", "total")
        ],
    )
    counted = Distribution.objects.exclude(status__in=FINISHED).values("programme", "status").annotate(n=Count("id"))
    yield _many(
        "rewards_unfinished_distributions",
        "Distributions that are neither paid nor reversed nor cancelled",
        ["programme", "status"],
        [((row["programme"], row["status"]), row["n"]) for row in counted.order_by("programme", "status")],
    )
    yield _one("rewards_payouts_paused", "1 while nothing is paid", int(param("payouts_paused")))


def jobs() -> Iterator[GaugeMetricFamily]:
    """Only the last day is counted: a scrape every few seconds should not read a quarter of a year."""
    now = timezone.now()
    recent = JobRun.objects.filter(job__in=JOBS, started_at__gte=now - ONE_DAY)
    counted = recent.values("job", "status").annotate(n=Count("id"), newest=Max("started_at")).order_by("job", "status")
    rows = [((row["job"], row["status"]), row["n"], (now - row["newest"]).total_seconds()) for row in counted]
    labels = ["job", "status"]
    yield _many(
        "rewards_job_runs_last_day",
        "Runs of each job that began within a day, by how they ended",
        labels,
        [(names, number) for names, number, _ in rows],
    )
    yield _many(
        "rewards_job_newest_run_age_seconds",
        "Seconds since the newest run of that status began, if within a day",
        labels,
        [(names, max(0.0, age)) for names, _, age in rows],
    )


def processes() -> Iterator[GaugeMetricFamily]:
    heard = {kind: seconds_of_silence(kind) for kind in (WORKER, SCHEDULER)}
    yield _many(
        "rewards_process_silence_seconds",
        "Seconds since any running process of that kind was heard of",
        ["kind"],
        [((kind,), silence) for kind, silence in heard.items() if silence is not None],
    )


def audit() -> Iterator[GaugeMetricFamily]:
    events, seconds = seal_lag()
    yield _one("rewards_unsealed_audit_events", "Audit events that are not sealed yet", events)
    yield _one("rewards_audit_seal_lag_seconds", "Age of the oldest audit event that is not sealed yet", seconds)


def _unsent() -> int:
    return PartnerTransfer.objects.filter(sent_at__isnull=True).count()


def _open_alerts() -> list[tuple[tuple[str, ...], float]]:
    open_now = Alert.objects.filter(resolved_at__isnull=True)
    return [((severity,), open_now.filter(severity=severity).count()) for severity in Alert.Severity.values]


def _one(name: str, description: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, description, value=value)


def _many(
    name: str, description: str, labels: list[str], values: list[tuple[tuple[str, ...], float]]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, description, labels=labels)
    for label_values, value in values:
        family.add_metric(list(label_values), value)
    return family
