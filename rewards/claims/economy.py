"""The game economy: the player services by the names that the product knows, each a few lines over ledger and claims.

All of them run in the caller's transaction if there is one, else in one of their own: what a caller does with several
of them inside `transaction.atomic()` happens together or not at all. Players are `User` rows, `currency` is a code,
amounts are in currency units (str, int or Decimal), `reason` is a sentence for the statement, `at` is now where left
out.

There are two kinds:

- *Postings* move units at once and return their `Journal`. `key` names the deed (an order, an encounter, a request
  made by the client), never the time of the call. The journal is `economy:<service>:<user id>:<key>`: the same call
  again returns the first journal and changes nothing, another amount or currency under it is an `IdempotencyConflict`.
- *Claims* give and take what the recipe of their type says, once, and return their `Claim`: see
  `rewards.claims.services.claim` for what they raise. A second call raises `AlreadyClaimed`, which carries the first.

Postings raise `InvalidKey`, `InvalidAmount` (not above zero, or more decimals than the currency has),
`UnknownCurrency`, `InactiveCurrency`, `IdempotencyConflict`, and `InsufficientFunds` where units are taken. Whoever's
drop charges change gets those that were due first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import transaction
from django.utils import timezone

from rewards.claims.charges import REGENERATING, raise_maximum, regenerate_before
from rewards.claims.errors import InvalidKey, UnknownCurrency
from rewards.claims.keys import LONGEST_KEY, is_key
from rewards.claims.models import Claim
from rewards.claims.recipes import recipe_of, rounded
from rewards.claims.services import claim
from rewards.ledger import services as ledger
from rewards.ledger.models import Account, Currency, Journal
from rewards.ledger.services import Move
from rewards.parameters.services import param
from rewards.users.models import User

Amount = str | int | Decimal

# ----------------------------------------------------------------------------------------------------------- postings


def add_resource(
    user: User, currency: str, amount: Amount, *, key: str, reason: str, at: datetime | None = None
) -> Journal:
    """Issue `amount` to the player."""
    return _post(ledger.credit, "add_resource", user, currency, amount, key, reason, at)


def subtract_resource(
    user: User, currency: str, amount: Amount, *, key: str, reason: str, at: datetime | None = None
) -> Journal:
    """Take `amount` from the player and burn it."""
    return _post(ledger.debit, "subtract_resource", user, currency, amount, key, reason, at)


def transfer_resource(
    from_user: User,
    to_user: User,
    currency: str,
    amount: Amount,
    *,
    key: str,
    reason: str,
    at: datetime | None = None,
) -> Journal:
    """Send `amount` from one player to another. Raises `NotTransferable` and `SameAccount` besides."""
    journal_key = _journal_key("transfer_resource", from_user, key)
    with transaction.atomic():
        found = _currency_for((from_user, to_user), currency, at)
        return ledger.transfer(from_user, to_user, found, found.to_minor(amount), journal_key, reason)


def add_shards(user: User, kind: str, amount: Amount, *, key: str, reason: str) -> Journal:
    """Issue shards of a kind: the currency `shard_<kind>`."""
    return _post(ledger.credit, "add_shards", user, f"shard_{kind}", amount, key, reason)


def subtract_shards(user: User, kind: str, amount: Amount, *, key: str, reason: str) -> Journal:
    """Take shards of a kind from the player and burn them."""
    return _post(ledger.debit, "subtract_shards", user, f"shard_{kind}", amount, key, reason)


def add_xp(user: User, amount: Amount, *, key: str, reason: str) -> Journal:
    """Issue experience points."""
    return _post(ledger.credit, "add_xp", user, "xp", amount, key, reason)


def spend_tokens(user: User, kind: str, amount: Amount, *, key: str, reason: str) -> Journal:
    """Take tokens of a kind (the currency `token_<kind>`) from the player and burn them."""
    return _post(ledger.debit, "spend_tokens", user, f"token_{kind}", amount, key, reason)


def add_drop_charges(user: User, amount: Amount, *, key: str, reason: str, at: datetime | None = None) -> Journal:
    """Give drop charges, also above the player's maximum: regeneration then waits until they are spent."""
    return _post(ledger.credit, "add_drop_charges", user, REGENERATING, amount, key, reason, at)


def award_floor_tokens(user: User, floor: int, *, key: str, reason: str) -> Journal | None:
    """Issue the tokens of a floor, milestones included; None where the floor gives none.

    They are those of the ascension recipe: its token lines, without lumees and XP. Of a floor that was won,
    `finalize_ascension_victory` gives them already. Raises what a recipe raises besides, e.g. `ContextRefused`.
    """
    journal_key = _journal_key("award_floor_tokens", user, key)
    recipe = recipe_of("ascension_victory")
    entries = recipe.evaluate(recipe.check_context({"floor": floor, "encounter_id": key}))
    tokens = [(entry.currency, entry) for entry in entries if entry.currency.startswith("token_")]
    if not tokens:
        return None  # most floors
    source = recipe.claim_type.funded_by
    with transaction.atomic():
        accounts = ledger.accounts({(owner, code) for code, _ in tokens for owner in (user, source)})
        moves = [
            Move(accounts[source, code], accounts[user, code], rounded(each, accounts[user, code].currency))
            for code, each in tokens
        ]
        return ledger.post(journal_key, "credit", moves, reason=reason)


# ------------------------------------------------------------------------------------------------------------- claims


