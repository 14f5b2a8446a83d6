"""Compare the commitments of cases with the chain, and open the cases that it has taken."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from rewards.cases.commitments import cases_to_check, check_verdicts
from rewards.management.base import add_at, add_dry_run, instant_of, run_as_job


class Command(BaseCommand):
    help = (
        "Compare the commitment of each draft and each open case with the chain. Drafts that it has taken are opened "
        "with their escrow; a difference raises an alert."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_at(parser)
        add_dry_run(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        at, cases = instant_of(options), cases_to_check()
        if options["dry_run"]:
            for case in cases:
                self.stdout.write(f"Case {case.pk}, {case.get_status_display()}: {case.commitment}")
            self.stdout.write("check_verdicts --dry-run: nothing was written")
            return
        total = cases.count()
        run_as_job(
            self, "check_verdicts", lambda progress: check_verdicts(at, progress).figures(), total=total, unit=" cases"
        )
