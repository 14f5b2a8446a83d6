"""Have a user repay what he owes."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from rewards.common.errors import RewardsError
from rewards.ledger import services as ledger
from rewards.ledger.debts import repay_debt
from rewards.ledger.models import DEBT
from rewards.ledger.queries import currency_named
from rewards.users.models import User


class Command(BaseCommand):
    help = "Move what a user owes from his account to his debt, as far as his balance reaches."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username", metavar="USER")
        parser.add_argument("--currency", required=True, help="its code")
        parser.add_argument("--reason", default="", help="kept with the journal")

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.filter(username=options["username"]).first()
        if user is None:
            raise CommandError(f"There is no user {options['username']!r}.")
        try:
            currency = currency_named(options["currency"])
            with transaction.atomic():
                repaid = repay_debt(ledger.user_account(user, currency), reason=options["reason"])
        except RewardsError as error:
            raise CommandError(error.message) from error
        left = -ledger.balance(ledger.user_account(user, currency, DEBT))
        units = currency.to_units
        self.stdout.write(f"{user} repaid {units(repaid)} {currency} and still owes {units(left)}.")
