"""What earns by running, and what earns by being staked."""

from __future__ import annotations

import uuid
from datetime import datetime

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from rewards.common.database import WholeNumber
from rewards.ledger.models import Currency


class Deployment(models.Model):
    """A user's service that runs on replicas. It ends only after everything it earned is paid."""

    class Status(models.TextChoices):
        RUNNING = "running"
        STOPPED = "stopped"
        DELETED = "deleted"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="deployments", db_index=False)
    name = models.CharField(max_length=120)
    status = models.CharField(max_length=8, choices=Status.choices, default=Status.RUNNING)
    created_at = models.DateTimeField(default=timezone.now)
    resources_released_at = models.DateTimeField(null=True, blank=True)
    deleted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [
            models.Index(fields=["user", "-created_at"], name="deployment_of_user"),
            models.Index(fields=["-created_at", "id"], name="deployment_newest"),
        ]
        constraints = [
            models.CheckConstraint(condition=~Q(name=""), name="deployment_has_name"),
            models.CheckConstraint(
                condition=Q(deleted_at__isnull=False) | ~Q(status="deleted"), name="deployment_deleted_at_some_time"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.id})"


class Replica(models.Model):
    """One running copy of a deployment. It earns while it runs or is stopping."""

    class Status(models.TextChoices):
        RUNNING = "running"
        STOPPING = "stopping"
        STOPPED = "stopped"
        FAILED = "failed"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    deployment = models.ForeignKey(Deployment, models.PROTECT, related_name="replicas")
    status = models.CharField(max_length=8, choices=Status.choices, default=Status.RUNNING)
    started_at = models.DateTimeField(default=timezone.now)
    stopped_at = models.DateTimeField(null=True, blank=True)
    rewarded_until = models.DateTimeField(
        null=True, blank=True, help_text="Its time up to here has been paid. Empty: nothing has"
    )

    class Meta:
        indexes = [
            models.Index(fields=["id"], condition=Q(status__in=["running", "stopping"]), name="replica_earning"),
        ]

    def __str__(self) -> str:
        return str(self.id)

    @property
    def earns_from(self) -> datetime:
        return self.rewarded_until or self.started_at


class StakingPosition(models.Model):
    """Units that a user has set aside, on an account of the position's own. They earn until they are taken back."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="staking_positions")
    currency = models.ForeignKey(Currency, models.PROTECT, related_name="+", db_index=False)
    staked = models.BigIntegerField(help_text="Minor units, above zero")
    staked_at = models.DateTimeField(default=timezone.now)
    rewarded_until = models.DateTimeField(
        null=True, blank=True, help_text="Its time up to here has been paid. Empty: nothing has"
    )
    unstaked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(staked__gt=0), name="staked_above_zero"),
            WholeNumber(column="staked", name="staked_is_whole"),
        ]
        indexes = [models.Index(fields=["id"], condition=Q(unstaked_at__isnull=True), name="staking_earning")]

    def __str__(self) -> str:
        return f"position {self.pk}"

    @property
    def earns_from(self) -> datetime:
        return self.rewarded_until or self.staked_at

    @property
    def account_code(self) -> str:
        """The code of the user's account that holds the principal."""
        return f"stake:{self.pk}"
