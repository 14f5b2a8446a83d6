"""Claiming: each deed is rewarded once.

The claim's unique row is written before anything is looked at that could change: whoever comes second with the same
key waits for the first and is then told its result, whatever has happened to the recipe, the limit or his balance
since. What fails later takes the row back.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from rewards.audit.services import new_event
from rewards.claims.charges import REGENERATING, regenerate
from rewards.claims.errors import (
    AlreadyClaimed,
    ClaimantMissing,
    ClaimTypeInactive,
    CreditWithoutDebit,
    LimitReached,
    NotForUsers,
    NothingToClaim,
    UnknownParty,
)
from rewards.claims.keys import LONGEST_KEY
from rewards.claims.models import Claim, ClaimCount, ClaimType, Line
from rewards.claims.recipes import Entry, Recipe, recipe_of, rounded
from rewards.common.database import execute_together, insert_if_absent, insert_sql, table_of
from rewards.common.errors import RewardsError
from rewards.common.periods import Day, Hour, Month, Period
from rewards.ledger import services as ledger
from rewards.ledger.models import BURN, ISSUANCE, Account
from rewards.ledger.posting import Held, Move
from rewards.users.models import User

SLOTS = 16
"""In so many parts the balance of an account that claims draw on is kept."""

logger = logging.getLogger(__name__)


def claim(
    user: User | None,
    claim_type: str,
    claim_key: str | None,
    context: Mapping[str, Any],
    *,
    by_user: bool = False,
    at: datetime | None = None,
) -> Claim:
    """Reward a deed by the recipe of `claim_type`, in one transaction (the caller's, if there is one).

    `user` is who claims; None where the recipe names its parties, of whom the first is then the claimant. The key
    names the deed; it may be left out where the type derives it from the context. `by_user` says that the user's own
    client asks, who may claim only what his type allows. Amounts in the claim's `result` are decimal text in currency
    units.

    Raises `AlreadyClaimed` with the first claim, the other errors of `rewards.claims.errors`, and those of the ledger
    such as `InsufficientFunds`; nothing is written then. Success and failure leave one structured log line each.
    """
    at = at or timezone.now()
    about = {
        "user": user.username if user else None,
        "claim_type": claim_type,
        "claim_key": claim_key and str(claim_key)[:LONGEST_KEY],
    }
    try:
        recipe = recipe_of(claim_type)
        key = recipe.derive_key(context, claim_key, at.astimezone(settings.REWARDS_TIME_ZONE).date())
        about["claim_key"] = key
        try:
            with transaction.atomic():
                made = _claim(recipe, user, key, context, by_user, at, ledger.hold_accounts)
        except _AccountsMissing:
            with transaction.atomic():
                made = _claim(recipe, user, key, context, by_user, at, _create_accounts)
    except Exception as error:
        _log_failure(error, about)
        raise
    result = cast(dict[str, Any], made.result)
    amounts = {"credits": result["credits"], "debits": result["debits"]}
    extra = {"event": "claim", **about, "user": made.user.username, "amounts": amounts, "success": True, "error": None}
    logger.info("Claimed %s %s", claim_type, key, extra=extra)
    return made


def public_result(claim: Claim) -> dict[str, Any]:
    """What a claim says to clients: {claim_id, claim_type, claim_key, credits, debits, balances}."""
    names = {"claim_id": claim.pk, "claim_type": claim.claim_type.slug, "claim_key": claim.claim_key}
    return {**names, **(claim.result or {})}


def _log_failure(error: Exception, about: Mapping[str, Any]) -> None:
    expected = isinstance(error, RewardsError)
    code = error.code if isinstance(error, RewardsError) else type(error).__name__
    logger.log(
        logging.WARNING if expected else logging.ERROR,
        "Could not claim %s %s: %s",
        about["claim_type"],
        about["claim_key"],
        error,
        exc_info=not expected,
        extra={"event": "claim", **about, "amounts": None, "success": False, "error": code},
    )


# ----------------------------------------------------------------------------------------------------------- the steps


@dataclass(frozen=True)
class _Part:
    """A line that was worked out, with its people and its amount in minor units."""

    user: User
    direction: str
    currency: str
    account: Account
    counterpart: Account
    amount: int

    @property
    def move(self) -> Move:
        credit = self.direction == Line.Direction.CREDIT
        debit_account, credit_account = (self.counterpart, self.account) if credit else (self.account, self.counterpart)
        return Move(debit_account, credit_account, self.amount)

    def shown(self) -> dict[str, str]:
        amount = self.account.currency.to_units(self.amount)
        return {"user": self.user.username, "currency": self.currency, "amount": amount}


class _AccountsMissing(Exception):
    """The claim touches an account that does not stand: it starts again, and creates it before it locks any."""


Accounts = Callable[[Collection[ledger.Owned]], tuple[dict[ledger.Owned, Account], Held | None] | None]


def _create_accounts(wanted: Collection[ledger.Owned]) -> tuple[dict[ledger.Owned, Account], None]:
    return ledger.accounts(wanted), None


def _claim(
    recipe: Recipe,
    user: User | None,
    key: str,
    context: Mapping[str, Any],
    by_user: bool,
    at: datetime,
    accounts: Accounts,
) -> Claim:
    claim_type = recipe.claim_type
    if by_user and claim_type.callers != ClaimType.Callers.USER:
        raise NotForUsers(f"Only the product's machine key may claim {claim_type.slug}.")
    claimant = user or _first_party(recipe, context)
    made = Claim(
        user=claimant,
        claim_type=claim_type,
        claim_key=key,
        is_global=claim_type.scope == ClaimType.Scope.GLOBAL,
        context=dict(context),
        claimed_at=at,
    )
    _write_once(made)
    _require_active(claim_type, at)
    entries = recipe.evaluate(recipe.check_context(context))
    _count(claim_type, claimant, at)
    users = _parties(claimant, entries)
    _regenerate(users, entries, at)
    parts, held = _parts(claim_type, users, entries, accounts)
    if by_user:
        _require_price(claim_type, parts)
    journal = ledger.post(
        f"claim:{made.pk}",
        "claim",
        [part.move for part in parts],
        reason=claim_type.title or claim_type.slug,
        actor=claimant if by_user else None,
        source=f"claim:{made.pk}",
        savepoint=False,
        held=held,
    )
    made.result = _result(claimant, parts)
    made.journal = journal
    _complete(made, actor=claimant if by_user else None)
    return made


def _write_once(made: Claim) -> None:
    """Write the claim's row, or raise `AlreadyClaimed` with the one that stands. Waits for one being made."""
    if made.is_global:
        written = insert_if_absent(made, unique=["claim_type", "claim_key"], where="is_global")
    else:
        written = insert_if_absent(made, unique=["user", "claim_type", "claim_key"], where="NOT is_global")
    if written:
        return
    same = Claim.objects.select_related("claim_type", "user", "journal").filter(
        claim_type=made.claim_type, claim_key=made.claim_key, is_global=made.is_global
    )
    first = same.get() if made.is_global else same.get(user=made.user)
    sentence = f"{made.claim_type} {made.claim_key} was claimed at {first.claimed_at.isoformat(timespec='seconds')}."
    raise AlreadyClaimed(sentence, claim=first)


def _complete(made: Claim, actor: User | None) -> None:
    """Fill the claim's row, and write the audit event."""
    result = cast(dict[str, Any], made.result)
    event = new_event(
        "claimed",
        user=made.user,
        actor=actor,
        reason=made.claim_type.slug,
        data={
            "claim_id": made.pk,
            "claim_key": made.claim_key,
            "credits": result["credits"],
            "debits": result["debits"],
        },
    )
    filled = f"UPDATE {table_of(Claim)} SET result = %s, journal_id = %s WHERE id = %s"
    execute_together((filled, [json.dumps(result), made.journal_id, made.pk]), insert_sql(event))


def _require_active(claim_type: ClaimType, at: datetime) -> None:
    if not claim_type.active:
        raise ClaimTypeInactive(f"{claim_type.slug} is switched off.")
    if claim_type.starts_at and at < claim_type.starts_at:
        raise ClaimTypeInactive(f"{claim_type.slug} starts at {claim_type.starts_at.isoformat()}.")
    if claim_type.ends_at and at >= claim_type.ends_at:
        raise ClaimTypeInactive(f"{claim_type.slug} ended at {claim_type.ends_at.isoformat()}.")


def _first_party(recipe: Recipe, context: Mapping[str, Any]) -> User:
    """The claimant where nobody is named: only a recipe all of whose lines name their parties can do without one."""
    parties = [line.party for line in recipe.lines]
    if not parties or not all(parties):
        raise ClaimantMissing()
    return _users([context.get(parties[0])])[context[parties[0]]]


def _users(usernames: Sequence[Any]) -> dict[str, User]:
    """Username → user. Raises `UnknownParty`."""
    names = {name for name in usernames if isinstance(name, str)}
    found = {user.username: user for user in User.objects.filter(username__in=names)}
    for name in usernames:
        if not isinstance(name, str) or name not in found:
            raise UnknownParty(f"There is no user {name!r}.", user=name)
    return found


# ---------------------------------------------------------------------------------------------------- limits and price


def _count(claim_type: ClaimType, user: User, at: datetime) -> None:
    """Count the claim against the limit. The row of the count makes claims of one user and type wait for each other."""
    if claim_type.limit_per_user is None:
        return
    period = _period(claim_type.limit_period, at)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table_of(ClaimCount)} AS counted (claim_type_id, user_id, period_key, count) "
            "VALUES (%s, %s, %s, 1) ON CONFLICT (claim_type_id, user_id, period_key) "
            "DO UPDATE SET count = counted.count + 1 WHERE counted.count < %s RETURNING count",
            [claim_type.pk, user.pk, period.key if period else "", claim_type.limit_per_user],
        )
        counted = cursor.fetchone()
    if counted is None:
        until = f" until {period.end.isoformat()}" if period else ""
        raise LimitReached(
            f"{claim_type.slug} can be claimed {claim_type.limit_per_user} times{until}.",
            limit=claim_type.limit_per_user,
            resets_at=period.end.isoformat() if period else None,
        )


