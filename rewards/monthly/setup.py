"""The ranking categories that the product ships with."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Group
from django.db import transaction

from rewards.monthly.models import RankingCategory

TIERS: dict[str, Any] = {
    "rule": "tiers",
    "by": "position",
    "tiers": [
        {"to": 1, "each": "1000", "name": "Champion"},
        {"to": 10, "each": "500", "name": "Elite"},
        {"to": 50, "each": "200", "name": "Achiever"},
        {"to": 100, "each": "100", "name": "Performer"},
        {"to": None, "each": "10", "name": "Unplaced"},
    ],
}

CATEGORIES: dict[str, tuple[str, dict[str, str]]] = {
    "students": ("Students", {"tests_completed": "15", "correct_answers": "1"}),
    "teachers": ("Teachers", {"student_attempts": "1"}),
}
"""Slug, which is the name of the group too → title, score."""


def create_default_categories() -> list[str]:
    """Create the categories, and the groups of their names, that are missing; slugs of the created."""
    created = []
    with transaction.atomic():
        for slug, (title, score) in CATEGORIES.items():
            if RankingCategory.objects.filter(slug=slug).exists():
                continue
            group, _ = Group.objects.get_or_create(name=slug)
            category = RankingCategory(slug=slug, title=title, group=group, score=score, tiers=TIERS)
            category._change_reason = "default"  # type: ignore[attr-defined]  # for its history
            category.save()
            created.append(slug)
    return created
