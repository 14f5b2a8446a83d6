"""Create the pools, their currency and CC rate, or point the pools at another currency."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from rewards.common.errors import RewardsError
from rewards.common.periods import parse_instant
from rewards.pools.services import setup_pools


class Command(BaseCommand):
    help = "Create currency, pools and CC rate where they are missing, and point the pools at that currency."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--currency", required=True, metavar="CODE")
        parser.add_argument("--decimals", required=True, type=int, metavar="N", help="0 to 8")
        parser.add_argument("--cc-rate", required=True, metavar="R", help="currency units for one CC, such as 0.25")
        parser.add_argument("--since", default="1970-01-01", metavar="T", help="when the rate starts (default 1970)")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            since = parse_instant(options["since"])
        except ValueError as error:
            raise CommandError(f"--since {options['since']!r} is not an instant such as 2026-11-21T00:00.") from error
        try:
            said = setup_pools(options["currency"], options["decimals"], options["cc_rate"], since)
        except RewardsError as error:
            raise CommandError(error.message) from error
        for sentence in said:
            self.stdout.write(sentence)
