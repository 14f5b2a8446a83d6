"""Deployments and staking: how they begin, and how they end without losing what they earned."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from rewards.alerts.services import CRITICAL, raise_alert, resolve_alert
from rewards.audit.services import record
from rewards.deployments.errors import DeploymentGone, InvalidDeployment, NotStaked, RewardsDead
from rewards.deployments.models import Deployment, Replica, StakingPosition
from rewards.deployments.sources import STAKING
from rewards.ledger import services as ledger
from rewards.ledger.errors import IdempotencyConflict
from rewards.ledger.models import Currency, Journal
from rewards.ledger.queries import currency_named
from rewards.ledger.services import Move
from rewards.parameters.services import param
from rewards.pending.models import PendingReward
from rewards.pending.paying import lock_for_payment
from rewards.pending.services import DistributionResult, Owed, distribute_together, get_pending_rewards
from rewards.users.models import User

CLEANUP_FAILED = "cleanup_failed"
LONGEST_NAME = 120
MOST_REPLICAS = 100

logger = logging.getLogger(__name__)


# ---------------------------------------------------------------------------------------------------------- deployments


def create_deployment(user: User, name: str, replicas: int, at: datetime) -> Deployment:
    """A deployment whose replicas run, and earn, from `at` on. Raises `InvalidDeployment`."""
    if not (name.strip() and len(name) <= LONGEST_NAME and 1 <= replicas <= MOST_REPLICAS):
        raise InvalidDeployment()
    with transaction.atomic():
        deployment = Deployment.objects.create(user=user, name=name, created_at=at)
        Replica.objects.bulk_create(Replica(deployment=deployment, started_at=at) for _ in range(replicas))
        record(
            "deployment_created", user=user, actor=user,
            data={"deployment": deployment.pk, "name": name, "replicas": replicas},
        )  # fmt: skip
    return deployment


@dataclass(frozen=True)
class CleanupResult:
    """Whether a deployment was taken down, and what was paid for it before. `rewards_amount` is None where it was
    several currencies; `totals` (code → amount) is always there."""

    success: bool
    rewards_distributed: int = 0
    rewards_amount: Decimal | None = Decimal(0)
    totals: dict[str, Decimal] = field(default_factory=dict)
    cleanup_completed: bool = False
    rollback_occurred: bool = False
    error_message: str | None = None
    failed_distributions: list[dict[str, str]] = field(default_factory=list)
    is_foreseen: bool = True


def cleanup_with_distribution(
    deployment: Deployment | UUID, user: User | None, *, at: datetime | None = None
) -> CleanupResult:
    """Pay what is pending for a deployment, then stop its replicas, release its resources and delete it: all or none.

    `user` is who wants it: its owner, or staff; None for the product itself. On failure nothing has changed, an alert
    is open until a later clean-up succeeds, and the log says that somebody has to look. Raises `DeploymentGone`, also
    for a stranger, and what `distribute_together` raises.
    """
    deployment_id = deployment.pk if isinstance(deployment, Deployment) else deployment
    at = at or timezone.now()
    paid = distribute_together(
        lambda: _owed_for(deployment_id, user, at),
        lambda: _take_down(deployment_id, user, at),
        at=at,
        actor=user,
        about={"deployment": str(deployment_id)},
        raises=(DeploymentGone,),
    )
    if not paid.success:
        _report(deployment_id, paid.error_message or "")
        return CleanupResult(
            success=False,
            rollback_occurred=True,
            error_message=paid.error_message,
            failed_distributions=paid.failed_distributions,
            is_foreseen=paid.is_foreseen,
        )
    return CleanupResult(
        success=True,
        rewards_distributed=paid.total_rewards_distributed,
        rewards_amount=paid.total_amount_distributed,
        totals=paid.totals,
        cleanup_completed=True,
    )


def _owed_for(deployment_id: UUID, user: User | None, at: datetime) -> Sequence[Owed]:
    """Lock the deployment, so that it ends once, and its replicas: whoever pays locks those before anything else."""
    found = Deployment.objects.select_for_update(no_key=True).filter(pk=deployment_id, deleted_at=None).first()
    if found is None or not (user is None or user.is_staff or user.pk == found.user_id):
        raise DeploymentGone()
    dead = PendingReward.objects.filter(deployment=found, status=PendingReward.Status.FAILED).count()
    if dead:
        raise RewardsDead(f"{dead} of its rewards failed for good: put them back into the queue first.")
    list(Replica.objects.select_for_update(no_key=True).filter(deployment=found).order_by("pk").values_list("pk"))
    return get_pending_rewards(deployment=found, at=at)


def _take_down(deployment_id: UUID, user: User | None, at: datetime) -> None:
    deployment = Deployment.objects.select_related("user").get(pk=deployment_id)
    running = deployment.replicas.filter(status__in=[Replica.Status.RUNNING, Replica.Status.STOPPING])
    stopped = running.update(status=Replica.Status.STOPPED, stopped_at=at)
    deployment.status = Deployment.Status.DELETED
    deployment.resources_released_at = deployment.deleted_at = at
    deployment.save(update_fields=["status", "resources_released_at", "deleted_at"])
    record(
        "deployment_deleted", user=deployment.user, actor=user,
        data={"deployment": deployment_id, "replicas_stopped": stopped},
    )  # fmt: skip
    resolve_alert(CLEANUP_FAILED, str(deployment_id))


def _report(deployment_id: UUID, sentence: str) -> None:
    raise_alert(CLEANUP_FAILED, str(deployment_id), f"It was not deleted: {sentence}", severity=CRITICAL)
    logger.critical(
        "Deployment %s was not deleted, manual intervention required. Nothing was paid or stopped: %s",
        deployment_id,
        sentence,
        extra={"event": CLEANUP_FAILED},
    )


# -------------------------------------------------------------------------------------------------------------- staking


def stake(
    user: User, currency: Currency, amount: int, key: str, at: datetime, actor: User | None = None
) -> StakingPosition:
    """Set `amount` minor units of a user aside; they earn from `at` on. The same key again returns the first position.

    Raises `IdempotencyConflict` where the user's key stands for another stake, and like `ledger.post`.
    """
    currency.to_minor(currency.to_units(amount))
    journal_key = f"stake:{user.pk}:{key}"
    position = _staked_under(journal_key)
    if position is None:
        try:
            return _open_position(user, currency, amount, journal_key, at, actor)
        except IdempotencyConflict:  # somebody was faster
            position = _staked_under(journal_key)
    if position is None or (position.currency_id, position.staked) != (currency.pk, amount):
        raise IdempotencyConflict(f"The key {key!r} was used before for another stake.", key=key)
    return position


def _staked_under(journal_key: str) -> StakingPosition | None:
    source = Journal.objects.filter(key=journal_key).values_list("source", flat=True).first()
    return None if source is None else StakingPosition.objects.get(pk=source.partition(":")[2])


def _open_position(
    user: User, currency: Currency, amount: int, journal_key: str, at: datetime, actor: User | None
) -> StakingPosition:
    with transaction.atomic():
        position = StakingPosition.objects.create(user=user, currency=currency, staked=amount, staked_at=at)
        aside = ledger.user_account(user, currency, position.account_code)
        move = Move(ledger.user_account(user, currency), aside, amount)
        ledger.post(journal_key, "stake", [move], actor=actor, source=f"staking:{position.pk}")
        record("staked", user=user, actor=actor, amount=amount, currency=currency, data={"position": position.pk})
    return position


def unstake(position_id: int, at: datetime, actor: User | None = None) -> DistributionResult:
    """Pay what a position has accrued and give its principal back, in one transaction: both, or neither.

    The result is that of the rewards; where it is no success nothing has changed. Raises `NotStaked`.
    """
    return distribute_together(
        lambda: _owed_on(position_id, at),
        lambda: _give_back(position_id, at, actor),
        at=at,
        actor=actor,
        about={"position": str(position_id)},
        raises=(NotStaked,),
    )


def _owed_on(position_id: int, at: datetime) -> Sequence[Owed]:
    rows = StakingPosition.objects.filter(pk=position_id, unstaked_at=None).select_related("user", "currency")
    position = rows.select_for_update(no_key=True, of=("self",)).first()
    if position is None:
        raise NotStaked(f"There is no staking position {position_id}, or it was unstaked before.")
    # Two postings, one after the other: locked together they are locked in the order in which all others do.
    currencies = (position.currency, currency_named(param("pending.currency")))
    lock_for_payment([(position.user, currency) for currency in currencies])
    return STAKING.pending_on(STAKING.earning().filter(pk=position_id), at)


def _give_back(position_id: int, at: datetime, actor: User | None) -> None:
    position = StakingPosition.objects.select_related("user", "currency").get(pk=position_id)
    user, currency = position.user, position.currency
    aside = ledger.user_account(user, currency, position.account_code)
    move = Move(aside, ledger.user_account(user, currency), position.staked)
    ledger.post(f"unstake:{position_id}", "unstake", [move], actor=actor, source=f"staking:{position_id}")
    position.unstaked_at = at
    position.save(update_fields=["unstaked_at"])
    record(
        "unstaked", user=user, actor=actor, amount=position.staked, currency=currency, data={"position": position_id}
    )
