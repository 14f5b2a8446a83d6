"""What accrues until it is paid: whoever knows how registers it here.

Nothing accrued stands in the queue. It has an id of its own, the same until it is paid, and gets its row when it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from rewards.pending.models import PendingReward
from rewards.users.models import User

if TYPE_CHECKING:
    from rewards.pending.owed import Owed


class AccrualSource(Protocol):
    """A kind of accrual: staking, running time."""

    reward_type: str

    def claims(self, reward_id: str) -> bool:
        """Whether an id is one that this source gives."""
        ...

    def pending(self, user: User | None, deployment: Any, at: datetime) -> list[Owed]:
        """What has accrued by `at`: to a user, for a deployment (both: None for all). A pure read."""
        ...

    def lock(self, rewards: Sequence[Owed], at: datetime) -> tuple[dict[str, PendingReward], set[str]]:
        """Lock what these rewards accrue on, in ascending id, in the caller's transaction.

        Returns, by id, the rewards that are owed as given, as rows that are not saved; and the ids that are of this
        kind but owed no more. Ids that are not of this kind are in neither.
        """
        ...

    def settle(self, rewards: Sequence[PendingReward]) -> None:
        """Move the stored instants exactly as far as the units of these rewards pay for. The caller has locked them."""
        ...


_sources: dict[str, AccrualSource] = {}


def register_accrual(source: AccrualSource) -> None:
    _sources[source.reward_type] = source


def accrual_sources() -> list[AccrualSource]:
    return list(_sources.values())
