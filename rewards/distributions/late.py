"""What late events would have changed in a payout. History itself never moves."""

from __future__ import annotations

from rewards.distributions.models import Distribution, Reward
from rewards.distributions.programmes import LateChange, Snapshot
from rewards.distributions.rows import shared_out


def changes(distribution: Distribution, amount: int, snapshot: Snapshot) -> list[LateChange]:
    """Who would have been given something else by another amount and snapshot, in the order of that.

    Rule and tie policy are those of the payout. Nothing is written: the difference may be paid as a correction.
    """
    allocation = shared_out(distribution.rule, amount, snapshot, distribution.currency, distribution.tie_policy)
    given = dict(Reward.objects.filter(distribution=distribution).values_list("user_id", "amount"))
    rows = zip(snapshot.user_ids.tolist(), snapshot.usernames, allocation.amounts.tolist(), strict=True)
    return [
        LateChange(username, given.get(user_id, 0), would_be)
        for user_id, username, would_be in rows
        if given.get(user_id, 0) != would_be
    ]