def _period(limit_period: str, at: datetime) -> Period | None:
    """Hours are UTC, days and months those of the product's zone."""
    zone = settings.REWARDS_TIME_ZONE
    if limit_period == ClaimType.LimitPeriod.HOUR:
        return Hour.containing(at)
    if limit_period == ClaimType.LimitPeriod.DAY:
        return Day.containing(at, zone)
    if limit_period == ClaimType.LimitPeriod.MONTH:
        return Month.containing(at, zone)
    return None


def _require_price(claim_type: ClaimType, parts: Sequence[_Part]) -> None:
    """What the recipe promised when it was saved is looked at again, with the amounts: a price of zero is none."""
    gives = any(part.direction == Line.Direction.CREDIT for part in parts)
    takes = any(part.direction == Line.Direction.DEBIT for part in parts)
    if gives and not takes and claim_type.limit_per_user is None:
        raise CreditWithoutDebit()


# --------------------------------------------------------------------------------------------------------------- money


def _parties(claimant: User, entries: Sequence[Entry]) -> dict[str | None, User]:
    """Who is meant by the party of each line."""
    named = [entry.party for entry in entries if entry.party is not None]
    users: dict[str | None, User] = {None: claimant}
    if named:
        users.update(_users(named).items())
    return users


def _regenerate(users: Mapping[str | None, User], entries: Sequence[Entry], at: datetime) -> None:
    """Post the charges that are due to whoever's charges change, before they do.

    Comes before anything of theirs is locked or created: who waits for a player's clock must not hold an account that
    the one at the clock waits for.
    """
    whose = {users[entry.party] for entry in entries if entry.currency == REGENERATING}
    for user in sorted(whose, key=lambda user: user.pk):
        regenerate(user, at)


