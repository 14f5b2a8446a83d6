"""Reading badges: who has which, how far somebody is, and who would get one now."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.db import connection
from django.utils import timezone

from badges.criteria import condition, current_values, period_keys, problem_of
from badges.errors import CriterionUnknown
from badges.models import Badge, BadgeAward
from rewards.common.database import is_postgresql, table_of
from rewards.parameters.services import param
from rewards.users.models import User

SAMPLE = 20


@dataclass(frozen=True)
class BadgePreview:
    """Who would get a badge now: how many, what their bonuses come to, and the first of them by username.

    `bonus_total` is in whole units of the currency whose code is `currency`.
    """

    count: int
    bonus_total: int
    currency: str = ""
    usernames: list[str] = field(default_factory=list)


def get_user_badges(user: User) -> dict[str, Any]:
    """The JSON of `/profile/badges`: `{user_id, total_badges, badges: [{id, name, description, icon, earned_at,
    bonus_points}]}`, newest first.

    `user_id` is the username, `id` the badge's, `earned_at` ISO text in UTC, `bonus_points` what came with it. Inactive
    badges that one holds are among them, revoked ones are not. A badge given for several months is there once for each.
    """
    standing = BadgeAward.objects.filter(user=user, revoked_at=None).select_related("badge")
    awards = list(standing.order_by("-awarded_at", "-badge__order", "-pk"))
    bonuses = _earlier_bonuses(awards)
    badges = [
        {
            "id": award.badge_id,
            "name": award.badge.name,
            "description": award.badge.description,
            "icon": award.badge.icon,
            "earned_at": award.awarded_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
            "bonus_points": bonuses.get((award.badge_id, award.version), award.badge.bonus),
        }
        for award in awards
    ]
    return {"user_id": user.username, "total_badges": len(badges), "badges": badges}


def get_badge_progress(user: User, at: datetime | None = None) -> dict[str, Any]:
    """The JSON of `/profile/badges/progress`: `{user_id, progress: {earned, total, progress_details: [{badge_name,
    name, description, icon, earned, current, threshold, progress, bonus_points}]}}`.

    Over the active badges that something earns, in their order. `user_id` is the username, `badge_name` the slug,
    `current` and `threshold` are whole numbers, `progress` is text such as "2/5 wins", which ends at 5/5. `at` is now;
    it says which month counts.
    """
    at = at or timezone.now()
    badges = list(Badge.objects.filter(active=True).exclude(metric=""))
    values = current_values(user, badges, at)
    held = set(BadgeAward.objects.filter(user=user, revoked_at=None).values_list("badge_id", "period_key"))
    details = [
        {
            "badge_name": badge.slug,
            "name": badge.name,
            "description": badge.description,
            "icon": badge.icon,
            "earned": (badge.pk, period_keys(badge, at)[-1]) in held,
            "current": values[badge.pk],
            "threshold": badge.threshold,
            "progress": f"{min(values[badge.pk], badge.threshold)}/{badge.threshold} {badge.unit}".strip(),
            "bonus_points": badge.bonus,
        }
        for badge in badges
    ]
    earned = sum(bool(detail["earned"]) for detail in details)
    return {
        "user_id": user.username,
        "progress": {"earned": earned, "total": len(details), "progress_details": details},
    }


def preview(badge: Badge, at: datetime) -> BadgePreview:
    """How many and which users would get a badge, saved or not, if it were active now. A pure read.

    Who is deactivated, and who was given it before, is not among them. A badge for months counts once for each month
    that it would be given for now. Raises `CriterionUnknown`.
    """
    if problem := problem_of(badge):
        raise CriterionUnknown(problem)
    if not badge.metric:
        return BadgePreview(0, 0, param("badges.currency"))
    count, names = 0, []
    for period_key in period_keys(badge, at):
        would_get, parameters = _would_get(badge, period_key)
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT count(*) FROM {would_get}", parameters)
            count += cursor.fetchone()[0]
            order = 'owner.username COLLATE "C"' if is_postgresql() else "owner.username"
            cursor.execute(f"SELECT owner.username FROM {would_get} ORDER BY {order} LIMIT {SAMPLE}", parameters)
            names += [name for (name,) in cursor.fetchall()]
    return BadgePreview(count, count * badge.bonus, param("badges.currency"), sorted(set(names))[:SAMPLE])


# --------------------------------------------------------------------------------------------------------------- steps


def _earlier_bonuses(awards: Iterable[BadgeAward]) -> dict[tuple[int, int], int]:
    """(badge id, version) → the bonus it had, of the awards given under a version before the one in force."""
    earlier = {(award.badge_id, award.version) for award in awards if award.version != award.badge.version}
    if not earlier:
        return {}
    history = Badge.history.filter(id__in={badge_id for badge_id, _ in earlier}).order_by("history_date", "history_id")
    bonuses = {(badge_id, version): bonus for badge_id, version, bonus in history.values_list("id", "version", "bonus")}
    return {key: bonuses[key] for key in earlier & bonuses.keys()}


def _would_get(badge: Badge, period_key: str) -> tuple[str, list[Any]]:
    """The rest of a SELECT over those who would get it, the user being `owner`, and its parameters."""
    who = condition(badge, period_key)
    sql = (
        f"(SELECT {who.user_id} AS user_id FROM {who.table} WHERE {who.where}) who "
        f"JOIN {table_of(User)} owner ON owner.id = who.user_id WHERE owner.is_active"
    )
    parameters = [*who.parameters]
    if badge.pk is not None:
        sql += (
            f" AND NOT EXISTS (SELECT 1 FROM {table_of(BadgeAward)} award "
            "WHERE award.user_id = who.user_id AND award.badge_id = %s AND award.period_key = %s)"
        )
        parameters += [badge.pk, period_key]
    return sql, parameters
