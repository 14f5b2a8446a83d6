"""List each programme's periods."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from rewards.distributions.programmes import registered_programmes
from rewards.distributions.queries import period_states
from rewards.management.base import add_at, instant_of


class Command(BaseCommand):
    help = "List each programme's periods: due, missed, running, stuck, done."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_at(parser)
        parser.add_argument("--programme", help="one programme only")
        parser.add_argument("--limit", type=int, default=50, help="how many opened periods to list (50)")

    def handle(self, *args: Any, **options: Any) -> None:
        programme = options["programme"]
        registered = registered_programmes()
        if programme and not {programme, programme.partition(":")[0]} & registered.keys():
            raise CommandError(f"There is no programme {programme!r}; there are {', '.join(sorted(registered))}.")
        if options["limit"] < 0:
            raise CommandError("--limit is a number of periods: 0 or more.")
        states = period_states(instant_of(options), programme, options["limit"])
        for each in states:
            self.stdout.write(f"{each.state:<8} {each.programme:<20} {each.period_key:<16} {each.note}")
        counts = {state: sum(each.state == state for each in states) for state in ("due", "missed", "running", "stuck")}
        self.stdout.write(f"{len(states)} periods: {', '.join(f'{count} {state}' for state, count in counts.items())}.")
