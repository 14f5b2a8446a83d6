"""What earns a badge is locked once somebody holds it: a change makes a new version."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from badges.criteria import problem_of
from badges.errors import BadgeLocked, CriterionUnknown
from badges.models import Badge
from rewards.audit.services import record
from rewards.common.errors import ensure
from rewards.distributions.errors import NotAllowed
from rewards.users.models import User


def change_criteria(badge: Badge, actor: User, **criteria: Any) -> Badge:
    """Change some of `metric`, `threshold`, `repeat`, `bonus`; the badge as it is now.

    On a badge that somebody was given this makes a new version: its number goes up, its history keeps the one before,
    an award keeps the one it was given under, and who holds the badge keeps it and does not get it again. Therefore
    `repeat` stays as it is from then on: `BadgeLocked`. Nothing is written where nothing changes. Needs the right
    `badges.change_badge`. Raises `NotAllowed`, `CriterionUnknown`, and Django's `ValidationError` for values that do
    not fit their fields; nothing is changed then.
    """
    ensure(criteria.keys() <= set(Badge.CRITERIA), f"These are no criteria: {criteria.keys() - set(Badge.CRITERIA)}")
    if not actor.has_perm("badges.change_badge"):
        raise NotAllowed(f"{actor} may not do this: it takes the right 'change_badge'.")
    with transaction.atomic():
        changed = Badge.objects.select_for_update(no_key=True).get(pk=badge.pk)
        before = changed.criteria()
        for name, value in criteria.items():
            setattr(changed, name, value)
        _require_sense(changed)
        if (after := changed.criteria()) == before:
            return changed
        held = changed.was_given()
        if held and after["repeat"] != before["repeat"]:
            raise BadgeLocked(
                "Whether it is given once or every month stays once somebody holds it: make another badge."
            )
        changed.version += held
        changed._history_user = actor  # type: ignore[attr-defined]
        changed.save(new_version=True)
        record(
            "badge_criteria_changed", actor=actor,
            data={"badge": changed.slug, "version": changed.version, "before": before, "after": after},
        )  # fmt: skip
    return changed


def _require_sense(badge: Badge) -> None:
    """Raises `ValidationError`, `CriterionUnknown`."""
    badge.clean_fields(exclude={field.name for field in badge._meta.fields} - set(Badge.CRITERIA))
    if problem := problem_of(badge):
        raise CriterionUnknown(problem)
