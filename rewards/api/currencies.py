"""Currencies and amounts that a request names."""

from __future__ import annotations

from typing import Any

from rest_framework.exceptions import ValidationError

from rewards.common.amounts import InvalidAmount, to_minor
from rewards.ledger.errors import UnknownCurrency
from rewards.ledger.models import Currency


def currency_named(code: str) -> Currency:
    """Raises `UnknownCurrency`."""
    found = Currency.objects.filter(code=code).first()
    if found is None:
        sentence = f"There is no currency {code!r}."
        raise UnknownCurrency(sentence, errors={"currency": sentence})
    return found


def minor_units(currency: Currency, amount: Any, field: str = "amount") -> int:
    """Minor units of what an `AmountField` of that name took. Raises `ValidationError`: the currency has too few
    decimals, or it is too much."""
    try:
        return to_minor(amount, currency.decimals)
    except InvalidAmount as error:
        raise ValidationError({field: [error.message]}) from error
