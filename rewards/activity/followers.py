"""Who wants to know at once that events were written: upper packages say so in their `ready()`."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime

from django.db import transaction

Follower = Callable[[Collection[int], Collection[str], datetime], None]
"""Called with the ids of the users whose counters moved, the metrics, and the instant it is."""

_followers: list[Follower] = []


def follow(follower: Follower) -> None:
    """Have it called after each commit of events. A hint: it may fail, which is logged, and it may be missed when the
    process ends, so whoever follows finds what he missed in the counters."""
    if follower not in _followers:
        _followers.append(follower)


def tell_followers(user_ids: Collection[int], metrics: Collection[str], at: datetime) -> None:
    """When the transaction commits, and unless nothing was written."""
    if user_ids:
        for follower in _followers:
            transaction.on_commit(_telling(follower, user_ids, metrics, at), robust=True)


def _telling(
    follower: Follower, user_ids: Collection[int], metrics: Collection[str], at: datetime
) -> Callable[[], None]:
    """A function with a name, which Django logs when it fails: a `partial` has none."""

    def tell() -> None:
        follower(user_ids, metrics, at)

    return tell
