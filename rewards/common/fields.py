"""Model fields that keep numbers exact on both engines."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.expressions import Combinable

from rewards.common.amounts import InvalidAmount, canonical_decimal, parse_decimal, to_minor


class ScaledDecimalField(models.BigIntegerField):
    """A Decimal with at most `scale` decimals, stored as a whole number: SQLite would keep a DecimalField as a float.

    Sums over it come back as Decimals as well.
    """

    description = "An exact decimal, stored as a scaled integer"

    # What the type checker takes it for (the names are django-stubs').
    _pyi_private_set_type: str | int | Decimal | Combinable  # type: ignore[assignment]
    _pyi_private_get_type: Decimal  # type: ignore[assignment]

    def __init__(self, *args: Any, scale: int = 6, **kwargs: Any) -> None:
        self.scale = scale
        super().__init__(*args, **kwargs)

    def deconstruct(self) -> Any:
        name, path, args, kwargs = super().deconstruct()
        return name, path, args, {**kwargs, "scale": self.scale}

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Decimal | None:
        return None if value is None else Decimal(int(value)).scaleb(-self.scale)

    def to_python(self, value: Any) -> Decimal | None:
        if value is None or isinstance(value, Decimal):
            return value
        try:
            return parse_decimal(value, what=str(self.verbose_name))
        except InvalidAmount as error:
            raise ValidationError(error.message, code=error.code) from error

    def get_prep_value(self, value: Any) -> int | None:
        return None if value is None else to_minor(value, self.scale, what=str(self.verbose_name))

    def value_to_string(self, obj: models.Model) -> str:
        value: Any = self.value_from_object(obj)
        return "" if value is None else canonical_decimal(value)

    def formfield(self, **kwargs: Any) -> Any:
        from django import forms  # the field is used without forms by services and commands

        return models.Field.formfield(
            self, **{"form_class": forms.DecimalField, "decimal_places": self.scale, "max_digits": 18, **kwargs}
        )


class ExactDecimalField(models.CharField):
    """A Decimal of any precision, stored as canonical decimal text. For rates and weights: SQL does not compare it."""

    description = "An exact decimal, stored as canonical text"

    _pyi_private_set_type: str | int | Decimal | Combinable  # type: ignore[assignment]
    _pyi_private_get_type: Decimal  # type: ignore[assignment]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("max_length", 80)
        super().__init__(*args, **kwargs)

    def run_validators(self, value: Any) -> None:
        """Parsing has checked it; the validators of a CharField look at the length of a str."""

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Decimal | None:
        return None if value in (None, "") else Decimal(value)

    def to_python(self, value: Any) -> Decimal | None:
        if value in (None, ""):
            return None
        try:
            return parse_decimal(value, what=str(self.verbose_name))
        except InvalidAmount as error:
            raise ValidationError(error.message, code=error.code) from error

    def get_prep_value(self, value: Any) -> str | None:
        return None if value in (None, "") else canonical_decimal(parse_decimal(value, what=str(self.verbose_name)))

    def value_to_string(self, obj: models.Model) -> str:
        value: Any = self.value_from_object(obj)
        return "" if value is None else canonical_decimal(value)
