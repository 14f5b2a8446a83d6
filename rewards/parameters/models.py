"""Numbers that operators change without a deployment."""

from __future__ import annotations

from django.db import models
from simple_history.models import HistoricalRecords


class Parameter(models.Model):
    key = models.CharField(max_length=120, unique=True, help_text="Dotted, e.g. distributions.chunk_rows")
    value = models.JSONField()
    default = models.JSONField(editable=False)
    description = models.TextField(blank=True)
    updated_at = models.DateTimeField(auto_now=True)

    history = HistoricalRecords()

    def __str__(self) -> str:
        return self.key


class ParameterVersion(models.Model):
    """One row: a number that grows with each change, so that every process sees a change by one cheap query."""

    version = models.BigIntegerField(default=0)
