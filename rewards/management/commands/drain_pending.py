"""Pay the queue of pending rewards."""

from __future__ import annotations

from argparse import ArgumentParser
from time import perf_counter
from typing import Any

from django.core.management.base import BaseCommand
from tqdm import tqdm

from rewards.jobs import shutdown
from rewards.management.base import add_at, add_dry_run, instant_of, stopping_at_signals
from rewards.pending.drain import drain, due_rows


class Command(BaseCommand):
    help = (
        "Pay the pending rewards that are due, by priority, the oldest first. One that fails holds up no other. Any "
        "number of these may run at once, beside the job of this name: they share the queue."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_at(parser)
        add_dry_run(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        at, started = instant_of(options), perf_counter()
        due = due_rows(at).count()
        if options["dry_run"]:
            self.stdout.write(f"drain_pending --dry-run: {due:,} rewards would be taken; nothing was written")
            return
        with stopping_at_signals(), tqdm(total=due, unit=" rewards", disable=None, leave=False) as bar:
            drained = drain(
                at, lambda: not shutdown.asked(), lambda successes, failures: bar.update(successes + failures)
            )
        figures = ", ".join(f"{count:,} {what}" for what, count in drained.figures().items())
        self.stdout.write(f"drain_pending: {figures}, {perf_counter() - started:.1f} s")
