"""What the races share."""

from __future__ import annotations

from rewards.ledger.checks import run_checks
from tests.rewards.distributions.conftest import open_prize, prize, staff
from tests.rewards.pools.conftest import pools, vote

__all__ = ["open_prize", "pools", "prize", "staff", "vote"]


def broken_promises() -> list[str]:
    """What `check_ledger` would name."""
    return [f"{finding.promise}: {each}" for finding in run_checks() for each in finding.offenders]
