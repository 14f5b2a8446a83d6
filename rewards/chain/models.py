"""What was put on a chain, and the local chain itself."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone

from rewards.common.database import AppendOnly


class ChainSender(models.Model):
    """An account that sends transactions, and the nonce of the next one. Its row is the lock."""

    chain = models.CharField(max_length=20, help_text="local or evm")
    address = models.CharField(max_length=128)
    next_nonce = models.PositiveBigIntegerField(default=0)
    chain_id = models.PositiveBigIntegerField(
        null=True, blank=True, help_text="Of the network on which its nonces count; empty: nothing was signed yet"
    )

    class Meta:
        constraints = [models.UniqueConstraint(fields=["chain", "address"], name="chain_sender_once")]

    def __str__(self) -> str:
        return f"{self.chain}:{self.address}"


class ChainTransaction(models.Model):
    """A transaction that was submitted, or is about to be: the row stands before anything is sent."""

    class Purpose(models.TextChoices):
        VERDICT_COMMITMENT = "verdict_commitment", "Commitment of a verdict"
        REWARD = "reward", "Reward"

    class Status(models.TextChoices):
        SUBMITTED = "submitted"
        CONFIRMED = "confirmed"
        FAILED = "failed"

    tx_hash = models.CharField(
        max_length=128,
        unique=True,
        null=True,
        blank=True,
        help_text="Empty until it is signed, before it is first sent",
    )
    purpose = models.CharField(max_length=20, choices=Purpose.choices)
    payload_hash = models.CharField(max_length=64, help_text="SHA-256 in lower-case hex: what the transaction carries")
    recipient = models.CharField(max_length=128, blank=True, help_text="An address; empty: the sender itself")
    sender = models.ForeignKey(ChainSender, models.PROTECT, related_name="transactions")
    nonce = models.PositiveBigIntegerField(
        null=True, blank=True, help_text="Of the sender: of all with the same one, one can ever be mined"
    )
    nonce_spent = models.BooleanField(
        default=False, help_text="Its nonce was used up without doing what it was to do: a new try needs another one"
    )
    instead_of = models.ForeignKey(
        "self",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        help_text="The failed one that it tries again, with the same nonce: only one of the two can be mined",
    )
    raw = models.BinaryField(default=b"", help_text="Signed, as it is sent: sending it again is harmless")
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.SUBMITTED)
    confirmations = models.PositiveIntegerField(default=0)
    submitted_at = models.DateTimeField(default=timezone.now)
    checked_at = models.DateTimeField(null=True, blank=True)
    missing_since = models.DateTimeField(
        null=True, blank=True, help_text="No node has known it since then; empty: since it was submitted"
    )
    error = models.TextField(blank=True)

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(
                fields=["purpose", "checked_at"], condition=Q(status="submitted"), name="chain_transaction_to_check"
            ),
            models.Index(fields=["sender", "nonce"], name="chain_transaction_nonce"),
        ]

    def __str__(self) -> str:
        return self.tx_hash or f"{self.purpose} {self.pk} (not signed yet)"


class LocalEntry(models.Model):
    """A transaction of the local chain: an append-only log, each entry chained to the one before by its hash."""

    tx_hash = models.CharField(max_length=64, unique=True)
    sender = models.CharField(max_length=128)
    nonce = models.PositiveBigIntegerField()
    recipient = models.CharField(max_length=128, blank=True)
    payload_hash = models.CharField(max_length=64)
    previous_hash = models.CharField(max_length=64, blank=True)
    entry_hash = models.CharField(max_length=64)
    recorded_at = models.DateTimeField(help_text="Its block is the minute in which it was recorded")

    class Meta:
        verbose_name_plural = "local entries"
        constraints = [
            models.UniqueConstraint(fields=["sender", "nonce"], name="local_entry_nonce_once"),
            models.UniqueConstraint(fields=["previous_hash"], name="local_entry_one_after_another"),
            AppendOnly(name="local_chain_append_only"),
        ]

    def __str__(self) -> str:
        return self.tx_hash
