"""The ledger: currencies, accounts, journals, transfers.

A transfer is one row that debits one account and credits another, so there is no unbalanced state to detect.
Journals and transfers are never changed: a mistake is corrected by a transfer that mirrors it.
"""

from __future__ import annotations

from django.conf import settings
from django.core.validators import MaxValueValidator
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from simple_history.models import HistoricalRecords

from rewards.common.amounts import to_positive_minor, to_units
from rewards.common.database import AppendOnly, MirrorsReversed, Reference, WholeNumber

ISSUANCE = "issuance"
TREASURY = "treasury"
BURN = "burn"
WRITE_OFF = "write_off"  # what was to be taken back and cannot be
DEBT = "debt"  # of a user: what was to be taken back from him and he has spent
CLAIMABLE = "claimable"  # of a user: what he was given and is his own once he has claimed it on the chain

# Where units come from, where they end, and what is given up: parts of everything that is issued or spent, so nobody is
# to wait for their rows. The first and the last go below zero.
WITHOUT_FLOOR = frozenset({ISSUANCE, BURN, WRITE_OFF})


class Currency(models.Model):
    """What is counted: money, points, XP, tokens, tickets."""

    code = models.SlugField(max_length=40, unique=True)
    name = models.CharField(max_length=80, blank=True)
    symbol = models.CharField(max_length=12, blank=True)
    decimals = models.PositiveSmallIntegerField(default=0, validators=[MaxValueValidator(8)])
    transferable = models.BooleanField(default=False, help_text="Users may send it to each other.")
    active = models.BooleanField(default=True)

    history = HistoricalRecords()

    class Meta:
        verbose_name_plural = "currencies"
        constraints = [models.CheckConstraint(condition=Q(decimals__lte=8), name="currency_decimals_0_to_8")]

    def __str__(self) -> str:
        return self.code

    def to_minor(self, value: object) -> int:
        """Minor units of an amount above zero in currency units. Raises `InvalidAmount`."""
        return to_positive_minor(value, self.decimals)

    def to_units(self, minor: int) -> str:
        """Decimal text in currency units of an amount in minor units."""
        return to_units(minor, self.decimals)


class Account(models.Model):
    """One per (user, currency), and one per (system code, currency).

    A user's own account has an empty code; more accounts of his (a debt, a staking position) carry one. `balance` is
    in minor units. It is exact at every commit for accounts with a floor and without slots; to the balance of the
    others belong also their `BalanceChange` rows. `services.balance` knows.
    """

    currency = models.ForeignKey(Currency, models.PROTECT, related_name="accounts", db_index=False)
    # The unique constraint on (user, currency, code) is its index.
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="accounts", db_index=False
    )
    code = models.CharField(max_length=80, blank=True, default="")
    balance = models.BigIntegerField(default=0)
    min_balance = models.BigIntegerField(null=True, default=0, help_text="Minor units; empty means no floor")
    slots = models.PositiveSmallIntegerField(
        default=0,
        db_default=0,
        help_text="In how many parts its balance is drawn from at once; 0: in one, by one after the other",
    )
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["user", "currency", "code"], condition=Q(user__isnull=False), name="account_one_per_user"
            ),
            models.UniqueConstraint(
                fields=["code", "currency"], condition=Q(user__isnull=True), name="account_one_per_system_code"
            ),
            models.UniqueConstraint(fields=["id", "currency"], name="account_id_with_currency"),
            models.CheckConstraint(condition=Q(user__isnull=False) | ~Q(code=""), name="account_has_owner"),
            models.CheckConstraint(
                condition=Q(min_balance__isnull=True) | Q(balance__gte=F("min_balance")), name="account_floor"
            ),
            # A user's account always has a floor: nobody but the system issues units.
            models.CheckConstraint(
                condition=Q(user__isnull=True) | Q(min_balance__isnull=False) | Q(code="debt"),
                name="account_of_user_has_floor",
            ),
            models.CheckConstraint(
                condition=Q(slots=0) | Q(min_balance__isnull=False), name="account_with_slots_has_floor"
            ),
            WholeNumber(column="balance", name="account_balance_is_whole"),
            WholeNumber(column="min_balance", name="account_floor_is_whole"),
        ]
        indexes = [models.Index(fields=["id"], condition=Q(code=DEBT), name="account_debt")]

    def __str__(self) -> str:
        owner = self.user.get_username() if self.user else ""
        return ":".join(part for part in (owner, self.code) if part) + f" ({self.currency})"

    @property
    def has_floor(self) -> bool:
        return self.min_balance is not None

    def is_apart(self, change: int) -> bool:
        """Whether such a change (minor units, signed) is made beside the row, so that nobody waits for it."""
        return not self.has_floor or (self.slots > 0 and change < 0)


