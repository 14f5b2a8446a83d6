"""Create an access token for a user."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from rewards.access.services import TOKEN_DAYS, create_token
from rewards.common.errors import RewardsError
from rewards.users.models import User


class Command(BaseCommand):
    help = "Create a token for a user and print it once. It is sent as Authorization: Bearer TOKEN."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--days", type=int, default=TOKEN_DAYS, help=f"how long it lives (default {TOKEN_DAYS})")

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.filter(username=options["username"]).first()
        if user is None:
            raise CommandError(f"There is no user {options['username']!r}.")
        if not user.is_active:
            raise CommandError(f"{user} is not active: a token would open nothing.")
        try:
            token, secret = create_token(user, days=options["days"])
        except RewardsError as error:
            raise CommandError(error.message) from error
        self.stdout.write(secret)
        until = f"{token.expires_at:%Y-%m-%d %H:%M} UTC"
        self.stdout.write(f"This is a token of {user} until {until}. It is shown this once: keep it safe.")
