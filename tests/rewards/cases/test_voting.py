"""Votes: one for each user and case, only while it is open, and counted in step with their rows."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from rewards.activity.models import ActivityEvent
from rewards.activity.services import NewEvent, record_events
from rewards.cases.errors import (
    AlreadyVoted,
    CaseNotOpen,
    InvalidSide,
    KnowsTheVerdict,
    NotCounted,
    UnknownCase,
)
from rewards.cases.models import Case, CaseVote
from rewards.cases.services import vote
from rewards.users.models import User
from tests.rewards.cases.conftest import NOON, counted
from tests.rewards.tables import everything, what_differs

pytestmark = pytest.mark.django_db

CLOSING = NOON + timedelta(hours=24)


def test_a_vote_is_written_and_counted(open_case: Any, alice: User, bob: User, carol: User) -> None:
    case = open_case()

    for user, side in ((alice, "YES"), (bob, "NO"), (carol, "YES")):
        made = vote(case.pk, user, side, NOON)
        assert (made.case_id, made.user_id, made.side, made.voted_at) == (case.pk, user.pk, side, NOON)

    case.refresh_from_db()
    assert (case.yes_votes, case.no_votes) == (2, 1)
    assert {*CaseVote.objects.values_list("user__username", "side")} == {
        ("alice", "YES"), ("bob", "NO"), ("carol", "YES"),
    }  # fmt: skip


def test_it_feeds_the_counters_once(open_case: Any, alice: User) -> None:
    first, second = open_case(), open_case()
    vote(first.pk, alice, "YES", NOON)
    with pytest.raises(AlreadyVoted):
        vote(first.pk, alice, "YES", NOON)
    vote(second.pk, alice, "NO", NOON)

    assert counted(alice) == {"votes": 2, "participations": 2}
    assert {*ActivityEvent.objects.values_list("event_id", flat=True)} == {
        f"case:{case.pk}:{deed}:{alice.pk}" for case in (first, second) for deed in ("vote", "participation")
    }


def test_there_is_no_second_vote(open_case: Any, alice: User) -> None:
    case = open_case()
    vote(case.pk, alice, "YES", NOON)
    before = everything()

    for side, at in (("NO", NOON), ("YES", NOON), ("NO", CLOSING)):  # closed or not, he is told the first one
        with pytest.raises(AlreadyVoted) as refused:
            vote(case.pk, alice, side, at)
        assert refused.value.facts["vote"] == {"side": "YES", "voted_at": NOON.isoformat()}

    assert what_differs(before) == {}


@pytest.mark.parametrize(
    ("at", "is_open"),
    [
        (NOON - timedelta(microseconds=1), False),
        (NOON, True),
        (CLOSING - timedelta(microseconds=1), True),
        (CLOSING, False),
    ],
)
def test_it_counts_from_the_opening_to_before_the_closing(
    open_case: Any, alice: User, at: datetime, is_open: bool
) -> None:
    case = open_case()
    before = everything()

    if is_open:
        vote(case.pk, alice, "NO", at)
        case.refresh_from_db()
        assert (case.yes_votes, case.no_votes) == (0, 1)
    else:
        with pytest.raises(CaseNotOpen):
            vote(case.pk, alice, "NO", at)
        assert what_differs(before) == {}


@pytest.mark.parametrize("status", ["closed", "void"])
def test_nobody_votes_once_it_is_over(open_case: Any, alice: User, status: str) -> None:
    case = open_case()
    Case.objects.update(status=status)
    before = everything()

    with pytest.raises(CaseNotOpen):
        vote(case.pk, alice, "YES", NOON)

    assert what_differs(before) == {}


@pytest.mark.parametrize("status", ["draft", "pending_moderation"])
def test_what_is_not_open_yet_is_not_there_but_for_who_submitted_it(
    open_case: Any, alice: User, bob: User, status: str
) -> None:
    case = open_case(created_by=alice)
    Case.objects.update(status=status)

    with pytest.raises(UnknownCase):
        vote(case.pk, bob, "YES", NOON)
    with pytest.raises(CaseNotOpen):
        vote(case.pk, alice, "YES", NOON)
    with pytest.raises(UnknownCase):
        vote(case.pk + 1, alice, "YES", NOON)
    assert not CaseVote.objects.exists()


@pytest.mark.parametrize("side", ["yes", "MAYBE", "", "YES "])
def test_a_side_is_yes_or_no(open_case: Any, alice: User, side: str) -> None:
    with pytest.raises(InvalidSide):
        vote(open_case().pk, alice, side, NOON)


def test_whoever_has_looked_at_the_sealed_verdict_does_not_vote(open_case: Any, client: Any, make_user: Any) -> None:
    boss = make_user("boss", is_staff=True, is_superuser=True)
    seen, other = open_case(), open_case()
    client.force_login(boss)
    assert client.post(f"/admin/rewards/case/{seen.pk}/unseal/").status_code == 200

    with pytest.raises(KnowsTheVerdict):
        vote(seen.pk, boss, "YES", NOON)
    vote(other.pk, boss, "YES", NOON)


def test_whoever_moderated_it_does_not_vote(open_case: Any, alice: User) -> None:
    case = open_case(moderated_by=alice)

    with pytest.raises(KnowsTheVerdict):
        vote(case.pk, alice, "YES", NOON)
    assert not CaseVote.objects.exists()


def test_what_the_counters_cannot_take_is_no_vote(open_case: Any, alice: User) -> None:
    record_events([NewEvent("flood", "alice", "votes", "9223372036854.775807", NOON)], at=NOON)
    case = open_case()
    before = everything()

    with pytest.raises(NotCounted, match="total"):
        vote(case.pk, alice, "YES", NOON)

    assert what_differs(before) == {}
