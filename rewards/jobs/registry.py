"""The jobs of the product: what each does, and when its schedule pokes it unless an operator has changed that.

Schedules only poke; what is due is worked out from the database. So a poke that is lost or comes twice changes nothing
but the moment at which something is done.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Every:
    seconds: int


@dataclass(frozen=True)
class Crontab:
    """UTC. The hour is left open: the scheduler would look at a crontab with a fixed hour around that hour only."""

    minute: str
    hour: str = "*"


@dataclass(frozen=True)
class Job:
    description: str
    schedule: Every | Crontab

    @property
    def poke_expires_seconds(self) -> int:
        """A poke that nobody took until the next one is not worth keeping."""
        return self.schedule.seconds if isinstance(self.schedule, Every) else 3_600


JOBS: dict[str, Job] = {
    "run_hourly": Job("Accrue and pay every hour of the hourly pool that is due.", Crontab(minute="30")),
    # A day is due at 00:00:35 of its own zone, which is a quarter of an hour in UTC that moves with daylight saving:
    # so every quarter of an hour, one minute past. It also makes up for a lost poke within the quarter.
    "run_daily": Job("Pay every day of the daily pool that is due, and its market bonus.", Crontab("1,16,31,46")),
    "run_campaigns": Job("Run the campaigns that are due.", Every(60)),
    # Due at 00:05 of the first of the month in the product's zone: every quarter of an hour, as above. It also goes on
    # with what a dead worker left.
    "monthly_rewards": Job("Pay the month's ranking rewards that are due.", Crontab("5,20,35,50")),
    "generate_case": Job("Write a case, commit its verdict and open it.", Every(43_200)),
    "close_cases": Job("Close the cases that are due, reveal their verdicts and pay their rewards.", Every(300)),
    "monitor_transactions": Job("Look after submitted reward transactions.", Every(30)),
    "check_verdicts": Job("Compare open commitments with the chain, and open cases that it has taken.", Every(120)),
    "sweep": Job("Continue payouts that a process left unfinished.", Every(60)),
    "drain_pending": Job("Pay the pending rewards that are due.", Every(60)),
    "export_partners": Job("Send special partners' hourly rewards to the partner database.", Every(300)),
    "check_ledger": Job("Prove the ledger's promises; watch for missed periods and nearly dry pools.", Every(3_600)),
    "seal_audit": Job("Seal the audit events that are settled.", Every(60)),
    "mail_alerts": Job("Mail new alerts to ADMINS.", Every(60)),
    # At an open hour the clean-up would run 24 times a day; once a day is the interval, whenever it started.
    "clean_up": Job(
        "Delete old job runs, processes long gone, and expired sessions, tokens and idempotency keys.", Every(86_400)
    ),
}


def register_job(name: str, job: Job) -> None:
    """Make a job of an upper app known. Its task carries the name that `task_name` gives."""
    JOBS[name] = job


def task_name(job: str) -> str:
    """The Celery task that runs a job."""
    return f"rewards.tasks.{job}"
