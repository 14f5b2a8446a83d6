"""Giving badges to whoever has earned them: the hourly check over everybody, and at once on events.

What takes them back stands in `revoking.py`, changed definitions in `versions.py`, the badges of the month's paid
rankings in `rankings.py`.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np
from django.conf import settings
from django.db import connection, transaction

from badges import bitmaps
from badges.criteria import ONE, checked, condition, period_keys, problem_of
from badges.errors import CriterionUnknown
from badges.giving import deactivated_users, give, in_steps, noted, user_ids_as_rows
from badges.models import ONCE, AwardedUsers, Badge, BadgeAward
from badges.rankings import award_paid_rankings
from badges.revoking import reinstate, revoke
from badges.versions import change_criteria
from rewards.activity.models import Counter
from rewards.alerts.services import open_subjects, raise_alert, resolve_alert
from rewards.common.columns import Column, read_columns
from rewards.common.database import table_of
from rewards.common.periods import Month
from rewards.jobs.progress import Steps, Unwatched
from rewards.ledger.errors import PayoutsPaused
from rewards.parameters.services import derived_cache, param
from rewards.users.models import User

__all__ = [
    "CheckResult",
    "award_at_once",
    "award_paid_rankings",
    "change_criteria",
    "check_badges",
    "rebuild",
    "reinstate",
    "revoke",
]

ALERT = "badge_not_given"

logger = logging.getLogger(__name__)


@dataclass
class CheckResult:
    """What a check gave: awards by badge (slug → how many), bonuses in whole units of the currency, badges of a month's
    ranking, those revoked because their ranking was reversed; and what could not be given: badge or ranking → a
    sentence that says why."""

    awards: dict[str, int] = field(default_factory=dict)
    bonus: int = 0
    rankings: int = 0
    revoked: int = 0
    paused: bool = False
    refused: dict[str, str] = field(default_factory=dict)

    @property
    def errors(self) -> list[str]:
        return [f"{what}: {sentence}" for what, sentence in self.refused.items()]

    @property
    def awarded(self) -> int:
        return sum(self.awards.values())

    def figures(self) -> dict[str, Any]:
        """For the job's results."""
        return {
            "awarded": self.awarded,
            "bonus": self.bonus,
            "rankings": self.rankings,
            "revoked": self.revoked,
            "paused": self.paused,
            "awards": self.awards,
            "errors": self.errors,
        }


# ------------------------------------------------------------------------------------------------------------ the check


def check_badges(at: datetime, progress: Steps | None = None) -> CheckResult:
    """Give every active badge to whoever has earned it and has not got it, with its bonus; each exactly once.

    Set-based, in steps of one transaction each; any number of checks may run at once, and one that dies is continued
    by the next. A badge that cannot be given, because its currency is unknown, say, is named in `errors` and by an
    alert; the others go on. Nothing is given while payouts are paused. `at` is now.
    """
    progress, result = progress or Unwatched(), CheckResult()
    check = _Check(at, progress, result)
    try:
        for badge in earnable_badges():
            if not progress.keep_going():
                break
            with noted(result.refused, badge.slug):
                check.give_to_all(badge)
        award_paid_rankings(at, progress, result)
    except PayoutsPaused:
        result.paused = True
    else:
        _tell(result.refused, all_were_tried=progress.keep_going())
    return result


def earnable_badges() -> list[Badge]:
    """The active badges that something earns, in their order."""
    return list(Badge.objects.filter(active=True).exclude(metric=""))


@dataclass
class _Check:
    at: datetime
    progress: Steps
    result: CheckResult

    def give_to_all(self, badge: Badge) -> None:
        """Raises what `give` does, and `CriterionUnknown`."""
        if problem := problem_of(badge):
            raise CriterionUnknown(problem)
        if all(self._give(badge, period_key) for period_key in period_keys(badge, self.at)):
            checked(badge, self.at)

    def _give(self, badge: Badge, period_key: str) -> bool:
        """Whether all who have earned it have it now: not when the time is over, or the badge was changed meanwhile."""
        known = bitmaps.Bitmap.stored(badge.pk, period_key)
        user_ids = bitmaps.unknown_users(condition(badge, period_key), known)
        if len(user_ids):
            user_ids = user_ids[~np.isin(user_ids, self._deactivated)]
        for part in in_steps(user_ids):
            if not self.progress.keep_going():
                return False
            given = give(badge, period_key, part, self.at, remembered=True)
            if given is None:
                return False
            self._count(badge, given)
        return True

    @cached_property
    def _deactivated(self) -> Column:
        """Read only when somebody is new: of those who have long had a badge nobody asks."""
        return deactivated_users()

    def _count(self, badge: Badge, given: int) -> None:
        if given:
            self.result.awards[badge.slug] = self.result.awards.get(badge.slug, 0) + given
            self.result.bonus += given * badge.bonus
        self.progress.step(successes=given)


