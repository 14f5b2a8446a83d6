"""Seal the audit events that are settled."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from rewards.audit.services import seal_events
from rewards.jobs.services import until_done
from rewards.management.base import run_as_job


class Command(BaseCommand):
    help = "Seals audit events: each seal is a hash over a run of events and the seal before it."

    def handle(self, **options: Any) -> None:
        run_as_job(self, "seal_audit", until_done(seal_events), unit=" events")
