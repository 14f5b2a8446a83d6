"""What a generator hands over: a dilemma, and the verdict on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from rewards.common.errors import RewardsError


@dataclass(frozen=True)
class WrittenCase:
    """A case as it was written. Shown anywhere, it shows its title alone."""

    title: str
    context: str = field(repr=False)
    verdict: str = field(repr=False)  # YES or NO
    reasoning: str = field(repr=False)
    confidence: Decimal = field(repr=False)  # 0 to 1
    dilemma: str = ""  # of a built-in one: its key
    dilemma_use: int = 0  # and which use of it this is, from 1


class GeneratorFailed(RewardsError):
    """The generator wrote no case. The next run tries again."""

    code = "generator_failed"
    http_status = 502
    is_expected = True
