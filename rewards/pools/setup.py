"""Making the pools, and pointing them at a currency."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from rewards.allocation.presets import daily_rule, hourly_rule
from rewards.common.amounts import InvalidAmount, canonical_decimal, parse_decimal
from rewards.common.errors import RewardsError
from rewards.ledger.models import Account, Currency
from rewards.ledger.services import balance
from rewards.pools.models import CcRate, Pool

HOURLY_SHARE = Decimal("0.25")


class PoolSetup(RewardsError):
    """The pools cannot be set up like this."""

    code = "pool_setup"
    http_status = 400


def create_default_pools(currency: Currency) -> list[Pool]:
    """Create the pools that are missing, in `currency`; those that exist stay as they are. Returns the created ones."""
    defaults: dict[str, dict[str, Any]] = {
        Pool.Slug.HOURLY: {"title": "Hourly pool", "share": HOURLY_SHARE, "rule": hourly_rule()},
        Pool.Slug.DAILY: {"title": "Daily pool", "share": None, "rule": daily_rule()},
    }
    created = []
    for slug, values in defaults.items():
        pool, is_new = Pool.objects.get_or_create(slug=slug, defaults={**values, "currency": currency})
        if is_new:
            created.append(pool)
    return created


def setup_pools(currency_code: str, decimals: int, cc_rate: str, since: datetime) -> list[str]:
    """Create currency, pools and rate where they are missing and point the pools at the currency.

    `cc_rate` is decimal text, currency units for one CC from `since` on. Returns a sentence for each thing looked at.
    Raises `PoolSetup`; nothing is written then.
    """
    units_per_cc = _rate(cc_rate)
    with transaction.atomic():
        currency, said = _currency(currency_code, decimals)
        created = create_default_pools(currency)
        said += [f"{pool} created, in {currency}." for pool in created]
        for pool in Pool.objects.select_related("currency").order_by("pk"):
            if pool not in created:
                said += _point_at(pool, currency)
        return said + _create_rate(units_per_cc, since, currency)


# --------------------------------------------------------------------------------------------------------------- steps


def _rate(text: str) -> Decimal:
    try:
        rate = parse_decimal(text, what="CC rate")
    except InvalidAmount as error:
        raise PoolSetup(error.message) from error
    if rate <= 0:
        raise PoolSetup("The CC rate must be above zero.")
    return rate


def _currency(code: str, decimals: int) -> tuple[Currency, list[str]]:
    existing = Currency.objects.filter(code=code).first()
    if existing is None:
        currency = Currency(code=code, name=code.replace("_", " ").capitalize(), decimals=decimals)
        try:
            currency.full_clean()
        except ValidationError as error:
            problems = "; ".join(f"{name}: {' '.join(texts)}" for name, texts in error.message_dict.items())
            raise PoolSetup(f"The currency cannot be created. {problems}") from error
        currency.save()
        return currency, [f"Currency {code} created with {decimals} decimals."]
    if existing.decimals != decimals:
        raise PoolSetup(
            f"The currency {code} has {existing.decimals} decimals, not {decimals}: they cannot be changed."
        )
    if not existing.active:
        raise PoolSetup(f"The currency {code} is not active: activate it in the admin, or name another one.")
    return existing, [f"Currency {code} exists."]


def _point_at(pool: Pool, currency: Currency) -> list[str]:
    if pool.currency_id == currency.pk:
        return [f"{pool} is in {currency} already."]
    former, pool.currency = pool.currency, currency
    try:
        pool.clean()
    except ValidationError as error:
        raise PoolSetup(f"{pool} cannot be pointed at {currency}: {' '.join(error.messages)}") from error
    pool._change_reason = f"setup_pools: from {former} to {currency}"  # type: ignore[attr-defined]  # for its history
    pool.save()
    said = [f"{pool} now pays in {currency} (before: {former})."]
    account = Account.objects.filter(user=None, code=pool.account_code, currency=former).first()
    left_minor = balance(account) if account else 0
    if left_minor:
        said.append(f"Attention: {pool} still holds {former.to_units(left_minor)} {former} that nobody has been paid.")
    return said


def _create_rate(units_per_cc: Decimal, since: datetime, currency: Currency) -> list[str]:
    rate, created = CcRate.objects.get_or_create(starts_at=since, defaults={"units_per_cc": units_per_cc})
    what = f"CC rate from {since:%Y-%m-%d %H:%M} UTC: {canonical_decimal(rate.units_per_cc)} {currency} for one CC"
    if created:
        return [f"{what}, created."]
    if rate.units_per_cc == units_per_cc:
        return [f"{what}, exists."]
    return [f"{what}, exists and is kept; change it in the admin, or add one with another --since."]
