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
    "sweep": Job("Continue payouts that a process left unfinished.", Every(60)),
    "export_partners": Job("Send special partners' hourly rewards to the partner database.", Every(300)),
    "check_ledger": Job("Prove the promises of the ledger.", Every(3_600)),
    "seal_audit": Job("Seal the audit events that are settled.", Every(60)),
    "mail_alerts": Job("Mail new alerts to ADMINS.", Every(60)),
    # At an open hour the clean-up would run 24 times a day; once a day is the interval, whenever it started.
    "clean_up": Job(
        "Delete old job runs, processes long gone, and expired sessions, tokens and idempotency keys.", Every(86_400)
    ),
}


def task_name(job: str) -> str:
    """The Celery task that runs a job."""
    return f"rewards.tasks.{job}"
