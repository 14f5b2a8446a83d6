"""Mail new alerts to the people in ADMINS."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from rewards.alerts.services import mail_alerts
from rewards.jobs.services import until_done
from rewards.management.base import run_as_job


class Command(BaseCommand):
    help = "Mails alerts that are open and were not mailed yet to ADMINS, once."

    def handle(self, **options: Any) -> None:
        run_as_job(self, "mail_alerts", until_done(mail_alerts), unit=" alerts")
