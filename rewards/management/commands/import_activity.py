from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from rewards.activity.csv_import import ACTIVITY
from rewards.management.importing import ImportCommand


class Command(ImportCommand):
    help = "Import activity events of any metric from a CSV file. Importing a file twice changes nothing."
    layout = ACTIVITY
    events = "events"
    users = "users"

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--create-users", action="store_true", help="create users that are not known yet")

    def creates_users(self, options: dict[str, Any]) -> bool:
        return options["create_users"]
