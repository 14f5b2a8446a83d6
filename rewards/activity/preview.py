"""What recording would do, found out by reading alone: for a dry run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rewards.activity.checks import CheckedEvent, Reason
from rewards.activity.queries import all_closed_stretches, find_event_ids, find_users, is_within
from rewards.activity.services import Outcome


@dataclass
class Seen:
    """What earlier calls of the same dry run would have written."""

    event_ids: set[str] = field(default_factory=set)
    usernames: set[str] = field(default_factory=set)


def preview_checked(checked: Sequence[CheckedEvent], *, create_users: bool, seen: Seen) -> Outcome:
    """The outcome that `record_checked` would have; `seen` grows. Does not notice totals that would leave 64 bits."""
    known = find_users({event.user for event in checked})
    welcome = [event for event in checked if create_users or event.user in known]
    recorded = find_event_ids({event.event_id for event in welcome})
    new = []
    for event in welcome:
        if event.event_id not in recorded and event.event_id not in seen.event_ids:
            seen.event_ids.add(event.event_id)
            new.append(event)
    users_created = {event.user for event in welcome} - known.keys() - seen.usernames
    seen.usernames |= users_created
    closed = all_closed_stretches()
    return Outcome(
        accepted=len(new),
        duplicates=len(welcome) - len(new),
        rejected=[
            (event.number, Reason.UNKNOWN_USER) for event in checked if not (create_users or event.user in known)
        ],
        late=sum(is_within(closed.get(event.metric, ()), event.occurred_at) for event in new),
        users_created=len(users_created),
    )
