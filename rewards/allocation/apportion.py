"""Sharing out whole units: floors first, the missing units by largest remainder, the sum proved at the end."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rewards.allocation.errors import NothingToWeigh, ensure_sum
from rewards.allocation.integers import (
    INT64_MAX,
    Column,
    Integers,
    exact_integers,
    exact_sum,
    largest_magnitude,
    whole_amount,
)

__all__ = ["NothingToWeigh", "apportion", "capped_shares", "equal_shares"]


def apportion(amount: int, weights: Integers) -> NDArray[np.int64]:
    """Share `amount` minor units by weight: Hamilton's method of the largest remainder.

    Each row gets the floor of amount × weight ÷ sum of weights; the units still missing go one each to the largest
    remainders, ties to the earlier row. Weights are whole numbers of any size and stay exact. Returns int64, one per
    weight, adding up to `amount`. Raises `NothingToWeigh` when no weight is above zero, `ValueError` for a negative
    amount or weight, `TypeError` for anything but whole numbers.
    """
    amount = whole_amount(amount)
    column = _weights(weights)
    total_weight = exact_sum(column)
    if total_weight == 0:
        raise NothingToWeigh
    shares, remainders = _floors(amount, column, total_weight)
    missing = amount - exact_sum(shares)
    if missing:
        shares[_largest(remainders, missing)] += 1
    ensure_sum(amount, exact_sum(shares), "shares")
    return shares


def equal_shares(amount: int, members: int) -> NDArray[np.int64]:
    """Share `amount` minor units equally; the first `amount % members` get one more.

    Returns int64, one per member, best place first. Raises `NothingToWeigh` when there are no members.
    """
    amount = whole_amount(amount)
    if members < 0:
        raise ValueError(f"There cannot be {members} members.")
    if members == 0:
        raise NothingToWeigh
    share, left_over = divmod(amount, members)
    shares = np.full(members, share, dtype=np.int64)
    shares[:left_over] += 1
    ensure_sum(amount, exact_sum(shares), "shares")
    return shares


def capped_shares(
    amount: int, weights: Integers, cap: int | None, minimum: int | None
) -> tuple[NDArray[np.int64], int]:
    """Share by weight with a ceiling and a floor per row; returns the amounts (int64) and what is left unpaid.

    Water-filling: whoever would pass `cap` gets the cap, and the rest is shared by the weights of the others, until
    nobody passes it. Payouts below `minimum` become zero and their sum is shared again by the same rule among those
    not at the cap. Both limits are minor units (None: no limit) and are compared to exact shares, before rounding;
    rounding then breaks neither. Raises as `apportion` does.
    """
    amount = whole_amount(amount)
    column = _weights(weights)
    if not column.any():
        raise NothingToWeigh
    if amount == 0 or (cap is None and not minimum):
        return apportion(amount, column), 0
    capped, shared, rest = _fill(amount, column, cap, minimum or 0)
    amounts = np.zeros(len(column), dtype=np.int64)
    if cap is not None:
        amounts[capped] = cap
    if shared.any():
        amounts[shared] = apportion(rest, column[shared])
        rest = 0
    ensure_sum(amount, exact_sum(amounts) + rest, "capped shares and what is left")
    return amounts, rest


def _weights(weights: Integers) -> Column:
    column = exact_integers(weights)
    if len(column) and column.min() < 0:
        raise ValueError(f"Row {int(column.argmin())} has a negative weight.")
    return column


def _floors(amount: int, weights: Column, total_weight: int) -> tuple[NDArray[np.int64], Column]:
    """Floored shares and their remainders, both exact."""
    if max(amount * largest_magnitude(weights), total_weight) > INT64_MAX:
        weights = weights.astype(object)
    product = weights * amount
    shares = product // total_weight
    return shares.astype(np.int64), product - shares * total_weight


def _largest(remainders: Column, count: int) -> NDArray[np.int64]:
    """Indices of the `count` largest remainders; of equal ones the earlier rows."""
    if remainders.dtype != object:
        return np.argsort(-remainders, kind="stable")[:count]
    values = remainders.tolist()  # reverse=True keeps equal rows in their order
    return np.array(sorted(range(len(values)), key=values.__getitem__, reverse=True)[:count])


def _fill(
    amount: int, weights: Column, cap: int | None, minimum: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], int]:
    """Who gets the cap, who shares the rest by weight, and that rest in minor units; the others get nothing.

    Shares grow with the weight, so both limits are limits on weights. Each round caps the heaviest and drops
    whoever stays below the minimum; dropping only raises the shares of the others, so the rounds end.
    """
    paid = weights > 0
    while True:
        cap_weight, rest, rest_weight = _cap_heaviest(amount, weights[paid], cap)
        capped = np.zeros_like(paid) if cap_weight is None else paid & (weights >= cap_weight)
        least_weight = -(-minimum * rest_weight // rest)  # the least that brings weight × rest ÷ rest_weight there
        too_small = paid & ~capped & (weights < least_weight)
        if cap is not None and cap < minimum:
            too_small |= capped
        if not too_small.any():
            return capped, paid & ~capped, rest
        paid &= ~too_small


def _cap_heaviest(amount: int, weights: Column, cap: int | None) -> tuple[int | None, int, int]:
    """The least weight that is capped (None: nobody), what is left for the others, and the sum of their weights.

    What is left is never zero: whoever passes the cap does so with a share of it.
    """
    rest, rest_weight = amount, exact_sum(weights)
    cap_weight = None
    if cap is None or largest_magnitude(weights) * rest <= cap * rest_weight:
        return cap_weight, rest, rest_weight
    for weight in sorted(weights.tolist(), reverse=True):
        if weight * rest <= cap * rest_weight:
            break
        cap_weight, rest, rest_weight = weight, rest - cap, rest_weight - weight
    return cap_weight, rest, rest_weight
