"""Badges: what earns them, and who holds them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models, transaction
from django.db.models import Q
from django.utils import timezone
from simple_history.models import HistoricalRecords

from badges.errors import BadgeLocked
from rewards.common.database import Reference
from rewards.common.periods import Month
from rewards.ledger.models import Journal

ONCE = ""
"""The period key of an award that is given once."""


class Badge(models.Model):
    """A definition. What earns it is locked once somebody holds it: a change makes a new version."""

    class Repeat(models.TextChoices):
        ONCE = "once", "Once"
        PER_PERIOD = "per_period", "Once a month, by the month's counter"

    slug = models.SlugField(max_length=80, unique=True)
    name = models.CharField(max_length=120)
    description = models.CharField(max_length=300, blank=True)
    icon = models.CharField(max_length=200, blank=True, help_text="An emoji, or the address of an image")
    metric = models.CharField(
        max_length=60, blank=True, help_text="A counter, or a fact such as user:wallet_connected. Empty: given by hand"
    )
    threshold = models.PositiveBigIntegerField(default=1, validators=[MinValueValidator(1)])
    unit = models.CharField(max_length=40, blank=True, help_text="What is counted, as in 2/5 wins")
    bonus = models.PositiveIntegerField(default=0, help_text="Points that come with it")
    repeat = models.CharField(max_length=10, choices=Repeat.choices, default=Repeat.ONCE)
    active = models.BooleanField(default=False, help_text="Whether it is given to whoever earns it")
    order = models.PositiveSmallIntegerField(default=0)
    from_month = models.CharField(
        max_length=7, blank=True, default="", editable=False,
        help_text="Of one for months: the oldest month for which the check still gives it",
    )  # fmt: skip
    version = models.PositiveIntegerField(default=1, editable=False, help_text="Counts changes of what earns it")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    history = HistoricalRecords(excluded_fields=["from_month"])

    CRITERIA = ("metric", "threshold", "repeat", "bonus")
    """The fields that are locked once somebody holds the badge."""

    class Meta:
        ordering = ["order", "id"]
        constraints = [
            models.CheckConstraint(condition=~Q(slug=""), name="badge_has_slug"),
            models.CheckConstraint(condition=Q(threshold__gte=1), name="badge_threshold_above_zero"),
        ]

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, new_version: bool = False, **kwargs: Any) -> None:
        """Raises `BadgeLocked` when somebody was given the badge and what earns it has changed.

        `new_version`: the caller has seen to it, see `badges.versions.change_criteria`.
        """
        with transaction.atomic():
            # Under the lock that those who give it share: nobody is given a badge that is being changed.
            stored = Badge.objects.select_for_update(no_key=True).filter(pk=self.pk).first()
            if stored is not None and not new_version:
                self._require_same_criteria(stored, kwargs.get("update_fields"))
            if self.active and not (stored is not None and stored.active and stored.repeat == self.repeat):
                # Nobody gets it for the months in which it was switched off.
                self.from_month = Month.containing(timezone.now(), settings.REWARDS_TIME_ZONE).previous().key
                if kwargs.get("update_fields") is not None:
                    kwargs["update_fields"] = {*kwargs["update_fields"], "from_month"}
            super().save(*args, **kwargs)

    def clean(self) -> None:
        """Raises `ValidationError` when nobody could ever earn it as it is."""
        from badges.criteria import problem_of

        if problem := problem_of(self):
            raise ValidationError(problem, code="criterion_unknown")

    def criteria(self) -> dict[str, Any]:
        """What earns it, and what comes with it."""
        return {name: self._meta.get_field(name).to_python(getattr(self, name)) for name in self.CRITERIA}  # type: ignore[union-attr]

    def was_given(self) -> bool:
        """Whether somebody was given it, also if it was revoked since: what earns it is locked then."""
        return self.pk is not None and BadgeAward.objects.filter(badge=self).exists()

    def _require_same_criteria(self, stored: Badge, update_fields: Collection[str] | None) -> None:
        before, after = stored.criteria(), self.criteria()
        changed = [name for name in self.CRITERIA if before[name] != after[name]]
        if update_fields is not None:
            changed = [name for name in changed if name in update_fields]
        if changed and stored.was_given():
            raise BadgeLocked(
                f"Somebody holds {self.slug}: its {' and '.join(changed)} are locked. Change them as a new version."
            )


class BadgeAward(models.Model):
    """That a user holds a badge. A revoked one stays, and stands in the way of another until it is reinstated."""

    badge = models.ForeignKey(Badge, models.PROTECT, related_name="awards", db_constraint=False, db_index=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="badge_awards", db_constraint=False, db_index=False
    )
    period_key = models.CharField(
        max_length=80, blank=True, default=ONCE, help_text="Empty, a month such as 2026-10, or category:month"
    )
    version = models.PositiveIntegerField(default=1, help_text="Of the badge, when it was given")
    awarded_at = models.DateTimeField(default=timezone.now)
    journal = models.ForeignKey(
        Journal, models.PROTECT, null=True, blank=True, related_name="+", db_constraint=False, db_index=False,
        help_text="That paid the bonus, to many at once or to this user",
    )  # fmt: skip
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+")
    reason = models.CharField(max_length=500, blank=True, help_text="Why it was revoked")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "badge", "period_key"], name="badge_award_once"),
            models.CheckConstraint(
                condition=Q(revoked_at=None, revoked_by=None) | ~Q(revoked_at=None), name="badge_award_revoked_by_whom"
            ),
            Reference(columns=["user_id"], to="rewards_user", to_columns=["id"], name="badge_award_user_exists"),
            Reference(columns=["badge_id"], to="badges_badge", to_columns=["id"], name="badge_award_badge_exists"),
            Reference(
                columns=["journal_id"], to="rewards_journal", to_columns=["id"], name="badge_award_journal_exists"
            ),
        ]
        # Whether anybody holds a badge, and its awards newest first, without a look at those of other badges.
        indexes = [models.Index(fields=["badge", "-id"], name="badge_award_of_badge")]
        permissions = [("revoke_badgeaward", "Can revoke and reinstate badges")]

    def __str__(self) -> str:
        return f"{self.badge} of {self.user} {self.period_key}".strip()


class AwardedUsers(models.Model):
    """Of whom the check knows that an award stands: a bit for each of 65,536 neighbouring user ids.

    A hint that spares a look into the awards for everybody who has long had the badge. A bit is set only with the award
    or after it, never taken back; one that is missing costs a look. `rebuild_badges` makes them anew from the awards.
    """

    badge = models.ForeignKey(Badge, models.CASCADE, related_name="+")
    period_key = models.CharField(max_length=80, blank=True, default=ONCE)
    block = models.PositiveBigIntegerField(help_text="User id // 65,536")
    bits = models.BinaryField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["badge", "period_key", "block"], name="awarded_users_one_block")]


class PaidRanking(models.Model):
    """The badges of a month's paid ranking: one row for each distribution, written before the first is given."""

    distribution = models.OneToOneField("rewards.Distribution", models.PROTECT, related_name="+")
    awarded = models.PositiveIntegerField(default=0, help_text="How many badges, once all are given")
    awarded_at = models.DateTimeField(null=True, blank=True, help_text="When all were given; empty until then")
    revoked_at = models.DateTimeField(
        null=True, blank=True, help_text="When they were revoked, because the ranking was reversed"
    )

    def __str__(self) -> str:
        return f"badges of {self.distribution}"
