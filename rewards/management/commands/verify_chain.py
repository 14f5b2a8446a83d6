"""Check that no entry of the local chain was changed."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from rewards.chain.services import verify_local_chain

MOST_SHOWN = 1_000


class Command(BaseCommand):
    help = "Walks the log of the local chain, names what was changed and prints the head. Exits 1 on any finding."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--expect", metavar="HEAD", help="a head printed earlier: fail unless it is on the chain")

    def handle(self, **options: Any) -> None:
        expect = options["expect"]
        verdict = verify_local_chain(expect.strip().lower() if expect else None)
        for sentence in verdict.findings[:MOST_SHOWN]:
            self.stdout.write(self.style.ERROR(sentence))
        self.stdout.write(f"{verdict.entries} entries")
        self.stdout.write(f"head {verdict.head}")
        if not verdict.intact:
            raise CommandError(f"The local chain was changed: {len(verdict.findings)} findings.")
