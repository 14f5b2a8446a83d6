"""What users did: events, append-only, and the counters kept in step with them."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q

from rewards.common.database import AppendOnly, Reference, WholeNumber
from rewards.common.fields import ScaledDecimalField

QUANTITY_SCALE = 6


class ActivityEvent(models.Model):
    event_id = models.CharField(max_length=120)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="activity", db_constraint=False, db_index=False
    )
    metric = models.CharField(max_length=60)
    quantity = ScaledDecimalField(scale=QUANTITY_SCALE)
    occurred_at = models.DateTimeField()
    attributes = models.JSONField(default=dict)
    counted_month = models.CharField(
        max_length=7, null=True, help_text="The month it counts in; empty when it came too late for its month"
    )
    late = models.BooleanField(default=False, help_text="It came after its hour was closed: no payout looks at it")
    recorded_at = models.DateTimeField()

    class Meta:
        constraints = [
            # Not `unique=True`: PostgreSQL would get a second index over it, for LIKE, that nothing asks for.
            models.UniqueConstraint(fields=["event_id"], name="activity_event_once"),
            AppendOnly(name="activity_append_only"),
            Reference(columns=["user_id"], to="rewards_user", to_columns=["id"], name="activity_user_exists"),
            WholeNumber(column="quantity", name="activity_quantity_is_whole"),
            models.CheckConstraint(condition=~Q(event_id="") & ~Q(metric=""), name="activity_has_id_and_metric"),
        ]
        indexes = [
            models.Index(fields=["metric", "occurred_at"], name="activity_metric_time"),
            models.Index(fields=["user", "metric", "occurred_at"], name="activity_user_metric"),
            models.Index(fields=["metric", "occurred_at"], condition=Q(late=True), name="activity_late"),
            models.Index(
                fields=["metric", "occurred_at"], condition=Q(counted_month=None), name="activity_late_for_month"
            ),
        ]

    def __str__(self) -> str:
        return self.event_id


class Counter(models.Model):
    """The sum of a user's quantities of a metric: in all (`month` empty), and per local month (`2026-10`)."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="counters", db_constraint=False, db_index=False
    )
    metric = models.CharField(max_length=60)
    month = models.CharField(max_length=7, blank=True, default="")
    quantity = ScaledDecimalField(scale=QUANTITY_SCALE, default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "metric", "month"], name="counter_one_per_user_metric_month"),
            Reference(columns=["user_id"], to="rewards_user", to_columns=["id"], name="counter_user_exists"),
            WholeNumber(column="quantity", name="counter_quantity_is_whole"),
        ]
        indexes = [models.Index(fields=["metric", "month", "-quantity"], name="counter_ranking")]


class ClosedStretch(models.Model):
    """A stretch of time, half-open, whose events of a metric have been counted for payouts. Neighbours are merged.

    The metric `*month` stands for the months of all metrics (see `rewards.activity.services.MONTHS`).
    """

    metric = models.CharField(max_length=60)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(starts_at__lt=models.F("ends_at")), name="closed_stretch_forward"),
            models.UniqueConstraint(fields=["metric", "starts_at"], name="closed_stretch_one_start"),
        ]
