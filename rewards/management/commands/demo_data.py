"""Make demo data, and keep it alive."""

from __future__ import annotations

import logging
import random
import time
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError
from django.utils import timezone

from rewards.activity.services import record_events
from rewards.jobs import shutdown
from rewards.management import demo
from rewards.management.base import stopping_at_signals
from rewards.management.defaults import demos_of_upper_apps
from rewards.pools.partner_database import ALIAS
from rewards.pools.services import run_daily, run_hourly, setup_partner_database

LONGEST_PAUSE_SECONDS = 3.0
POLL_SECONDS = 0.1

logger = logging.getLogger(__name__)


class Command(BaseCommand):
    help = "Create logins, people, votes and payouts to look at. In development only; a second run adds what is new."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--logins-only", action="store_true", help="only the logins")
        parser.add_argument(
            "--live", action="store_true", help="only keep votes and lessons coming, until Ctrl-C or SIGTERM"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.ENVIRONMENT != "development":
            raise CommandError(
                f"Demo data has known passwords: it is made in development only, not in {settings.ENVIRONMENT}."
            )
        if options["live"]:
            keep_events_coming()
            return
        demo.create_logins()
        if not options["logins_only"]:
            self.stdout.write(make_demo_data())
        for line in demo.login_lines():
            self.stdout.write(line)


def make_demo_data() -> str:
    """Partners, rate, funds, past votes and lessons, every payout that is due, then the rest; says it in a line."""
    at, started = timezone.now(), time.monotonic()
    demo.create_partners()
    demo.create_groups()
    demo.create_rate_and_funds()
    if ALIAS in settings.DATABASES:
        setup_partner_database()
    votes = demo.record_past_votes(at)
    hourly, daily = run_hourly(at), run_daily(at)
    for result in (hourly, daily):
        if result.failures:
            raise CommandError(f"{result.programme}: {result.failures[0].sentence}")
    demo.create_deployments(at)
    demo.queue_rewards(at)
    demo.create_campaigns(at)
    cases = demo.create_cases(at)
    lessons, rankings = demo.record_lessons(at), demo.pay_last_month(at)
    for make in demos_of_upper_apps():
        make(timezone.now())  # boards of what was paid above, which the ledger has stamped with the present
    seconds = time.monotonic() - started
    return (
        f"Demo data: {votes} new votes, {hourly.periods} hours and {daily.periods} days paid, "
        f"{hourly.recipients + daily.recipients} rewards, {lessons} new lessons and cases, "
        f"{cases} cases to vote in and look at, rankings paid: {', '.join(rankings) or 'none'}, {seconds:.1f} s"
    )


def keep_events_coming() -> None:
    """A vote or a lesson every second or two until the process is asked to stop."""
    chance = random.Random()
    with stopping_at_signals():
        while not shutdown.asked():
            at = timezone.now()
            try:
                record_events([demo.live_event(at, chance)], at=at)
            except OperationalError as error:  # the database is busy or gone: the next one will tell
                logger.warning("A demo event was lost: %s", error)
            _pause(chance.uniform(0, LONGEST_PAUSE_SECONDS))


def _pause(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and not shutdown.asked():
        time.sleep(POLL_SECONDS)
