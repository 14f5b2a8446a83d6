"""Close the cases that are due."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from rewards.cases.closing import CloseResult, close_cases
from rewards.cases.models import Case
from rewards.cases.programme import cases_to_close
from rewards.management.base import add_at, add_dry_run, instant_of, result_of_job


class Command(BaseCommand):
    help = "Close the cases that are due: reveal their verdicts, share out their pools, count their results."

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
            "close_cases",
            lambda progress: close_cases(at, progress),
            total=cases_to_close(at).count(),
            unit=" cases",
        )
        self.say(result)

    def preview(self, at: datetime) -> None:
        """Who would be paid what is not said: it would tell the verdict."""
        due = list(cases_to_close(at))
        for case in due:
            votes = f"{case.yes_votes:,} YES, {case.no_votes:,} NO"
            standing = "is closed and not settled" if case.status == Case.Status.CLOSED else f"due {_minute(case)}"
            self.stdout.write(f"{case.period_key} {case.title!r}: {standing}; {votes}")
        self.stdout.write(f"close_cases --dry-run: {len(due)} cases; nothing was written")

    def say(self, result: CloseResult) -> None:
        """Raises `CommandError` when a case failed."""
        if result.waiting:
            self.stdout.write(f"Not settled yet, the next run goes on: {', '.join(result.waiting)}")
        if result.failures:
            raise CommandError("; ".join(result.failures))


def _minute(case: Case) -> str:
    return f"{case.closes_at:%Y-%m-%d %H:%M} UTC" if case.closes_at else ""
