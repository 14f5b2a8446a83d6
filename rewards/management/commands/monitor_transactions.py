"""Look after the transactions of claimed rewards."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from rewards.chain_claims.monitor import MonitorResult, due_transactions, left_behind, monitor_transactions
from rewards.management.base import add_at, add_dry_run, instant_of, result_of_job


class Command(BaseCommand):
    help = (
        "Look at submitted reward transactions on the chain, the longest unchecked first: confirmed ones are credited, "
        "failed ones may be claimed again."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_at(parser)
        add_dry_run(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        at = instant_of(options)
        if options["dry_run"]:
            self.preview()
            return
        result = result_of_job(
            self,
            "monitor_transactions",
            lambda progress: monitor_transactions(at, progress),
            total=len(due_transactions()),
            unit=" transactions",
        )
        self.say(result)

    def preview(self) -> None:
        due, left = due_transactions(), left_behind().count()
        for tx in due:
            self.stdout.write(f"{tx}, {f'looked at {tx.checked_at:%Y-%m-%d %H:%M} UTC' if tx.checked_at else 'new'}")
        self.stdout.write(
            f"monitor_transactions --dry-run: {len(due)} to look at, {left} claims to settle; nothing was written"
        )

    def say(self, result: MonitorResult) -> None:
        """Raises `CommandError` when something went wrong."""
        if result.paused:
            self.stdout.write(
                "Payouts are paused: nothing is credited until an administrator lifts it; nothing is lost."
            )
        if result.node_down:
            raise CommandError("The chain does not answer; nothing is lost. Try again later.")
        if result.errors:
            raise CommandError(f"{result.errors} could not be looked after: see the log, and the alerts.")
