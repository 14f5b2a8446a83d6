"""What needs a person: one row per open cause."""

from __future__ import annotations

from django.db import models
from django.utils import timezone


class Alert(models.Model):
    class Severity(models.TextChoices):
        WARNING = "warning"
        CRITICAL = "critical"

    severity = models.CharField(max_length=10, choices=Severity.choices)
    code = models.CharField(max_length=60)
    subject = models.CharField(max_length=200, blank=True, help_text="What it is about, e.g. pool_daily 2026-11-21")
    message = models.TextField(blank=True)
    first_seen = models.DateTimeField(default=timezone.now)
    last_seen = models.DateTimeField(default=timezone.now)
    count = models.PositiveIntegerField(default=1)
    mailed_at = models.DateTimeField(null=True, blank=True)
    resolved_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["code", "subject"],
                condition=models.Q(resolved_at__isnull=True),
                name="alert_one_open_per_cause",
            )
        ]
        indexes = [models.Index(fields=["-last_seen"], name="alert_last_seen")]

    def __str__(self) -> str:
        return f"{self.code} {self.subject}".strip()
