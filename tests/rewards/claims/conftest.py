"""The shipped game economy: its currencies and recipes, with the default of each parameter."""

from __future__ import annotations

import pytest

from rewards.claims.setup import create_default_claim_types
from rewards.management.commands.setup_defaults import create_missing_currencies


@pytest.fixture
def game(db: None) -> None:
    create_missing_currencies()
    create_default_claim_types()
