"""How every stage of a distribution begins and ends: who may, the row locked and read again, the row written."""

from __future__ import annotations

from typing import Any

from rewards.common.errors import ReasonMissing
from rewards.distributions.errors import NotAllowed
from rewards.distributions.models import Distribution
from rewards.users.models import User


def lock_row(distribution: Distribution, *expected: str) -> bool:
    """Lock the row and read it again; whether its status is one of those expected."""
    related = Distribution.objects.select_related("currency", "source_account__currency")
    distribution.refresh_from_db(from_queryset=related.select_for_update(no_key=True, of=("self",)))
    return distribution.status in expected


def update_row(distribution: Distribution, **values: Any) -> None:
    for name, value in values.items():
        setattr(distribution, name, value)
    distribution.save(update_fields=list(values))


def require_right(actor: User, right: str) -> None:
    """Raises `NotAllowed`."""
    if not actor.has_perm(f"rewards.{right}"):
        raise NotAllowed(f"{actor} may not do this: it takes the right {right!r}.")


def require_reason(reason: str) -> None:
    """Raises `ReasonMissing`."""
    if not reason.strip():
        raise ReasonMissing()
