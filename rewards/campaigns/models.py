"""Campaigns and the lists they pay."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from simple_history.models import HistoricalRecords

from rewards.common.database import WholeNumber
from rewards.distributions.models import Distribution
from rewards.ledger.models import ISSUANCE, Currency

CORRECTION = "correction-"
"""How the slugs of corrections begin, and of no other campaign."""


def from_upload() -> dict[str, Any]:
    return {"source": "upload"}


class Campaign(models.Model):
    """A list of users paid by a rule, once or on a schedule. Its programme is `campaign:<slug>`."""

    class Status(models.TextChoices):
        DRAFT = "draft", "Draft"
        ACTIVE = "active", "Active (runs when it is due)"
        DONE = "done", "Done"
        CANCELLED = "cancelled", "Cancelled"

    class Schedule(models.TextChoices):
        ONCE = "", "Once"
        DAILY = "daily", "Every day"
        WEEKLY = "weekly", "Every week"
        MONTHLY = "monthly", "Every month"

    slug = models.SlugField(max_length=60, unique=True)
    title = models.CharField(max_length=200, blank=True)
    currency = models.ForeignKey(Currency, models.PROTECT, related_name="campaigns")
    source = models.CharField(
        max_length=80, default=ISSUANCE, help_text="The system account that pays, such as issuance or treasury"
    )
    amount = models.BigIntegerField(
        null=True, blank=True, help_text="Minor units to share out; with the rule fixed a ceiling, which may be empty"
    )
    participants = models.JSONField(
        default=from_upload, help_text="Where the list comes from, such as an upload, a counter, the holders"
    )
    rule = models.JSONField(default=dict)
    tie_policy = models.CharField(max_length=10, default="earliest")
    status = models.CharField(max_length=9, choices=Status.choices, default=Status.DRAFT)
    starts_at = models.DateTimeField(null=True, blank=True, help_text="Not run before. Empty: when somebody runs it")
    schedule = models.CharField(max_length=7, choices=Schedule.choices, blank=True, default=Schedule.ONCE)
    approval_limit = models.BigIntegerField(
        null=True, blank=True, help_text="Minor units from which a person approves. Empty: nobody has to"
    )
    corrects = models.ForeignKey(
        Distribution, models.PROTECT, null=True, blank=True, related_name="corrections", help_text="Set: a correction"
    )
    rows = models.PositiveIntegerField(default=0, editable=False, help_text="Lines of the uploaded list")
    rows_digest = models.CharField(max_length=64, blank=True, editable=False, help_text="Names the uploaded list")
    prepared_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        blank=True,
        editable=False,
        related_name="+",
        help_text="Who last changed its rule, participants or amount",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    history = HistoricalRecords()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=~Q(slug=""), name="campaign_has_slug"),
            models.CheckConstraint(condition=Q(amount__isnull=True) | Q(amount__gt=0), name="campaign_amount_above_0"),
            models.CheckConstraint(
                condition=Q(approval_limit__isnull=True) | Q(approval_limit__gte=0),
                name="campaign_limit_not_negative",
            ),
        ]
        indexes = [
            models.Index(fields=["starts_at"], condition=Q(status="active"), name="campaign_active"),
        ]

    def __str__(self) -> str:
        return self.slug

    @property
    def programme(self) -> str:
        return f"campaign:{self.slug}"


class CampaignParticipant(models.Model):
    """One line of an uploaded list. A million of them are written and deleted at once, never changed.

    Without foreign keys in the database, which cost two thirds of writing them: who reads the list refuses a line whose
    user is gone, and the rewards made of it have keys.
    """

    campaign = models.ForeignKey(Campaign, models.PROTECT, related_name="lines", db_constraint=False, db_index=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="+", db_constraint=False, db_index=False
    )
    weight = models.CharField(max_length=80, blank=True, help_text="Canonical decimal text; empty: nothing")
    amount = models.BigIntegerField(null=True, help_text="Minor units, for the rule fixed")
    group = models.CharField(max_length=80, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["campaign", "user"], name="campaign_participant_once"),
            models.CheckConstraint(condition=Q(amount__isnull=True) | Q(amount__gte=0), name="campaign_line_amount"),
            WholeNumber(column="amount", name="campaign_line_amount_is_whole"),
        ]

    def __str__(self) -> str:
        return f"{self.campaign_id}: {self.user_id}"
