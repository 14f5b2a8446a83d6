"""Badges in the demo data: whoever has earned one by then has it."""

from __future__ import annotations

from datetime import datetime

from badges.services import check_badges


def make_demo(at: datetime) -> None:
    check_badges(at)
