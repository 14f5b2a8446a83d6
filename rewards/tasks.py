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
from rewards.campaigns import services as campaigns
from rewards.cases import closing, commitments, generating
from rewards.chain_claims import services as chain_claims
from rewards.distributions.services import continue_unfinished
from rewards.jobs import services as jobs
from rewards.jobs.progress import Progress
from rewards.ledger.checks import prove
from rewards.monthly import services as monthly
from rewards.pending.drain import drain
from rewards.pending.queries import queue_depth
from rewards.pools import services as pools
from rewards.pools.runway import watch


@shared_task
def run_hourly(trigger: str = "schedule") -> None:
    run("run_hourly", lambda progress: pools.run_hourly(timezone.now(), progress=progress).figures(), trigger)


@shared_task
def run_daily(trigger: str = "schedule") -> None:
    run("run_daily", lambda progress: pools.run_daily(timezone.now(), progress=progress).figures(), trigger)


@shared_task
def run_campaigns(trigger: str = "schedule") -> None:
    run("run_campaigns", lambda progress: campaigns.run_due(timezone.now(), progress=progress).figures(), trigger)


# To rank a million users is one step of minutes.
@shared_task(soft_time_limit=3_000, time_limit=3_300)
def monthly_rewards(trigger: str = "schedule") -> None:
    run("monthly_rewards", lambda progress: monthly.run_due(timezone.now(), progress=progress).figures(), trigger)


@shared_task
def generate_case(trigger: str = "schedule") -> None:
    run("generate_case", lambda progress: generating.generate_case(timezone.now(), progress).figures(), trigger)


@shared_task(soft_time_limit=3_000, time_limit=3_300)
def close_cases(trigger: str = "schedule") -> None:
    run("close_cases", lambda progress: closing.close_cases(timezone.now(), progress).figures(), trigger)


@shared_task
def check_verdicts(trigger: str = "schedule") -> None:
    run("check_verdicts", lambda progress: commitments.check_verdicts(timezone.now(), progress).figures(), trigger)


@shared_task
def monitor_transactions(trigger: str = "schedule") -> None:
    run(
        "monitor_transactions",
        lambda progress: chain_claims.monitor_transactions(timezone.now(), progress).figures(),
        trigger,
    )


@shared_task
def sweep(trigger: str = "schedule") -> None:
    run("sweep", lambda progress: {"continued": continue_unfinished(timezone.now(), progress.keep_going)}, trigger)


@shared_task
def drain_pending(trigger: str = "schedule") -> None:
    run(
        "drain_pending",
        lambda progress: {
            **drain(timezone.now(), progress.keep_going, progress.step).figures(),
            "queued": queue_depth(),
        },
        trigger,
    )


@shared_task
def export_partners(trigger: str = "schedule") -> None:
    run("export_partners", lambda progress: pools.export_partners(timezone.now(), progress=progress).figures(), trigger)


# Over ten million transfers it takes minutes; below the hour after which Redis would hand the message out again.
@shared_task(soft_time_limit=3_000, time_limit=3_300)
def check_ledger(trigger: str = "schedule") -> None:
    def work(progress: Progress) -> Mapping[str, Any]:
        found = prove(lambda finding: progress.step(successes=int(finding.holds), failures=int(not finding.holds)))
        return {**found, **watch(timezone.now())}

    run("check_ledger", work, trigger)


@shared_task
def seal_audit(trigger: str = "schedule") -> None:
    run("seal_audit", jobs.until_done(seal_events), trigger)


@shared_task
def mail_alerts(trigger: str = "schedule") -> None:
    run("mail_alerts", jobs.until_done(mail_new_alerts), trigger)


@shared_task
def clean_up(trigger: str = "schedule") -> None:
    run("clean_up", lambda progress: jobs.clean_up(timezone.now()), trigger)


def run(name: str, work: jobs.Work, trigger: str) -> None:
    """Run a job. When its time was over before its work, poke again: the row is finished, so the next run can begin."""
    done = jobs.run_job(name, work, trigger=trigger)
    if done is not None and done.status == "succeeded" and done.results.get("unfinished"):
        jobs.poke(name, trigger=trigger)
