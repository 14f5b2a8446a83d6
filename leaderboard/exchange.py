"""Boards as rules that are taken from one installation to another. What they show is not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ValidationError

from leaderboard.models import Board
from rewards.activity.checks import is_metric
from rewards.exchange.kinds import Kind
from rewards.ledger.models import Currency


class Boards(Kind):
    """What a board with closed months ranks is refused, as it is on its page."""

    name, model = "boards", Board
    fields = ("title", "source", "currency", "metric", "window", "time_zone", "size", "active")

    def fill(self, row: Board, facts: Mapping[str, Any]) -> None:
        super().fill(row, facts)
        if row.source == Board.Source.METRIC:
            row.currency = ""
        elif row.source == Board.Source.POINTS:
            row.metric = ""

    def check(self, row: Board) -> None:
        row.full_clean()
        if row.source == Board.Source.POINTS and not Currency.objects.filter(code=row.currency).exists():
            raise ValidationError({"currency": f"There is no currency {row.currency!r}."})
        if row.source == Board.Source.METRIC and not is_metric(row.metric):
            raise ValidationError({"metric": "Write the name of a metric, such as cases_won."})
