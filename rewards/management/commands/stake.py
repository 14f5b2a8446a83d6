"""Set units of a user aside, where they earn."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils import timezone

from rewards.common.errors import RewardsError
from rewards.deployments.services import stake
from rewards.ledger.models import Currency
from rewards.management.base import add_dry_run
from rewards.users.models import User

LONGEST_KEY = 160  # with its prefix it has to fit a journal's key


class Command(BaseCommand):
    help = "Move a user's units to a staking position, which earns until it is unstaked. The same key changes nothing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("user", help="a username")
        parser.add_argument("amount", help="in currency units, e.g. 1000 or 12.50")
        parser.add_argument("--currency", required=True, help="its code")
        parser.add_argument("--key", required=True, help="names this stake: a retry with the same key is harmless")
        add_dry_run(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.filter(username=options["user"]).first()
        currency = Currency.objects.filter(code=options["currency"]).first()
        if user is None:
            raise CommandError(f"There is no user {options['user']!r}.")
        if currency is None:
            raise CommandError(f"There is no currency {options['currency']!r}.")
        if not 0 < len(options["key"].strip()) <= LONGEST_KEY:
            raise CommandError(f"Give a --key of 1 to {LONGEST_KEY} characters.")
        try:
            amount = currency.to_minor(options["amount"])
            with transaction.atomic():
                position = stake(user, currency, amount, options["key"].strip(), timezone.now())
                transaction.set_rollback(options["dry_run"])
        except RewardsError as error:
            raise CommandError(error.message) from error
        staked = f"{currency.to_units(amount)} {currency.code} of {user}"
        if options["dry_run"]:
            self.stdout.write(f"{staked} would be staked. Nothing was written.")
        else:
            self.stdout.write(f"{staked} are staked since {position.staked_at:%Y-%m-%d %H:%M:%S} UTC: {position}.")
