"""What users hold, by double entry: what the system's own accounts lack. A few rows, not one for each user."""

from __future__ import annotations

from collections import Counter

from django.db.models import F, Q, QuerySet, Sum
from django.db.models.functions import Coalesce

from rewards.ledger.models import CLAIMABLE, Account, BalanceChange


def outstanding() -> Counter[int]:
    """Minor units that users hold, by the id of the currency: own balances, what is claimable or staked, less debts.

    Every currency sums to zero, so it is what the system's accounts, with their `BalanceChange` rows, are below zero.
    """
    rows = Account.objects.filter(user=None).order_by().values_list("currency").annotate(total=Sum("balance"))
    beside = BalanceChange.objects.filter(account__user=None).order_by().values_list("account__currency")
    held: Counter[int] = Counter()
    for currency_id, total in rows.union(beside.annotate(total=Sum("amount")), all=True):
        held[currency_id] -= int(total)
    return held


def claimable() -> Counter[int]:
    """Minor units that users may claim on the chain, by the id of the currency. Reads every account: for a job."""
    rows = Account.objects.filter(user__isnull=False, code=CLAIMABLE).order_by().values_list("currency")
    return Counter({currency_id: int(total) for currency_id, total in rows.annotate(total=Sum("balance"))})


def floored_accounts() -> QuerySet[Account]:
    """The system's accounts that must not run out, each with what it may still pay as `held`, in minor units.

    Escrows of single things, such as cases, are left out: they are filled once, and emptied.
    """
    beside = Coalesce(Sum("changes__amount"), 0)
    own = Account.objects.filter(Q(user=None), ~Q(code__startswith="case:"), min_balance__isnull=False)
    return own.annotate(held=F("balance") - F("min_balance") + beside).select_related("currency").order_by("code", "pk")
