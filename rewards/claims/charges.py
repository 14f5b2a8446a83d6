"""Drop charges come back by themselves: one an hour, up to the player's maximum.

Nothing runs in the background. What is due is worked out when charges are read or about to change, and posted then.

The order of locks: a player's `ChargeClock` first (of several players in ascending user id), then accounts in
ascending id. Whoever changes a player's charges calls `regenerate` before anything else, so that what was due does
not get lost or counted twice, and so that two who change them wait for each other at the clock, not crosswise.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from rewards.audit.services import record
from rewards.claims.models import ChargeClock
from rewards.common.amounts import InvalidAmount
from rewards.common.database import insert_if_absent, require_transaction
from rewards.common.errors import ReasonMissing, RewardsError
from rewards.ledger import services as ledger
from rewards.ledger.models import Account, Currency
from rewards.parameters.services import param
from rewards.users.models import User

REGENERATING = "drop_charges"  # the currency


class AboveHardCap(RewardsError):
    """No player may have so many charges at once. Ask for a maximum within drop_charges.hard_cap."""

    code = "above_hard_cap"


@dataclass(frozen=True)
class Charges:
    """What a player has, what regeneration fills up to, and when the next charge comes (None: not before one is spent).

    Gifts may have brought `balance` above `maximum`.
    """

    balance: int
    maximum: int
    next_at: datetime | None


def charges(user: User, at: datetime) -> Charges:
    """The player's charges at `at`, with what is due by then whether it has been posted or not. Writes nothing."""
    clock = ChargeClock.objects.filter(user=user).first() or _new_clock(user)
    currency = _currency()
    if currency is None:
        return Charges(0, _maximum(clock), None)
    standing, maximum = _standing(user, currency), _maximum(clock)
    gain, counted_from = progress(clock.counted_from, at, standing, maximum, _period())
    full = standing + gain >= maximum
    return Charges(standing + gain, maximum, None if full else counted_from + _period())


def regenerate(user: User, at: datetime) -> int:
    """Post the charges that are due at `at`; how many it were.

    Locks the player's clock and keeps the lock until the caller's transaction ends: see above for the order. Never
    twice for the same time, never above the maximum. Where the currency does not exist or is not active, or `at` lies
    before what has been counted (a clock was put back), nothing changes.
    """
    require_transaction()
    currency = _currency()
    if currency is None:
        return 0
    clock = _locked_clock(user)
    gain, counted_from = progress(clock.counted_from, at, _standing(user, currency), _maximum(clock), _period())
    if gain:
        key = f"charges:{user.pk}:{clock.counted_from.isoformat()}"
        amount = currency.to_minor(gain)
        ledger.credit(user, currency, amount, key, "Drop charges came back.", kind="charge_regeneration")
    if counted_from != clock.counted_from:
        clock.counted_from = counted_from
        clock.save(update_fields=["counted_from"])
    return gain


def regenerate_before(users: Iterable[User], currency_code: str, at: datetime) -> None:
    """What must come before anything changes accounts of these users in a currency: `regenerate`, in the order of
    locks, where it is the one that regenerates. Requires a transaction."""
    if currency_code == REGENERATING:
        for user in sorted(users, key=lambda user: user.pk):
            regenerate(user, at)


def raise_maximum(user: User, to: int, *, reason: str, at: datetime) -> int:
    """Let the player's charges fill up to at least `to`; his maximum then. A maximum that high already stays.

    The goal is named, not the step: who repeats the request asks for what stands already. What was due under the
    old maximum is posted first. Requires a transaction. Raises `AboveHardCap`, `InvalidAmount`, `ReasonMissing`.
    """
    if type(to) is not int or to < 1:
        raise InvalidAmount("A maximum is a whole number of charges, 1 or more.")
    if not reason.strip():
        raise ReasonMissing
    if to > param("drop_charges.hard_cap"):
        raise AboveHardCap(f"No player may have more than {param('drop_charges.hard_cap')} charges at once.")
    regenerate(user, at)
    clock = _locked_clock(user)
    before = _maximum(clock)
    if to > before:
        clock.extra_maximum = to - param("drop_charges.maximum")
        clock.save(update_fields=["extra_maximum"])
        record("charge_maximum_raised", user=user, reason=reason, data={"from": before, "to": to})
    return max(before, to)


def progress(
    counted_from: datetime, at: datetime, standing: int, maximum: int, period: timedelta
) -> tuple[int, datetime]:
    """How many charges come to the `standing` ones until `at`, and up to when time is counted then. Pure.

    The timer runs only below the maximum: whole periods are counted, the rest of the time stays for the next charge;
    at the maximum or above it all time up to `at` is gone, and the next charge takes a whole period from when one is
    spent.
    """
    if at < counted_from:
        return 0, counted_from
    periods = (at - counted_from) // period
    gain = max(0, min(periods, maximum - standing))
    if standing + gain >= maximum:
        return gain, at
    return gain, counted_from + periods * period


# ----------------------------------------------------------------------------------------------------------- the steps


def _currency() -> Currency | None:
    return Currency.objects.filter(code=REGENERATING, active=True).first()


def _period() -> timedelta:
    return timedelta(seconds=param("drop_charges.regen_seconds"))


def _maximum(clock: ChargeClock) -> int:
    return min(param("drop_charges.maximum") + clock.extra_maximum, param("drop_charges.hard_cap"))


def _standing(user: User, currency: Currency) -> int:
    """Whole charges on the player's account; a user's own account has a floor, so its row is exact."""
    balance = Account.objects.filter(user=user, currency=currency, code="").values_list("balance", flat=True).first()
    return (balance or 0) // 10**currency.decimals


def _new_clock(user: User) -> ChargeClock:
    return ChargeClock(user=user, counted_from=user.date_joined)


def _locked_clock(user: User) -> ChargeClock:
    """The player's clock, locked; one that counts from when he joined is made where none is."""
    locked = ChargeClock.objects.select_for_update(no_key=True).filter(user=user)
    clock = locked.first()
    if clock is None:
        insert_if_absent(_new_clock(user), unique=["user"])
        clock = locked.get()
    return clock
