"""Badges as rules that are taken from one installation to another. Who holds them is not."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError

from badges.criteria import FACTS
from badges.icons import check_icon
from badges.models import Badge
from badges.queries import preview
from rewards.activity.checks import is_metric
from rewards.common.errors import RewardsError
from rewards.exchange.kinds import Facts, Kind


class Badges(Kind):
    """What earns a badge that somebody holds is refused, as it is on its page."""

    name, model = "badges", Badge
    fields = ("name", "description", "icon", "order", "active", *Badge.CRITERIA, "unit")

    def check(self, row: Badge) -> None:
        row.full_clean()
        check_icon(row.icon)
        if row.metric and row.metric not in FACTS and not is_metric(row.metric):
            raise ValidationError({"metric": "Write the name of a metric, such as cases_won."})

    def note(self, before: Facts | None, row: Badge, at: datetime) -> str:
        """Who would get it at once, and what that costs."""
        stands = before is not None and before["active"] and all(self._same(before, row, name) for name in row.CRITERIA)
        if stands or not row.active or not row.metric:
            return ""
        try:
            found = preview(row, at)
        except RewardsError:  # its check says why
            return ""
        if not found.count:
            return ""
        cost = f", with {found.bonus_total:,} {found.currency} in all" if found.bonus_total else ""
        return f"It would be given to {found.count:,} {'user' if found.count == 1 else 'users'} within the hour{cost}."

    def _same(self, before: Facts, row: Any, name: str) -> bool:
        return before[name] == getattr(row, name)
