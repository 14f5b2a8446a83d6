"""Claims, and the recipes that say what they give and take."""

from __future__ import annotations

from django.conf import settings
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone
from simple_history.models import HistoricalRecords

from rewards.common.database import WrittenOnce
from rewards.ledger.models import ISSUANCE, Journal


class ClaimType(models.Model):
    """A recipe: who may claim, under which key, and the lines of what is given and taken."""

    class Callers(models.TextChoices):
        MACHINE = "machine", "Machines"
        USER = "user", "Machines and users"

    class Scope(models.TextChoices):
        USER = "user", "Each key once per user"
        GLOBAL = "global", "Each key once for all"

    class LimitPeriod(models.TextChoices):
        EVER = "", "In all"
        HOUR = "hour", "An hour"
        DAY = "day", "A day"
        MONTH = "month", "A month"

    slug = models.SlugField(max_length=60, unique=True)
    title = models.CharField(max_length=120, blank=True)
    active = models.BooleanField(default=True)
    starts_at = models.DateTimeField(null=True, blank=True, help_text="Empty: from ever")
    ends_at = models.DateTimeField(null=True, blank=True, help_text="Not at this instant any more. Empty: for ever")
    callers = models.CharField(max_length=8, choices=Callers.choices, default=Callers.MACHINE)
    scope = models.CharField(max_length=8, choices=Scope.choices, default=Scope.USER)
    key_pattern = models.CharField(
        max_length=200,
        blank=True,
        help_text="e.g. floor_<floor>_<encounter_id>: names of the context; <today> is the date. Empty: the caller's",
    )
    limit_per_user = models.PositiveIntegerField(null=True, blank=True, validators=[MinValueValidator(1)])
    limit_period = models.CharField(max_length=8, choices=LimitPeriod.choices, blank=True, default=LimitPeriod.EVER)
    funded_by = models.CharField(
        max_length=80, default=ISSUANCE, help_text="The system account that what is given comes from, e.g. treasury"
    )
    context_schema = models.JSONField(default=dict, blank=True, help_text="JSON Schema of what the caller must send")
    sample_context = models.JSONField(default=dict, blank=True, help_text="For the preview, and the check when saved")

    history = HistoricalRecords()

    class Meta:
        ordering = ["slug"]
        constraints = [models.CheckConstraint(condition=~Q(slug=""), name="claim_type_has_slug")]

    def __str__(self) -> str:
        return self.slug


class Line(models.Model):
    """One thing that a claim gives or takes."""

    class Direction(models.TextChoices):
        CREDIT = "credit", "Gives"
        DEBIT = "debit", "Takes"

    claim_type = models.ForeignKey(ClaimType, models.CASCADE, related_name="lines")
    order = models.PositiveSmallIntegerField(default=0)
    party = models.CharField(
        max_length=60, blank=True, help_text="A name of the context that holds a user. Empty: who claims"
    )
    direction = models.CharField(max_length=8, choices=Direction.choices, default=Direction.CREDIT)
    currency = models.CharField(max_length=200, help_text="A code, or an expression that gives one")
    amount = models.CharField(max_length=500, help_text="An expression, in currency units")
    when = models.CharField(max_length=500, blank=True, help_text="An expression. Empty: always")

    history = HistoricalRecords()

    class Meta:
        ordering = ["order", "id"]

    def __str__(self) -> str:
        return f"{self.get_direction_display().lower()} {self.amount} {self.currency}"


class Claim(models.Model):
    """A deed that was rewarded, once. Its unique row is written before anything else of it."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="claims", db_index=False)
    claim_type = models.ForeignKey(ClaimType, models.PROTECT, related_name="claims", db_index=False)
    claim_key = models.CharField(max_length=200)
    is_global = models.BooleanField(default=False, help_text="The scope of its type when it was made")
    context = models.JSONField(default=dict)
    result = models.JSONField(null=True, help_text="credits, debits and the claimant's balances, in currency units")
    # Found by its key, claim:<id>; no index has to be kept for it.
    journal = models.ForeignKey(Journal, models.PROTECT, null=True, related_name="+", db_index=False)
    claimed_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["user", "claim_type", "claim_key"], condition=Q(is_global=False), name="claim_once_per_user"
            ),
            models.UniqueConstraint(
                fields=["claim_type", "claim_key"], condition=Q(is_global=True), name="claim_once_for_all"
            ),
            models.CheckConstraint(condition=~Q(claim_key=""), name="claim_has_key"),
            WrittenOnce(column="journal_id", name="claim_written_once"),
        ]
        indexes = [
            models.Index(fields=["user", "-id"], name="claim_of_user"),
            models.Index(fields=["claim_type", "-id"], name="claim_of_type"),
        ]

    def __str__(self) -> str:
        return f"{self.claim_type} {self.claim_key}"


class ClaimCount(models.Model):
    """How often a user has claimed a type with a limit in a period; `period_key` is empty for all time."""

    claim_type = models.ForeignKey(ClaimType, models.CASCADE, related_name="+", db_index=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    period_key = models.CharField(max_length=20, blank=True)
    count = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["claim_type", "user", "period_key"], name="claim_count_once"),
        ]

    def __str__(self) -> str:
        return f"{self.count} × {self.claim_type_id}"


class ChargeClock(models.Model):
    """From when on a player's next drop charge regenerates, and the maximum he has reached by upgrades."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, models.PROTECT, related_name="charge_clock")
    extra_maximum = models.PositiveSmallIntegerField(default=0, help_text="On top of the maximum everybody has")
    counted_from = models.DateTimeField(help_text="Time before it has been counted")

    def __str__(self) -> str:
        return f"since {self.counted_from}"
