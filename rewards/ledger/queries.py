"""Reads over the ledger that span models."""

from __future__ import annotations

from django.db.models import Exists, OuterRef, QuerySet, Sum

from rewards.ledger.errors import UnknownCurrency
from rewards.ledger.models import Currency, Transfer
from rewards.parameters.services import derived_cache
from rewards.users.models import User


def earnings(currency: Currency) -> QuerySet[Transfer]:
    """The transfers by which users have earned: out of a system account into a user's own, and not reversed.

    What users send each other is no earning. Nor is what a reversal gives back: it mirrors a spending.
    """
    reversals = Transfer.objects.filter(reverses=OuterRef("pk"))
    return Transfer.objects.filter(
        ~Exists(reversals),
        currency=currency,
        reverses=None,
        debit_account__user=None,
        credit_account__user__isnull=False,
        credit_account__code="",
    )


def earned(user: User, currency: Currency) -> int:
    """What a user has ever earned in a currency, in minor units. Spending does not lower it, a reversal does."""
    mine = earnings(currency).filter(credit_account__user=user)
    return int(mine.aggregate(total=Sum("amount", default=0))["total"])


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
