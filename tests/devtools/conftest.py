"""The development environment knows no database: its tests run in one leg, on SQLite."""

from __future__ import annotations

import pytest
from django.db import connection


@pytest.fixture(autouse=True)
def once() -> None:
    if connection.vendor != "sqlite":
        pytest.skip("says nothing about a database; shown once, on SQLite")
