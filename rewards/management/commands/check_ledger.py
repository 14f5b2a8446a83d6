"""Prove the ledger's promises."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from rewards.jobs.progress import Progress
from rewards.ledger.checks import Finding, prove
from rewards.management.base import run_as_job
from rewards.pools.runway import watch


class Command(BaseCommand):
    help = "Prove the ledger's promises and its links to rewards; exit 1 naming the offenders and pause payouts."

    def handle(self, *args: Any, **options: Any) -> None:
        broken: list[Finding] = []

        def work(progress: Progress) -> dict[str, Any]:
            def show(finding: Finding) -> None:
                progress.step(successes=finding.holds, failures=not finding.holds)
                self.show(finding)
                if not finding.holds:
                    broken.append(finding)

            return {**prove(show), **watch(timezone.now())}

        run_as_job(self, "check_ledger", work)
        if broken:
            raise CommandError(f"{len(broken)} of the promises are broken. Payouts are paused.")

    def show(self, finding: Finding) -> None:
        verdict = "holds" if finding.holds else "BROKEN"
        line = f"{verdict:<6}  {finding.promise}: {finding.looked_at:,} looked at, {finding.seconds:.2f} s"
        self.stdout.write(line if finding.holds else self.style.ERROR(line))
        for offender in finding.offenders:
            self.stdout.write(f"        {offender}")
