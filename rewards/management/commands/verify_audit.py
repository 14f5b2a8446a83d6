"""Check that no sealed audit event and no seal was changed."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from rewards.audit.queries import verify_chain

MOST_SHOWN = 1_000


class Command(BaseCommand):
    help = "Walks the chain of audit seals, names what was changed and prints the head. Exits 1 on any finding."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--expect", metavar="HEAD", help="a head printed earlier: fail unless it is on the chain")

    def handle(self, **options: Any) -> None:
        expect = options["expect"]
        verdict = verify_chain(expect.strip().lower() if expect else None)
        for finding in verdict.findings[:MOST_SHOWN]:
            self.stdout.write(self.style.ERROR(finding.sentence))
        self.stdout.write(
            f"{verdict.sealed_events} events in {verdict.seals} seals; {verdict.unsealed_events} not sealed yet "
            f"(the oldest for {verdict.lag_seconds:.0f} s)"
        )
        self.stdout.write(f"head {verdict.head}")
        if not verdict.intact:
            raise CommandError(f"The audit trail was changed: {len(verdict.findings)} findings.")
