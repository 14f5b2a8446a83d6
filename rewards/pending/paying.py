"""Paying rows of the queue whole or not at all, in the caller's transaction."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any

from rewards.audit.models import AuditEvent
from rewards.audit.services import new_event, record_many
from rewards.common.database import in_batches
from rewards.common.errors import ensure
from rewards.distributions.models import Distribution
from rewards.distributions.services import open_distribution, pay_at_once
from rewards.ledger import services as ledger
from rewards.ledger.models import Account, Currency
from rewards.parameters.services import param
from rewards.pending.models import PendingReward
from rewards.pending.programme import PENDING, RULE
from rewards.users.models import User

ROWS_AT_ONCE = 1_000


def pay_rows(rows: Sequence[PendingReward], at: datetime, actor: User | None = None) -> None:
    """Pay queued rows, which the caller has locked: one distribution for each currency, an audit event for each row.

    The rows are marked as distributed first, so that the distribution finds whom it pays. Raises what the ledger
    refuses: `InactiveCurrency`, `InsufficientFunds`, `PayoutsPaused`, …
    """
    by_currency: dict[Currency, list[PendingReward]] = defaultdict(list)
    for row in rows:
        by_currency[row.currency].append(row)
    for currency in sorted(by_currency, key=lambda each: each.pk):
        _pay_in_one_currency(currency, by_currency[currency], at, actor)


def lock_for_payment(recipients: Collection[tuple[User, Currency]]) -> None:
    """Lock the accounts of all recipients and of what pays them in ascending id, before they are paid in several steps.

    One step locks its own accounts in that order. One step after another does not, and could wait crosswise for others.
    """
    if recipients:
        sources = [source_account(currency) for currency in {currency for _, currency in recipients}]
        ledger.lock_payment({(user.pk, currency.pk) for user, currency in recipients}, sources)


def source_account(currency: Currency) -> Account:
    """What pays pending rewards in a currency."""
    return ledger.system_account(param("pending.source"), currency)


def _pay_in_one_currency(currency: Currency, rows: list[PendingReward], at: datetime, actor: User | None) -> None:
    distribution, opened = open_distribution(
        PENDING,
        _period_key(rows, at),
        starts_at=at,
        ends_at=at,
        currency=currency,
        source_account=source_account(currency),
        rule=RULE,
        at=at,
        actor=actor,
    )
    ensure(opened, f"{distribution} has been opened for these rewards before")
    for some in in_batches(rows, ROWS_AT_ONCE):
        queued = PendingReward.objects.filter(pk__in=[row.pk for row in some], status=PendingReward.Status.QUEUED)
        marked = queued.update(status=PendingReward.Status.DISTRIBUTED, processed_at=at, distribution=distribution)
        ensure(marked == len(some), f"{len(some) - marked} of the rewards of {distribution} are not queued any more")
    pay_at_once(distribution, own_events=True)
    record_many(_paid_event(row, distribution, actor) for row in rows)


def _period_key(rows: Sequence[PendingReward], at: datetime) -> str:
    """When, and a name for these rewards together: nothing is ever paid twice under it."""
    ids = "\n".join(sorted(row.reward_id for row in rows))
    return f"{at.astimezone(UTC):%Y%m%dT%H%M%S}-{hashlib.sha256(ids.encode()).hexdigest()[:16]}"


def _paid_event(row: PendingReward, distribution: Distribution, actor: User | None) -> AuditEvent:
    return new_event("reward_distributed", distribution=distribution, actor=actor, **facts_of(row))


def facts_of(row: PendingReward) -> dict[str, Any]:
    """What an audit event says about a row of the queue, saved or not."""
    data = {"reward_type": row.reward_type}
    if row.deployment_id is not None:
        data["deployment"] = str(row.deployment_id)
    return {
        "reward_id": row.reward_id,
        "user": row.user,
        "amount": row.amount,
        "currency": row.currency,
        "reason": row.reason,
        "data": data,
    }
