"""Write the rules of this installation into one file."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from rewards.exchange.services import export_rules


class Command(BaseCommand):
    help = (
        "Write currencies, changed parameters, vote weights, pools, claim types, ranking categories, badges and boards "
        "as JSON, in an order that stays: two files differ where the rules do. No credentials, people or money."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--output", metavar="FILE", type=Path, help="write there instead of to stdout")

    def handle(self, *args: Any, **options: Any) -> None:
        text, file = export_rules(), options["output"]
        if file is None:
            self.stdout.write(text, ending="")
            return
        try:
            file.write_text(text, encoding="utf-8")
        except OSError as error:
            raise CommandError(f"{file} cannot be written: {error.strerror}.") from error
        self.stdout.write(f"The rules are written to {file}.")
