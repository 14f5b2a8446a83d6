"""What counts on a board at an instant: windows at their edges, reversals, months of a zone, metrics."""

from __future__ import annotations

from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from django.db import transaction

from leaderboard.errors import PointsTooLarge
from leaderboard.models import Board
from leaderboard.scores import last_instant, scores, tallies
from rewards.activity.models import Counter
from rewards.activity.services import MONTHS, close_stretch
from rewards.common.amounts import MAX_MINOR
from rewards.common.errors import InvariantBroken
from rewards.common.periods import Month
from rewards.ledger.models import TREASURY, WRITE_OFF
from rewards.ledger.services import user_account
from rewards.users.models import User
from tests.leaderboard.conftest import NOON, credited, did, instant, moved, reversed_at

pytestmark = pytest.mark.django_db

MICROSECOND = timedelta(microseconds=1)
DAY = timedelta(days=1)


def table(board: Board, at=NOON) -> dict[str, int]:
    """Username → points."""
    user_ids, found = scores(board, at)
    names = dict(User.objects.values_list("pk", "username"))
    return {names[user_id]: each for user_id, each in zip(user_ids.tolist(), found.tolist(), strict=True)}


def account_of(user, currency):
    with transaction.atomic():
        return user_account(user, currency)


# --------------------------------------------------------------------------------------------------- points earned


def test_credits_from_system_accounts_are_summed(make_board, alice, bob, points):
    credited(alice, points, 100)
    credited(alice, points, 20, code=TREASURY)
    credited(bob, points, 7)

    assert table(make_board()) == {"alice": 120, "bob": 7}


def test_spending_transfers_and_what_is_written_off_change_nothing(make_board, alice, bob, points):
    credited(alice, points, 100, NOON - DAY)
    credited(bob, points, 5, code=WRITE_OFF)
    own, other = account_of(alice, points), account_of(bob, points)
    moved(own, other, 60, NOON)
    treasury = credited(alice, points, 1, NOON - DAY, code=TREASURY).debit_account
    moved(own, treasury, 30, NOON)

    assert table(make_board()) == {"alice": 101}


def test_another_currency_does_not_count_and_an_unknown_one_is_an_empty_board(make_board, alice, coins, points):
    credited(alice, coins, 500)

    assert table(make_board()) == {}
    assert table(make_board("coins", currency="coins")) == {"alice": 500}
    assert table(make_board("none", currency="doubloons")) == {}


@pytest.mark.parametrize(("window", "length"), [("weekly", 7 * DAY), ("daily", DAY)])
def test_a_rolling_window_leaves_its_first_instant_out_and_takes_its_last(
    make_board, alice, bob, carol, points, window, length
):
    credited(alice, points, 1, NOON - length)
    credited(bob, points, 2, NOON - length + MICROSECOND)
    credited(carol, points, 4, NOON)
    credited(carol, points, 8, NOON + MICROSECOND)

    assert table(make_board(window=window)) == {"bob": 2, "carol": 4}
    assert table(make_board("all")) == {"alice": 1, "bob": 2, "carol": 4}


@pytest.mark.parametrize("window", ["all_time", "weekly", "daily", "monthly"])
def test_a_reversal_takes_effect_at_its_own_instant_in_every_window(make_board, alice, points, window):
    board = make_board(window=window)
    credit = credited(alice, points, 100, NOON - timedelta(hours=2))
    credited(alice, points, 1, NOON - timedelta(hours=2))
    reversed_at(credit, NOON - timedelta(hours=1))

    assert table(board, NOON) == {"alice": 1}
    assert table(board, NOON - timedelta(hours=1)) == {"alice": 1}
    assert table(board, NOON - timedelta(hours=1) - MICROSECOND) == {"alice": 101}


def test_a_reversal_inside_the_window_of_a_credit_before_it_takes_nothing_away(make_board, alice, points):
    reversed_at(credited(alice, points, 100, NOON - 2 * DAY), NOON)
    credited(alice, points, 5)

    assert table(make_board(window="daily")) == {"alice": 5}


def test_who_is_deactivated_is_left_out(make_board, alice, bob, points):
    credited(alice, points, 100)
    did(bob, "tests", 3)
    did(alice, "tests", 4)
    User.objects.filter(pk=alice.pk).update(is_active=False)

    assert table(make_board()) == {}
    assert table(make_board("tests", metric="tests")) == {"bob": 3_000_000}


def test_pointsthat_leave_64_bits_are_refused(make_board, alice, points):
    credited(alice, points, MAX_MINOR, NOON - DAY)
    board = make_board()
    assert table(board) == {"alice": MAX_MINOR}

    credited(alice, points, 1)
    with pytest.raises(PointsTooLarge, match="64 bits"):
        table(board)
    assert table(board, NOON - MICROSECOND) == {"alice": MAX_MINOR}


# -------------------------------------------------------------------------------------------------------------- months

BERLIN = ZoneInfo("Europe/Berlin")


def test_a_month_of_berlin_begins_at_its_own_midnight(make_board, alice, bob, carol, points):
    board = make_board(window="monthly", time_zone="Europe/Berlin")
    credited(alice, points, 1, instant("2026-03-31T21:59:59.999999"))  # the clock went forward on the 29th
    credited(bob, points, 2, instant("2026-03-31T22:00"))
    credited(carol, points, 4, instant("2026-02-28T23:00"))

    assert table(board, instant("2026-03-31T21:59:59.999999")) == {"alice": 1, "carol": 4}
    assert table(board, instant("2026-03-31T22:00")) == {"bob": 2}
    assert table(board, instant("2026-02-28T22:59:59.999999")) == {}


