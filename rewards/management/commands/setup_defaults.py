"""Create what the product ships with and is not there yet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.management.base import BaseCommand
from django.db import transaction

from rewards.claims.setup import create_default_claim_types
from rewards.jobs.schedules import create_missing_schedules
from rewards.ledger.models import Currency
from rewards.management.defaults import defaults_of_upper_apps
from rewards.monthly.setup import create_default_categories
from rewards.parameters.registry import METALS
from rewards.parameters.services import create_missing_parameters
from rewards.pools.services import create_default_pools
from rewards.users.roles import create_missing_roles

PLAIN_CURRENCIES = (
    "points",
    "coins",
    "lumees",
    "xp",
    "auric_coins",
    "drop_charges",
    "fusion_catalysts",
    "stat_points",
    "energy_points",
    "stamina_points",
    "hp_points",
)
CURRENCIES = (*PLAIN_CURRENCIES, *(f"token_{metal}" for metal in METALS), *(f"ticket_{metal}" for metal in METALS))
NAMES = {"xp": "XP", "hp_points": "HP points"}


class Command(BaseCommand):
    help = (
        "Creates currencies, parameters, claim types, pools, schedules, roles, ranking categories, badges and boards "
        "that are missing; keeps what is there."
    )

    def handle(self, **options: Any) -> None:
        with transaction.atomic():
            created: dict[str, Sequence[object]] = {
                "currencies": create_missing_currencies(),
                "parameters": create_missing_parameters(),
                "claim types": create_default_claim_types(),
                "pools": create_default_pools(Currency.objects.get(code="points")),
                "schedules": create_missing_schedules(),
                "roles": create_missing_roles(),
                "ranking categories": create_default_categories(),
            }
            for what, create_missing in defaults_of_upper_apps().items():
                created[what] = create_missing()
        for what, names in created.items():
            listed = f": {', '.join(map(str, names))}" if names else ""
            self.stdout.write(f"{what}: {len(names)} created{listed}")


def create_missing_currencies() -> list[str]:
    """All without decimals; codes of those created."""
    created = []
    for code in CURRENCIES:
        name = NAMES.get(code) or code.replace("_", " ").capitalize()
        _, is_new = Currency.objects.get_or_create(code=code, defaults={"name": name})
        if is_new:
            created.append(code)
    return created
