"""Accrue and pay every day that is due and not done."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from rewards.management.base import add_at, add_dry_run, instant_of
from rewards.management.pool_runs import preview_pool_command, run_pool_command


class Command(BaseCommand):
    help = "Pay the daily pool: every day that is due and not done, oldest first, from the first vote on."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_at(parser)
        add_dry_run(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        act = preview_pool_command if options["dry_run"] else run_pool_command
        act(self, "daily", instant_of(options))
