"""Cases closed by workers that die, and beside each other: everybody paid once, every result counted once."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from rewards.activity.models import ActivityEvent
from rewards.cases import services as voting
from rewards.cases.closing import CloseResult, close_cases
from rewards.cases.errors import CaseNotOpen
from rewards.cases.models import Argument, Case, CaseVote
from rewards.distributions.models import Distribution, DistributionChunk, Reward
from rewards.distributions.queries import verify
from rewards.distributions.services import continue_unfinished
from rewards.ledger.models import Account, Currency, Journal, Transfer
from rewards.parameters.services import set_parameter
from rewards.users.models import User
from tests.concurrency.conftest import broken_promises
from tests.concurrency.racing import (
    PATIENCE_SECONDS,
    at_once,
    die_before_statement,
    in_process,
    kill,
    statements_of,
    was_killed,
)
from tests.rewards.cases.conftest import NOON, make_open_case

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]

DUE = NOON + timedelta(hours=24)
VOTERS = 120


@pytest.fixture
def make_case(points: Currency, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Case]:
    """`make_case()`: voters of whom some argue, a payout in many chunks, counters in many batches."""
    set_parameter("distributions.chunk_rows", 16, actor=None, reason="many chunks")
    monkeypatch.setattr("rewards.cases.results.VOTERS_AT_ONCE", 32)
    users = User.objects.bulk_create(User(username=f"user{number:03}", password="!") for number in range(VOTERS))

    def make() -> Case:
        case = make_open_case("YES", pool=100_003, created_by=users[0])
        CaseVote.objects.bulk_create(
            CaseVote(
                case=case, user=user, side="YES" if number % 3 else "NO", voted_at=NOON + timedelta(seconds=number)
            )
            for number, user in enumerate(users)
        )
        Argument.objects.bulk_create(
            Argument(case=case, user=user, side="YES", text="So it is.", likes=number, created_at=NOON)
            for number, user in enumerate(users[:7])
        )
        return case

    return make


def assert_closed_once(*cases: Case) -> None:
    """Each of 120 voters was paid and counted once for each of the cases, and nothing is left anywhere."""
    assert Case.objects.filter(status="closed", failures=0, error="").exclude(settled_at=None).count() == len(cases)
    paid = Distribution.objects.filter(status="paid")
    assert paid.count() == Distribution.objects.count() == len(cases)
    assert [difference for each in paid for difference in verify(each)] == []
    assert Reward.objects.count() == VOTERS * len(cases)
    for case in cases:
        places = Argument.objects.filter(case=case, top_place__isnull=False).order_by("top_place")
        assert list(places.values_list("likes", flat=True)) == [6, 5, 4]
        assert Account.objects.get(code=case.escrow).balance == 0
        rewards = Reward.objects.filter(distribution__period_key=case.period_key)
        assert sum(rewards.values_list("amount", flat=True)) == 100_003  # three arguments, a creator: nothing is left
        transfers = Transfer.objects.filter(journal__chunk__distribution__period_key=case.period_key)
        assert sorted(transfers.values_list("credit_account__user", "amount")) == sorted(
            rewards.filter(amount__gt=0).values_list("user", "amount")
        )
        assert recorded(case) == {"cases_decided": VOTERS, "cases_won": VOTERS * 2 // 3, "top_arguments": 3}
    assert not Journal.objects.filter(kind="case_remainder").exists()
    assert broken_promises() == []


def recorded(case: Case) -> dict[str, int]:
    events = list(
        ActivityEvent.objects.filter(event_id__startswith=f"{case.period_key}:").values_list("metric", flat=True)
    )
    return {metric: events.count(metric) for metric in sorted(set(events))}


# -------------------------------------------------------------------------------------------------- workers that die


def close_and_die(statement: int) -> None:
    """Close what is due, and be gone right before a statement of that number."""
    die_before_statement(statement, lambda: close_cases(DUE))


def test_twelve_workers_killed_at_points_all_along_the_way_are_each_finished_by_the_next(make_case):
    cases = [make_case()]
    close_cases(DUE)  # the first one creates accounts that those after it find
    cases.append(make_case())
    points = statements_of(lambda: close_cases(DUE))
    assert points > 100
    reached = []

    chance = random.Random(20_261_121)
    for part in range(12):  # one point out of each twelfth of the way
        cases.append(make_case())
        process = in_process(
            close_and_die, chance.randrange(2 + part * points // 12, 2 + (part + 1) * points // 12 - 4)
        )
        process.join(PATIENCE_SECONDS)
        assert was_killed(process)
        reached.append(state_of(cases[-1]))
        assert close_cases(DUE).failures == []

    assert len(set(reached)) >= 8
    statuses = {status for status, *_ in reached}
    assert statuses == {"active", "closed"}
    assert_closed_once(*cases)


def state_of(case: Case) -> tuple[Any, ...]:
    """How far a worker came with a case."""
    status = Case.objects.get(pk=case.pk).status
    of_case = {"distribution__period_key": case.period_key}
    unpaid = DistributionChunk.objects.filter(journal=None, **of_case).count()
    return status, Reward.objects.filter(**of_case).count(), unpaid, *recorded(case).values()


def test_a_case_at_which_workers_keep_dying_is_closed_once(make_case):
    """Killed at any moment, also amid a statement, with the dead one's still at an end beside the next."""
    chance, deaths, case = random.Random(5), 0, make_case()
    while not Case.objects.exclude(settled_at=None).exists():
        process = in_process(close_cases, DUE)
        process.join(chance.uniform(0.02, 0.2) * (1 + deaths / 20))
        if process.is_alive():
            kill(process)
        deaths += was_killed(process)
    assert deaths > 0
    assert_closed_once(case)


# ---------------------------------------------------------------------------------------------------- side by side


def test_runs_at_once_close_each_case_once(make_case):
    """The job runs once at a time; who is taken for dead may wake up beside the next."""
    cases = [make_case() for _ in range(3)]
    sweep = partial(continue_unfinished, DUE + timedelta(days=36_500))
    results = at_once(*[partial(close_cases, DUE)] * 4, sweep, sweep)

    assert all(isinstance(each, CloseResult | int) for each in results)
    assert [each.failures for each in results if isinstance(each, CloseResult)] == [[]] * 4
    assert sum(each.closed for each in results if isinstance(each, CloseResult)) == 3
    close_cases(DUE)
    assert_closed_once(*cases)


def test_who_votes_while_the_case_is_closed_is_in_or_has_never_been(points: Currency):
    """A machine whose clock is behind still takes votes at the very moment of closing."""
    users = User.objects.bulk_create(User(username=f"user{number:03}", password="!") for number in range(24))
    for _ in range(3):
        case = make_open_case()
        before_the_end = DUE - timedelta(milliseconds=1)
        votes = [partial(voting.vote, case.pk, user, "YES", before_the_end) for user in users]
        results = at_once(*votes[:12], partial(close_cases, DUE), *votes[12:])

        refused = [each for each in results if isinstance(each, CaseNotOpen)]
        counted = [each for each in results if isinstance(each, CaseVote)]
        assert len(refused) + len(counted) == len(users)
        case.refresh_from_db()
        assert (case.status, case.yes_votes) == ("closed", len(counted))
        rewards = Reward.objects.filter(distribution__period_key=case.period_key)
        assert set(rewards.values_list("user", flat=True)) == {vote.user_id for vote in counted}
        wins = ActivityEvent.objects.filter(metric="cases_won", attributes__case=case.pk)
        assert set(wins.values_list("user", flat=True)) == {vote.user_id for vote in counted}
    assert broken_promises() == []