def _parts(
    claim_type: ClaimType, users: Mapping[str | None, User], entries: Sequence[Entry], find: Accounts
) -> tuple[list[_Part], Held | None]:
    """The lines with their accounts, locked, and whole amounts; what is less than a minor unit is left out."""
    sources = {Line.Direction.CREDIT: claim_type.funded_by, Line.Direction.DEBIT: BURN}
    wanted = {
        owner
        for entry in entries
        for owner in (
            (users[entry.party], entry.currency),
            (sources[Line.Direction(entry.direction)], entry.currency),
        )
    }
    if not wanted:
        raise NothingToClaim()
    standing = find(wanted)
    if standing is None:
        raise _AccountsMissing
    accounts, held = standing
    parts = []
    for entry in entries:
        user, source = users[entry.party], sources[Line.Direction(entry.direction)]
        account, counterpart = accounts[user, entry.currency], accounts[source, entry.currency]
        amount = rounded(entry, account.currency)
        if amount:
            parts.append(_Part(user, entry.direction, entry.currency, account, counterpart, amount))
    if not parts:
        raise NothingToClaim()
    _split_sources(claim_type, parts)
    return parts, held


def _split_sources(claim_type: ClaimType, parts: Sequence[_Part]) -> None:
    """The first claim that draws on a funded account splits it, so that later ones need not wait for each other."""
    if claim_type.funded_by == ISSUANCE:
        return
    for part in parts:
        if part.direction == Line.Direction.CREDIT and part.counterpart.has_floor and not part.counterpart.slots:
            ledger.split(part.counterpart, SLOTS)


def _result(claimant: User, parts: Sequence[_Part]) -> dict[str, Any]:
    own = {part.account.pk: part.account for part in parts if part.user == claimant}
    return {
        "credits": [part.shown() for part in parts if part.direction == Line.Direction.CREDIT],
        "debits": [part.shown() for part in parts if part.direction == Line.Direction.DEBIT],
        "balances": {account.currency.code: account.currency.to_units(account.balance) for account in own.values()},
    }