def finalize_ascension_victory(user: User, floor: int, encounter_id: str, *, at: datetime | None = None) -> Claim:
    """Lumees and XP that grow with the floor, and its tokens. Once per floor and encounter."""
    return claim(user, "ascension_victory", None, {"floor": floor, "encounter_id": encounter_id}, at=at)


def finalize_pvp_victory(winner: User, loser: User, encounter_id: str, *, at: datetime | None = None) -> Claim:
    """Lumees and XP for both. Once per encounter, whoever is said to have won."""
    context = {"winner": winner.username, "loser": loser.username, "encounter_id": encounter_id}
    return claim(winner, "pvp_victory", None, context, at=at)


def finalize_pve_victory(user: User, enemy_id: str, encounter_id: str, *, at: datetime | None = None) -> Claim:
    """Lumees and XP for a fight against the game. Once per enemy and encounter."""
    return claim(user, "pve_victory", None, {"enemy_id": enemy_id, "encounter_id": encounter_id}, at=at)


def finalize_matron_victory(
    user: User, sector: int, encounter_id: str, *, boss: bool = False, at: datetime | None = None
) -> Claim:
    """Lumees and XP that grow with the sector, doubled for a boss; a drop charge and a catalyst. Once per encounter."""
    return claim(user, "matron_victory", None, {"sector": sector, "boss": boss, "encounter_id": encounter_id}, at=at)


def claim_daily_rewards(user: User, *, at: datetime | None = None) -> Claim:
    """Lumees and XP of the day of `at` in the product's time zone. Once a day."""
    return claim(user, "daily_quest", None, {}, at=at)


def redeem_token_for_summon(user: User, kind: str, *, key: str, at: datetime | None = None) -> Claim:
    """A ticket of a kind for its price in tokens of that kind. Once per `key`, the client's name of the request."""
    return claim(user, "token_redemption", key, {"kind": kind}, at=at)


def redeem_tokens_for_multi_summon(user: User, kind: str, count: int, *, key: str, at: datetime | None = None) -> Claim:
    """`count` tickets of a kind, and the bonus for so many, for their price in tokens. Once per `key`."""
    return claim(user, "multi_summon", key, {"kind": kind, "count": count}, at=at)


def execute_drop(user: User, *, key: str, player_class: str | None = None, at: datetime | None = None) -> Claim:
    """Auric coins for a drop charge, more for some classes of players. Once per `key`.

    Over the API the class is what the player's own client says, so it is a taste and no proof: see the parameter
    `drop_system.class_bonus`.
    """
    context = {} if player_class is None else {"player_class": player_class}
    return claim(user, "drop_execution", key, context, at=at)


def spend_stat_points(user: User, stat: str, points: int, *, key: str, at: datetime | None = None) -> Claim:
    """Turn stat points into as many points of a stat: energy, stamina or hp. Once per `key`."""
    return claim(user, "stat_points", key, {"stat": stat, "points": points}, at=at)


# -------------------------------------------------------------------------------------------------------------- stats


def increase_max_charges(user: User, to: int, *, reason: str, at: datetime | None = None) -> int:
    """Let the player's drop charges fill up to at least `to`; his maximum then.

    The goal is named and not the step, so that a request sent twice raises it once: no key is needed. A maximum that
    is higher already stays. Raises `AboveHardCap`, `InvalidAmount`, `ReasonMissing`.
    """
    with transaction.atomic():
        return raise_maximum(user, to, reason=reason, at=at or timezone.now())


@dataclass(frozen=True)
class DerivedStats:
    """What follows from the points that a player has put into his stats."""

    max_energy: int
    max_stamina: int
    max_hp: int


def derived_stats(user: User) -> DerivedStats:
    """The player's maxima by the parameters of today: base + per point × whole points. One query."""
    stats = ("energy", "stamina", "hp")
    rows = Account.objects.filter(user=user, code="", currency__code__in=[f"{stat}_points" for stat in stats])
    points = {
        code: balance // 10**decimals
        for code, balance, decimals in rows.values_list("currency__code", "balance", "currency__decimals")
    }
    return DerivedStats(
        *(
            param(f"player.progression.base_{stat}")
            + param(f"player.progression.{stat}_per_point") * points.get(f"{stat}_points", 0)
            for stat in stats
        )
    )


# ---------------------------------------------------------------------------------------------------------- the steps


def _post(
    move: Callable[[User, Currency, int, str, str], Journal],
    service: str,
    user: User,
    code: str,
    amount: Amount,
    key: str,
    reason: str,
    at: datetime | None = None,
) -> Journal:
    """`move` is the ledger's `credit` or `debit`."""
    journal_key = _journal_key(service, user, key)
    with transaction.atomic():
        currency = _currency_for((user,), code, at)
        return move(user, currency, currency.to_minor(amount), journal_key, reason)


def _currency_for(users: Iterable[User], code: str, at: datetime | None) -> Currency:
    """The currency; where it regenerates, what is due to these users is posted, in the order of locks of `charges`."""
    currency = Currency.objects.filter(code=code).first()
    if currency is None:
        raise UnknownCurrency(f"There is no currency {code!r}. Create it first.", currency=code)
    regenerate_before(users, code, at or timezone.now())
    return currency


def _journal_key(service: str, user: User, key: str) -> str:
    """No two services and no two users share a key. Raises `InvalidKey`."""
    prefix = f"economy:{service}:{user.pk}:"
    longest = LONGEST_KEY - len(prefix)
    if not is_key(key) or len(key) > longest:
        raise InvalidKey(f"A key is 1 to {longest} printable characters and neither starts nor ends with a space.")
    return prefix + key
