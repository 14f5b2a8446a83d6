"""How long the accounts that pay will last, and an alert before one of them runs dry.

What moves in a pool is known from the rows of its periods. Of every other account the hourly watch notes the balance:
whatever draws on it, payouts, claims or corrections, shows in how that changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from typing import Any

from rewards.alerts.services import CRITICAL, WARNING, open_subjects, raise_alert, resolve_alert
from rewards.distributions.missed import alert_missed_periods
from rewards.jobs.models import JobRun
from rewards.ledger.liability import claimable, floored_accounts
from rewards.ledger.models import Account
from rewards.parameters.services import param
from rewards.pools.balances import Move, held_by_pools, pool_moves

NEARLY_DRY = "pool_nearly_dry"
WATCHED_BY = "check_ledger"
LOOKED_BACK = timedelta(days=7)
ONE_DAY = timedelta(days=1)
# Periods pay out in bursts: unless more than this part of what went out was not made up for, it is as good as even.
EVEN_WITHIN = Fraction(1, 4)


@dataclass(frozen=True)
class Runway:
    """What an account may still pay, and what came in and went out in `span`; minor units. None: nothing is known."""

    account: Account
    held: int
    inflow: int | None
    outflow: int | None
    span: timedelta
    is_pool: bool = False

    def per_day(self, amount: int) -> int:
        return round(amount * Fraction(ONE_DAY // timedelta(seconds=1), max(1, self.span // timedelta(seconds=1))))

    @property
    def falls(self) -> bool:
        """Whether it pays more than comes in, by more than a burst."""
        if self.inflow is None or self.outflow is None:
            return False
        return self.outflow - self.inflow > self.outflow * EVEN_WITHIN

    @property
    def days_left(self) -> float | None:
        """Days until it is empty at the rate of `span`; None where it does not fall."""
        if not self.falls or self.outflow is None or self.inflow is None:
            return None
        return float(Fraction(self.held, self.outflow - self.inflow)) * (self.span / ONE_DAY)


@dataclass(frozen=True)
class Watch:
    """What a watch noted: when, the balance of each account by its id, what is claimable by the currency's id."""

    at: datetime
    balances: Mapping[str, int]
    claimable: Mapping[str, int]


def watch(at: datetime) -> dict[str, Any]:
    """Raise and resolve the alerts about what will go wrong, or did not begin; note the balances of the accounts.

    Returns what the job keeps: the next watches read it.
    """
    missed = alert_missed_periods(at)
    found = runways(at)
    alert_nearly_dry(found)
    noted = {str(each.account.pk): each.held for each in found}
    on_chain = {str(currency_id): amount for currency_id, amount in claimable().items()}
    return {"missed_periods": missed, "watch": {"at": at.isoformat(), "balances": noted, "claimable": on_chain}}


def runways(at: datetime) -> list[Runway]:
    """Of every account of the system that must not run out. Bounded by periods and watches, not by transfers."""
    since = at - LOOKED_BACK
    pools = {pool.account_id: pool for pool in held_by_pools()}  # type: ignore[attr-defined]
    moves, seen = pool_moves(list(pools.values()), since), watches(since)
    found = []
    for account in floored_accounts():
        if account.pk in pools:
            found.append(_of_pool(account, moves.get(account.pk, ()), since, at))
        else:
            found.append(_of_watched(account, seen, at))
    return found


def watches(since: datetime) -> list[Watch]:
    """What the hourly watches noted from an instant on, oldest first."""
    runs = JobRun.objects.filter(job=WATCHED_BY, started_at__gte=since, results__watch__isnull=False)
    noted = runs.order_by("started_at").values_list("results__watch", flat=True)
    return [Watch(datetime.fromisoformat(each["at"]), each["balances"], each["claimable"]) for each in noted]


def _of_pool(account: Account, moves: Sequence[Move], since: datetime, at: datetime) -> Runway:
    inflow = sum(move.amount for move in moves if move.amount > 0)
    outflow = -sum(move.amount for move in moves if move.amount < 0)
    span = max(ONE_DAY, at - max(since, account.created_at))
    return Runway(account, _held(account), inflow, outflow, span, is_pool=True)


def _of_watched(account: Account, seen: Sequence[Watch], at: datetime) -> Runway:
    """Of the rises and falls between one watch and the next, and now."""
    name, held = str(account.pk), _held(account)
    known = [(each.at, each.balances[name]) for each in seen if name in each.balances and each.at <= at]
    if not known:
        return Runway(account, held, None, None, LOOKED_BACK)
    changes = [later - earlier for earlier, later in pairwise([*(balance for _, balance in known), held])]
    inflow, outflow = sum(change for change in changes if change > 0), -sum(change for change in changes if change < 0)
    return Runway(account, held, inflow, outflow, max(ONE_DAY, at - known[0][0]))


def _held(account: Account) -> int:
    return int(account.held)  # type: ignore[attr-defined]


def alert_nearly_dry(found: Iterable[Runway]) -> None:
    """An open alert for each account that will not last `pools.runway_alert_days`; resolved when it does again."""
    limit, short = param("pools.runway_alert_days"), set()
    for each in found:
        days = each.days_left
        if days is None or days >= limit:
            continue
        subject = str(each.account)
        short.add(subject)
        raise_alert(NEARLY_DRY, subject, _sentence(each, days), CRITICAL if days < 1 else WARNING)
    for subject in open_subjects(NEARLY_DRY) - short:
        resolve_alert(NEARLY_DRY, subject)


def _sentence(each: Runway, days: float) -> str:
    currency = each.account.currency
    rate = each.per_day((each.outflow or 0) - (each.inflow or 0))
    lasts = f"lasts {days:.1f} more days" if days >= 1 else f"lasts {days * 24:.0f} more hours"
    return (
        f"It holds {currency.to_units(each.held)} {currency.code} and loses {currency.to_units(rate)} a day: at this "
        f"rate it {lasts}. Fund it, or lower what it pays."
    )
