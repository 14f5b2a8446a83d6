"""JSON with a name twice in an object: two readers could take different values from it."""

from __future__ import annotations

from typing import Any


class NameTwice(ValueError):
    """`name` stands twice in one object."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name[:60]!r} is there twice in one object")
        self.name = name


def each_name_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """For `object_pairs_hook` of `json`. Raises `NameTwice`."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise NameTwice(next(name for name in names if names.count(name) > 1))
    return found
