"""What a fresh product stands with: each part creates what it ships with and is not there yet, and shows itself in
the demo. Upper apps register theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

CreateMissing = Callable[[], Sequence[object]]
"""Creates what is missing, keeps what stands, and returns the names of those created."""

MakeDemo = Callable[[datetime], object]
"""Adds what is new at an instant to the demo data, however often it is called."""

_of_upper_apps: dict[str, CreateMissing] = {}
_demos: list[MakeDemo] = []


def register_defaults(what: str, create_missing: CreateMissing) -> None:
    """Let an upper app create what it ships with too, after everything of `rewards`. `what` is a plural: `badges`."""
    _of_upper_apps[what] = create_missing


def defaults_of_upper_apps() -> dict[str, CreateMissing]:
    return dict(_of_upper_apps)


def register_demo(make: MakeDemo) -> None:
    """Let an upper app add to the demo data, once people, activity and payouts are there."""
    _demos.append(make)


def demos_of_upper_apps() -> list[MakeDemo]:
    return list(_demos)
