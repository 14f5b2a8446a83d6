"""Who collected how many badges in a real community, six years of them: boards of thousands of ties, compared user by
user with a second calculation that shares no code.
"""

from __future__ import annotations

import csv
import gzip
import os
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest
from django.core.management import call_command

from badges.models import Badge, BadgeAward
from badges.services import check_badges
from leaderboard.models import Board, Entry
from leaderboard.queries import BoardPage, Line, board_page, user_rank
from leaderboard.services import refresh_board
from rewards.activity.models import ActivityEvent
from rewards.activity.services import NewEvent, Outcome, record_events
from rewards.ledger.models import Account
from rewards.users.models import User
from tests.concurrency.conftest import broken_promises
from tests.concurrency.racing import at_once

DATA = Path(os.environ.get("REWARDS_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
AWARDS = DATA / "community_badges" / "badges.csv.gz"

METRIC = "badges_earned"
MILLION = 1_000_000  # quantities are ranked in millionths
NOW = datetime(2021, 3, 1, tzinfo=UTC)  # the day after the last award
EVENTS_AT_ONCE = 20_000

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(not AWARDS.exists(), reason=f"there is no {AWARDS}: set REWARDS_DATA to the data"),
]


class Award(NamedTuple):
    number: str
    user: str
    at: datetime


def read_awards() -> list[Award]:
    with gzip.open(AWARDS, "rt") as file:
        return [
            Award(line["id"], line["user_id"], datetime.fromisoformat(line["awarded_at"]).replace(tzinfo=UTC))
            for line in csv.DictReader(file)
        ]


def feed(awards: list[Award]) -> Outcome:
    """All of them, in batches; what the last batch was told, with all counts."""
    events = [NewEvent(f"award-{number}", user, METRIC, 1, at) for number, user, at in awards]
    outcome = Outcome()
    for first in range(0, len(events), EVENTS_AT_ONCE):
        each = record_events(events[first : first + EVENTS_AT_ONCE], create_users=True, at=NOW)
        assert each.rejected == []
        outcome = Outcome(outcome.accepted + each.accepted, outcome.duplicates + each.duplicates)
    return outcome


@pytest.fixture
def awards() -> list[Award]:
    """Six years of awards, all of them fed as activity."""
    awards = read_awards()
    assert feed(awards) == Outcome(accepted=35_069)
    return awards


@pytest.fixture
def board() -> Board:
    return Board.objects.create(slug="collectors", source=Board.Source.METRIC, metric=METRIC)


# ------------------------------------------------------------------------------------------------ the other calculation


def expected(awards: list[Award], after: datetime | None, until: datetime) -> dict[str, tuple[int, int]]:
    """User → (rank, how many), of the awards in (after, until]. Equals share a rank: 1, 2, 2, 4."""
    counted = Counter(award.user for award in awards if award.at <= until and (after is None or award.at > after))
    having = Counter(counted.values())
    rank_of, better = {}, 0
    for count in sorted(having, reverse=True):
        rank_of[count] = better + 1
        better += having[count]
    return {user: (rank_of[count], count) for user, count in counted.items()}


def in_places(ranks: dict[str, tuple[int, int]]) -> list[str]:
    """The users in the order in which a board shows them: by rank, equals by their ids."""
    ids = dict(User.objects.values_list("username", "pk"))
    return sorted(ranks, key=lambda user: (ranks[user][0], ids[user]))


def lines_of(ranks: dict[str, tuple[int, int]], users: list[str], first_place: int = 1) -> list[tuple[int, ...]]:
    """(place, rank, user, millionths) of users at neighbouring places."""
    return [
        (place, ranks[user][0], user, ranks[user][1] * MILLION) for place, user in enumerate(users, start=first_place)
    ]


def shown(lines: list[Line]) -> list[tuple[int, ...]]:
    return [(line.place, line.rank, line.username, line.points) for line in lines]


def assert_shows(page: BoardPage, ranks: dict[str, tuple[int, int]]) -> None:
    assert page.users == len(ranks)
    assert shown(page.entries) == lines_of(ranks, in_places(ranks)[: page.board.size])


# ---------------------------------------------------------------------------------------------------------- the stories


def test_every_user_has_the_rank_of_the_other_calculation(awards, board):
    refresh_board(board, NOW)

    ranks = expected(awards, None, NOW)
    ties = Counter(rank for rank, _ in ranks.values())
    assert len(ranks) == 14_963
    assert (max(ties), ties[max(ties)]) == (6_665, 8_299)  # so many have a single badge, and share one rank
    places = {user: place for place, user in enumerate(in_places(ranks), start=1)}
    for user in User.objects.all():
        standing = user_rank(user, board, NOW)
        assert standing is not None
        found = (standing.user_id, standing.rank, standing.points, standing.place)
        rank, count = ranks[user.username]
        assert found == (user.pk, rank, count * MILLION, places[user.username])


def test_the_first_page_and_who_stands_around_a_user(awards, board):
    ranks = expected(awards, None, NOW)
    order = in_places(ranks)
    # The same from the last refresh, and worked out.
    for refreshed in (False, True):
        if refreshed:
            refresh_board(board, NOW)
        assert_shows(board_page(board, NOW), ranks)
        for place in (1, 3, 100, 6_664, 6_670, len(order)):
            me = User.objects.get(username=order[place - 1])
            page = board_page(board, NOW, user=me, around=True)
            assert page.me is not None
            assert (page.me.place, page.me.rank) == (place, ranks[me.username][0])
            first = max(1, place - 5)
            assert shown(page.around) == lines_of(ranks, order[first - 1 : place + 5], first)


@pytest.mark.parametrize("window", [Board.Window.ALL_TIME, Board.Window.WEEKLY, Board.Window.DAILY])
def test_the_board_at_an_instant_of_the_past(awards, board, window):
    """At the instant of an award it counts, a microsecond before it does not; nor does it any more a week after."""
    board.window = window
    board.save()
    goes_back = {Board.Window.WEEKLY: timedelta(days=7), Board.Window.DAILY: timedelta(hours=24)}.get(window)
    award = sorted(awards, key=lambda award: award.at)[20_000]
    me = User.objects.get(username=award.user)
    for after in (timedelta(0), timedelta(microseconds=-1), timedelta(hours=24), timedelta(days=7)):
        instant = award.at + after
        ranks = expected(awards, instant - goes_back if goes_back else None, instant)
        page = board_page(board, NOW, user=me, instant=instant)
        assert_shows(page, ranks)
        found = (page.me.rank, page.me.points // MILLION) if page.me else None
        assert found == ranks.get(award.user)


def test_a_month_of_a_zone(awards, board):
    board.window, board.time_zone = Board.Window.MONTHLY, "America/Los_Angeles"
    board.save()
    zone = ZoneInfo(board.time_zone)
    for year, month, following in ((2015, 1, (2015, 2)), (2016, 12, (2017, 1)), (2020, 3, (2020, 4))):
        before, last = (
            datetime(*first, 1, tzinfo=zone).astimezone(UTC) - timedelta(microseconds=1)
            for first in ((year, month), following)
        )
        assert_shows(board_page(board, NOW, month=f"{year}-{month:02}"), expected(awards, before, last))


def test_feeding_all_of_it_again_changes_nothing(awards, board):
    refresh_board(board, NOW)
    before = list(Entry.objects.order_by("place").values_list("place", "rank", "user", "points"))

    assert feed(awards) == Outcome(duplicates=35_069)
    refresh_board(board, NOW + timedelta(minutes=1))

    assert list(Entry.objects.order_by("place").values_list("place", "rank", "user", "points")) == before
    assert (ActivityEvent.objects.count(), User.objects.count()) == (35_069, 14_963)


# --------------------------------------------------------------------------------------------------------------- badges

COLLECTOR, HOARDER = 10, 50


@pytest.fixture
def two_badges(points) -> list[Badge]:
    """Over the counter, with a bonus each."""
    kinds = (("collector", COLLECTOR, 100), ("hoarder", HOARDER, 1_000))
    return [
        Badge.objects.create(slug=slug, name=slug, metric=METRIC, threshold=threshold, bonus=bonus, active=True)
        for slug, threshold, bonus in kinds
    ]


def assert_held_once(awards: list[Award]) -> None:
    """By whoever has earned them, each with its bonus."""
    counted = Counter(award.user for award in awards)
    collectors = {user for user, count in counted.items() if count >= COLLECTOR}
    hoarders = {user for user, count in counted.items() if count >= HOARDER}
    assert len(collectors) > len(hoarders) > 1
    held = list(BadgeAward.objects.values_list("badge__slug", "user__username"))
    assert sorted(held) == sorted(
        [("collector", user) for user in collectors] + [("hoarder", user) for user in hoarders]
    )
    balances = dict(Account.objects.exclude(user=None).values_list("user__username", "balance"))
    assert balances == {user: 100 + 1_000 * (user in hoarders) for user in collectors}


def test_badges_over_the_counter_are_given_once(awards, two_badges):
    first, second = check_badges(NOW), check_badges(NOW + timedelta(hours=1))

    assert (first.awarded, second.awarded) == (BadgeAward.objects.count(), 0)
    assert (first.errors, second.errors) == ([], [])
    assert_held_once(awards)
    feed(awards)
    assert check_badges(NOW + timedelta(hours=2)).awarded == 0
    assert_held_once(awards)
    call_command("check_ledger")


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_two_checks_at_once_give_each_badge_once(awards, two_badges):
    results = at_once(*[partial(check_badges, NOW)] * 2)

    assert [result.errors for result in results] == [[], []]
    assert sum(result.awarded for result in results) == BadgeAward.objects.count()
    assert_held_once(awards)
    assert broken_promises() == []
