"""The month's ranking rewards: categories of users, and the job that pays a month."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group
from django.db import models
from django.db.models import Q
from django.utils import timezone
from simple_history.models import HistoricalRecords

from rewards.common.fields import ExactDecimalField
from rewards.ledger.models import ISSUANCE

PROGRAMME = "monthly"
"""Of the distributions: `monthly:<slug of the category>`, one for each month (`2026-10`)."""


KEPT = (
    "group_id", "score", "tiers", "tie_policy", "currency", "source", "amount", "approval_limit", "prepared_by_id",
)  # fmt: skip
"""What of a category decides a payout."""


class RankingCategory(models.Model):
    """Who is ranked against whom, by what, and what the places are paid."""

    slug = models.SlugField(max_length=60, unique=True)
    title = models.CharField(max_length=120, blank=True)
    group = models.ForeignKey(
        Group,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        help_text="Its active members take part. Empty: every active user",
    )
    score = models.JSONField(
        default=dict, help_text='Weights over the month\'s counters, such as {"tests_completed": "15"}'
    )
    tiers = models.JSONField(default=dict, help_text="The rule by which places are paid, in currency units")
    tie_policy = models.CharField(max_length=10, default="earliest")
    currency = models.CharField(max_length=40, default="coins", help_text="Its code")
    source = models.CharField(
        max_length=80, default=ISSUANCE, help_text="The system account that pays, such as issuance or treasury"
    )
    amount = ExactDecimalField(
        null=True, blank=True, help_text="Currency units to share out. Empty: every tier says what each place gets"
    )
    approval_limit = ExactDecimalField(
        null=True, blank=True, help_text="Currency units from which a person approves. Empty: nobody has to"
    )
    active = models.BooleanField(default=True)
    prepared_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        blank=True,
        editable=False,
        related_name="+",
        help_text="Who last changed it",
    )
    active_since = models.DateTimeField(
        default=timezone.now, editable=False, help_text="The schedule pays the months that end after it"
    )

    history = HistoricalRecords()

    class Meta:
        ordering = ["slug"]
        verbose_name_plural = "ranking categories"
        constraints = [models.CheckConstraint(condition=~Q(slug=""), name="ranking_category_has_slug")]

    def __str__(self) -> str:
        return self.slug

    @property
    def programme(self) -> str:
        return f"{PROGRAMME}:{self.slug}"

    def kept(self) -> dict[str, Any]:
        """As a job keeps it: JSON, with the version of its history."""
        kept = {name: getattr(self, name) for name in KEPT}
        amounts = {name: None if kept[name] is None else str(kept[name]) for name in ("amount", "approval_limit")}
        version = self.history.values_list("pk", flat=True).first()  # type: ignore[attr-defined]
        return kept | amounts | {"version": version}


class MonthlyRewardJob(models.Model):
    """The payout of a month. Its unique row is the lock; the distributions under it are `monthly:<category>`."""

    class Status(models.TextChoices):
        PROCESSING = "processing"
        COMPLETED = "completed"
        FAILED = "failed"

    year = models.PositiveSmallIntegerField()
    month = models.PositiveSmallIntegerField()
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.PROCESSING)
    started_at = models.DateTimeField(default=timezone.now)
    completed_at = models.DateTimeField(null=True, blank=True, help_text="When it was completed or failed")
    duration = models.FloatField(null=True, blank=True, help_text="Seconds from start to end")
    categories = models.JSONField(
        default=dict, help_text="Each category as it was when the month was started, or was tried again"
    )
    tries_failed = models.BooleanField(
        default=True, help_text="Whether the next run tries again what has failed: once, after a start or a retry"
    )
    results = models.JSONField(default=dict)
    error_message = models.TextField(blank=True)
    error_stack = models.TextField(blank=True)
    heartbeat_at = models.DateTimeField(
        null=True, blank=True, help_text="When the worker at it was last heard of. Empty: nobody is at it"
    )
    worker = models.CharField(max_length=120, blank=True, help_text="Who is at it; whoever takes over changes it")
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        help_text="Who started it by hand: he does not approve what it pays",
    )
    started_by = models.CharField(max_length=150, blank=True, help_text="A user, an API key, or the schedule")

    class Meta:
        ordering = ["-year", "-month"]
        constraints = [
            models.UniqueConstraint(fields=["year", "month"], name="monthly_job_once"),
            models.CheckConstraint(condition=Q(month__gte=1, month__lte=12), name="monthly_job_month_exists"),
        ]
        indexes = [models.Index(fields=["status"], condition=~Q(status="completed"), name="monthly_job_not_completed")]
        permissions = [("run_monthlyrewardjob", "Can start and retry the rewards of a month")]

    def __str__(self) -> str:
        return f"Rewards of {self.period_key}"

    @property
    def period_key(self) -> str:
        """As in `2026-10`."""
        return f"{self.year:04d}-{self.month:02d}"

    def category(self, slug: str) -> RankingCategory:
        """The category as the job keeps it; not to be saved. Raises `KeyError` for one that is not of this job."""
        return RankingCategory(slug=slug, **{name: self.categories[slug][name] for name in KEPT})

    def name(self) -> str:
        """As people write it: `10/2026`."""
        return f"{self.month}/{self.year}"


def no_results() -> dict[str, Any]:
    """The results of a job that has none yet."""
    return {"totalRewardsAwarded": 0, "totalCoinsAwarded": 0, "categories": {}, "errors": []}
