"""Write a case and commit its verdict."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from rewards.cases.generating import generate_case
from rewards.management.base import add_at, add_dry_run, instant_of, run_as_job
from rewards.parameters.services import param


class Command(BaseCommand):
    help = (
        "Write a case with the generator of the settings and commit the hash of its verdict to the chain. It opens "
        "when the chain has taken it: at once, or by check_verdicts. Each call writes one."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_at(parser)
        add_dry_run(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        at = instant_of(options)
        if options["dry_run"]:
            would = f"the generator {settings.CASE_GENERATOR} would write a case, with a pool of "
            would += f"{param('cases.reward_pool'):,} {param('cases.currency')} from {param('cases.funded_by')}"
            off = "nothing would be written: the parameter cases.generate is off"
            self.stdout.write(f"generate_case --dry-run: {would if param('cases.generate') else off}")
            return
        if not param("cases.generate"):
            self.stdout.write("The parameter cases.generate is off: no case is written.")
        run_as_job(self, "generate_case", lambda progress: generate_case(at, progress).figures(), unit=" cases")
