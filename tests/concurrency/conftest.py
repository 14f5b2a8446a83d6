"""What the races share."""

from __future__ import annotations

from tests.rewards.distributions.conftest import open_prize, prize
from tests.rewards.pending.conftest import fund, queued
from tests.rewards.pools.conftest import pools, vote
from tests.rewards.promises import broken_promises

__all__ = ["broken_promises", "fund", "open_prize", "pools", "prize", "queued", "vote"]
