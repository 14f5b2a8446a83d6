"""Who did what, append-only; and the seals that chain it."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.utils import timezone

from rewards.common.database import AppendOnly


class TransactionNumber(models.Func):
    """The number of the database transaction that writes the row; 0 where transactions commit one by one (SQLite).

    Ids are handed out before a transaction commits, so a row with a lower id may appear later. Ordered by transaction
    number, and looked at below the oldest transaction still open, rows never appear behind the reader.
    """

    template = "0"
    output_field = models.BigIntegerField()

    def as_postgresql(self, compiler, connection, **context):  # type: ignore[no-untyped-def]
        return "(pg_current_xact_id()::text::bigint)", []


class AuditEvent(models.Model):
    """One thing that happened. A payout of many rows writes one event per chunk."""

    event_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    event_type = models.CharField(max_length=60)
    reward_id = models.CharField(max_length=200, blank=True)
    distribution = models.ForeignKey("rewards.Distribution", models.PROTECT, null=True, related_name="audit_events")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="audit_events")
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+")
    amount = models.BigIntegerField(null=True, help_text="Minor units")
    currency = models.ForeignKey("rewards.Currency", models.PROTECT, null=True, related_name="+")
    reason = models.TextField(blank=True)
    success = models.BooleanField(default=True)
    error_message = models.TextField(blank=True)
    data = models.JSONField(default=dict)
    timestamp = models.DateTimeField(default=timezone.now, db_index=True)
    transaction_number = models.BigIntegerField(db_default=TransactionNumber(), editable=False)

    class Meta:
        constraints = [AppendOnly(name="audit_event_append_only")]
        indexes = [
            models.Index(fields=["transaction_number", "id"], name="audit_event_sealing"),
            models.Index(fields=["event_type", "-timestamp"], name="audit_event_type"),
        ]

    def __str__(self) -> str:
        return f"{self.event_type} {self.event_id}"


class AuditSeal(models.Model):
    """A hash over a run of events and the seal before it: a change to any of them shows."""

    first_event = models.BigIntegerField()
    last_event = models.BigIntegerField()
    last_transaction_number = models.BigIntegerField()
    base_event = models.BigIntegerField(
        default=0, help_text="Events up to this id were numbered by another database server, before a restore"
    )
    entries = models.JSONField(help_text="[[event row id, SHA-256 of the event as canonical JSON], …]")
    previous_hash = models.CharField(max_length=64)
    hash = models.CharField(max_length=64, unique=True)
    sealed_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            AppendOnly(name="audit_seal_append_only"),
            # Two sealers at once would make a fork: only one of them can follow a given seal.
            models.UniqueConstraint(fields=["previous_hash"], name="audit_seal_one_successor"),
        ]

    def __str__(self) -> str:
        return self.hash
