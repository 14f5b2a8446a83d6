"""What a closed case adds to the counters of its voters and authors, once each: every event has an id of its own.

`cases_decided` for each vote, `cases_won` for each that was right, `top_arguments` for the three best arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

from rewards.activity.checks import CheckedEvent, attributes_text
from rewards.activity.models import QUANTITY_SCALE
from rewards.activity.services import record_checked
from rewards.cases.errors import ResultsNotCounted
from rewards.cases.models import Argument, Case, CaseVote
from rewards.common.errors import ensure

WON, DECIDED, TOP = "cases_won", "cases_decided", "top_arguments"

ONE = 10**QUANTITY_SCALE
VOTERS_AT_ONCE = 5_000  # two events each at most: what `record_events` is meant for


def count_results(case: Case, at: datetime, keep_going: Callable[[], bool] = lambda: True) -> bool:
    """Record what came of a closed case, a transaction for some thousand voters; False when the time was over.

    What was recorded before is not counted again. Raises `ResultsNotCounted` when all others are written.
    """
    refused: list[str] = []
    for events in _batches(case):
        if not keep_going():
            return False
        outcome = record_checked(events, at=at)
        refused += [f"{events[number].event_id}: {reason}" for number, reason in outcome.rejected]
    if refused:
        raise ResultsNotCounted(f"{len(refused):,} counters of {case.period_key} did not move, the first {refused[0]}.")
    return True


def _batches(case: Case) -> Iterator[list[CheckedEvent]]:
    top = Argument.objects.filter(case=case, top_place__isnull=False).order_by("top_place")
    yield _events(case, "top", TOP, top.values_list("user_id", "user__username"))
    for voters in _voters(case):
        decided = _events(case, "decided", DECIDED, ((user_id, name) for user_id, name, _ in voters))
        winners = ((user_id, name) for user_id, name, side in voters if side == case.verdict)
        yield decided + _events(case, "won", WON, winners, first=len(decided))


def _voters(case: Case) -> Iterator[list[tuple[int, str, str]]]:
    """User id, username and side, page by page in the order of the users: nothing stays open between two pages."""
    votes = CaseVote.objects.filter(case=case).order_by("user_id").values_list("user_id", "user__username", "side")
    last = 0
    while page := list(votes.filter(user_id__gt=last)[:VOTERS_AT_ONCE]):
        yield page
        last = page[-1][0]


def _events(
    case: Case, kind: str, metric: str, users: Iterable[tuple[int, str]], *, first: int = 0
) -> list[CheckedEvent]:
    """One of the metric for each of these users, numbered from `first` on, at the instant of closing: nobody had won
    before. Written by this module, they need no check."""
    prefix, about, closed_at = f"{case.period_key}:{kind}", attributes_text({"case": case.pk}), case.closed_at
    ensure(closed_at is not None, f"{case.period_key} is not closed: nothing has come of it.")
    return [
        CheckedEvent(number, f"{prefix}:{user_id}", name, metric, ONE, closed_at, about)  # type: ignore[arg-type]
        for number, (user_id, name) in enumerate(users, start=first)
    ]
