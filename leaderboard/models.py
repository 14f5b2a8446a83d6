"""Boards, and what their last refresh found."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models, transaction
from django.db.models import Q
from django.utils import timezone
from simple_history.models import HistoricalRecords

from leaderboard.errors import BoardLocked
from rewards.common.database import Reference
from rewards.users.models import valid_time_zone

KEEP_ROLLING = timedelta(hours=1)
"""So long after its instant the board of a rolling window shows something else than it says."""

CLOCKS_DIFFER = timedelta(minutes=1)
"""Standings that show an instant later than so long from now are the work of a clock that was wrong: they count as old,
and the next refresh takes their place."""


class Board(models.Model):
    """Users ranked by the points they earned in a currency, or by a metric, in a window of time."""

    class Source(models.TextChoices):
        POINTS = "points", "Points earned in a currency"
        METRIC = "metric", "A metric of activity"

    class Window(models.TextChoices):
        ALL_TIME = "all_time", "All time"
        WEEKLY = "weekly", "The last 7 days"
        DAILY = "daily", "The last 24 hours"
        MONTHLY = "monthly", "The calendar month"

    slug = models.SlugField(max_length=60, unique=True)
    title = models.CharField(max_length=120, blank=True)
    source = models.CharField(max_length=10, choices=Source.choices, default=Source.POINTS)
    currency = models.CharField(max_length=40, blank=True, default="points", help_text="Its code, for points earned")
    metric = models.CharField(max_length=60, blank=True, help_text="Its name, for a metric")
    window = models.CharField(max_length=10, choices=Window.choices, default=Window.ALL_TIME)
    time_zone = models.CharField(
        max_length=64, blank=True, validators=[valid_time_zone], help_text="Of its months. Empty: the product's"
    )
    size = models.PositiveIntegerField(
        default=100, validators=[MinValueValidator(1), MaxValueValidator(10_000)], help_text="How many places it shows"
    )
    active = models.BooleanField(default=True)
    refreshing_since = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    history = HistoricalRecords(excluded_fields=["refreshing_since"])

    RANKING = frozenset({"source", "currency", "metric", "window", "time_zone"})
    """The fields that stay once a month is closed."""

    class Meta:
        ordering = ["slug"]
        constraints = [
            models.CheckConstraint(condition=~Q(slug=""), name="board_has_slug"),
            models.CheckConstraint(condition=Q(size__gte=1), name="board_shows_somebody"),
            models.CheckConstraint(
                condition=Q(source="points") & ~Q(currency="") | Q(source="metric") & ~Q(metric=""),
                name="board_says_what_it_ranks",
            ),
        ]

    def __str__(self) -> str:
        return self.title or self.slug

    @property
    def ranks_by(self) -> str:
        """What it ranks by, as text: standings that were found by something else do not show it any more."""
        what = self.currency if self.source == self.Source.POINTS else self.metric
        zone = self.time_zone if self.window == self.Window.MONTHLY else ""
        return f"{self.source}:{what}:{self.window}:{zone}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Raises `BoardLocked` when months are closed and the board would rank something else."""
        with transaction.atomic():
            # Under the lock of those who close months.
            Board.objects.select_for_update(no_key=True).filter(pk=self.pk).first()
            if self._has_months_of_something_else(kwargs.get("update_fields")):
                raise BoardLocked
            super().save(*args, **kwargs)

    def clean(self) -> None:
        """Months that are closed stay as they are, so what they were ranked by stays, too."""
        if self._has_months_of_something_else(None):
            raise ValidationError(BoardLocked().message, code=BoardLocked.code)

    def _has_months_of_something_else(self, update_fields: Collection[str] | None) -> bool:
        if self.pk is None or (update_fields is not None and self.RANKING.isdisjoint(update_fields)):
            return False
        return self.standings.filter(closed=True).exclude(ranked_by__in=["", self.ranks_by]).exists()


class Standings(models.Model):
    """What a refresh found: the board as it was at `as_of`. The next refresh puts another row in its place."""

    board = models.ForeignKey(Board, models.CASCADE, related_name="standings")
    month = models.CharField(
        max_length=7, blank=True, default="", help_text="Of a monthly board, such as 2026-10; empty for other windows"
    )
    as_of = models.DateTimeField(help_text="The instant that it shows")
    ranked_by = models.CharField(max_length=160, default="", editable=False, help_text="The board's `ranks_by` then")
    users = models.PositiveIntegerField(default=0, help_text="How many have points")
    closed = models.BooleanField(default=False, help_text="Of a month that is over: it stays as it is")
    seconds = models.FloatField(default=0, help_text="That the refresh took")

    class Meta:
        verbose_name_plural = "standings"
        constraints = [models.UniqueConstraint(fields=["board", "month"], name="standings_one_per_month")]

    def __str__(self) -> str:
        return f"{self.board} {self.month}".strip()


class Entry(models.Model):
    """One of the first places of a board, as its last refresh found it."""

    standings = models.ForeignKey(Standings, models.CASCADE, related_name="entries")
    board = models.ForeignKey(Board, models.CASCADE, related_name="entries")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+", db_index=False)
    place = models.PositiveIntegerField(help_text="1 to the board's size, equals in the order of their ids")
    rank = models.PositiveIntegerField(help_text="Equals share it: 1, 2, 2, 4")
    points = models.BigIntegerField(help_text="Minor units of the currency, or millionths of a metric")
    wins = models.PositiveBigIntegerField(default=0, help_text="Cases won in the window")
    participations = models.PositiveBigIntegerField(default=0, help_text="In the window")
    updated_at = models.DateTimeField(help_text="The instant that the board shows")

    class Meta:
        db_table = "leaderboard_cache"
        verbose_name_plural = "entries"
        ordering = ["standings_id", "place"]
        constraints = [models.UniqueConstraint(fields=["standings", "place"], name="entry_one_per_place")]


class UserBlock(models.Model):
    """Points, rank and place of neighbouring user ids of a board, packed: a million rows would be slow to replace."""

    standings = models.ForeignKey(Standings, models.CASCADE, related_name="+", db_constraint=False, db_index=False)
    first_user = models.BigIntegerField(help_text="The block holds this user id and those up to the next block")
    packed = models.BinaryField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["standings", "first_user"], name="user_block_one_per_start"),
            Reference(
                columns=["standings_id"],
                to="leaderboard_standings",
                to_columns=["id"],
                name="user_block_standings_exist",
            ),
        ]


class PlaceBlock(models.Model):
    """The users at neighbouring places of a board, with points and rank, packed."""

    standings = models.ForeignKey(Standings, models.CASCADE, related_name="+", db_constraint=False, db_index=False)
    first_place = models.BigIntegerField(help_text="The block holds this place and those up to the next block")
    packed = models.BinaryField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["standings", "first_place"], name="place_block_one_per_start"),
            Reference(
                columns=["standings_id"],
                to="leaderboard_standings",
                to_columns=["id"],
                name="place_block_standings_exist",
            ),
        ]
