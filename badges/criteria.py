"""What can earn a badge: counters of activity, and facts about users. As SQL over everybody, and as values of one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings

from badges.models import ONCE, Badge
from rewards.activity.models import QUANTITY_SCALE, Counter
from rewards.common.amounts import MAX_MINOR
from rewards.common.database import sql_instant, table_of
from rewards.common.periods import Month, parse_instant
from rewards.parameters.services import param
from rewards.users.models import User

ONE = 10**QUANTITY_SCALE
"""One, as counters keep it."""

FACT_PREFIX = "user:"
WALLET_CONNECTED = "user:wallet_connected"
JOINED_IN_BETA = "user:joined_in_beta"
FACTS = (WALLET_CONNECTED, JOINED_IN_BETA)

MOST_MONTHS = 24
"""So far back a badge for months is given after checks did not come to their end."""


@dataclass(frozen=True)
class Condition:
    """The users who meet a criterion: `SELECT <user_id> FROM <table> WHERE <where>`, each once."""

    table: str
    user_id: str
    where: str
    parameters: tuple[Any, ...] = ()


def problem_of(badge: Badge) -> str:
    """Why what the badge says could not earn it, in a sentence; empty when it can."""
    if not badge.metric.startswith(FACT_PREFIX):
        return ""
    if badge.metric not in FACTS:
        return f"There is no fact {badge.metric!r}. There are {' and '.join(FACTS)}."
    if badge.threshold != 1:
        return "A fact holds or does not hold: its threshold is 1."
    if badge.repeat != Badge.Repeat.ONCE:
        return "A fact belongs to no month: a badge for it is given once."
    return ""


def period_keys(badge: Badge, at: datetime) -> list[str]:
    """The periods for which the badge can be earned at an instant: the one that all share, or months, oldest first.

    They are the current month and the one before; and those before that which no check has come to the end of, see
    `checked`. At most `MOST_MONTHS`.
    """
    if badge.repeat == Badge.Repeat.ONCE:
        return [ONCE]
    month = Month.containing(at, settings.REWARDS_TIME_ZONE)
    keys = [month.key, month.previous().key]
    while badge.from_month and keys[-1] > badge.from_month and len(keys) < MOST_MONTHS:
        month = month.previous()
        keys.append(month.previous().key)
    return keys[::-1]


def checked(badge: Badge, at: datetime) -> None:
    """A check has given all of the badge that was earned at an instant: the next one need not look further back than
    the month before. Until then it does, however long no check came to its end."""
    if badge.repeat == Badge.Repeat.PER_PERIOD:
        before = Month.containing(at, settings.REWARDS_TIME_ZONE).previous().key
        if badge.from_month != before:
            Badge.objects.filter(pk=badge.pk, version=badge.version, from_month=badge.from_month).update(
                from_month=before
            )


def condition(badge: Badge, period_key: str) -> Condition:
    """Who has earned the badge, deactivated users among them; for a month, by its counter."""
    if badge.metric == WALLET_CONNECTED:
        return Condition(table_of(User), "id", "wallet_address <> ''")
    if badge.metric == JOINED_IN_BETA:
        ends_at = beta_ends_at()
        if ends_at is None:
            return Condition(table_of(User), "id", "1 = 0")
        return Condition(table_of(User), "id", "date_joined < %s", (sql_instant(ends_at),))
    needed = min(badge.threshold * ONE, MAX_MINOR)
    where = "metric = %s AND month = %s AND quantity >= %s"
    return Condition(table_of(Counter), "user_id", where, (badge.metric, period_key, needed))


def current_values(user: User, badges: Iterable[Badge], at: datetime) -> dict[int, int]:
    """How far a user is with each badge, by its id: whole numbers of what is counted; for a fact 0 or 1."""
    badges = list(badges)
    keys = {badge.pk: period_keys(badge, at)[-1] for badge in badges}
    counters = Counter.objects.filter(
        user=user, metric__in={badge.metric for badge in badges}, month__in=set(keys.values())
    )
    counted = {
        (metric, month): int(total) for metric, month, total in counters.values_list("metric", "month", "quantity")
    }
    facts = _facts_of(user)
    return {
        badge.pk: facts[badge.metric] if badge.metric in FACTS else counted.get((badge.metric, keys[badge.pk]), 0)
        for badge in badges
    }


def beta_ends_at() -> datetime | None:
    """When the beta ends or ended; None while nobody has said."""
    text = param("badges.beta_ends_at")
    return parse_instant(text) if text else None


def _facts_of(user: User) -> dict[str, int]:
    ends_at = beta_ends_at()
    return {
        WALLET_CONNECTED: int(user.wallet_address != ""),
        JOINED_IN_BETA: int(ends_at is not None and user.date_joined < ends_at),
    }
