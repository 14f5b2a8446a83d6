from __future__ import annotations

from typing import Any

from rewards.activity.csv_import import VOTES
from rewards.management.importing import ImportCommand


class Command(ImportCommand):
    help = "Import votes from a CSV file. Partners are created on the way; importing a file twice changes nothing."
    layout = VOTES
    events = "votes"
    users = "partners"

    def creates_users(self, options: dict[str, Any]) -> bool:
        return True
