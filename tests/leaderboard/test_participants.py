"""Boards as participants of campaigns."""

from __future__ import annotations

from datetime import timedelta

import pytest

from leaderboard.services import refresh_boards
from rewards.campaigns import services as campaigns
from rewards.campaigns.errors import CampaignInvalid
from rewards.campaigns.models import Campaign
from rewards.campaigns.sources import check_participants, source_of
from rewards.distributions.models import Distribution
from rewards.ledger.models import Account
from rewards.users.models import User
from tests.leaderboard.conftest import NOON, credited, did, instant

pytestmark = pytest.mark.django_db

MINUTE = timedelta(minutes=1)


def places(currency, at=NOON, **options) -> list[tuple[str, int]]:
    options = check_participants({"source": "board", **options})
    snapshot = source_of(options).snapshot(options, currency, at)
    return list(zip(snapshot.usernames, snapshot.scores.values.tolist(), strict=True))


def test_equals_take_their_places_by_who_was_there_earlier_then_by_name(make_board, make_user, points):
    make_board("weekly", window="weekly")
    zoe, adam, bea, carl = (make_user(name) for name in ("zoe", "adam", "bea", "carl"))
    credited(adam, points, 5, NOON - 3 * MINUTE)
    credited(adam, points, 5, NOON - MINUTE)  # what counted last is later than zoe's
    credited(zoe, points, 10, NOON - 2 * MINUTE)
    credited(carl, points, 10, NOON - 2 * MINUTE)
    credited(bea, points, 11, NOON)

    expected = [("bea", 11), ("carl", 10), ("zoe", 10), ("adam", 10)]
    assert places(points, board="weekly") == expected
    assert places(points, board="weekly", top=2) == expected[:2]


def test_a_metric_board_takes_part_with_its_quantities(make_board, alice, bob, points):
    make_board("tests", metric="tests")
    did(bob, "tests", "2.5", NOON - MINUTE)
    did(alice, "tests", "2.5", NOON)
    did(alice, "tests", "9", NOON + MINUTE)

    assert places(points, board="tests") == [("bob", 2_500_000), ("alice", 2_500_000)]


def test_a_closed_month_takes_part_with_what_it_closed_with(make_board, alice, bob, carol, points):
    make_board("month", window="monthly")
    october = instant("2026-10-10T12:00")
    credited(alice, points, 10, october)
    credited(bob, points, 20, october)
    assert places(points, board="month", month="previous") == [("bob", 20), ("alice", 10)]

    refresh_boards(NOON)
    credited(alice, points, 90, october)  # late
    credited(carol, points, 90, october)
    User.objects.filter(pk=bob.pk).update(is_active=False)

    assert places(points, board="month", month="previous") == [("alice", 10)]
    assert places(points, board="month", month="2026-10") == [("alice", 10)]
    assert places(points, board="month", month="2026-09") == []
    assert places(points, board="month", month="2026-12") == places(points, board="month", month="2027-03") == []
    credited(carol, points, 3, NOON)
    assert places(points, board="month") == places(points, board="month", month="2026-11") == [("carol", 3)]


def test_a_campaign_pays_the_first_of_a_board(make_board, alice, bob, carol, points):
    make_board("weekly", window="weekly")
    for amount, user in ((3, alice), (9, bob), (6, carol)):
        credited(user, points, amount, NOON - MINUTE)
    campaign = campaigns.create_campaign(
        slug="top", currency=points, rule={"rule": "equal"}, amount=10, starts_at=NOON, at=NOON,
        participants={"source": "board", "board": "weekly", "top": 2},
    )  # fmt: skip
    campaigns.change_campaign(campaign.pk, None, NOON, status="active")

    campaigns.run_due(NOON)

    assert Distribution.objects.get().status == "paid"
    balances = dict(Account.objects.filter(user__isnull=False).values_list("user__username", "balance"))
    assert balances == {"alice": 0, "bob": 5, "carol": 5}
    assert source_of(Campaign.objects.get().participants).words(Campaign.objects.get().participants) == (
        "the first 2 of the board weekly"
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"board": "weekly"}, "whoever is on the board weekly"),
        (
            {"board": "month", "month": "previous", "top": 3},
            "the first 3 of the board month in the month before the run",
        ),
        ({"board": "month", "month": "2026-10"}, "whoever is on the board month in 2026-10"),
    ],
)
def test_in_words(make_board, options, words):
    make_board("weekly", window="weekly")
    make_board("month", window="monthly")
    options = check_participants({"source": "board", **options})

    assert source_of(options).words(options) == words


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "there is no board None"),
        ({"board": "nothing"}, "there is no board 'nothing'"),
        ({"board": ["weekly"]}, "there is no board"),
        ({"board": "weekly", "month": "2026-10"}, "has no months"),
        ({"board": "month", "month": "October"}, "the month is one such as"),
        ({"board": "month", "month": 10}, "the month is one such as"),
        ({"board": "weekly", "top": 0}, "top is how many places"),
        ({"board": "weekly", "top": True}, "top is how many places"),
        ({"board": "weekly", "size": 3}, "'size' is not known here"),
    ],
)
def test_what_is_not_understood_is_refused(make_board, options, sentence):
    make_board("weekly", window="weekly")
    make_board("month", window="monthly")

    with pytest.raises(CampaignInvalid, match=sentence):
        check_participants({"source": "board", **options})
