"""The base of every error a user can cause: a stable code, and a sentence that says what to do."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar


class RewardsError(Exception):
    """Something about this request cannot be done."""

    code: ClassVar[str] = "rewards_error"
    http_status: ClassVar[int] = 422
    # With a status of 500 and more: whether its sentence is for who sent the request, or for the log alone.
    is_expected: ClassVar[bool] = False

    def __init__(self, message: str | None = None, **facts: Any) -> None:
        """`message` defaults to the class's docstring; `facts` are values a client may want to read (JSON types)."""
        self.message = message or inspect.getdoc(type(self)) or self.code
        self.facts = facts
        super().__init__(self.message)


class InvariantBroken(RewardsError):
    """An internal rule of the engine did not hold; nothing was written. Please report this."""

    code = "invariant_broken"
    http_status = 500


class ReasonMissing(RewardsError):
    """Say why: a reason is needed."""

    code = "reason_missing"
    http_status = 400


def ensure(condition: bool, message: str, **facts: Any) -> None:
    """Raise `InvariantBroken` unless `condition` holds. Unlike `assert`, it stays under `python -O`."""
    if not condition:
        raise InvariantBroken(message, **facts)
