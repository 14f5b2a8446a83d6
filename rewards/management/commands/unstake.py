"""Give staked units back, and first what they have earned."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils import timezone

from rewards.common.errors import RewardsError
from rewards.deployments.models import StakingPosition
from rewards.deployments.services import unstake
from rewards.management.base import add_dry_run


class Command(BaseCommand):
    help = "Pay what a staking position has earned and give its principal back: both, or neither."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("position", type=int, help="its number")
        add_dry_run(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with transaction.atomic():
                result = unstake(options["position"], timezone.now())
                transaction.set_rollback(options["dry_run"])
        except RewardsError as error:
            raise CommandError(error.message) from error
        if not result.success:
            raise CommandError(f"Nothing was paid or given back: {result.error_message}")
        position = StakingPosition.objects.select_related("user", "currency").get(pk=options["position"])
        paid = ", ".join(f"{amount:f} {code}" for code, amount in result.totals.items()) or "nothing"
        back = f"{position.currency.to_units(position.staked)} {position.currency.code}"
        if options["dry_run"]:
            self.stdout.write(f"{position}: {paid} would be paid and {back} given back to {position.user}.")
        else:
            self.stdout.write(f"{position}: {paid} paid, {back} given back to {position.user}.")