class BalanceChange(models.Model):
    """What belongs to an account's balance beside its row, so that the row does not make the system single file.

    For an account without a floor: a change written because the row was busy; whoever finds it free folds it in.
    For one that is split: a slot, a part of the balance of its own, from which one draws while others draw from
    others. No slot goes below zero, so the account stays above its floor.
    """

    account = models.ForeignKey(Account, models.PROTECT, related_name="changes")
    slot = models.PositiveSmallIntegerField(null=True)
    amount = models.BigIntegerField(help_text="Minor units, signed")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["account", "slot"], condition=Q(slot__isnull=False), name="balance_slot_once"
            ),
            models.CheckConstraint(condition=Q(slot__isnull=True) | Q(amount__gte=0), name="balance_slot_floor"),
        ]


class Journal(models.Model):
    """Transfers that happen together, under a key that is used once."""

    key = models.CharField(max_length=200, unique=True)
    kind = models.CharField(max_length=60)
    reason = models.TextField(blank=True)
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="journals")
    source = models.CharField(max_length=200, blank=True, help_text="What caused it, e.g. distribution:12:0")
    fingerprint = models.CharField(max_length=64, help_text="SHA-256 of what it moves: tells a retry from a conflict")
    created_at = models.DateTimeField(default=timezone.now)
    metadata = models.JSONField(default=dict)

    class Meta:
        constraints = [
            AppendOnly(name="journal_append_only"),
            models.CheckConstraint(condition=~Q(key=""), name="journal_has_key"),
        ]
        indexes = [models.Index(fields=["kind", "-id"], name="journal_kind_newest")]

    def __str__(self) -> str:
        return self.key


class Transfer(models.Model):
    """`amount` minor units out of `debit_account` into `credit_account`, both in `currency`."""

    journal = models.ForeignKey(Journal, models.PROTECT, related_name="transfers", db_constraint=False, db_index=False)
    debit_account = models.ForeignKey(
        Account, models.PROTECT, related_name="debits", db_constraint=False, db_index=False
    )
    credit_account = models.ForeignKey(
        Account, models.PROTECT, related_name="credits", db_constraint=False, db_index=False
    )
    currency = models.ForeignKey(Currency, models.PROTECT, related_name="+", db_constraint=False, db_index=False)
    amount = models.BigIntegerField(help_text="Minor units, above zero")
    created_at = models.DateTimeField(default=timezone.now)
    reverses = models.ForeignKey("self", models.PROTECT, null=True, related_name="reversals", db_index=False)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(amount__gt=0), name="transfer_amount_above_zero"),
            models.CheckConstraint(
                condition=~Q(debit_account=F("credit_account")), name="transfer_between_two_accounts"
            ),
            Reference(columns=["journal_id"], to="rewards_journal", to_columns=["id"], name="transfer_journal_exists"),
            Reference(
                columns=["debit_account_id", "currency_id"],
                to="rewards_account",
                to_columns=["id", "currency_id"],
                name="transfer_debit_same_currency",
            ),
            Reference(
                columns=["credit_account_id", "currency_id"],
                to="rewards_account",
                to_columns=["id", "currency_id"],
                name="transfer_credit_same_currency",
            ),
            models.UniqueConstraint(
                fields=["reverses"], condition=Q(reverses__isnull=False), name="transfer_reversed_once"
            ),
            WholeNumber(column="amount", name="transfer_amount_is_whole"),
            AppendOnly(name="transfer_append_only"),
            MirrorsReversed(name="transfer_mirrors_reversed"),
        ]
        indexes = [
            # With the account: of a payout to everybody, what somebody got, be there ever so much of both.
            models.Index(fields=["journal", "credit_account"], name="transfer_journal"),
            models.Index(fields=["debit_account", "id"], name="transfer_debit"),
            models.Index(fields=["credit_account", "id"], name="transfer_credit"),
        ]

    def __str__(self) -> str:
        return f"transfer {self.pk}"


class Correction(models.Model):
    """What a person gave to a user or took from him, beside the journal that moved it.

    `amount` is signed: above zero it was given, from `against`; below zero it was taken, to `against`.
    """

    journal = models.OneToOneField(Journal, models.PROTECT, related_name="correction")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="corrections", db_index=False)
    currency = models.ForeignKey(Currency, models.PROTECT, related_name="+", db_index=False)
    amount = models.BigIntegerField(help_text="Minor units, signed: below zero it was taken")
    against = models.CharField(max_length=80, help_text="The system account on the other side")
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+", db_index=False)
    takes_back = models.OneToOneField("self", models.PROTECT, null=True, related_name="taken_back_by")
    created_at = models.DateTimeField()

    class Meta:
        permissions = [("post_correction", "Can give to and take from users within the limit")]
        constraints = [
            models.CheckConstraint(condition=~Q(amount=0), name="correction_is_not_nothing"),
            models.CheckConstraint(condition=~Q(user=F("actor")), name="correction_by_somebody_else"),
            WholeNumber(column="amount", name="correction_amount_is_whole"),
            AppendOnly(name="correction_append_only"),
        ]
        indexes = [
            models.Index(fields=["user", "-id"], name="correction_of_user"),
            # What somebody has corrected today: the daily limit.
            models.Index(fields=["actor", "currency", "created_at"], name="correction_of_day"),
        ]

    def __str__(self) -> str:
        return f"correction {self.pk}"
