from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from badges.services import rebuild


class Command(BaseCommand):
    help = (
        "Make anew, from the awards, what the check remembers of who has which badge. Nothing is given or taken; the "
        "check may run meanwhile."
    )

    def handle(self, **options: Any) -> None:
        wrong = rebuild()
        self.stdout.write(f"{wrong:,} put right." if wrong else "All were right.")
