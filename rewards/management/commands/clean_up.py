"""Delete what nobody needs any more."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from rewards.jobs.services import clean_up
from rewards.management.base import add_at, instant_of, run_as_job


class Command(BaseCommand):
    help = (
        "Deletes old job runs, processes long gone, and expired sessions, tokens and idempotency keys. "
        "Never ledger, rewards, claims, audit or activity."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_at(parser)

    def handle(self, **options: Any) -> None:
        at = instant_of(options)
        run_as_job(self, "clean_up", lambda progress: clean_up(at))
