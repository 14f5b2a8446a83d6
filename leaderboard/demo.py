"""Boards in the demo data: one over a metric beside the shipped ones, all of them fresh."""

from __future__ import annotations

from datetime import datetime

from leaderboard.models import Board
from leaderboard.services import refresh_boards

TESTS = "tests-of-the-month"


def make_demo(at: datetime) -> None:
    Board.objects.get_or_create(
        slug=TESTS,
        defaults={
            "title": "Tests of the month",
            "source": Board.Source.METRIC,
            "metric": "tests_completed",
            "window": Board.Window.MONTHLY,
        },
    )
    refresh_boards(at)
