"""Vote-funded pools: rates, accruals, and what is reported of each payout."""

from __future__ import annotations

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from simple_history.models import HistoricalRecords

from rewards.allocation.participants import TIE_POLICIES
from rewards.allocation.rules import RuleError
from rewards.common.fields import ExactDecimalField, ScaledDecimalField
from rewards.distributions.models import Distribution
from rewards.ledger.models import Currency, Journal
from rewards.pools.inputs import check_pool_rule
from rewards.pools.intake import PoolShares, check_shares


class Pool(models.Model):
    """A pool of what votes brought in, paid by a rule each hour or each day."""

    class Slug(models.TextChoices):
        HOURLY = "hourly"
        DAILY = "daily"

    slug = models.CharField(max_length=10, choices=Slug.choices, unique=True)
    title = models.CharField(max_length=80)
    currency = models.ForeignKey(Currency, models.PROTECT, related_name="pools")
    share = ExactDecimalField(
        null=True,
        blank=True,
        help_text="Fraction of the intake, rounded down to the minor unit; empty: the rest",
    )
    rule = models.JSONField(help_text="How a period is shared out, in the rule language of docs/rules.md")
    tie_policy = models.CharField(max_length=10, default="earliest")
    approval_limit = models.BigIntegerField(
        null=True, blank=True, help_text="Minor units from which a payout waits for approval; empty: none"
    )
    active = models.BooleanField(default=True)
    updated_at = models.DateTimeField(auto_now=True)

    history = HistoricalRecords()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(approval_limit__isnull=True) | Q(approval_limit__gte=0), name="pool_limit_not_negative"
            )
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def account_code(self) -> str:
        return f"pool:{self.slug}"

    @property
    def programme(self) -> str:
        return f"pool_{self.slug}"

    def clean(self) -> None:
        try:
            check_pool_rule(self.rule, self.currency.decimals if self.currency_id else 0)
        except RuleError as error:
            raise ValidationError({"rule": str(error)}, code=error.code) from error
        if self.tie_policy not in TIE_POLICIES:
            raise ValidationError({"tie_policy": f"Write one of {', '.join(TIE_POLICIES)}."}, code="tie_policy")
        shares = {pool.slug: pool.share for pool in Pool.objects.exclude(slug=self.slug)} | {self.slug: self.share}
        if len(shares) == 1:
            return
        try:
            check_shares(shares[Pool.Slug.HOURLY], shares[Pool.Slug.DAILY])
        except PoolShares as error:
            raise ValidationError({"share": error.message}, code=error.code) from error


class CcRate(models.Model):
    """Currency units per CC, and the market bonus rate, from an instant on."""

    starts_at = models.DateTimeField(unique=True)
    units_per_cc = ExactDecimalField(help_text="Currency units for one CC")
    bonus_rate = ExactDecimalField(default="0", help_text="Market bonus: fraction of the daily reward")

    history = HistoricalRecords()

    class Meta:
        verbose_name = "CC rate"

    def __str__(self) -> str:
        return f"{self.units_per_cc} from {self.starts_at:%Y-%m-%d %H:%M}"

    def clean(self) -> None:
        for name in ("units_per_cc", "bonus_rate"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValidationError({name: "A rate is not negative."})


class VoteWeight(models.Model):
    """How much a vote of a type counts towards ECC. Types that are not listed count 1."""

    vote_type = models.CharField(max_length=60, unique=True)
    weight = ExactDecimalField(default="1")

    history = HistoricalRecords()

    def __str__(self) -> str:
        return self.vote_type

    def clean(self) -> None:
        if self.weight is not None and self.weight < 0:
            raise ValidationError({"weight": "A weight is not negative."})


class Accrual(models.Model):
    """What one hour of votes brought into the pools. Once per hour; with it the hour is closed."""

    hour = models.DateTimeField(unique=True, help_text="Start of the UTC hour")
    currency = models.ForeignKey(Currency, models.PROTECT, related_name="+")
    votes = models.PositiveIntegerField(default=0)
    voters = models.PositiveIntegerField(default=0)
    cc_amount = ScaledDecimalField(scale=6, default=0)
    units_per_cc = ExactDecimalField(null=True)
    intake = models.BigIntegerField(default=0, help_text="Minor units")
    hourly_amount = models.BigIntegerField(default=0, help_text="Minor units to the hourly pool")
    daily_amount = models.BigIntegerField(default=0, help_text="Minor units to the daily pool")
    journal = models.OneToOneField(Journal, models.PROTECT, null=True, related_name="+")
    accrued_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(intake=models.F("hourly_amount") + models.F("daily_amount")), name="accrual_adds_up"
            )
        ]

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%dT%H}"


class CarryOver(models.Model):
    """What a period could not pay and a later one took up, written when that one is frozen: each unit is taken once.

    Usually the next period takes all of it. One that is rejected after the next was frozen is taken up by the first
    one frozen after that.
    """

    source = models.ForeignKey(Distribution, models.PROTECT, related_name="carried_to")
    target = models.ForeignKey(Distribution, models.PROTECT, related_name="carried_from")
    amount = models.BigIntegerField(help_text="Minor units")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["source", "target"], name="carry_over_once"),
            models.CheckConstraint(condition=Q(amount__gt=0), name="carry_over_above_zero"),
        ]

    def __str__(self) -> str:
        return f"{self.source_id} to {self.target_id}"


class RewardLog(models.Model):
    """One row per pool distribution: what was paid, to how many, by tier."""

    distribution = models.OneToOneField(Distribution, models.PROTECT, related_name="log")
    type = models.CharField(max_length=20, help_text="hourly, daily or cc_market")
    time = models.DateTimeField(help_text="Start of the period")
    total = models.BigIntegerField(help_text="Minor units paid")
    counts = models.JSONField(default=dict, help_text="Members per tier")
    ecc_cap = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = [models.Index(fields=["type", "-time"], name="reward_log_newest")]


class PartnerTransfer(models.Model):
    """Outbox: a special partner's rewards of one hour, on their way to the partner database."""

    partner = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="partner_transfers")
    time = models.DateTimeField(help_text="Start of the hour")
    amount = models.BigIntegerField(help_text="Minor units")
    currency = models.ForeignKey(Currency, models.PROTECT, related_name="+")
    attempts = models.PositiveIntegerField(default=0)
    last_error = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    sent_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["partner", "time"], name="partner_transfer_once_per_hour"),
        ]
        indexes = [
            models.Index(fields=["time"], condition=Q(sent_at__isnull=True), name="partner_transfer_unsent"),
        ]
