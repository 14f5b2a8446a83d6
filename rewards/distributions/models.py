"""A distribution: who took part, what a rule gave each of them, and whether it is paid."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from rewards.common.database import Reference, WholeNumber
from rewards.ledger.models import CLAIMABLE, Account, Currency, Journal

CHAIN = "chain"
"""The payout of a distribution whose rewards are claimed by their owners, and completed on the chain."""


class Distribution(models.Model):
    """One payout of a programme for a period. The unique (programme, period_key) row is the lock."""

    class Status(models.TextChoices):
        OPEN = "open"
        FROZEN = "frozen"
        ALLOCATED = "allocated"
        APPROVED = "approved"
        PAYING = "paying"
        PAID = "paid"
        REVERSED = "reversed"
        CANCELLED = "cancelled"
        FAILED = "failed"

    programme = models.CharField(max_length=120)
    period_key = models.CharField(max_length=40)
    starts_at = models.DateTimeField(null=True, help_text="Start of the period, included")
    ends_at = models.DateTimeField(null=True, help_text="End of the period, excluded")
    currency = models.ForeignKey(Currency, models.PROTECT, related_name="distributions")
    source_account = models.ForeignKey(Account, models.PROTECT, related_name="distributions")
    amount = models.BigIntegerField(default=0, help_text="Minor units to distribute")
    paid_amount = models.BigIntegerField(default=0, help_text="Minor units paid so far")
    carried_over = models.BigIntegerField(default=0, help_text="Minor units left for the next period")
    recipients = models.PositiveIntegerField(default=0, help_text="Rows with an amount above zero")
    participants = models.PositiveIntegerField(default=0, help_text="All rows")
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.OPEN)
    failed_from = models.CharField(max_length=10, blank=True, help_text="The stage a failed one continues from")
    rule = models.JSONField(default=dict)
    rule_version = models.BigIntegerField(null=True, help_text="The history record the rule came from")
    tie_policy = models.CharField(max_length=10, default="earliest")
    payout = models.CharField(
        max_length=6, default="ledger", help_text="ledger: paid to the users; chain: to be claimed by them"
    )
    approval_limit = models.BigIntegerField(null=True, help_text="Minor units from which a person approves")
    digest = models.CharField(max_length=64, blank=True, help_text="Merkle root over header and rows")
    late_events = models.PositiveIntegerField(default=0)
    results = models.JSONField(default=dict)
    error = models.TextField(blank=True)
    error_stack = models.TextField(blank=True)
    reason = models.TextField(blank=True, help_text="Why it was rejected or reversed")
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+", help_text="Empty: the schedule"
    )
    prepared_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        related_name="+",
        help_text="Who last changed its rule, participants or amount",
    )
    approved_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+")
    opened_at = models.DateTimeField(default=timezone.now)
    frozen_at = models.DateTimeField(null=True)
    allocated_at = models.DateTimeField(null=True)
    approved_at = models.DateTimeField(null=True)
    paying_at = models.DateTimeField(null=True)
    paid_at = models.DateTimeField(null=True)
    reversed_at = models.DateTimeField(null=True)
    failed_at = models.DateTimeField(null=True)
    seconds = models.JSONField(default=dict, help_text="Seconds of each stage")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["programme", "period_key"], name="distribution_once_per_period"),
            models.CheckConstraint(
                condition=Q(amount__gte=0) & Q(paid_amount__gte=0) & Q(carried_over__gte=0),
                name="distribution_amounts_not_negative",
            ),
            models.CheckConstraint(
                condition=Q(paid_amount__lte=models.F("amount")), name="distribution_pays_at_most_amount"
            ),
            WholeNumber(column="amount", name="distribution_amount_is_whole"),
        ]
        indexes = [
            models.Index(fields=["programme", "starts_at"], name="distribution_programme_start"),
            # What was paid in the last days, by whichever programme.
            models.Index(fields=["starts_at"], name="distribution_start"),
            models.Index(fields=["-opened_at"], name="distribution_newest"),
            models.Index(fields=["period_key", "-id"], name="distribution_period"),
            # Most are paid: newest first, whoever asks for those finds them by their ids.
            models.Index(fields=["status", "-id"], condition=~Q(status="paid"), name="distribution_not_paid"),
        ]
        permissions = [
            ("approve_distribution", "Can approve or reject a distribution"),
            ("run_distribution", "Can run and retry distributions"),
            ("reverse_distribution", "Can reverse a distribution"),
        ]

    def __str__(self) -> str:
        return f"{self.programme} {self.period_key}"

    @property
    def paid_into(self) -> str:
        """The code of the users' accounts that its chunks pay into: empty, their own ones."""
        return CLAIMABLE if self.payout == CHAIN else ""


class Reward(models.Model):
    """What one participant gets. Written once: whether it is paid follows from its chunk's journal, and with a payout
    on the chain from its claim (`chain_claim`), too."""

    class Status(models.TextChoices):
        ALLOCATED = "allocated"
        PAID = "paid"
        CLAIMABLE = "claimable"
        PROCESSING = "processing"
        FAILED = "failed"
        REVERSED = "reversed"
        NONE = "none"

    distribution = models.ForeignKey(
        Distribution, models.PROTECT, related_name="rewards", db_constraint=False, db_index=False
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="rewards", db_constraint=False, db_index=False
    )
    position = models.PositiveIntegerField(help_text="1-based place after tie-breaking")
    rank = models.PositiveIntegerField(help_text="Place in which equals share a number")
    score = models.CharField(max_length=80, help_text="Canonical decimal text")
    amount = models.BigIntegerField(help_text="Minor units; 0: took part")
    breakdown = models.JSONField(default=dict, help_text="Minor units from each slice that paid")
    inputs = models.JSONField(null=True, help_text="Further frozen inputs of the rule, as decimal text")
    salt = models.CharField(max_length=32, help_text="Hides the amount from neighbours; shown to its owner only")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["distribution", "position"], name="reward_one_per_position"),
            # The user first: it serves look-ups by user too, and nobody takes it for a way to a run of positions.
            models.UniqueConstraint(fields=["user", "distribution"], name="reward_one_per_user"),
            models.CheckConstraint(condition=Q(amount__gte=0), name="reward_amount_not_negative"),
            Reference(
                columns=["distribution_id"],
                to="rewards_distribution",
                to_columns=["id"],
                name="reward_distribution_exists",
            ),
            Reference(columns=["user_id"], to="rewards_user", to_columns=["id"], name="reward_user_exists"),
            WholeNumber(column="amount", name="reward_amount_is_whole"),
        ]

    def __str__(self) -> str:
        return f"{self.distribution_id}:{self.position}"


class DistributionChunk(models.Model):
    """A run of rows paid by one journal. Its root is a subtree of the digest, so paying checks what was approved."""

    distribution = models.ForeignKey(Distribution, models.PROTECT, related_name="chunks")
    number = models.PositiveIntegerField()
    first_position = models.PositiveIntegerField()
    last_position = models.PositiveIntegerField()
    recipients = models.PositiveIntegerField(help_text="Rows with an amount above zero")
    amount = models.BigIntegerField(help_text="Minor units: the sum of its rows")
    root = models.CharField(max_length=64, help_text="Merkle root of its leaves")
    journal = models.OneToOneField(Journal, models.PROTECT, null=True, related_name="chunk")
    paid_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["distribution", "number"], name="chunk_once_per_number"),
            models.CheckConstraint(condition=Q(amount__gte=0), name="chunk_amount_not_negative"),
        ]
        indexes = [
            models.Index(fields=["distribution"], condition=Q(paid_at__isnull=True), name="chunk_unpaid"),
        ]
