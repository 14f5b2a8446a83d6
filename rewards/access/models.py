"""Credentials of machines and users, and the answers kept for repeated requests."""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone


class Right(models.TextChoices):
    """What a machine may do."""

    ACTIVITY_WRITE = "activity:write"
    CLAIMS_WRITE = "claims:write"
    MONTHLY_RUN = "monthly:run"
    REWARDS_DISTRIBUTE = "rewards:distribute"
    READ = "read"


class Credential(models.Model):
    """A secret shown once and kept as its hash. Random and long, so a fast hash is right: there is nothing to guess."""

    prefix = models.CharField(max_length=16, editable=False, help_text="The first characters, to recognise it by")
    hash = models.CharField(max_length=64, unique=True, editable=False, help_text="SHA-256 of the whole secret")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, editable=False)
    last_used_at = models.DateTimeField(null=True, editable=False, help_text="To the minute")

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.prefix}…"

    def has_expired(self, at: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= at


class ApiKey(Credential):
    """A machine's key, with the rights it was given."""

    name = models.CharField(max_length=80, unique=True)
    rights = models.JSONField(default=list)
    requests_per_minute = models.PositiveIntegerField(null=True, blank=True, help_text="Empty: as many as it likes")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, editable=False, related_name="+"
    )

    class Meta:
        verbose_name = "API key"
        constraints = [models.CheckConstraint(condition=~Q(name=""), name="api_key_has_name")]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    def may(self, right: str) -> bool:
        return right in self.rights


class AccessToken(Credential):
    """A user's token for `Authorization: Bearer`."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="access_tokens")


class IdempotentAnswer(models.Model):
    """The answer to a request that carried an `Idempotency-Key`, written in the transaction of its effect.

    `status` is empty only while that transaction runs, which nobody else can see.
    """

    caller = models.CharField(max_length=40, help_text="user:<id> or key:<id>: keys belong to the caller")
    endpoint = models.CharField(max_length=200, help_text="Method and path")
    key = models.CharField(max_length=255)
    body_hash = models.CharField(max_length=64, help_text="SHA-256 of the body as canonical JSON")
    status = models.PositiveSmallIntegerField(null=True)
    body = models.JSONField(null=True)
    created_at = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["caller", "endpoint", "key"], name="idempotent_answer_once")]

    def __str__(self) -> str:
        return f"{self.endpoint} {self.key}"
