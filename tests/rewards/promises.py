"""Whether the ledger keeps what it promises."""

from __future__ import annotations

from rewards.ledger.checks import run_checks


def broken_promises() -> list[str]:
    """What `check_ledger` would name."""
    return [f"{finding.promise}: {each}" for finding in run_checks() for each in finding.offenders]
