"""Cases: a dilemma, a verdict committed before anyone votes, votes, arguments."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from simple_history.models import HistoricalRecords

from rewards.chain.models import ChainTransaction
from rewards.common.database import Reference
from rewards.common.fields import ExactDecimalField

PROGRAMME = "case"
"""Of the distributions: `case`, period key `case:<id>`."""


class Side(models.TextChoices):
    YES = "YES", "Yes"
    NO = "NO", "No"


class Case(models.Model):
    """A dilemma. Verdict, reasoning, confidence and nonce are empty here until it is closed (see `SealedVerdict`)."""

    class Status(models.TextChoices):
        DRAFT = "draft", "Draft (committed, not open yet)"
        PENDING_MODERATION = "pending_moderation", "Waits for moderation"
        ACTIVE = "active", "Open for votes"
        CLOSED = "closed", "Closed"
        VOID = "void", "Void"

    class Payout(models.TextChoices):
        LEDGER = "ledger", "In the ledger, when it is closed"
        CHAIN = "chain", "On the chain, when it is claimed"

    title = models.CharField(max_length=200)
    context = models.TextField(max_length=10_000)
    status = models.CharField(max_length=20, choices=Status.choices, default=Status.DRAFT)
    verdict = models.CharField(max_length=3, blank=True, choices=Side.choices, editable=False)
    reasoning = models.TextField(blank=True, editable=False)
    confidence = ExactDecimalField(null=True, blank=True, editable=False, help_text="0 to 1")
    nonce = models.CharField(max_length=64, blank=True, editable=False, help_text="64 hex digits")
    verdict_hash = models.CharField(
        max_length=64, blank=True, editable=False, help_text="SHA-256 of verdict|reasoning|nonce in lower-case hex"
    )
    commitment = models.OneToOneField(
        ChainTransaction, models.PROTECT, null=True, blank=True, editable=False, related_name="case"
    )
    opens_at = models.DateTimeField(null=True, blank=True)
    closes_at = models.DateTimeField(null=True, blank=True)
    closed_at = models.DateTimeField(null=True, blank=True, editable=False)
    settled_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="When all that follows from its closing was done"
    )
    reward_pool = models.PositiveBigIntegerField(default=0, help_text="Whole units of points in its escrow")
    payout = models.CharField(max_length=6, choices=Payout.choices, default=Payout.LEDGER)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="cases",
        help_text="Empty: generated",
    )
    dilemma = models.CharField(
        max_length=80, blank=True, editable=False, help_text="Key of a built-in dilemma: none comes again too soon"
    )
    dilemma_use = models.PositiveIntegerField(
        default=0, editable=False, help_text="Which use of that dilemma this is, counted from 1"
    )
    yes_votes = models.PositiveIntegerField(default=0, editable=False)
    no_votes = models.PositiveIntegerField(default=0, editable=False)
    moderated_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, editable=False, related_name="+"
    )
    reason = models.TextField(blank=True, help_text="Why it was rejected, or made void")
    error = models.TextField(blank=True, editable=False, help_text="What the last job that failed with it said")
    failures = models.PositiveIntegerField(
        default=0, editable=False, help_text="How often in a row a job failed with it"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    history = HistoricalRecords(
        excluded_fields=["verdict", "reasoning", "confidence", "nonce", "yes_votes", "no_votes", "error", "failures"]
    )

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(status="closed") | Q(verdict="", reasoning="", nonce="", confidence=None),
                name="case_verdict_hidden_until_closed",
            ),
            models.CheckConstraint(
                condition=Q(opens_at=None) | Q(closes_at=None) | Q(opens_at__lt=F("closes_at")),
                name="case_closes_later",
            ),
            # Of two that choose the same dilemma at the same moment one chooses again.
            models.UniqueConstraint(
                fields=["dilemma", "dilemma_use"], condition=~Q(dilemma=""), name="case_dilemma_use_once"
            ),
        ]
        indexes = [
            models.Index(fields=["closes_at"], condition=Q(status="active"), name="case_to_close"),
            models.Index(fields=["id"], condition=Q(status="closed", settled_at=None), name="case_to_settle"),
            models.Index(fields=["status", "-id"], name="case_status"),
        ]
        permissions = [("moderate_case", "Can approve, reject and void cases")]

    def __str__(self) -> str:
        return self.title

    @property
    def period_key(self) -> str:
        return f"case:{self.pk}"

    @property
    def escrow(self) -> str:
        """The code of the system account that holds its reward pool."""
        return f"case:{self.pk}"


class SealedVerdict(models.Model):
    """What is hidden until the case is closed. It stands apart, so that whoever reads, logs or exports a case has none
    of it in his hands."""

    case = models.OneToOneField(Case, models.PROTECT, related_name="sealed")
    verdict = models.CharField(max_length=3, choices=Side.choices)
    reasoning = models.TextField()
    confidence = ExactDecimalField(help_text="0 to 1")
    nonce = models.CharField(max_length=64)

    def __str__(self) -> str:
        return f"Sealed verdict of case {self.case_id}"

    __repr__ = __str__


class CaseVote(models.Model):
    case = models.ForeignKey(Case, models.PROTECT, related_name="votes", db_constraint=False, db_index=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="case_votes", db_constraint=False, db_index=False
    )
    side = models.CharField(max_length=3, choices=Side.choices)
    voted_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["case", "user"], name="case_vote_once"),
            Reference(columns=["user_id"], to="rewards_user", to_columns=["id"], name="case_vote_user_exists"),
            Reference(columns=["case_id"], to="rewards_case", to_columns=["id"], name="case_vote_case_exists"),
        ]

    def __str__(self) -> str:
        return f"{self.case_id}:{self.user_id} {self.side}"


class Argument(models.Model):
    case = models.ForeignKey(Case, models.PROTECT, related_name="arguments", db_index=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="arguments", db_index=False)
    side = models.CharField(max_length=3, choices=Side.choices)
    text = models.TextField(max_length=2_000)
    likes = models.PositiveIntegerField(default=0, editable=False)
    top_place = models.PositiveSmallIntegerField(null=True, blank=True, editable=False, help_text="1 to 3, once closed")
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["case", "user"], name="argument_once"),
            models.UniqueConstraint(fields=["case", "top_place"], name="argument_one_at_each_place"),
            models.CheckConstraint(
                condition=Q(top_place=None) | Q(top_place__gte=1, top_place__lte=3), name="argument_top_three"
            ),
        ]
        indexes = [
            models.Index(fields=["case", "-likes", "created_at"], name="argument_best"),
            models.Index(fields=["case", "-id"], name="argument_newest"),
        ]

    def __str__(self) -> str:
        return f"{self.case_id}:{self.user_id}"


class ArgumentLike(models.Model):
    argument = models.ForeignKey(Argument, models.PROTECT, related_name="liked_by", db_index=False)
    case = models.ForeignKey(Case, models.PROTECT, related_name="+", db_index=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+", db_index=False)
    liked_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["argument", "user"], name="argument_like_once"),
        ]
        indexes = [models.Index(fields=["case", "user"], name="argument_likes_of_a_user")]

    def __str__(self) -> str:
        return f"{self.argument_id}:{self.user_id}"
