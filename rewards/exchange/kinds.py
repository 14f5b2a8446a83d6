"""Kinds of rules that are exchanged: how a row is written into a file, and what it takes to take it from one.

Upper apps register theirs in `ready()`. What is not a kind is not exchanged: credentials, people, money, history.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models

from rewards.common.amounts import canonical_decimal
from rewards.common.fields import ExactDecimalField
from rewards.common.periods import parse_instant
from rewards.exchange.errors import RuleRefused
from rewards.users.models import User

Facts = dict[str, Any]


@dataclass(frozen=True)
class Hand:
    """Who takes a file, why, and when. No actor: somebody at the machine, by a command."""

    actor: User | None
    reason: str
    at: datetime


class Kind:
    """A model whose rows are rules. `key` is the field that names a row on every installation, `fields` what it says.

    What a kind refuses, it refuses with the sentence of the row's own page.
    """

    name: str
    model: type[models.Model]
    key: str = "slug"
    fields: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        return self.name.replace("_", " ")

    def rights(self) -> tuple[str, str]:
        """To add a row, and to change one."""
        label, name = self.model._meta.app_label, self.model._meta.model_name
        return f"{label}.add_{name}", f"{label}.change_{name}"

    # ------------------------------------------------------------------------------------------------------ into a file

    def standing(self) -> dict[str, Any]:
        """The rows that there are, by their natural keys."""
        rows = self.model._default_manager.order_by(self.key)
        return {getattr(row, self.key): row for row in rows}

    def is_exported(self, row: Any) -> bool:
        return True

    def facts(self, row: Any) -> Facts:
        return {name: plain(getattr(row, name)) for name in self.fields}

    # ------------------------------------------------------------------------------------------------------ from a file

    def new(self, key: str) -> Any:
        """A row that is not saved. Raises `RewardsError` where rows of this kind are not made by a file."""
        return self.model(**{self.key: key})

    def fill(self, row: Any, facts: Mapping[str, Any]) -> None:
        """Put what the file says into the row, without saving it. What it leaves out stays as it is.

        Raises `RewardsError` and `ValidationError`.
        """
        for name, value in facts.items():
            setattr(row, name, typed(self.model, name, value))

    def check(self, row: Any) -> None:
        """Raise `RewardsError` or `ValidationError` unless the row's form would take it as it is now."""
        row.full_clean()

    def save(self, row: Any, hand: Hand) -> None:
        row._history_user, row._change_reason = hand.actor, hand.reason
        row.save()

    def problems_together(self, rows: Mapping[str, Any]) -> dict[str, str]:
        """What is wrong with rows that were saved, once all of the kind are: key → sentence."""
        return {}

    def note(self, before: Facts | None, row: Any, at: datetime) -> str:
        """What else would come of it, in a sentence; for people who look before they take it."""
        return ""


def plain(value: Any) -> Any:
    """A value as it stands in the file."""
    if isinstance(value, Decimal):
        return canonical_decimal(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return value


_TYPES: tuple[tuple[type[models.Field], tuple[type, ...], str], ...] = (
    (models.BooleanField, (bool,), "true or false"),
    (models.IntegerField, (int,), "a whole number"),
    (models.DateTimeField, (str,), "an instant such as 2026-11-21T07:00:00Z"),
    (ExactDecimalField, (str, int), 'a decimal number written as text, such as "0.25"'),
    (models.CharField, (str,), "text"),
    (models.TextField, (str,), "text"),
)


def typed(model: type[models.Model], name: str, value: Any) -> Any:
    """A value of the file as its field keeps it. Raises `RuleRefused`, `ValidationError`."""
    field: Any = model._meta.get_field(name)
    if value is None:
        if field.null:
            return None
        raise RuleRefused(f"{name}: it cannot be null.")
    for of_field, types, words in _TYPES:
        if isinstance(field, of_field):
            if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
                raise RuleRefused(f"{name}: write {words}.")
            break
    if isinstance(field, models.DateTimeField):
        try:
            return parse_instant(value)
        except ValueError as error:
            raise RuleRefused(f"{name}: {value!r} is not an instant such as 2026-11-21T07:00:00Z.") from error
    try:
        return field.to_python(value)
    except ValidationError as error:
        raise RuleRefused(f"{name}: {' '.join(error.messages)}") from error


_kinds: dict[str, Kind] = {}


def register_kind(kind: Kind) -> None:
    """Let rules of a kind be exchanged, after those that are registered already: what it refers to comes before it."""
    _kinds[kind.name] = kind


def kinds() -> Iterable[Kind]:
    """In the order in which they are taken."""
    return _kinds.values()
