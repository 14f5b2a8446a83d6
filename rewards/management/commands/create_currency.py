"""Create a currency."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from rewards.ledger.models import Currency


class Command(BaseCommand):
    help = "Create a currency. Its decimals cannot be changed once it is used."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("code")
        parser.add_argument("--decimals", type=int, required=True, help="0 to 8")
        parser.add_argument("--name", default="")
        parser.add_argument("--symbol", default="")
        parser.add_argument("--transferable", action="store_true", help="users may send it to each other")

    def handle(self, *args: Any, **options: Any) -> None:
        fields = {name: options[name] for name in ("code", "decimals", "name", "symbol", "transferable")}
        standing = Currency.objects.filter(code=fields["code"]).first()
        if standing is not None:
            if standing.decimals != fields["decimals"]:
                raise CommandError(f"The currency {standing.code} exists with {standing.decimals} decimals.")
            self.stdout.write(f"The currency {standing.code} exists already.")
            return
        currency = Currency(**fields)
        try:
            currency.full_clean()
        except ValidationError as error:
            problems = [f"{name}: {' '.join(messages)}" for name, messages in error.message_dict.items()]
            raise CommandError(" ".join(problems)) from error
        currency.save()
        self.stdout.write(f"Created the currency {currency.code} with {currency.decimals} decimals.")
