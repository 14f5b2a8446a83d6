"""The queue of single rewards."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from rewards.common.database import WholeNumber
from rewards.distributions.models import Distribution
from rewards.ledger.models import Currency


class PendingReward(models.Model):
    """One reward that is owed to one user. Its unique `reward_id` is what keeps it from being paid twice.

    What accrued and was paid has a row too, written when it was paid.
    """

    class Status(models.TextChoices):
        QUEUED = "queued"
        PROCESSING = "processing", "Processing (on its way outside the database)"
        DISTRIBUTED = "distributed"
        FAILED = "failed"
        EXPIRED = "expired"

    class Priority(models.TextChoices):
        HIGH = "high"
        NORMAL = "normal"
        LOW = "low"

    reward_id = models.CharField(max_length=200, unique=True)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="pending_rewards", db_index=False)
    amount = models.BigIntegerField(help_text="Minor units, above zero")
    currency = models.ForeignKey(Currency, models.PROTECT, related_name="pending_rewards", db_index=False)
    reason = models.TextField(blank=True)
    reward_type = models.CharField(
        max_length=40, default="manual", help_text="staking, deployment_runtime, task, manual, …"
    )
    deployment = models.ForeignKey(
        "rewards.Deployment", models.PROTECT, null=True, blank=True, related_name="pending_rewards", db_index=False
    )
    status = models.CharField(max_length=11, choices=Status.choices, default=Status.QUEUED)
    priority = models.CharField(max_length=6, choices=Priority.choices, default=Priority.NORMAL)
    retry_count = models.PositiveIntegerField(default=0)
    max_retries = models.PositiveIntegerField(default=3)
    queued_at = models.DateTimeField(default=timezone.now)
    not_before = models.DateTimeField(null=True, blank=True, help_text="The drainer leaves it alone until then")
    processed_at = models.DateTimeField(null=True, blank=True, help_text="When it was paid, or given up")
    expires_at = models.DateTimeField(null=True, blank=True, help_text="Not paid from then on. Empty: never")
    last_error = models.TextField(blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    distribution = models.ForeignKey(
        Distribution, models.PROTECT, null=True, blank=True, related_name="pending_rewards", help_text="What paid it"
    )

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(amount__gt=0), name="pending_amount_above_zero"),
            models.CheckConstraint(condition=~Q(reward_id=""), name="pending_has_reward_id"),
            models.CheckConstraint(
                condition=~Q(status="distributed") | Q(distribution__isnull=False), name="pending_paid_by_distribution"
            ),
            WholeNumber(column="amount", name="pending_amount_is_whole"),
        ]
        indexes = [
            # In the order in which the drainer takes them, one priority after the other.
            models.Index(fields=["priority", "queued_at", "id"], condition=Q(status="queued"), name="pending_queue"),
            models.Index(fields=["user", "-id"], name="pending_of_user"),
            models.Index(
                fields=["deployment", "id"], condition=Q(deployment__isnull=False), name="pending_of_deployment"
            ),
            models.Index(fields=["-id"], condition=Q(status__in=["failed", "expired"]), name="pending_dead"),
        ]
        permissions = [("requeue_pendingreward", "Can put a dead pending reward back into the queue")]

    def __str__(self) -> str:
        return self.reward_id