def test_a_year_ends_in_berlin_an_hour_before_it_does_in_utc(make_board, alice, bob, points):
    berlin = make_board(window="monthly", time_zone="Europe/Berlin")
    utc = make_board("utc", window="monthly")
    credited(alice, points, 1, instant("2026-12-31T22:59"))
    credited(bob, points, 2, instant("2026-12-31T23:00"))

    assert table(berlin, instant("2026-12-31T23:30")) == {"bob": 2}
    assert table(utc, instant("2026-12-31T23:30")) == {"alice": 1, "bob": 2}
    assert last_instant(Month(2026, 12, BERLIN)) == instant("2026-12-31T22:59:59.999999")
    assert table(berlin, last_instant(Month(2026, 12, BERLIN))) == {"alice": 1}


# ------------------------------------------------------------------------------------------------------------- metrics


def test_a_metric_of_all_time_is_its_counter_less_what_came_later(make_board, alice, bob):
    board = make_board(metric="tests")
    did(alice, "tests", "2.5", NOON - 400 * DAY)
    did(alice, "tests", "1", NOON)
    did(bob, "tests", "9", NOON + MICROSECOND)
    did(bob, "others", "50")

    assert table(board) == {"alice": 3_500_000}
    assert table(board, NOON + MICROSECOND) == {"alice": 3_500_000, "bob": 9_000_000}
    assert table(board, NOON - MICROSECOND) == {"alice": 2_500_000}


@pytest.mark.parametrize(("window", "length"), [("weekly", 7 * DAY), ("daily", DAY)])
def test_a_metric_in_a_rolling_window_counts_its_events(make_board, alice, bob, window, length):
    did(alice, "tests", 1, NOON - length)
    did(alice, "tests", 2, NOON - length + MICROSECOND)
    did(bob, "tests", 4, NOON)
    did(bob, "tests", 8, NOON + MICROSECOND)

    assert table(make_board(metric="tests", window=window)) == {"alice": 2_000_000, "bob": 4_000_000}


@pytest.mark.parametrize("zone", ["", "Europe/Berlin"])
def test_a_metric_of_a_month_counts_what_counts_in_that_month(make_board, alice, bob, zone):
    board = make_board(metric="tests", window="monthly", time_zone=zone)
    did(alice, "tests", 1, instant("2026-10-15T12:00"))
    did(bob, "tests", 2, instant("2026-11-15T12:00"))
    month = Month(2026, 10, ZoneInfo("UTC"))
    close_stretch(MONTHS, month.start, month.end)
    did(bob, "tests", 4, instant("2026-10-20T12:00"), at=NOON)  # too late for its month: in the total only

    assert table(board, instant("2026-10-15T12:00")) == {"alice": 1_000_000}
    assert table(board, instant("2026-10-31T12:00")) == {"alice": 1_000_000}
    assert table(board) == {"bob": 2_000_000}
    assert table(make_board("all", metric="tests")) == {"alice": 1_000_000, "bob": 6_000_000}


def test_a_metric_of_a_month_of_berlin_follows_berlins_midnight(make_board, alice, bob):
    board = make_board(metric="tests", window="monthly", time_zone="Europe/Berlin")
    did(alice, "tests", 1, instant("2026-10-31T22:59"))
    did(bob, "tests", 2, instant("2026-10-31T23:00"))

    assert table(board, instant("2026-10-31T22:59:59")) == {"alice": 1_000_000}
    assert table(board, instant("2026-10-31T23:30")) == {"bob": 2_000_000}


@pytest.mark.parametrize("missing", ["alice", "bob"])
def test_a_counter_that_is_missing_beside_later_events_is_said_so(make_board, alice, bob, missing):
    board = make_board(metric="tests")
    for user in (alice, bob):
        did(user, "tests", when=NOON)
    Counter.objects.filter(user__username=missing).delete()

    with pytest.raises(InvariantBroken, match="rebuild the counters"):
        scores(board, NOON - DAY)


def test_an_unknown_metric_is_an_empty_board(make_board, alice):
    assert table(make_board(metric="nothing")) == {}


# ---------------------------------------------------------------------------------------------- wins and participations


def test_wins_and_participations_are_those_of_the_window(make_board, alice, bob, carol):
    did(alice, "cases_won", 3, NOON - 30 * DAY)
    did(alice, "cases_won", 2, NOON - timedelta(hours=2))
    did(alice, "participations", "7.5", NOON)
    did(bob, "participations", 1, NOON - 3 * DAY)
    did(bob, "participations", 1, NOON + MICROSECOND)
    did(carol, "cases_won", 1, NOON)
    users = [alice.pk, bob.pk]

    assert tallies(make_board("all"), users, NOON) == {alice.pk: (5, 7), bob.pk: (0, 1)}
    assert tallies(make_board("month", window="monthly"), users, NOON) == {alice.pk: (2, 7), bob.pk: (0, 1)}
    assert tallies(make_board("week", window="weekly"), users, NOON) == {alice.pk: (2, 7), bob.pk: (0, 1)}
    assert tallies(make_board("day", window="daily"), users, NOON) == {alice.pk: (2, 7)}
    assert tallies(make_board("day2", window="daily"), [], NOON) == {}
