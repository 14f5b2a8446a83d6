"""Many clients vote in one case at once: each vote counted once, and what it costs that they share a row.

    python -m benchmarks.voting [--database postgres://user@host/any] [--votes 10000] [--clients 32] [--repeat 3]

Clients are processes with a connection of their own. The baseline beside it in the same run: the same two events of
each user, which move the same counters, without a case. Every tenth vote is sent again and must be refused. Ends with
an error when counts, rows, events or counters differ.
"""

from __future__ import annotations

import argparse
import multiprocessing
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from typing import Any

from benchmarks.harness import fresh_database, median_and_spread, set_up_django, timed

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
AGAIN_EVERY = 10

_numbers = count(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--database", default="postgres://postgres@127.0.0.1/postgres")
    parser.add_argument("--votes", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    with fresh_database(options.database, "rewards_benchmark_voting") as url:
        set_up_django(url)
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        usernames = voters(options.votes)
        ratios = []
        for _ in range(options.repeat):
            alone = options.votes / timed(partial(by_clients, events_alone(), usernames, options.clients))
            case_id, taken = open_case(), Counter[str]()
            seconds = timed(lambda case_id=case_id, taken=taken: taken.update(
                by_clients(partial(vote_all, case_id), usernames, options.clients)
            ))  # fmt: skip
            judge(case_id, options.votes, taken)
            ratios.append(options.votes / seconds / alone)
            print(f"{options.votes / seconds:8.0f} votes/s {alone:8.0f} of the events alone/s", flush=True)
        print(f"ratio {median_and_spread(ratios)}: every vote counted once, counts equal rows, events and counters")


def voters(number: int) -> list[str]:
    from rewards.users.models import User

    usernames = [f"voter-{place:05d}" for place in range(number)]
    User.objects.bulk_create(User(username=name, password="!", date_joined=NOON) for name in usernames)
    return usernames


def open_case() -> int:
    from rewards.cases.models import Case

    return Case.objects.create(
        title="A dilemma", context="A promise.", status="active", opens_at=NOON, closes_at=NOON + timedelta(days=1)
    ).pk


def by_clients(work: Callable[[Sequence[str]], Counter[str]], usernames: Sequence[str], clients: int) -> Counter[str]:
    """Run `work` over the users, shared out to processes."""
    from django.db import connections

    connections.close_all()
    with multiprocessing.get_context("fork").Pool(clients) as pool:
        return sum(pool.map(work, [usernames[place::clients] for place in range(clients)], chunksize=1), Counter())


def events_alone() -> Callable[[Sequence[str]], Counter[str]]:
    return partial(record_all, f"alone-{next(_numbers)}")


def record_all(name: str, usernames: Sequence[str]) -> Counter[str]:
    from rewards.activity.services import NewEvent, record_events

    for user in usernames:
        attributes = {"case": 1, "side": "YES"}
        record_events(
            [NewEvent(f"{name}:{metric}:{user}", user, f"{metric}-alone", 1, NOON, attributes) for metric in METRICS],
            at=NOON,
        )
    return Counter()


METRICS = ("votes", "participations")


def vote_all(case_id: int, usernames: Sequence[str]) -> Counter[str]:
    from rewards.cases.errors import AlreadyVoted
    from rewards.cases.services import vote
    from rewards.users.models import User

    taken: Counter[str] = Counter()
    for place, user in enumerate(User.objects.filter(username__in=usernames)):
        side = "YES" if place % 3 else "NO"
        for _ in range(1 if place % AGAIN_EVERY else 2):
            try:
                vote(case_id, user, side, NOON)
                taken[side] += 1
            except AlreadyVoted:
                taken["again"] += 1
    return taken


def judge(case_id: int, votes: int, taken: Counter[str]) -> None:
    """Ends with an error unless the case, its rows, the events and the clients all say the same."""
    from rewards.activity.models import ActivityEvent
    from rewards.activity.models import Counter as UserCounter
    from rewards.cases.models import Case

    case = Case.objects.get(pk=case_id)
    figures: dict[str, Any] = {
        "clients": (taken["YES"], taken["NO"]),
        "counts": (case.yes_votes, case.no_votes),
        "rows": tuple(case.votes.filter(side=side).count() for side in ("YES", "NO")),
    }
    events = ActivityEvent.objects.filter(event_id__startswith=f"case:{case_id}:").values_list("metric", flat=True)
    found = Counter(events)
    counted = {
        metric: {*UserCounter.objects.filter(metric=metric, month="").values_list("quantity", flat=True)}
        for metric in METRICS
    }
    even = len({*figures.values()}) == 1 and sum(figures["rows"]) == votes
    if not even or found != dict.fromkeys(METRICS, votes) or any(len(each) != 1 for each in counted.values()):
        raise SystemExit(f"Not every vote was counted once: {figures}, events {found}, counters {counted}")


if __name__ == "__main__":
    main()
