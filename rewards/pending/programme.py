"""The programme `pending`: rewards that are paid together are one distribution for each currency."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from rewards.allocation.rules import Measure
from rewards.distributions.models import Distribution
from rewards.distributions.programmes import Programme, Snapshot, register
from rewards.pending.models import PendingReward

PENDING = "pending"
RULE = {"rule": "fixed"}


class PendingProgramme(Programme):
    """A row of its distributions is what one user gets of all the rewards that are paid together."""

    def amount(self, distribution: Distribution) -> int:
        return sum(amount for _, _, amount in _amounts(distribution))

    def snapshot(self, distribution: Distribution) -> Snapshot:
        totals: dict[tuple[str, int], int] = defaultdict(int)
        for user_id, username, amount in _amounts(distribution):
            totals[username, user_id] += amount
        rows = sorted(totals.items(), key=lambda row: (-row[1], row[0]))
        amounts = [total for _, total in rows]
        return Snapshot(
            user_ids=np.fromiter((user_id for (_, user_id), _ in rows), dtype=np.int64, count=len(rows)),
            usernames=[username for (username, _), _ in rows],
            scores=Measure(amounts, distribution.currency.decimals),
            amounts=amounts,
        )


def _amounts(distribution: Distribution) -> Iterator[tuple[int, str, int]]:
    """(user id, username, minor units) of each reward. Added up in Python: SQLite's sums end at 64 bits."""
    rewards = PendingReward.objects.filter(distribution=distribution)
    return rewards.values_list("user_id", "user__username", "amount").iterator(chunk_size=5_000)


def register_programme() -> None:
    register(PENDING, PendingProgramme(), has_periods=False)
