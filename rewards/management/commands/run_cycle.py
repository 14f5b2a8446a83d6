"""One hourly and one daily run: the test mode."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from rewards.management.base import add_at, add_dry_run, instant_of
from rewards.management.pool_runs import preview_pool_command, run_pool_command


class Command(BaseCommand):
    help = "Do one run of the hourly and one of the daily pool."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_at(parser)
        add_dry_run(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        act = preview_pool_command if options["dry_run"] else run_pool_command
        at = instant_of(options)
        failures = []
        for slug in ("hourly", "daily"):  # a pool that fails does not stop the other one
            try:
                act(self, slug, at)
            except CommandError as error:
                failures.append(str(error))
        if failures:
            raise CommandError(" ".join(failures))
