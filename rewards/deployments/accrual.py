"""What accrues with time, exactly: pure maths over fractions. Amounts in minor units are floored, instants are not
moved further than what was paid for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from math import ceil, floor

from rewards.common.amounts import MAX_MINOR

HOURS_PER_YEAR = 8_760
MICROSECONDS_PER_HOUR = 3_600_000_000
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Rate:
    """How fast something earns. Units are those of the currency it is paid in, which has so many decimals.

    What it has earned is pending once it is above the threshold and at least one whole minor unit.
    """

    units_per_hour: Fraction
    threshold: Fraction
    decimals: int

    def payable(self, start: datetime, at: datetime) -> int:
        """Minor units that are pending at `at`; 0 when none are, and before the start."""
        earned = self._earned(start, at)
        return self._whole(earned) if earned > self.threshold else 0

    def accrued(self, start: datetime, at: datetime) -> int:
        """Whole minor units earned by `at`, pending or not."""
        return self._whole(self._earned(start, at))

    def paid_until(self, start: datetime, amount: int) -> datetime:
        """The instant up to which `amount` minor units pay: not a microsecond earlier, so that nothing pays twice."""
        hours = Fraction(amount, 10**self.decimals) / self.units_per_hour
        return start + ceil(hours * MICROSECONDS_PER_HOUR) * MICROSECOND

    def _earned(self, start: datetime, at: datetime) -> Fraction:
        # In UTC: of two local times, Python subtracts what the clock shows.
        microseconds = (at.astimezone(UTC) - start.astimezone(UTC)) // MICROSECOND
        return self.units_per_hour * max(microseconds, 0) / MICROSECONDS_PER_HOUR

    def _whole(self, units: Fraction) -> int:
        """What does not fit an amount goes on accruing, like what is under a unit."""
        return min(floor(units * 10**self.decimals), MAX_MINOR)


def staking_per_hour(staked: Fraction, yearly: Fraction) -> Fraction:
    """What `staked` units earn in an hour at a yearly rate such as 0.05."""
    return staked * yearly / HOURS_PER_YEAR


def exact(number: int | float | str) -> Fraction:
    """A number as it is written: 0.05 is five hundredths. What JSON keeps as a float is meant as it looks."""
    return Fraction(str(number))
