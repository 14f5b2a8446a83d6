"""Pay the ranking rewards of a month."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from rewards.common.errors import RewardsError
from rewards.distributions.preview import Preview, preview
from rewards.management.base import add_at, add_dry_run, instant_of, result_of_job
from rewards.monthly import services
from rewards.monthly.models import MonthlyRewardJob, RankingCategory
from rewards.monthly.queries import previous_month


class Command(BaseCommand):
    help = "Rank each category by the month's counters and pay the places: the month before this one, or the one named."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--month", type=int, metavar="M", help="1 to 12, with --year")
        parser.add_argument("--year", type=int, metavar="Y")
        parser.add_argument("--retry", action="store_true", help="go on with a job that has failed")
        add_at(parser)
        add_dry_run(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        at = instant_of(options)
        year, month = self.month_of(options, at)
        if options["dry_run"]:
            self.preview(f"{year:04d}-{month:02d}", at)
            return
        try:
            job = self.started(year, month, at, retry=options["retry"])
        except RewardsError as error:
            raise CommandError(error.message) from error
        if job.status == MonthlyRewardJob.Status.PROCESSING:
            job = self.worked_at(job, at)
        self.say(job)

    def month_of(self, options: dict[str, Any], at: datetime) -> tuple[int, int]:
        """Raises `CommandError`."""
        if (options["month"] is None) != (options["year"] is None):
            raise CommandError("Write --month and --year together, or neither for the month before this one.")
        if options["month"] is not None:
            return options["year"], options["month"]
        before = previous_month(at)
        return before.year, before.month

    def started(self, year: int, month: int, at: datetime, *, retry: bool) -> MonthlyRewardJob:
        if not retry:
            return services.start_job(year, month, by="command", at=at)[0]
        job = MonthlyRewardJob.objects.filter(year=year, month=month).first()
        return services.retry_job(job.pk if job else 0, None, at)

    def worked_at(self, job: MonthlyRewardJob, at: datetime) -> MonthlyRewardJob:
        """The job after this process has done what could be done. Raises `CommandError` when another is at it."""
        categories = RankingCategory.objects.filter(active=True).count()
        result = result_of_job(
            self,
            "monthly_rewards",
            lambda progress: services.run_job(job, at, progress=progress),
            total=categories,
            unit=" categories",
        )
        if result.elsewhere:
            raise CommandError(f"Another worker is at {job}. Its progress is in the admin, under Monthly rewards.")
        job.refresh_from_db()
        return job

    def say(self, job: MonthlyRewardJob) -> None:
        """Raises `CommandError` for a job that has failed."""
        for slug, result in sorted(job.results.get("categories", {}).items()):
            self.stdout.write(
                f"{slug}: {result['status']}, {result['participants']:,} took part, {result['rewardsAwarded']:,} "
                f"rewarded, {result['amount']} {result['currency']}"
            )
        if job.status == MonthlyRewardJob.Status.FAILED:
            raise CommandError(f"{job} failed: {job.error_message}\nMend the cause, then run it again with --retry.")
        if job.status == MonthlyRewardJob.Status.PROCESSING:
            self.stdout.write(f"{job}: not done yet. What waits for an approval, or is paused, goes on by itself.")
        else:
            self.stdout.write(f"{job}: completed at {job.completed_at:%Y-%m-%d %H:%M} UTC.")

    def preview(self, period_key: str, at: datetime) -> None:
        for category in RankingCategory.objects.filter(active=True):
            try:
                self.say_preview(category, preview(category.programme, period_key, at=at))
            except RewardsError as error:
                self.stdout.write(f"{category.slug}: cannot be paid: {error.message}")
        self.stdout.write("monthly_rewards --dry-run: nothing was written")

    def say_preview(self, category: RankingCategory, shown: Preview) -> None:
        units, figures = shown.currency.to_units, shown.figures
        self.stdout.write(
            f"{category.slug} {shown.period_key}: {shown.participants:,} take part, {figures.recipients:,} are "
            f"rewarded, {units(figures.total)} {shown.currency.code}"
        )
        for place in shown.best[:5]:
            self.stdout.write(f"  {place.position}. {place.user}: {units(place.amount)}")
