"""Many take part in one case at once, and somebody closes it in the middle: nothing is lost, nothing counts twice."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from threading import Event
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.utils import timezone

from rewards.access.services import create_token
from rewards.activity.models import ActivityEvent, Counter
from rewards.cases.errors import AlreadyLiked, AlreadyVoted, CaseNotOpen, LikeFirst, LikesUsedUp, TooManyWaiting
from rewards.cases.models import Argument, ArgumentLike, Case, CaseVote
from rewards.cases.services import argue, like, submit_case, unlike, vote
from rewards.users.models import User
from tests.concurrency.racing import at_once, threads, wait_until_somebody_waits
from tests.rewards.cases.conftest import NOON, argument_of, cast, make_open_case

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]

CLIENTS = 32
VOTERS = 1_500
"""`python -m benchmarks.voting` does the same with ten thousand."""


@pytest.fixture
def case(points: Any) -> Case:
    return make_open_case()


def voters(count: int) -> list[User]:
    return User.objects.bulk_create(User(username=f"voter-{number:05d}", password="!") for number in range(count))


def side_of(number: int) -> str:
    return "YES" if number % 3 else "NO"


def counts_are_those_of_the_rows(case: Case) -> tuple[int, int]:
    """(yes, no). The counts of the case, its rows, the events and the counters all say the same."""
    case.refresh_from_db()
    found = case.yes_votes, case.no_votes
    assert found == tuple(case.votes.filter(side=side).count() for side in ("YES", "NO"))
    for metric in ("votes", "participations"):
        assert ActivityEvent.objects.filter(metric=metric).count() == sum(found)
        assert [*Counter.objects.filter(metric=metric, month="").values_list("quantity", flat=True).distinct()] in (
            [1],
            [],
        )
        assert Counter.objects.filter(metric=metric, month="").count() == sum(found)
    return found


def test_of_many_votes_at_once_each_counts_once(case: Case) -> None:
    """By 32 clients at once; each sends every tenth of his votes again."""
    people = [*enumerate(voters(VOTERS))]

    def client(own: Sequence[tuple[int, User]]) -> Tally[str]:
        outcome: Tally[str] = Tally()
        for place, (number, user) in enumerate(own):
            for _ in range(1 if place % 10 else 2):
                try:
                    vote(case.pk, user, side_of(number), NOON)
                    outcome["taken"] += 1
                except AlreadyVoted:
                    outcome["refused"] += 1
        return outcome

    outcomes = at_once(*[partial(client, people[number::CLIENTS]) for number in range(CLIENTS)])

    expected = Tally(side_of(number) for number, _ in people)
    assert counts_are_those_of_the_rows(case) == (expected["YES"], expected["NO"])
    assert sum(outcomes, Tally()) == {"taken": VOTERS, "refused": sum(len(people[n::CLIENTS][::10]) for n in range(32))}


def test_of_many_votes_of_one_user_the_first_counts(case: Case, alice: User) -> None:
    sides = [side_of(number) for number in range(CLIENTS)]

    answers = at_once(*[partial(vote, case.pk, alice, side, NOON) for side in sides])

    (first,) = [each for each in answers if isinstance(each, CaseVote)]
    refused = [each for each in answers if isinstance(each, AlreadyVoted)]
    assert len(refused) == CLIENTS - 1
    assert {each.facts["vote"]["side"] for each in refused} == {first.side}
    assert counts_are_those_of_the_rows(case) == ((1, 0) if first.side == "YES" else (0, 1))


def test_over_http_too(case: Case) -> None:
    """200 tokens of 200 users, from 16 clients, each vote sent twice at once by two of them."""
    now = timezone.now()
    Case.objects.filter(pk=case.pk).update(opens_at=now - timedelta(hours=1), closes_at=now + timedelta(hours=1))
    people = [(side_of(number), create_token(user)[1]) for number, user in enumerate(voters(200))]

    def client(own: Sequence[tuple[str, str]]) -> Tally[int]:
        http, statuses = Client(), Tally[int]()
        for side, token in own:
            headers = {"Authorization": f"Bearer {token}"}
            path = f"/api/cases/{case.pk}/vote"
            answer = http.post(path, {"side": side}, content_type="application/json", headers=headers)
            statuses[answer.status_code] += 1
        return statuses

    outcomes = at_once(*[partial(client, people[number // 2 :: 8]) for number in range(16)])

    expected = Tally(side for side, _ in people)
    assert sum(outcomes, Tally()) == {201: 200, 409: 200}
    assert counts_are_those_of_the_rows(case) == (expected["YES"], expected["NO"])


# --------------------------------------------------------------------------------------------------- closing meanwhile


def close(case: Case) -> tuple[int, int]:
    """As the job does it: under the lock of the row. Returns the votes that it found there."""
    with transaction.atomic():
        locked = Case.objects.select_for_update(no_key=True).get(pk=case.pk)
        Case.objects.filter(pk=case.pk).update(status=Case.Status.CLOSED)
        assert locked.votes.count() == locked.yes_votes + locked.no_votes
        return locked.yes_votes, locked.no_votes


def test_closing_in_the_middle_loses_and_doubles_nothing(case: Case) -> None:
    """What was written when it was closed is what the one who closed it found, and what stands for ever."""
    people, a_third_has_voted = voters(640), Event()

    def client(own: Sequence[User], starts: int) -> list[int]:
        counted = []
        for place, user in enumerate(own):
            try:
                vote(case.pk, user, side_of(starts + place), NOON)
                counted.append(user.pk)
            except CaseNotOpen:
                pass
            if place == 10:
                a_third_has_voted.set()
        return counted

    def closer() -> tuple[int, int]:
        assert a_third_has_voted.wait(60)
        return close(case)

    found, *counted = at_once(closer, *[partial(client, people[n::CLIENTS], n) for n in range(CLIENTS)])

    assert 0 < sum(found) < len(people)
    assert counts_are_those_of_the_rows(case) == found
    assert {*case.votes.values_list("user", flat=True)} == {pk for own in counted for pk in own}
    assert case.votes.count() == sum(map(len, counted))


TAKING_PART: dict[str, Callable[..., Any]] = {
    "vote": lambda case, argument, user: vote(case.pk, user, "NO", NOON),
    "argue": lambda case, argument, user: argue(case.pk, user, "NO", "It is not.", NOON),
    "like": lambda case, argument, user: like(argument.pk, user, NOON),
    "unlike": lambda case, argument, user: unlike(argument.pk, user, NOON),
}


@pytest.mark.parametrize("deed", TAKING_PART)
def test_whoever_waits_for_the_closing_is_refused(case: Case, alice: User, bob: User, deed: str) -> None:
    argument = argument_of(case, bob, likers=[alice] if deed in ("argue", "unlike") else [])
    if deed == "argue":
        cast(case, alice, "NO")
    before = written()

    with threads(2) as start:
        with transaction.atomic():
            Case.objects.select_for_update(no_key=True).get(pk=case.pk)
            late = start(TAKING_PART[deed], case, argument, alice)
            start(wait_until_somebody_waits).result()
            Case.objects.filter(pk=case.pk).update(status=Case.Status.CLOSED)
        assert isinstance(late.exception(60), CaseNotOpen)

    assert written() == before


@pytest.mark.parametrize("deed", TAKING_PART)
def test_whoever_waits_for_another_one_is_not_refused(case: Case, alice: User, bob: User, deed: str) -> None:
    argument = argument_of(case, bob, likers=[alice] if deed in ("argue", "unlike") else [])
    if deed == "argue":
        cast(case, alice, "NO")
    before = written()

    with threads(2) as start:
        with transaction.atomic():
            vote(case.pk, bob, "YES", NOON)
            waiting = start(TAKING_PART[deed], case, argument, alice)
            start(wait_until_somebody_waits).result()
        assert waiting.exception(60) is None

    assert written() != before
    case.refresh_from_db()
    assert case.yes_votes + case.no_votes == case.votes.count()


def written() -> dict[str, list[Any]]:
    tables = (CaseVote, Argument, ArgumentLike, ActivityEvent)
    return {model.__name__: [*model.objects.order_by("pk").values()] for model in tables}  # type: ignore[attr-defined]


# -------------------------------------------------------------------------------------------------- arguments and likes


def test_of_likes_at_once_three_count(case: Case, alice: User) -> None:
    arguments = [argument_of(case, user) for user in voters(12)]

    answers = at_once(*[partial(like, argument.pk, alice, NOON) for argument in arguments])

    assert Tally(map(type, answers)) == {Argument: 3, LikesUsedUp: 9}
    assert likes_are_those_of_the_rows(case) == 3


def test_likes_given_and_taken_back_at_once_stay_in_step(case: Case) -> None:
    people = voters(8)
    arguments = [argument_of(case, user) for user in people[:3]]

    def keep_changing(user: User) -> None:
        for number in range(10):
            for argument in arguments:
                if argument.user_id != user.pk:
                    like(argument.pk, user, NOON)
            for argument in arguments[number % 3 :]:
                if argument.user_id != user.pk:
                    unlike(argument.pk, user, NOON)
            for argument in arguments[: number % 3]:
                if argument.user_id != user.pk:
                    unlike(argument.pk, user, NOON)
        like(arguments[0 if user != people[0] else 1].pk, user, NOON)

    assert at_once(*[partial(keep_changing, user) for user in people]) == [None] * 8
    assert likes_are_those_of_the_rows(case) == 8


def test_of_one_like_sent_many_times_one_counts(case: Case, alice: User, bob: User) -> None:
    argument = argument_of(case, bob)

    answers = at_once(*[partial(like, argument.pk, alice, NOON)] * 12)

    assert Tally(map(type, answers)) == {Argument: 1, AlreadyLiked: 11}
    assert likes_are_those_of_the_rows(case) == 1


def likes_are_those_of_the_rows(case: Case) -> int:
    """How many there are."""
    stored = dict(case.arguments.values_list("pk", "likes"))
    rows = Tally(ArgumentLike.objects.filter(case=case).values_list("argument", flat=True))
    assert {pk: likes for pk, likes in stored.items() if likes} == rows
    return sum(rows.values())


def test_of_those_who_argue_at_once_without_likes_the_first_alone_may(case: Case) -> None:
    """There is nothing to like for the first one; for all others there is."""
    people = voters(12)
    for user in people:
        cast(case, user, "YES")

    answers = at_once(*[partial(argue, case.pk, user, "YES", "It is.", NOON) for user in people])

    assert Tally(map(type, answers)) == {Argument: 1, LikeFirst: 11}
    assert Argument.objects.count() == ActivityEvent.objects.filter(metric="arguments").count() == 1


def test_of_cases_submitted_at_once_five_wait(alice: User) -> None:
    answers = at_once(*[partial(submit_case, alice, f"Promise {number}", "Hard.", NOON) for number in range(12)])

    assert Tally(map(type, answers)) == {Case: 5, TooManyWaiting: 7}
    assert Case.objects.count() == 5
