"""Reads over the ledger that span models."""

from __future__ import annotations

from datetime import datetime

from django.db.models import Exists, OuterRef, Q, QuerySet, Sum

from rewards.ledger.errors import UnknownCurrency
from rewards.ledger.models import BURN, CLAIMABLE, ISSUANCE, TREASURY, WRITE_OFF, Account, Currency, Transfer
from rewards.parameters.services import derived_cache
from rewards.users.models import User


def earnings(currency: Currency, at: datetime | None = None) -> QuerySet[Transfer]:
    """The transfers by which users have earned: out of a system account into a user's own, and not reversed.

    With `at`, as it was at that instant: a transfer counts from its own on and stops at that of its reversal.
    What users send each other is no earning. Nor is what a reversal gives back: it mirrors a spending. Nor what is
    written off: it stands in for a reward that was taken back. What is to be claimed on the chain is earned when it
    gets from his account `claimable` into his own.
    """
    until = Q() if at is None else Q(created_at__lte=at)
    reversals = Transfer.objects.filter(until, reverses=OuterRef("pk"))
    return Transfer.objects.filter(
        until,
        ~Exists(reversals),
        ~Q(debit_account__code=WRITE_OFF),
        Q(debit_account__user=None) | Q(debit_account__code=CLAIMABLE),
        currency=currency,
        reverses=None,
        credit_account__user__isnull=False,
        credit_account__code="",
    )


def earned(user: User, currency: Currency) -> int:
    """What a user has ever earned in a currency, in minor units. Spending does not lower it, a reversal does."""
    # By the currency of his account, too: of his others no transfer is looked at.
    mine = earnings(currency).filter(credit_account__user=user, credit_account__currency=currency)
    return int(mine.aggregate(total=Sum("amount", default=0))["total"])


def may_pay(code: str, currency: Currency) -> bool:
    """Whether payouts may come from the system account of that code: a slip of the pen would open an empty one."""
    if code in (ISSUANCE, TREASURY):
        return True
    return code != BURN and Account.objects.filter(user=None, code=code, currency=currency).exists()


def currency_named(code: str) -> Currency:
    """The currency of a code, kept per process: what an operator changes is seen within a second.

    Raises `UnknownCurrency`.
    """
    cache = derived_cache()
    if ("currency", code) not in cache:
        currency = Currency.objects.filter(code=code).first()
        if currency is None:
            raise UnknownCurrency(f"There is no currency {code!r}.", currency=code)
        cache["currency", code] = currency
    return cache["currency", code]
