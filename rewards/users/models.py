"""The user: the product's id in `username`, and the few facts that reward rules look at.

They stand on the user itself, not on a profile beside it: set-based queries read them for a million users at a time,
and there is no user without them.
"""

from __future__ import annotations

from zoneinfo import available_timezones

from django.contrib.auth.models import AbstractUser
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models

# "!" is no hash: nobody can sign in with it until a password is set.
NO_PASSWORD = "!"

printable_username = RegexValidator(
    r"\A[^\s\x00-\x1f\x7f](?:[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f])?\Z",
    "A username is 1 to 150 printable characters and neither starts nor ends with a space.",
    code="invalid_username",
)


def valid_time_zone(name: str) -> None:
    if name and name not in available_timezones():
        raise ValidationError(f"{name!r} is not a time zone such as Europe/Berlin.", code="invalid_time_zone")


class User(AbstractUser):
    """Partner, player, student or voter: a user seen by one programme."""

    first_name = None  # type: ignore[assignment]
    last_name = None  # type: ignore[assignment]

    username = models.CharField(
        max_length=150, unique=True, validators=[printable_username], help_text="The product's own id for the user."
    )
    name = models.CharField(max_length=150, blank=True)
    email = models.EmailField(blank=True)
    time_zone = models.CharField(max_length=64, blank=True, validators=[valid_time_zone])
    wallet_address = models.CharField(max_length=128, blank=True)
    is_special_partner = models.BooleanField(
        default=False, help_text="Hourly rewards are reported to the partner database."
    )
    has_cc_market = models.BooleanField(default=False, help_text="Takes part in the CC market: daily market bonus.")

    class Meta:
        constraints = [models.CheckConstraint(condition=~models.Q(username=""), name="user_has_username")]

    def get_full_name(self) -> str:
        return self.name

    def get_short_name(self) -> str:
        return self.name or self.username
