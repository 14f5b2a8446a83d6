"""Write a programme's rewards to a CSV file."""

from __future__ import annotations

import csv
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from rewards.common.exports import spreadsheet_safe
from rewards.distributions.models import Distribution
from rewards.distributions.queries import reward_lines

COLUMNS = ("period_key", "user", "position", "rank", "score", "amount", "status")


class Command(BaseCommand):
    help = "Write a programme's rewards to a CSV file: " + ", ".join(COLUMNS) + " (amount in currency units)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("programme")
        parser.add_argument("out", metavar="OUT.csv", type=Path)
        parser.add_argument("--period", metavar="KEY", help="one period only")

    def handle(self, *args: Any, **options: Any) -> None:
        chosen = Distribution.objects.filter(programme=options["programme"]).order_by("starts_at", "pk")
        if options["period"]:
            chosen = chosen.filter(period_key=options["period"])
        if not chosen.exists():
            raise CommandError(f"{options['programme']!r} has no such distribution.")
        try:
            with options["out"].open("w", newline="", encoding="utf-8") as file:
                rows = self.write(csv.writer(file), chosen)
        except OSError as error:
            raise CommandError(f"{options['out']} cannot be written: {error.strerror}.") from error
        self.stdout.write(f"{rows:,} rewards of {chosen.count():,} periods written to {options['out']}.")

    def write(self, out: Any, chosen: Any) -> int:
        out.writerow(COLUMNS)
        rows = 0
        for distribution in tqdm(chosen.select_related("currency").iterator(chunk_size=500), disable=None, leave=False):
            for line in reward_lines(distribution):
                out.writerow([spreadsheet_safe(value) for value in line])
                rows += 1
        return rows
