"""What a programme says about its payouts, and where the engine finds it.

A programme answers three questions; freezing, allocating, approving, paying, reversing and proving are the engine's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

import numpy as np

from rewards.allocation.rules import Measure
from rewards.common.errors import RewardsError
from rewards.common.periods import Period

if TYPE_CHECKING:
    from rewards.distributions.models import Distribution


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


class Programme(Protocol):
    def amount(self, distribution: Distribution) -> int:
        """Minor units to share out. Called in the transaction that freezes; may accrue what is still open."""
        ...

    def snapshot(self, distribution: Distribution) -> Snapshot:
        """The participants, fixed from here on. Called in the same transaction, after `amount`."""
        ...

    def due_periods(self, at: datetime) -> Iterable[Period]:
        """Periods due at `at` that have no distribution yet, oldest first."""
        ...

    def paid(self, distribution: Distribution) -> None:
        """What the programme records about a payout, in the transaction that completes it: rows, nothing foreign."""
        ...


class UnknownProgramme(RewardsError):
    """No programme of that name is installed."""

    code = "unknown_programme"
    http_status = 404


_programmes: dict[str, Programme] = {}


def register(name: str, programme: Programme) -> None:
    """Make a programme known by its name, or by what stands before its colon (`monthly` for `monthly:students`)."""
    _programmes[name] = programme


def registered_programmes() -> dict[str, Programme]:
    return dict(_programmes)


def programme_of(distribution: Distribution) -> Programme:
    """Raises `UnknownProgramme`."""
    name = distribution.programme
    found = _programmes.get(name) or _programmes.get(name.partition(":")[0])
    if found is None:
        raise UnknownProgramme(f"No programme {name!r} is installed: its payouts cannot be worked out here.")
    return found
