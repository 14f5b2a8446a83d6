"""Run the campaigns that are due."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from rewards.campaigns.queries import all_runs_due
from rewards.campaigns.services import DueResult, run_due
from rewards.management.base import add_at, add_dry_run, instant_of, result_of_job


class Command(BaseCommand):
    help = "Open and pay the runs of active campaigns that are due and not opened, each campaign's oldest first."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_at(parser)
        add_dry_run(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        at = instant_of(options)
        if options["dry_run"]:
            self.preview(at)
            return
        result = result_of_job(
            self,
            "run_campaigns",
            lambda progress: run_due(at, progress=progress),
            total=len(all_runs_due(at)),
            unit=" runs",
        )
        self.say(result)

    def preview(self, at: datetime) -> None:
        due = all_runs_due(at)
        for run in due:
            self.stdout.write(f"{run.programme} {run.key}, due {run.due_at:%Y-%m-%d %H:%M} UTC")
        self.stdout.write(f"run_campaigns --dry-run: {len(due)} runs due; nothing was written")

    def say(self, result: DueResult) -> None:
        """Raises `CommandError` when a run failed."""
        if result.paused:
            self.stdout.write("Payouts are paused: nothing is opened until an administrator lifts it; nothing is lost.")
        if result.waiting:
            self.stdout.write(f"Not paid yet: {', '.join(result.waiting)}")
        if result.failures:
            raise CommandError("; ".join(result.failures))
