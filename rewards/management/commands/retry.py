"""Continue a failed distribution."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from rewards.common.errors import RewardsError
from rewards.distributions import services
from rewards.distributions.models import Distribution
from rewards.management.base import add_dry_run


class Command(BaseCommand):
    help = "Continue a failed distribution from the stage it failed in. What is paid already is not paid again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("id", type=int, help="its number, as the admin shows it")
        add_dry_run(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        distribution = Distribution.objects.select_related("currency").filter(pk=options["id"]).first()
        if distribution is None:
            raise CommandError(f"There is no distribution {options['id']}.")
        if options["dry_run"]:
            self.stdout.write(self.forecast(distribution))
            return
        try:
            distribution = services.retry(distribution.pk)
        except RewardsError as error:
            raise CommandError(error.message) from error
        if distribution.status == Distribution.Status.FAILED:
            raise CommandError(f"{distribution} failed again: {distribution.error}")
        paid = distribution.currency.to_units(distribution.paid_amount)
        self.stdout.write(f"{distribution} is {distribution.status}: {paid} {distribution.currency} paid.")

    def forecast(self, distribution: Distribution) -> str:
        if distribution.status != Distribution.Status.FAILED:
            return f"{distribution} is {distribution.status}: only a failed one can be retried. Nothing was written."
        return f"{distribution} would continue from {distribution.failed_from}, after: {distribution.error}"
