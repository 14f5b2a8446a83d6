from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from rewards.activity.services import rebuild_counters


class Command(BaseCommand):
    help = "Make every activity counter the sum of its events again. Events may come in meanwhile."

    def handle(self, **options: Any) -> None:
        corrected = rebuild_counters()
        self.stdout.write(f"{corrected:,} counters put right." if corrected else "All counters were right.")
