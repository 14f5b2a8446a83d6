"""Numbers that operators change without a deployment."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.db.models.signals import post_delete, post_save
from django.dispatch import receiver
from simple_history.models import HistoricalRecords

from rewards.parameters.registry import PARAMETERS
from rewards.users.models import User


class Parameter(models.Model):
    key = models.CharField(max_length=120, unique=True, help_text="Dotted, e.g. distributions.chunk_rows")
    value = models.JSONField()
    default = models.JSONField(editable=False)
    description = models.TextField(blank=True)
    updated_at = models.DateTimeField(auto_now=True)

    history = HistoricalRecords()
    # What simple-history puts into the next record, where it was said.
    _history_user: User | None
    _change_reason: str

    def __str__(self) -> str:
        return self.key

    def clean(self) -> None:
        problem = problem_of(self.key, self.value)
        if problem:
            raise ValidationError({"value": problem}, code="invalid_parameter")

    def save(self, *args: Any, **kwargs: Any) -> None:
        if self.default is None:
            self.default = PARAMETERS[self.key].default if self.key in PARAMETERS else self.value
        # One transaction for the value, its history and the version that tells the other processes.
        with transaction.atomic():
            super().save(*args, **kwargs)


class ParameterVersion(models.Model):
    """One row: a number that grows with each change, so that every process sees a change by one cheap query."""

    THE_ROW = 1

    version = models.BigIntegerField(default=0)


def problem_of(key: str, value: Any) -> str:
    """What is wrong with a value, in a sentence; empty when nothing is. Keys that are not registered take any value."""
    definition = PARAMETERS.get(key)
    return definition.check(value) if definition and definition.check else ""


@receiver([post_save, post_delete], sender=Parameter)
def bump_version(**kwargs: Any) -> None:
    """Runs in the transaction of the change. Changes wait for each other here, so versions commit in order."""
    ParameterVersion.objects.bulk_create([ParameterVersion(pk=ParameterVersion.THE_ROW)], ignore_conflicts=True)
    ParameterVersion.objects.filter(pk=ParameterVersion.THE_ROW).update(version=models.F("version") + 1)
