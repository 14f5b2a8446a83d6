"""Rewards that are claimed, and paid out on the chain."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from rewards.chain.models import ChainTransaction
from rewards.distributions.models import Reward
from rewards.ledger.models import Journal


class RewardClaim(models.Model):
    """That a reward of a chain payout was claimed. One for each reward: a second try has the same nonce."""

    class Status(models.TextChoices):
        PROCESSING = "processing"
        COMPLETED = "completed"
        FAILED = "failed"

    reward = models.OneToOneField(Reward, models.PROTECT, related_name="chain_claim")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    wallet_address = models.CharField(max_length=128)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.PROCESSING)
    transaction = models.ForeignKey(
        ChainTransaction, models.PROTECT, null=True, related_name="reward_claims", help_text="The newest"
    )
    attempts = models.PositiveIntegerField(default=1)
    journal = models.OneToOneField(
        Journal, models.PROTECT, null=True, related_name="+", help_text="That credited the user once it was confirmed"
    )
    claimed_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True)
    error = models.TextField(blank=True)
    failures = models.PositiveIntegerField(default=0, help_text="How often in a row it could not be looked after")

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(status="completed", journal__isnull=False) | ~Q(status="completed"),
                name="reward_claim_completed_is_credited",
            )
        ]
        indexes = [
            models.Index(fields=["transaction"], name="reward_claim_transaction"),
            models.Index(fields=["id"], condition=Q(status="processing"), name="reward_claim_processing"),
        ]

    def __str__(self) -> str:
        return f"{self.reward_id} {self.status}"
