"""Continue what a process left unfinished."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from rewards.distributions.services import abandoned, continue_unfinished
from rewards.management.base import add_at, add_dry_run, instant_of, run_as_job


class Command(BaseCommand):
    help = "Continue payouts that a process left unfinished. One that failed waits for a retry instead."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_at(parser)
        add_dry_run(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        at = instant_of(options)
        if options["dry_run"]:
            left = list(abandoned(at))
            for distribution in left:
                self.stdout.write(f"{distribution} is {distribution.status}")
            self.stdout.write(f"sweep --dry-run: {len(left)} payouts would be continued; nothing was written")
            return
        run_as_job(self, "sweep", lambda progress: {"continued": continue_unfinished(at, progress.keep_going)})
