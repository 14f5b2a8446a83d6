"""Create an API key for a machine."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from rewards.access.models import Right
from rewards.access.services import LONGEST_LIFE, create_api_key
from rewards.common.errors import RewardsError


class Command(BaseCommand):
    help = "Create an API key for a machine and print it once. It is sent in the header x-api-key."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="what the key is for, e.g. game-server")
        parser.add_argument(
            "--rights", required=True, nargs="+", metavar="RIGHT", help=f"some of {', '.join(Right.values)}"
        )
        parser.add_argument("--days", type=int, help="how long it lives (default: until it is revoked)")
        parser.add_argument("--requests-per-minute", type=int, metavar="N", help="default: as many as it likes")

    def handle(self, *args: Any, **options: Any) -> None:
        at = timezone.now()
        try:
            key, secret = create_api_key(
                options["name"],
                [right for words in options["rights"] for right in words.replace(",", " ").split()],
                by=None,
                at=at,
                expires_at=expiry_after(options["days"], at),
                requests_per_minute=options["requests_per_minute"],
            )
        except RewardsError as error:
            raise CommandError(error.message) from error
        until = f"until {key.expires_at:%Y-%m-%d %H:%M} UTC" if key.expires_at else "until it is revoked"
        self.stdout.write(secret)
        self.stdout.write(
            f"This is the key of {key.name}, for {', '.join(key.rights)}, {until}. It is shown this once: keep it safe."
        )


def expiry_after(days: int | None, at: datetime) -> datetime | None:
    """Raises `CommandError`."""
    if days is None:
        return None
    if not 1 <= days <= LONGEST_LIFE.days:
        raise CommandError(f"A key lives for 1 to {LONGEST_LIFE.days} days, not {days}.")
    return at + timedelta(days=days)