def _tell(refused: dict[str, str], *, all_were_tried: bool) -> None:
    """An alert for each badge that could not be given; those of badges that could be again are closed."""
    for what, sentence in refused.items():
        raise_alert(ALERT, what, sentence)
    if all_were_tried:
        for what in open_subjects(ALERT) - refused.keys():
            resolve_alert(ALERT, what)


# -------------------------------------------------------------------------------------------------------------- at once


def follow_activity(user_ids: Collection[int], metrics: Collection[str], at: datetime) -> None:
    """Called after events were written: gives what they completed, unless they are so many users' that it would hold
    up an import; the hourly check finds those."""
    if len(user_ids) <= param("badges.at_once_users") and not _metrics_that_earn().isdisjoint(metrics):
        award_at_once(user_ids, at)


def award_at_once(user_ids: Collection[int], at: datetime) -> int:
    """Give these users what they have earned by counters, as `check_badges` would; how many awards.

    Opens a transaction for each badge. What cannot be given now is left to the check, which says why.
    """
    if not user_ids:
        return 0
    # Before it is asked who has earned them: what changes meanwhile is not given.
    badges = {badge.pk: badge for badge in earnable_badges()}
    given, refused = 0, dict[str, str]()
    with suppress(PayoutsPaused):
        for (badge_id, period_key), earned_by in _earned_by(user_ids, at).items():
            badge = badges.get(badge_id)
            for part in in_steps(np.array(sorted(earned_by), np.int64)) if badge else ():
                with noted(refused, badge.slug):
                    given += give(badge, period_key, part, at, remembered=False) or 0
    for slug, sentence in refused.items():
        logger.info("Badge %s is not given at once: %s", slug, sentence, extra={"event": "badge_not_given"})
    return given


def _earned_by(user_ids: Collection[int], at: datetime) -> dict[tuple[int, str], list[int]]:
    """(badge id, period key) → who of these users has earned it and was not given it."""
    month = Month.containing(at, settings.REWARDS_TIME_ZONE)
    rows, parameter = user_ids_as_rows(sorted(user_ids))
    tables = {"counters": Counter, "badges": Badge, "awards": BadgeAward, "users": User}
    sql = _EARNED.format(who=rows, one=ONE, **{name: table_of(model) for name, model in tables.items()})
    earned: defaultdict[tuple[int, str], list[int]] = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(sql, [parameter, ONCE, month.previous().key, month.key])
        for badge_id, period_key, user_id in cursor.fetchall():
            earned[badge_id, period_key].append(user_id)
    return earned


def _metrics_that_earn() -> frozenset[str]:
    """The counters of active badges, kept per process: seen within a second of a change."""
    cache = derived_cache()
    if ("badges", "metrics") not in cache:
        cache["badges", "metrics"] = frozenset(badge.metric for badge in earnable_badges())
    return cache["badges", "metrics"]


# Divided, not multiplied: a threshold need not fit 64 bits of millionths.
_EARNED = """
    SELECT badge.id, counter.month, counter.user_id FROM {who} who
    JOIN {users} owner ON owner.id = who.user_id AND owner.is_active
    JOIN {counters} counter ON counter.user_id = who.user_id
    JOIN {badges} badge ON badge.metric = counter.metric AND counter.quantity / {one} >= badge.threshold
    WHERE badge.active
    AND CASE badge.repeat WHEN 'once' THEN counter.month = %s ELSE counter.month IN (%s, %s) END
    AND NOT EXISTS (
        SELECT 1 FROM {awards} award
        WHERE award.user_id = counter.user_id AND award.badge_id = badge.id AND award.period_key = counter.month
    )
    ORDER BY badge.id, counter.month
"""


# -------------------------------------------------------------------------------------------------------------- rebuild


def rebuild() -> int:
    """Make the bitmaps anew from the awards; how many users' bits were wrong. Nothing is given or taken."""
    return sum(_rebuild_one(badge_id, period_key) for badge_id, period_key in _given_periods())


def _given_periods() -> list[tuple[int, str]]:
    """(badge id, period key) of all that the check has given, and of all bitmaps."""
    awards = BadgeAward.objects.exclude(badge__metric="").values_list("badge_id", "period_key").order_by()
    bitmaps_kept = AwardedUsers.objects.values_list("badge_id", "period_key").order_by()
    return sorted({*awards.distinct(), *bitmaps_kept.distinct()})


def _rebuild_one(badge_id: int, period_key: str) -> int:
    """Awards given meanwhile may be missing in it: each costs the check a look."""
    sql = (
        f"SELECT CAST(user_id AS bigint) FROM {table_of(BadgeAward)} "
        "WHERE badge_id = %s AND period_key = %s ORDER BY user_id"
    )
    with transaction.atomic():
        rows = AwardedUsers.objects.filter(badge=badge_id, period_key=period_key)
        list(rows.order_by("block").select_for_update(no_key=True).values_list("pk"))
        stored = bitmaps.Bitmap.stored(badge_id, period_key)
        right = bitmaps.Bitmap.of(read_columns(sql, [badge_id, period_key], 1)[0])
        if wrong := stored.differing(right):
            bitmaps.replace(badge_id, period_key, right)
    return wrong
