"""Programmes and periods as people read them."""

from __future__ import annotations

import pytest

from rewards.distributions.models import Distribution
from rewards.distributions.titles import period_title, programme_title


@pytest.mark.parametrize(
    ("programme", "period", "read"),
    [
        ("cc_market", "2026-11-21", "CC market 2026-11-21"),
        ("case", "case:7", "Case 7"),
        ("pool_hourly", "2026-11-21T08", "Pool hourly 2026-11-21T08"),
        ("monthly:students", "2026-10", "Monthly: students 2026-10"),
        ("campaign:voters-prizes", "once", "Campaign: voters prizes once"),
    ],
)
def test_names_are_words(programme: str, period: str, read: str) -> None:
    distribution = Distribution(programme=programme, period_key=period)

    assert f"{programme_title(programme)} {period_title(distribution)}" == read
