"""Refresh the leaderboards."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from leaderboard.queries import board_named
from leaderboard.services import boards_due, months_to_close, refresh_boards
from rewards.common.errors import RewardsError
from rewards.management.base import add_at, add_dry_run, instant_of, result_of_job


class Command(BaseCommand):
    help = (
        "Work every active leaderboard out anew, close the months that are over, and remove what boards of rolling "
        "windows showed over an hour ago. A board that cannot be worked out stops no other."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--board", metavar="SLUG", help="this board only")
        add_at(parser)
        add_dry_run(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        at, slugs = instant_of(options), _slugs(options["board"])
        if at > timezone.now():
            raise CommandError("--at is in the future: what a board shows then would keep newer refreshes out.")
        boards = list(boards_due(slugs))
        if options["dry_run"]:
            for board in boards:
                months = "".join(f", closing {month.key}" for month in months_to_close(board, at))
                self.stdout.write(f"{board.slug}{months}")
            self.stdout.write(f"refresh_leaderboards --dry-run: {len(boards)} boards; nothing was written")
            return
        result = result_of_job(
            self,
            "refresh_leaderboards",
            lambda progress: refresh_boards(at, progress, slugs=slugs),
            total=len(boards),
            unit=" boards",
        )
        if result.failures:
            raise CommandError("; ".join(result.failures))


def _slugs(slug: str | None) -> list[str] | None:
    """Raises `CommandError`."""
    try:
        return None if slug is None else [board_named(slug).slug]
    except RewardsError as error:
        raise CommandError(error.message) from error
