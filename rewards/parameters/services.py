"""Reading and changing parameters."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, field, replace
from itertools import count
from threading import local
from time import monotonic
from typing import Any

from django.db import connection, transaction
from django.db.models.signals import post_delete, post_migrate, post_save

from rewards.common.errors import ReasonMissing
from rewards.parameters.errors import InvalidParameter, UnknownParameter
from rewards.parameters.models import Parameter, ParameterVersion, bump_version, problem_of
from rewards.parameters.registry import PARAMETERS
from rewards.users.models import User

POLL_SECONDS = 1.0


@dataclass(frozen=True)
class _Cache:
    """What was last read. Replaced as a whole, so that threads never see half of it."""

    version: Any = -1  # no version yet
    polled_at: float = float("-inf")  # monotonic seconds
    values: dict[str, Any] = field(default_factory=dict)
    derived: dict[Any, Any] = field(default_factory=dict)


_cache = _Cache()  # of this process: what is committed
_own = local()  # `.cache`: what the transaction sees that this thread has open and has changed something in


def param(key: str) -> Any:
    """The value of a parameter: that of its row, else the registered default.

    Cached per process; the version row is polled at most once a second, so a change made anywhere is seen within a
    second. Whoever changed a parameter in the transaction that is open sees that change at once, and nobody else does
    before it is committed. Raises `UnknownParameter`.
    """
    values = _current_cache().values
    if key in values:
        return copy.deepcopy(values[key])
    if key in PARAMETERS:
        return copy.deepcopy(PARAMETERS[key].default)
    raise UnknownParameter(f"There is no parameter {key!r}.", key=key)


def derived_cache() -> dict[Any, Any]:
    """Where a package keeps what it made of parameters, and of rows whose changes it announces.

    A new one, empty, whenever something has changed, and for a transaction that has changed something one of its own.
    Keys are the package's own, such as ("recipe", slug).
    """
    return _current_cache().derived


def announce_change(**kwargs: Any) -> None:
    """Something that a `derived_cache` was made of has changed: every process sees it within a second of the commit.

    Call it in the transaction of the change; it fits a model's post_save and post_delete.
    """
    bump_version()
    _forget_at_commit()


def set_parameter(key: str, value: Any, *, actor: User | None, reason: str) -> Parameter:
    """Change a parameter, with who and why in its history. A value it already has writes nothing.

    `value` is JSON. Raises `UnknownParameter`, `InvalidParameter` with a sentence, `ReasonMissing`.
    """
    if not reason.strip():
        raise ReasonMissing
    with transaction.atomic():
        parameter = Parameter.objects.select_for_update(no_key=True).filter(key=key).first()
        if parameter is None and key not in PARAMETERS:
            raise UnknownParameter(f"There is no parameter {key!r}.", key=key)
        _check(key, value)
        if parameter is None:
            parameter = new_parameter(key)
        elif parameter.value == value and type(parameter.value) is type(value):
            return parameter
        parameter.value = value
        parameter._history_user = actor
        parameter._change_reason = reason.strip()
        parameter.save()
    return parameter


def new_parameter(key: str) -> Parameter:
    """An unsaved row for a registered parameter, with its default as value."""
    definition = PARAMETERS[key]
    return Parameter(key=key, value=definition.default, default=definition.default, description=definition.description)


def create_missing_parameters() -> list[str]:
    """Give each registered parameter its row; keys of those created.

    A row whose value is still the default it was created with follows a default that a release changed.
    """
    created, rows = [], {row.key: row for row in Parameter.objects.all()}
    for key, definition in PARAMETERS.items():
        row = rows.get(key)
        if row is None:
            row = new_parameter(key)
            row._change_reason = "default"
            row.save()
            created.append(key)
        elif (row.default, row.description) != (definition.default, definition.description):
            row.value = definition.default if row.value == row.default else row.value
            row.default, row.description = definition.default, definition.description
            row._change_reason = "default of a new release"
            row.save()
    return created


def forget(**kwargs: Any) -> None:
    """Make this process read the parameters again at their next use."""
    global _cache
    _cache = _Cache()


def _check(key: str, value: Any) -> None:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidParameter(f"The value of {key} cannot be written as JSON: {error}.", key=key) from error
    problem = problem_of(key, value)
    if problem:
        raise InvalidParameter(f"{value!r} is not a value for {key}. {problem}", key=key)


def _fresh_cache() -> _Cache:
    global _cache
    now = monotonic()
    if now - _cache.polled_at >= POLL_SECONDS:
        version = ParameterVersion.objects.filter(pk=ParameterVersion.THE_ROW).values_list("version", flat=True).first()
        found = -1 if version is None else version
        if found == _cache.version and _cache.polled_at >= 0:
            _cache = replace(_cache, polled_at=now)
        else:
            _cache = _Cache(found, now, _read_values())
    return _cache


def _read_values() -> dict[str, Any]:
    return dict(Parameter.objects.values_list("key", "value"))


def _current_cache() -> _Cache:
    changes = tuple(function.number for _, function, *_ in connection.run_on_commit if isinstance(function, _Forget))
    if not changes:
        return _fresh_cache()
    own = getattr(_own, "cache", None)
    if own is None or own.version != changes or monotonic() - own.polled_at >= POLL_SECONDS:
        own = _own.cache = _Cache(changes, monotonic(), _read_values())
    return own


class _Forget:
    """What a change leaves behind to be called at commit. A rollback, also of a savepoint, takes it away again."""

    numbers = count()

    def __init__(self) -> None:
        self.number = next(self.numbers)

    def __call__(self) -> None:
        forget()


def _forget_at_commit(**kwargs: Any) -> None:
    transaction.on_commit(_Forget())


post_save.connect(_forget_at_commit, sender=Parameter, dispatch_uid="parameters_changed")
post_delete.connect(_forget_at_commit, sender=Parameter, dispatch_uid="parameters_deleted")
post_migrate.connect(forget, dispatch_uid="parameters_migrated")
