"""Arguments and likes: one argument for each user, after a vote and three likes; likes in step with their rows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from rewards.cases.errors import (
    AlreadyArgued,
    AlreadyLiked,
    CaseNotOpen,
    InvalidArgument,
    InvalidSide,
    KnowsTheVerdict,
    LikeFirst,
    LikesUsedUp,
    NotLiked,
    OwnArgument,
    UnknownArgument,
    UnknownCase,
    VoteFirst,
)
from rewards.cases.models import Argument, ArgumentLike, Case
from rewards.cases.services import argue, like, unlike, vote
from rewards.users.models import User
from tests.rewards.cases.conftest import NOON, argument_of, cast, counted
from tests.rewards.tables import everything, what_differs

pytestmark = pytest.mark.django_db

CLOSING = NOON + timedelta(hours=24)


@pytest.fixture
def argued(open_case: Any, make_user: Callable[..., User]) -> Callable[[int], tuple[Case, list[Argument]]]:
    """An open case in which so many others have argued."""

    def make(others: int) -> tuple[Case, list[Argument]]:
        case = open_case()
        return case, [argument_of(case, make_user(f"author-{number}")) for number in range(others)]

    return make


def likes_of(*arguments: Argument) -> list[int]:
    """As the rows of the arguments say; those of the likes must say the same."""
    for argument in arguments:
        argument.refresh_from_db()
        assert argument.likes == ArgumentLike.objects.filter(argument=argument).count()
    return [argument.likes for argument in arguments]


# ------------------------------------------------------------------------------------------------------------ arguments


def test_the_first_one_argues_after_his_vote(open_case: Any, alice: User) -> None:
    case = open_case()
    vote(case.pk, alice, "YES", NOON)

    made = argue(case.pk, alice, "NO", "A promise is a promise.\nEven so.", NOON)

    found = Argument.objects.get()
    assert found == made
    assert (found.case, found.user, found.side, found.text) == (case, alice, "NO", "A promise is a promise.\nEven so.")
    assert (found.likes, found.top_place, found.created_at) == (0, None, NOON)
    assert counted(alice) == {"votes": 1, "participations": 1, "arguments": 1}


def test_nobody_argues_without_a_vote(open_case: Any, alice: User) -> None:
    case, other = open_case(), open_case()
    vote(other.pk, alice, "YES", NOON)

    with pytest.raises(VoteFirst):
        argue(case.pk, alice, "YES", "It is.", NOON)
    assert not Argument.objects.exists()


@pytest.mark.parametrize(("others", "needed"), [(1, 1), (2, 2), (3, 3), (5, 3)])
def test_he_likes_three_of_others_first_or_all_there_are(argued: Any, alice: User, others: int, needed: int) -> None:
    case, arguments = argued(others)
    vote(case.pk, alice, "YES", NOON)
    before = everything()
    for number in range(needed):
        with pytest.raises(LikeFirst) as refused:
            argue(case.pk, alice, "YES", "It is.", NOON)
        assert refused.value.facts == {"likes": number, "needed": needed}
        if number == 0:
            assert what_differs(before) == {}
        like(arguments[number].pk, alice, NOON)

    argue(case.pk, alice, "YES", "It is.", NOON)

    assert case.arguments.filter(user=alice).count() == 1


def test_likes_in_another_case_do_not_count(argued: Any, open_case: Any, alice: User, bob: User) -> None:
    case, _ = argued(1)
    like(argument_of(open_case(), bob).pk, alice, NOON)
    vote(case.pk, alice, "YES", NOON)

    with pytest.raises(LikeFirst):
        argue(case.pk, alice, "YES", "It is.", NOON)


def test_there_is_no_second_argument(open_case: Any, alice: User) -> None:
    case = open_case()
    vote(case.pk, alice, "YES", NOON)
    first = argue(case.pk, alice, "YES", "It is.", NOON)
    before = everything()

    with pytest.raises(AlreadyArgued) as refused:
        argue(case.pk, alice, "NO", "It is not.", NOON)

    assert refused.value.facts["argument"] == {"id": first.pk, "side": "YES", "text": "It is."}
    assert what_differs(before) == {}


@pytest.mark.parametrize("text", ["", " \n", "x" * 2_001])
def test_what_is_no_argument(open_case: Any, alice: User, text: str) -> None:
    case = open_case()
    vote(case.pk, alice, "YES", NOON)

    with pytest.raises(InvalidArgument):
        argue(case.pk, alice, "YES", text, NOON)
    with pytest.raises(InvalidSide):
        argue(case.pk, alice, "yes", "It is.", NOON)
    assert argue(case.pk, alice, "YES", "x" * 2_000, NOON).text == "x" * 2_000


def test_nobody_argues_once_it_is_over(open_case: Any, alice: User) -> None:
    case = open_case()
    vote(case.pk, alice, "YES", NOON)
    before = everything()

    with pytest.raises(CaseNotOpen):
        argue(case.pk, alice, "YES", "It is.", CLOSING)
    assert what_differs(before) == {}
    Case.objects.update(status="closed")
    with pytest.raises(CaseNotOpen):
        argue(case.pk, alice, "YES", "It is.", NOON)
    assert not Argument.objects.exists()


# ---------------------------------------------------------------------------------------------------------------- likes


def test_likes_are_given_and_taken_back(argued: Any, alice: User, bob: User) -> None:
    _, (one, two) = argued(2)

    assert like(one.pk, alice, NOON).likes == 1
    assert like(one.pk, bob, NOON).likes == 2
    assert like(two.pk, alice, NOON).likes == 1
    assert likes_of(one, two) == [2, 1]
    assert unlike(one.pk, alice, NOON).likes == 1
    assert likes_of(one, two) == [1, 1]
    assert {*ArgumentLike.objects.values_list("user__username", "argument")} == {("bob", one.pk), ("alice", two.pk)}


def test_a_like_is_given_once_and_taken_back_once(argued: Any, alice: User) -> None:
    _, (one,) = argued(1)

    with pytest.raises(NotLiked):
        unlike(one.pk, alice, NOON)
    like(one.pk, alice, NOON)
    before = everything()
    with pytest.raises(AlreadyLiked):
        like(one.pk, alice, NOON)
    assert what_differs(before) == {}
    unlike(one.pk, alice, NOON)
    with pytest.raises(NotLiked):
        unlike(one.pk, alice, NOON)
    assert likes_of(one) == [0]


def test_three_of_a_case(argued: Any, alice: User, open_case: Any, bob: User) -> None:
    _, arguments = argued(4)
    for argument in arguments[:3]:
        like(argument.pk, alice, NOON)

    with pytest.raises(LikesUsedUp):
        like(arguments[3].pk, alice, NOON)
    assert likes_of(*arguments) == [1, 1, 1, 0]

    like(argument_of(open_case(), bob).pk, alice, NOON)  # each case has its own three
    unlike(arguments[0].pk, alice, NOON)
    like(arguments[3].pk, alice, NOON)
    assert likes_of(*arguments) == [0, 1, 1, 1]


def test_nobody_likes_his_own(open_case: Any, alice: User) -> None:
    own = argument_of(open_case(), alice)

    with pytest.raises(OwnArgument):
        like(own.pk, alice, NOON)
    assert likes_of(own) == [0]


def test_nobody_likes_or_takes_back_once_it_is_over(argued: Any, alice: User) -> None:
    _, (one, two) = argued(2)
    like(one.pk, alice, NOON)
    before = everything()

    for at in (NOON - timedelta(seconds=1), CLOSING):
        with pytest.raises(CaseNotOpen):
            like(two.pk, alice, at)
        with pytest.raises(CaseNotOpen):
            unlike(one.pk, alice, at)
    assert what_differs(before) == {}

    Case.objects.update(status="closed")
    for change, argument in ((like, two), (unlike, one)):
        with pytest.raises(CaseNotOpen):
            change(argument.pk, alice, NOON)
    assert likes_of(one, two) == [1, 0]


def test_what_is_not_there_or_not_for_him(argued: Any, alice: User, bob: User) -> None:
    _, (one,) = argued(1)

    with pytest.raises(UnknownArgument):
        like(one.pk + 1, alice, NOON)
    Case.objects.update(moderated_by=bob)
    with pytest.raises(KnowsTheVerdict):
        like(one.pk, bob, NOON)
    Case.objects.update(status="draft")
    for change in (like, unlike):
        with pytest.raises(UnknownCase):
            change(one.pk, alice, NOON)
    assert not ArgumentLike.objects.exists()


def test_the_fixture_counts_as_the_service_does(open_case: Any, alice: User, bob: User) -> None:
    case = open_case()
    cast(case, alice, "YES")
    vote(case.pk, bob, "YES", NOON)

    case.refresh_from_db()
    assert (case.yes_votes, case.no_votes) == (2, 0)
