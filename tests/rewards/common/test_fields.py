"""Fields that keep a number exact on its way into the database and back."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Sum

from rewards.activity.models import ActivityEvent
from rewards.common.amounts import InvalidAmount
from rewards.common.fields import ExactDecimalField, ScaledDecimalField
from rewards.pools.models import CcRate

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
QUANTITY = ActivityEvent._meta.get_field("quantity")


@pytest.fixture
def keep(alice):
    """Write an event of that quantity."""

    def write(quantity, event_id="1") -> ActivityEvent:
        return ActivityEvent.objects.create(
            event_id=event_id, user=alice, metric="cc_vote", quantity=quantity, occurred_at=NOON, recorded_at=NOON
        )

    return write


@pytest.mark.parametrize("text", ["0.1", "0.000001", "1", "123456789012.345678", "-2.5"])
def test_a_scaled_decimal_comes_back_as_it_was(keep, text):
    keep(Decimal(text))
    read = ActivityEvent.objects.get().quantity
    assert isinstance(read, Decimal)
    assert read == Decimal(text)


def test_sums_of_it_are_exact_decimals_too(keep):
    for number in range(10):
        keep("0.1", str(number))
    total = ActivityEvent.objects.aggregate(total=Sum("quantity"))["total"]
    assert total == Decimal(1)
    assert isinstance(total, Decimal)


@pytest.mark.django_db
def test_rows_are_found_by_it(keep):
    keep("2.5")
    assert ActivityEvent.objects.filter(quantity=Decimal("2.50")).count() == 1
    assert ActivityEvent.objects.filter(quantity__gt="2.499999").count() == 1
    assert ActivityEvent.objects.filter(quantity__gt="2.5").count() == 0


@pytest.mark.parametrize("quantity", ["0.0000001", "9223372036855", "NaN", 0.1, "1e3"])
def test_what_does_not_fit_it_is_refused_and_not_rounded(keep, quantity):
    with pytest.raises(InvalidAmount), transaction.atomic():
        keep(quantity)
    assert not ActivityEvent.objects.exists()


@pytest.mark.parametrize("field", [ScaledDecimalField(scale=6), ExactDecimalField()])
@pytest.mark.parametrize("text", ["many", "1e3", "NaN", "1,5"])
def test_in_a_form_it_is_a_validation_error(field, text):
    with pytest.raises(ValidationError, match="not a plain decimal"):
        field.to_python(text)


def test_empty_is_none():
    assert ScaledDecimalField(scale=6).get_prep_value(None) is None
    assert ScaledDecimalField(scale=6).to_python(None) is None
    for empty in ("", None):
        assert ExactDecimalField().get_prep_value(empty) is None
        assert ExactDecimalField().to_python(empty) is None


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("given", "kept"), [("0.070", "0.07"), (Decimal("1E+2"), "100"), ("0." + "0" * 30 + "1", "0." + "0" * 30 + "1")]
)
def test_an_exact_decimal_keeps_every_digit_in_one_text(given, kept):
    CcRate.objects.create(starts_at=NOON, units_per_cc=given)
    rate = CcRate.objects.get()
    assert rate.units_per_cc == Decimal(given)
    assert CcRate.objects.filter(units_per_cc=Decimal(kept)).exists()
    assert CcRate._meta.get_field("units_per_cc").value_to_string(rate) == kept


def test_a_scaled_field_remembers_its_scale_in_migrations():
    _, _, _, options = ScaledDecimalField(scale=3).deconstruct()
    assert options["scale"] == 3
    assert QUANTITY.clone().scale == QUANTITY.scale
