"""Issue units to a system account or a user."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from rewards.common.errors import RewardsError
from rewards.ledger import services as ledger
from rewards.ledger.models import ISSUANCE, Account, Currency
from rewards.users.models import User

LONGEST_KEY = 190  # with its prefix it has to fit a journal's key
SYSTEM_CODES = ("treasury", "pool:hourly", "pool:daily")


class Command(BaseCommand):
    help = "Post from issuance to treasury, a pool or a user. The same key again changes nothing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("account", help=f"{', '.join(SYSTEM_CODES)}, any other system account, or a username")
        parser.add_argument("amount", help="in currency units, e.g. 1000 or 12.50")
        parser.add_argument("--currency", required=True, help="its code")
        parser.add_argument("--key", required=True, help="names this deed: a retry with the same key is harmless")
        parser.add_argument("--reason", required=True)

    def handle(self, *args: Any, **options: Any) -> None:
        currency = Currency.objects.filter(code=options["currency"]).first()
        if currency is None:
            raise CommandError(f"There is no currency {options['currency']!r}. Create it: manage.py create_currency.")
        if not options["key"].strip() or not options["reason"].strip():
            raise CommandError("Give a --key and a --reason that say what this is for.")
        if len(options["key"]) > LONGEST_KEY:
            raise CommandError(f"The --key is longer than {LONGEST_KEY} characters.")
        try:
            amount = currency.to_minor(options["amount"])
            with transaction.atomic():
                account = account_named(options["account"], currency)
                issuance = ledger.system_account(ISSUANCE, currency)
                journal = ledger.post(
                    f"fund:{options['key']}",
                    "fund",
                    [ledger.Move(issuance, account, amount)],
                    reason=options["reason"],
                )
                balance = ledger.balance(account)
        except RewardsError as error:
            raise CommandError(error.message) from error
        self.stdout.write(
            f"{account} holds {currency.to_units(balance)} {currency.code} (journal {journal.key}, "
            f"{currency.to_units(amount)} posted {journal.created_at:%Y-%m-%d %H:%M:%S} UTC)."
        )


def account_named(name: str, currency: Currency) -> Account:
    """A pool or treasury, a system account that exists, else the user's of that name. Raises `CommandError`."""
    if name in SYSTEM_CODES or Account.objects.filter(user=None, code=name, currency=currency).exists():
        if name == ISSUANCE:
            raise CommandError("Issuance is where units come from: fund another account.")
        return ledger.system_account(name, currency)
    user = User.objects.filter(username=name).first()
    if user is None:
        raise CommandError(f"{name!r} is neither one of {', '.join(SYSTEM_CODES)} nor a user.")
    return ledger.user_account(user, currency)
