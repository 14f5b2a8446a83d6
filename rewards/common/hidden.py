"""A value that must not be seen: in logs, error pages, dumps of settings."""

from __future__ import annotations

from typing import NoReturn


class Hidden:
    """Shows itself as asterisks, whatever it is printed, formatted or dumped with; `reveal` is the only way to it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __repr__(self) -> str:
        return "'********'" if self._value else "''"

    __str__ = __repr__

    def __format__(self, specification: str) -> str:
        return repr(self)

    def __reduce__(self) -> NoReturn:
        raise TypeError("What is hidden is not pickled.")
