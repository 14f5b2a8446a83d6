"""What an hour of votes is worth, and how the pools share it. Pure and exact: fractions, then whole minor units."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

from rewards.common.errors import RewardsError


class PoolShares(RewardsError):
    """The shares of the two pools do not add up: give one of them a share and leave the other one empty."""

    code = "pool_shares"


def intake_minor(cc_amount: Decimal, units_per_cc: Decimal, decimals: int) -> int:
    """Minor units that `cc_amount` CC bring in, rounded down."""
    return math.floor(Fraction(cc_amount) * Fraction(units_per_cc) * 10**decimals)


def split(intake: int, hourly_share: Decimal | None, daily_share: Decimal | None) -> tuple[int, int]:
    """Minor units of the hourly and of the daily pool: a share is rounded down, the pool without one gets the rest.

    Where both have a share, they make up the whole and the hourly one is rounded. Raises `PoolShares`.
    """
    check_shares(hourly_share, daily_share)
    if hourly_share is not None:
        hourly = math.floor(intake * Fraction(hourly_share))
        return hourly, intake - hourly
    daily = math.floor(intake * Fraction(daily_share or 0))
    return intake - daily, daily


def check_shares(hourly_share: Decimal | None, daily_share: Decimal | None) -> None:
    """Raise `PoolShares` unless the two shares say where every unit of the intake goes."""
    shares = [share for share in (hourly_share, daily_share) if share is not None]
    if any(not 0 <= share <= 1 for share in shares):
        raise PoolShares("The share of a pool is a fraction from 0 to 1, such as 0.25.")
    if not shares:
        raise PoolShares("Neither pool has a share: give one of them a share and leave the other one empty.")
    if len(shares) == 2 and sum(shares) != 1:
        raise PoolShares(
            f"The pools share {shares[0]} and {shares[1]} of the intake, which is not the whole: "
            "change one and leave the other one empty, it gets the rest."
        )
