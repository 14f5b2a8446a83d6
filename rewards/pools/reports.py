"""What is recorded of a payout: the reward log, the JSON log, and what special partners are to be told."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from rewards.common.database import sql_instant
from rewards.distributions.models import Distribution, Reward
from rewards.pools.models import PartnerTransfer, RewardLog
from rewards.pools.periods import PoolPeriod
from rewards.pools.queries import stretch_of, votes_between
from rewards.pools.ranking import vote_counts

logger = logging.getLogger("rewards.pools")


def report_payout(distribution: Distribution, payout_type: str) -> None:
    """Write the payout's row of the reward log now, and its log record once the payment is committed."""
    results, (starts_at, _) = distribution.results, stretch_of(distribution)
    log = RewardLog.objects.create(
        distribution=distribution,
        type=payout_type,
        time=starts_at,
        total=distribution.paid_amount,
        counts={part["name"]: part["members"] for part in results.get("slices", [])},
        ecc_cap=results.get("facts", {}).get("weight_cap", ""),
    )
    transaction.on_commit(lambda: _log_payout(distribution, log))


def report_empty(programme: str, payout_type: str, periods: Sequence[PoolPeriod]) -> None:
    """The same for a run of periods that were recorded empty: a row each, one log record for all."""
    first, last = periods[0], periods[-1]
    with connection.cursor() as cursor:
        cursor.execute(_LOG_EMPTY, [payout_type, "{}", sql_instant(timezone.now()), programme, *_between(first, last)])
    about: dict[str, Any] = {"type": payout_type, "time": first.start.isoformat(), "total": "0", "counts": {}}
    if len(periods) > 1:
        about |= {"until": last.end.isoformat(), "periods": len(periods)}
    transaction.on_commit(
        lambda: logger.info("%s %s: nobody voted", programme, first.key, extra={"event": "pool_paid", **about})
    )


def write_partner_transfers(distribution: Distribution) -> None:
    """Put the rewards of special partners into the outbox, in the transaction that completes the payout."""
    starts_at, _ = stretch_of(distribution)
    rewarded = Reward.objects.filter(distribution=distribution, amount__gt=0, user__is_special_partner=True)
    PartnerTransfer.objects.bulk_create(
        PartnerTransfer(partner_id=user_id, time=starts_at, amount=amount, currency_id=distribution.currency_id)
        for user_id, amount in rewarded.order_by("position").values_list("user_id", "amount")
    )


# ---------------------------------------------------------------------------------------------------------- log records


def _log_payout(distribution: Distribution, log: RewardLog) -> None:
    about = {
        "event": "pool_paid",
        "type": log.type,
        "time": log.time.isoformat(),
        "period": distribution.period_key,
        "currency": distribution.currency.code,
        "total": distribution.currency.to_units(log.total),
        "recipients": distribution.recipients,
        "counts": log.counts,
        "ecc_cap": log.ecc_cap,
    }
    logger.info("%s: %s %s to %s", distribution, about["total"], about["currency"], about["recipients"], extra=about)
    if logger.isEnabledFor(logging.DEBUG):
        _log_votes(distribution, log.type)


def _log_votes(distribution: Distribution, payout_type: str) -> None:
    """How often each partner voted, by type: one record a partner."""
    counts = vote_counts(votes_between(*stretch_of(distribution)))
    for partner, lines in groupby(counts, key=lambda line: line[0]):
        votes = {vote_type or "": count for _, vote_type, count in lines}
        about = {"event": "pool_votes", "type": payout_type, "partner": partner, "votes": votes}
        logger.debug("%s: %s voted %s times", distribution, partner, sum(votes.values()), extra=about)


def _between(first: PoolPeriod, last: PoolPeriod) -> list[Any]:
    return [sql_instant(first.start), sql_instant(last.end)]


_LOG_EMPTY = f"""
    INSERT INTO {RewardLog._meta.db_table} (distribution_id, type, time, total, counts, ecc_cap, created_at)
    SELECT distribution.id, %s, distribution.starts_at, 0, %s, '', %s
    FROM {Distribution._meta.db_table} distribution
    LEFT JOIN {RewardLog._meta.db_table} log ON log.distribution_id = distribution.id
    WHERE log.id IS NULL AND distribution.programme = %s AND distribution.status = 'paid'
      AND distribution.starts_at >= %s AND distribution.starts_at < %s
"""
