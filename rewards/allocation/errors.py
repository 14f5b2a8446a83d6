"""What can be wrong with a rule, its numbers, or the arithmetic itself.

Callers catch by class and tell clients the `code`. The package stands alone, so these do not derive from the
product's own base error; whoever sits at the edge translates them.
"""

from __future__ import annotations

from collections.abc import Callable


class AllocationError(Exception):
    """The amount could not be shared out."""

    code = "allocation_failed"

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (type(self).__doc__ or "").strip().splitlines()[0])


class NothingToWeigh(AllocationError, ValueError):
    """All weights are zero: there is nobody to share with."""

    code = "nothing_to_weigh"


class RuleError(AllocationError, ValueError):
    """The rule does not make sense.

    `path` says where, as in `slices[1].weight` (empty: the rule as a whole); the sentence says what to do.
    """

    code = "rule_invalid"

    def __init__(self, path: str, sentence: str) -> None:
        self.path = path
        self.sentence = sentence
        super().__init__(f"{path}: {sentence}" if path else sentence)


class BudgetExceeded(RuleError):
    """The rule pays more than there is.

    `needed_minor` and `available_minor` say by how much, in minor units; `written` is how the sentence writes them.
    """

    code = "budget_exceeded"

    def __init__(
        self,
        path: str,
        needed_minor: int,
        available_minor: int,
        written: Callable[[int], str] = "{} minor units".format,
    ) -> None:
        self.needed_minor = needed_minor
        self.available_minor = available_minor
        needed, available = written(needed_minor), written(available_minor)
        sentence = f"This pays {needed} but only {available} are there: raise the amount or pay less."
        super().__init__(path, sentence)


class SumMismatch(AllocationError, ArithmeticError):
    """The shares do not add up to what was shared out: nothing may be paid from them."""

    code = "sum_mismatch"


def ensure_sum(expected: int, found: int, what: str) -> None:
    """Raise `SumMismatch` unless both are equal; unlike an assert, it holds under `python -O`."""
    if expected != found:
        raise SumMismatch(f"The {what} add up to {found} minor units instead of {expected}.")
