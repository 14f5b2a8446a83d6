"""What goes in and comes out where pending rewards are asked for and paid: amounts are Decimals in currency units."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from rewards.pending.models import PendingReward


@dataclass(frozen=True)
class Owed:
    """A reward that is pending: it stands in the queue, has accrued, or is made by hand.

    `account_id` is the username. `currency` is a code; empty: the parameter `pending.currency`.
    """

    reward_id: str
    account_id: str
    amount: Decimal
    reason: str = ""
    currency: str = ""
    reward_type: str = "manual"
    deployment_id: UUID | None = None
    created_at: datetime | None = None
    metadata: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, row: PendingReward) -> Owed:
        return cls(
            reward_id=row.reward_id,
            account_id=row.user.get_username(),
            amount=units(row),
            reason=row.reason,
            currency=row.currency.code,
            reward_type=row.reward_type,
            deployment_id=row.deployment_id,
            created_at=row.queued_at,
            metadata=row.metadata,
        )


@dataclass(frozen=True)
class DistributionResult:
    """What became of rewards that were to be paid together: all of them were, or none.

    `total_amount_distributed` is None when there is more than one currency; `totals` (code → amount) is always there.
    `failed_distributions` names who was at fault: `{reward_id, account_id, error}`. `error_message` is for operators;
    with `is_foreseen` its words are those of a rule of the product.
    """

    success: bool
    total_rewards_distributed: int = 0
    total_amount_distributed: Decimal | None = Decimal(0)
    totals: dict[str, Decimal] = field(default_factory=dict)
    failed_distributions: list[dict[str, str]] = field(default_factory=list)
    error_message: str | None = None
    audit_log: list[dict[str, Any]] = field(default_factory=list)
    is_foreseen: bool = True


def units(row: PendingReward) -> Decimal:
    return Decimal(row.currency.to_units(row.amount))


def sole_total(totals: dict[str, Decimal]) -> Decimal | None:
    """The one amount of totals by currency; None where there are several."""
    return sum(totals.values(), Decimal(0)) if len(totals) <= 1 else None
