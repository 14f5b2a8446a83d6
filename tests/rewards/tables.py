"""Everything that stands in the database, to tell what a step has changed."""

from __future__ import annotations

from typing import Any

from django.apps import apps

Tables = dict[str, dict[Any, dict[str, Any]]]


def everything() -> Tables:
    """Table → primary key → column → value, of every table of the product."""
    models = [model for model in apps.get_models() if model._meta.app_label in ("rewards", "badges", "leaderboard")]
    return {
        model._meta.db_table: {row[str(model._meta.pk.attname)]: row for row in model._base_manager.values()}
        for model in models
    }


def what_differs(before: Tables) -> dict[str, list[set[str]]]:
    """Table → for each row that differs from `before` the columns that do; rows that are new or gone name them all."""
    found: dict[str, list[set[str]]] = {}
    for table, rows in everything().items():
        for key in rows.keys() | before[table].keys():
            old, new = before[table].get(key, {}), rows.get(key, {})
            changed = {name for name in old.keys() | new.keys() if old.get(name, ...) != new.get(name, ...)}
            if changed:
                found.setdefault(table, []).append(changed)
    return found
