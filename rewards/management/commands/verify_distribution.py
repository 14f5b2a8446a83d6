"""Recompute distributions and compare them to what was paid."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from rewards.distributions.models import Distribution
from rewards.distributions.queries import verify


class Command(BaseCommand):
    help = "Recompute every row from the frozen snapshot and the stored rule, the digest, and compare to the ledger."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("which", nargs="?", metavar="ID|PROGRAMME", help="one distribution, or a programme's")
        parser.add_argument("--all", action="store_true", help="all of them")

    def handle(self, *args: Any, **options: Any) -> None:
        chosen = self.chosen(options["which"], options["all"])
        differing = rows = 0
        for distribution in tqdm(chosen.iterator(chunk_size=500), total=chosen.count(), disable=None, leave=False):
            differences = verify(distribution)
            rows += distribution.participants
            differing += bool(differences)
            for difference in differences:
                self.stdout.write(self.style.ERROR(str(difference)))
        self.stdout.write(f"{chosen.count():,} distributions with {rows:,} rows verified, {differing} differ.")
        if differing:
            raise CommandError("What was paid is not what the rule gives.")

    def chosen(self, which: str | None, everything: bool) -> Any:
        found = Distribution.objects.select_related("currency", "source_account").order_by("pk")
        if everything == bool(which):
            raise CommandError("Name a distribution by its id, a programme, or --all.")
        if which and which.isdecimal():
            found = found.filter(pk=int(which))
        elif which:
            found = found.filter(programme=which)
        if which and not found.exists():
            raise CommandError(f"There is no distribution or programme {which!r}.")
        return found
