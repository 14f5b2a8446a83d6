"""Give badges to whoever has earned them."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand

from badges.queries import preview
from badges.services import check_badges, earnable_badges
from rewards.common.errors import RewardsError
from rewards.management.base import add_at, add_dry_run, instant_of, result_of_job


class Command(BaseCommand):
    help = (
        "Give every active badge, and its bonus, to whoever has earned it and has not got it; also the badges of the "
        "month's paid rankings. Run again it gives nothing twice."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_at(parser)
        add_dry_run(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        at = instant_of(options)
        if options["dry_run"]:
            self.say_what_would_be_done(at)
            return
        result = result_of_job(self, "check_badges", lambda progress: check_badges(at, progress), unit=" badges")
        for slug, given in result.awards.items():
            self.stdout.write(f"  {slug}: {given:,}")
        for sentence in result.errors:
            self.stdout.write(self.style.ERROR(f"  {sentence}"))
        if result.paused:
            self.stdout.write(self.style.WARNING("  Payouts are paused: no badge is given until they go on."))

    def say_what_would_be_done(self, at: datetime) -> None:
        total = 0
        for badge in earnable_badges():
            try:
                would = preview(badge, at)
            except RewardsError as error:
                self.stdout.write(f"{badge.slug}: {error.message}")
                continue
            total += would.count
            if would.count:
                who = ", ".join(would.usernames[:3]) + (", …" if would.count > 3 else "")
                self.stdout.write(f"{badge.slug}: {would.count:,} ({who}), {would.bonus_total:,} {would.currency}")
        self.stdout.write(f"check_badges --dry-run: {total:,} badges would be given; nothing was written")
