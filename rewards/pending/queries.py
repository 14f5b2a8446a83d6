"""Figures about pending rewards. They come from the database, so every process reports the same."""

from __future__ import annotations

from typing import Any

from django.db.models import Count, Q, Sum

from rewards.audit.models import AuditEvent
from rewards.distributions.models import Distribution
from rewards.ledger.models import Currency
from rewards.pending.models import PendingReward
from rewards.pending.programme import PENDING

DURATIONS_LOOKED_AT = 1_000
MOST_COUNTED = 100_000

Status = PendingReward.Status


def metrics() -> dict[str, Any]:
    """How often rewards were paid together, how often that failed, and what waits. Amounts are text in currency units.

    What was reversed does not count. A failure is a try that was taken back; `durations` are those of the newest
    distributions, in seconds.
    """
    paid = Distribution.objects.filter(
        programme=PENDING, status__in=[Distribution.Status.PAID, Distribution.Status.REVERSED]
    )
    by_currency = paid.order_by("currency").values_list("currency").annotate(Count("pk"), Sum("paid_amount"))
    currencies = Currency.objects.in_bulk([pk for pk, _, _ in by_currency])
    totals = {currencies[pk].code: currencies[pk].to_units(int(total)) for pk, _, total in by_currency}
    successful = sum(count for _, count, _ in by_currency)
    tries = AuditEvent.objects.filter(event_type="distribution_failed", distribution=None)
    failed = tries.aggregate(all=Count("pk"), rolled_back=Count("pk", filter=Q(data__rolled_back=True)))
    return {
        "total_distributions": successful + failed["all"],
        "successful_distributions": successful,
        "failed_distributions": failed["all"],
        "total_amount_distributed": next(iter(totals.values()), "0") if len(totals) <= 1 else None,
        "totals": totals,
        "rollbacks_performed": failed["rolled_back"],
        "pending_depth": PendingReward.objects.filter(status=Status.QUEUED).count(),
        "dead": dead_rewards(),
        "durations": _durations(paid),
    }


def queue_depth() -> int:
    """How many rewards are queued, counted up to a hundred thousand."""
    return PendingReward.objects.filter(status=Status.QUEUED)[:MOST_COUNTED].count()


def dead_rewards() -> int:
    """Rewards that failed for good and wait for an operator."""
    return PendingReward.objects.filter(status=Status.FAILED).count()


def _durations(paid: Any) -> dict[str, float | None]:
    newest = paid.order_by("-starts_at").values_list("opened_at", "paid_at")[:DURATIONS_LOOKED_AT]
    seconds = [(paid_at - opened_at).total_seconds() for opened_at, paid_at in newest]
    if not seconds:
        return {"last": None, "mean": None, "longest": None}
    return {
        "last": round(seconds[0], 3),
        "mean": round(sum(seconds) / len(seconds), 3),
        "longest": round(max(seconds), 3),
    }
