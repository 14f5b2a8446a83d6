"""What a pool held, walked back from what it holds now by the rows of its periods: never by their transfers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce
from operator import or_

from django.db.models import F, OuterRef, Q, Subquery, Sum, Value
from django.db.models.functions import Coalesce, Concat

from rewards.audit.models import AuditEvent
from rewards.distributions.models import DistributionChunk
from rewards.ledger.models import Account, BalanceChange, Transfer
from rewards.pools.models import Accrual, Pool
from rewards.pools.queries import TOP_UP

BY_HAND = (TOP_UP, "fund")
"""The kinds of journals that people post; they are as few as people are."""

# What is older than this when it is paid, or accrued, is not looked for.
OLDEST_PERIOD = timedelta(days=366)


@dataclass(frozen=True)
class Move:
    """What came into an account (above zero) or went out of it, in minor units."""

    at: datetime
    amount: int
    what: str


def held_by_pools() -> list[Pool]:
    """The pools with their currencies, each with its account (None: not yet) and what that holds, in minor units."""
    beside = BalanceChange.objects.filter(account=OuterRef("pk")).values("account").annotate(total=Sum("amount"))
    accounts = Account.objects.filter(
        user=None, currency=OuterRef("currency"), code=Concat(Value("pool:"), OuterRef("slug"))
    ).annotate(held=F("balance") + Coalesce(Subquery(beside.values("total")), 0))
    found = Pool.objects.select_related("currency").annotate(
        account_id=Subquery(accounts.values("pk")), held=Coalesce(Subquery(accounts.values("held")), 0)
    )
    return list(found.order_by("-slug"))


def pool_moves(pools: Sequence[Pool], since: datetime) -> dict[int, list[Move]]:
    """By the id of its account, what moved in each of these pools (`held_by_pools`) after `since`, oldest first.

    Exact for what the product does by itself, what is taken back, and what people post by hand.
    """
    accounts = {pool.account_id: pool for pool in pools if pool.account_id is not None}  # type: ignore[attr-defined]
    moves: dict[int, list[Move]] = defaultdict(list)
    for source in (_accrued(accounts, since), _paid(accounts, since), _taken_back(accounts, since),
                   _by_hand(accounts, since)):  # fmt: skip
        for account_id, move in source:
            moves[account_id].append(move)
    return {account_id: sorted(found, key=lambda move: move.at) for account_id, found in moves.items()}


def balances_at(held: int, moves: Sequence[Move], instants: Sequence[datetime]) -> list[int]:
    """The balance at each of these instants (that instant included), oldest first; `held` is the balance now."""
    balances, later = [], list(moves)
    for instant in reversed(instants):
        while later and later[-1].at > instant:
            held -= later.pop().amount
        balances.append(held)
    return balances[::-1]


# ---------------------------------------------------------------------------------------------------------- the sources


def _accrued(accounts: Mapping[int, Pool], since: datetime) -> Iterator[tuple[int, Move]]:
    rows = Accrual.objects.filter(hour__gte=since - OLDEST_PERIOD, journal__created_at__gt=since, intake__gt=0)
    columns = rows.values_list("currency", "journal__created_at", "hourly_amount", "daily_amount")
    for currency_id, at, hourly, daily in columns:
        for account_id, pool in accounts.items():
            amount = hourly if pool.slug == Pool.Slug.HOURLY else daily
            if amount and pool.currency_id == currency_id:
                yield account_id, Move(at, amount, "accrued")


def _paid(accounts: Mapping[int, Pool], since: datetime) -> Iterator[tuple[int, Move]]:
    chunks = DistributionChunk.objects.filter(
        distribution__source_account__in=list(accounts),
        distribution__opened_at__gte=since - OLDEST_PERIOD,
        # Stamped right after its journal: with it no journal of all the older chunks is looked up.
        paid_at__gt=since - timedelta(hours=1),
        journal__created_at__gt=since,
        amount__gt=0,
    )
    for account_id, at, amount in chunks.values_list("distribution__source_account", "journal__created_at", "amount"):
        yield account_id, Move(at, -amount, "paid")


def _taken_back(accounts: Mapping[int, Pool], since: datetime) -> Iterator[tuple[int, Move]]:
    """The audit has one event for each reversal, with its sum, of however many rewards."""
    events = AuditEvent.objects.filter(
        event_type="reversed", timestamp__gt=since, distribution__source_account__in=list(accounts)
    )
    for account_id, at, amount in events.values_list("distribution__source_account", "timestamp", "amount"):
        yield account_id, Move(at, amount or 0, "taken back")


def _by_hand(accounts: Mapping[int, Pool], since: datetime) -> Iterator[tuple[int, Move]]:
    """What people posted, and what mirrors it."""
    touches = reduce(or_, (Q(debit_account=pk) | Q(credit_account=pk) for pk in accounts), Q(pk__in=[]))
    posted = Transfer.objects.filter(touches, journal__kind__in=BY_HAND)
    columns = posted.values_list("debit_account", "credit_account", "amount", "created_at", "reversals__created_at")
    for debit, credit, amount, at, mirrored_at in columns:
        for account_id, signed in ((debit, -amount), (credit, amount)):
            if account_id in accounts and at > since:
                yield account_id, Move(at, signed, "by hand")
            if account_id in accounts and mirrored_at is not None and mirrored_at > since:
                yield account_id, Move(mirrored_at, -signed, "by hand")
