"""Boards against plain Python: rankings and their blocks, and what counts at every instant of any history."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leaderboard.models import Board
from leaderboard.ranking import Ranking, Standing, found_in, standings_in
from leaderboard.scores import scores
from rewards.ledger.models import Currency
from rewards.users.models import User
from tests.leaderboard.conftest import NOON, credited, did, reversed_at

IDS = st.one_of(st.integers(1, 300), st.integers(1, 2**63 - 1))
POINTS = st.one_of(st.integers(1, 5), st.integers(1, 70_000), st.integers(1, 2**63 - 1))


def ranked(points: dict[int, int]) -> list[Standing]:
    """The same by sorting and counting who is better."""
    order = sorted(points, key=lambda user_id: (-points[user_id], user_id))
    ordered = [points[user_id] for user_id in order]
    return [
        Standing(user_id, points[user_id], 1 + ordered.index(points[user_id]), place)
        for place, user_id in enumerate(order, start=1)
    ]


@pytest.mark.once
@given(st.dictionaries(IDS, POINTS, max_size=400), st.integers(0, 8), st.integers(0, 8))
def test_a_ranking_is_that_of_sorting_and_survives_its_blocks(points, above, below):
    ids, amounts = np.array([*points], dtype=np.int64), np.array([*points.values()], dtype=np.int64)
    board, expected = Ranking.of(ids, amounts), ranked(points)

    assert board.first(len(points) + 1) == expected
    assert [each for first, packed in board.place_blocks() for each in standings_in(packed, first)] == expected
    users = list(board.user_blocks())
    for standing in expected:
        _, packed = max((block for block in users if block[0] <= standing.user_id), key=lambda block: block[0])
        assert found_in(packed, standing.user_id) == board.of_user(standing.user_id) == standing
        neighbours = expected[max(standing.place - 1 - above, 0) : standing.place + below]
        assert board.between(standing.place - above, standing.place + below) == neighbours


HOURS = st.integers(-40 * 24, 0).map(lambda hours: NOON + timedelta(hours=hours))
CREDITS = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 9), HOURS, st.none() | st.integers(0, 400)), max_size=12)
ZONES = st.sampled_from(["", "Europe/Berlin", "Pacific/Auckland"])


def starts(window: str, zone: str, at: datetime) -> datetime:
    """The first microsecond that counts."""
    if window == "monthly":
        return at.astimezone(ZoneInfo(zone or "UTC")).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    length = {"all_time": timedelta(days=10_000), "weekly": timedelta(days=7), "daily": timedelta(hours=24)}[window]
    return at - length + timedelta(microseconds=1)


@pytest.mark.django_db
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(CREDITS, st.sampled_from(Board.Window.values), ZONES, HOURS, st.booleans())
def test_what_counts_at_an_instant_is_what_a_loop_over_history_counts(history, window, zone, at, of_metric):
    expected: defaultdict[str, int] = defaultdict(int)
    start = starts(window, zone, at)
    with transaction.atomic():
        users = [User.objects.create(username=name, password="!") for name in ("ann", "ben", "cid")]
        points = Currency.objects.create(code="points")
        for who, amount, when, reversed_after in history:
            reversal = None if of_metric or reversed_after is None else when + timedelta(hours=reversed_after)
            if of_metric:
                did(users[who], "tests", amount, when)
            else:
                credit = credited(users[who], points, amount, when)
                if reversal is not None:
                    reversed_at(credit, reversal)
            if start <= when <= at and (reversal is None or reversal > at):
                expected[users[who].username] += amount * (10**6 if of_metric else 1)
        board = Board.objects.create(
            slug="board", window=window, time_zone=zone,
            source="metric" if of_metric else "points", metric="tests",
        )  # fmt: skip
        user_ids, found = scores(board, at)
        names = {user.pk: user.username for user in users}
        got = {names[user_id]: each for user_id, each in zip(user_ids.tolist(), found.tolist(), strict=True)}
        transaction.set_rollback(True)
    assert got == dict(expected)
