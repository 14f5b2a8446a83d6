"""Every parameter of the product: its default, what it means, and what it may be.

Who needs a new one adds it here; `manage.py setup_defaults` creates its row, `manage.py document_parameters` its line
in `docs/parameters.md`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Check = Callable[[Any], str]  # a sentence that says what is wrong with a value; empty when nothing is


@dataclass(frozen=True)
class Definition:
    """`default` is used as long as the parameter has no row. `allowed` says in words what `check` accepts."""

    default: Any
    description: str
    allowed: str = "any JSON value"
    check: Check | None = None


# --------------------------------------------------------------------------------------------------------- checks


def problem_of_boolean(value: Any) -> str:
    return "" if isinstance(value, bool) else "It must be true or false."


def whole_number(minimum: int, maximum: int) -> Check:
    def problem(value: Any) -> str:
        if isinstance(value, int) and not isinstance(value, bool) and minimum <= value <= maximum:
            return ""
        return f"It must be a whole number from {minimum} to {maximum}."

    return problem


def power_of_two(minimum: int, maximum: int) -> Check:
    in_range = whole_number(minimum, maximum)

    def problem(value: Any) -> str:
        if in_range(value) or value & (value - 1):
            return f"It must be a power of two from {minimum} to {maximum}."
        return ""

    return problem


# ---------------------------------------------------------------------------------------------------- definitions


def _switch(default: bool, description: str) -> Definition:
    return Definition(default, description, "true or false", problem_of_boolean)


def _whole(default: int, minimum: int, maximum: int, description: str) -> Definition:
    return Definition(default, description, f"{minimum} to {maximum}", whole_number(minimum, maximum))


PARAMETERS: dict[str, Definition] = {
    "payouts_paused": _switch(
        False, "Nothing is paid while this is on: payouts stay where they are and continue when it is lifted."
    ),
    "distributions.chunk_rows": Definition(
        65_536,
        "Rewards paid by one transaction. A power of two, so that each chunk is a subtree of the digest.",
        "a power of two from 2 to 1048576",
        power_of_two(2, 1_048_576),
    ),
    "distributions.stuck_after_minutes": _whole(
        15, 1, 10_080, "A payout that has not moved on for this long is shown as stuck."
    ),
    "health.stale_after_seconds": _whole(
        30, 5, 3_600, "A worker or scheduler not heard of for this long makes /readyz answer 503."
    ),
    "jobs.budget_seconds": _whole(
        60, 1, 80, "How long a scheduled job works before it hands over to its next run; tasks are stopped after 90."
    ),
    "jobs.keep_days": _whole(90, 1, 3_650, "The daily clean-up deletes job runs that are older."),
    "jobs.lost_after_seconds": _whole(
        120, 30, 86_400, "A running job without a heartbeat for this long is taken to be dead; another run takes over."
    ),
}
