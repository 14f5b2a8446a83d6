"""A campaign as an operator makes it, and lists as files."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from rewards.campaigns import services
from rewards.campaigns.models import Campaign, CampaignParticipant
from rewards.campaigns.services import Layout, Upload
from rewards.distributions.models import Distribution, Reward
from rewards.distributions.services import advance

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
PROPORTIONAL = {"rule": "proportional"}
FIXED = {"rule": "fixed"}
WEIGHTS = Layout("user", weight="weight")
AMOUNTS = Layout("user", amount="amount")


@pytest.fixture
def campaign(coins) -> Callable[..., Campaign]:
    """A campaign that shares 100.00 coins by weight, but for what the test says."""

    def create(slug: str = "grants", **fields: Any) -> Campaign:
        given = {"currency": coins, "rule": PROPORTIONAL, "amount": 100_00, "at": NOON} | fields
        return services.create_campaign(slug=slug, **given)

    return create


def csv_file(*lines: str, compress: bool = False) -> io.BytesIO:
    content = "".join(f"{line}\n" for line in lines).encode()
    return io.BytesIO(gzip.compress(content) if compress else content)


def upload(campaign: Campaign, *lines: str, layout: Layout = WEIGHTS, **options: Any) -> Upload:
    """Upload these lines, users created on the way."""
    given = {"create_users": True, "actor": None, "at": NOON} | options
    return services.upload(campaign.pk, csv_file(*lines), layout, **given)


def run(campaign: Campaign, at: datetime = NOON) -> Distribution:
    return advance(services.run(campaign.pk, None, at).pk)


def paid(distribution: Distribution) -> dict[str, int]:
    """Username → minor units, in position order."""
    rewards = Reward.objects.filter(distribution=distribution).order_by("position")
    return dict(rewards.values_list("user__username", "amount"))


def stored(campaign: Campaign) -> list[tuple[Any, ...]]:
    lines = CampaignParticipant.objects.filter(campaign=campaign).order_by("user__username")
    return list(lines.values_list("user__username", "weight", "amount", "group"))
