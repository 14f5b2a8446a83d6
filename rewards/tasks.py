"""What workers do. A task is a poke: it carries no amounts, runs its job if nobody else does, and asks the database
what is due.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from celery import shared_task
from django.utils import timezone

from rewards.alerts.services import mail_alerts as mail_new_alerts
from rewards.audit.services import seal_events
from rewards.distributions.services import continue_unfinished
from rewards.jobs import services as jobs
from rewards.jobs.progress import Progress
from rewards.ledger.checks import prove
from rewards.pools import services as pools


@shared_task
def run_hourly(trigger: str = "schedule") -> None:
    _run("run_hourly", lambda progress: pools.run_hourly(timezone.now(), progress=progress).figures(), trigger)


@shared_task
def run_daily(trigger: str = "schedule") -> None:
    _run("run_daily", lambda progress: pools.run_daily(timezone.now(), progress=progress).figures(), trigger)


@shared_task
def sweep(trigger: str = "schedule") -> None:
    _run("sweep", lambda progress: {"continued": continue_unfinished(timezone.now(), progress.keep_going)}, trigger)


@shared_task
def export_partners(trigger: str = "schedule") -> None:
    _run(
        "export_partners", lambda progress: pools.export_partners(timezone.now(), progress=progress).figures(), trigger
    )


# Over ten million transfers it takes minutes; below the hour after which Redis would hand the message out again.
@shared_task(soft_time_limit=3_000, time_limit=3_300)
def check_ledger(trigger: str = "schedule") -> None:
    def work(progress: Progress) -> Mapping[str, Any]:
        return prove(lambda finding: progress.step(successes=int(finding.holds), failures=int(not finding.holds)))

    _run("check_ledger", work, trigger)


@shared_task
def seal_audit(trigger: str = "schedule") -> None:
    _run("seal_audit", jobs.until_done(seal_events), trigger)


@shared_task
def mail_alerts(trigger: str = "schedule") -> None:
    _run("mail_alerts", jobs.until_done(mail_new_alerts), trigger)


@shared_task
def clean_up(trigger: str = "schedule") -> None:
    _run("clean_up", lambda progress: jobs.clean_up(timezone.now()), trigger)


def _run(name: str, work: jobs.Work, trigger: str) -> None:
    """Run a job. When its time was over before its work, poke again: the row is finished, so the next run can begin."""
    run = jobs.run_job(name, work, trigger=trigger)
    if run is not None and run.status == "succeeded" and run.results.get("unfinished"):
        jobs.poke(name, trigger=trigger)
