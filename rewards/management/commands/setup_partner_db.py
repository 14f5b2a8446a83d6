"""Create the partner's table."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from rewards.common.errors import RewardsError
from rewards.pools.services import setup_partner_database


class Command(BaseCommand):
    help = "Create the table cc_hourly, with its primary key, in the partner database where it is missing."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            created = setup_partner_database()
        except RewardsError as error:
            raise CommandError(error.message) from error
        self.stdout.write("Table cc_hourly created." if created else "Table cc_hourly stands, with its primary key.")
