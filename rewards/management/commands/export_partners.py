"""Send special partners' hourly rewards to the partner database."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from rewards.management.base import add_at, add_dry_run, instant_of, result_of_job
from rewards.pools.models import PartnerTransfer
from rewards.pools.services import export_partners


class Command(BaseCommand):
    help = "Send every row of the partner outbox that is not there yet to the partner database, each exactly once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_at(parser)
        add_dry_run(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        at, unsent = instant_of(options), PartnerTransfer.objects.filter(sent_at=None).count()
        if options["dry_run"]:
            self.stdout.write(f"export_partners --dry-run: {unsent} rows would be sent; nothing was written")
            return
        result = result_of_job(
            self, "export_partners", lambda progress: export_partners(at, progress=progress), total=unsent, unit=" rows"
        )
        if result.failed:
            raise CommandError(f"{result.failed} rows were not taken and are kept: {result.last_error}")
