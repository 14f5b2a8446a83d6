"""What a programme says about its payouts, and where the engine finds it.

A programme answers three questions; freezing, allocating, approving, paying, reversing and proving are the engine's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from rewards.allocation.rules import Measure
from rewards.common.errors import RewardsError
from rewards.common.periods import Period

if TYPE_CHECKING:
    from rewards.distributions.models import Distribution
    from rewards.ledger.models import Currency


@dataclass(frozen=True)
class Snapshot:
    """Who takes part, in position order (row 0 is position 1), as columns of equal length.

    `scores` decide the place and are kept with each reward as canonical decimal text; `measures` are further inputs
    of the rule (votes, ecc, …). Both are exact: scaled whole numbers.
    """

    user_ids: np.ndarray
    usernames: Sequence[str]
    scores: Measure
    measures: Mapping[str, Measure] = field(default_factory=dict)
    groups: Sequence[str] | None = None
    amounts: Sequence[int] | np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.user_ids)


@dataclass(frozen=True)
class Draft:
    """What a programme would freeze for a period, read without writing or locking anything. `amount` in minor units."""

    currency: Currency
    amount: int
    snapshot: Snapshot
    rule: Mapping[str, Any]
    tie_policy: str = "earliest"


@dataclass(frozen=True)
class LateChange:
    """What a recipient was given, and what it would have been had everything come in time; minor units."""

    username: str
    amount: int
    with_late_events: int


class NoPreview(RewardsError):
    """This period cannot be looked at before it is paid."""

    code = "no_preview"
    http_status = 409


class Programme(Protocol):
    """A class that derives from it says the first two; the others have an answer for who says nothing."""

    def amount(self, distribution: Distribution) -> int:
        """Minor units to share out. Called in the transaction that freezes; may accrue what is still open."""
        ...

    def snapshot(self, distribution: Distribution) -> Snapshot:
        """The participants, fixed from here on. Called in the same transaction, after `amount`."""
        ...

    def freeze(self, distribution: Distribution) -> tuple[int, Snapshot]:
        """Both, for who finds them together."""
        return self.amount(distribution), self.snapshot(distribution)

    def require_standing(self, distribution: Distribution) -> None:
        """Raise what has come to stand against it. Asked in the transaction that freezes, approves or pays a chunk."""
        return

    def due_periods(self, at: datetime) -> Iterable[Period]:
        """Periods due at `at` that have no distribution yet, oldest first."""
        return []

    def paid(self, distribution: Distribution) -> None:
        """What the programme records about a payout, in the transaction that completes it: rows, nothing foreign."""
        return

    def rejected(self, distribution: Distribution) -> None:
        """What the programme records about one that was not approved, in the transaction that cancels it."""
        return

    def draft(self, name: str, period_key: str, at: datetime) -> Draft:
        """What the period `period_key` of the programme `name` would freeze at `at`. It neither writes nor locks.

        Raises `NoPreview`, also for a period that there cannot be.
        """
        raise NoPreview()

    def late_changes(self, distribution: Distribution) -> list[LateChange]:
        """Who would have been given something else had the activity that came late come in time. A pure read."""
        return []


class UnknownProgramme(RewardsError):
    """No programme of that name is installed."""

    code = "unknown_programme"
    http_status = 404


_programmes: dict[str, Programme] = {}
_without_periods: set[str] = set()


def register(name: str, programme: Programme, *, has_periods: bool = True) -> None:
    """Make a programme known by its name, or by what stands before its colon (`monthly` for `monthly:students`).

    One without periods pays whenever there is something: the list of periods leaves it out.
    """
    _programmes[name] = programme
    if not has_periods:
        _without_periods.add(name)


def registered_programmes() -> dict[str, Programme]:
    return dict(_programmes)


def programmes_without_periods() -> set[str]:
    return set(_without_periods)


def programme_of(distribution: Distribution) -> Programme:
    """Raises `UnknownProgramme`."""
    return programme_named(distribution.programme)


def programme_named(name: str) -> Programme:
    """Raises `UnknownProgramme`."""
    found = _programmes.get(name) or _programmes.get(name.partition(":")[0])
    if found is None:
        raise UnknownProgramme(f"No programme {name!r} is installed: its payouts cannot be worked out here.")
    return found
