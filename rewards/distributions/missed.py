"""Periods that should have begun and have not: nobody is paid for them, and no distribution says so."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta

from rewards.alerts.services import CRITICAL, open_subjects, raise_alert, resolve_alert
from rewards.distributions.programmes import registered_programmes

PERIOD_MISSED = "period_missed"
MISSED_AFTER = timedelta(hours=1)  # whoever pokes the job does so within the hour


def alert_missed_periods(at: datetime) -> int:
    """One open alert for each programme with periods due for over an hour and not begun; resolved when all have.

    Returns how many periods that are.
    """
    missed: dict[str, list[tuple[datetime, str]]] = defaultdict(list)
    for name, programme in registered_programmes().items():
        for period in programme.due_periods(at):
            due_at = getattr(period, "due_at", period.end)
            if at - due_at > MISSED_AFTER:
                missed[getattr(period, "programme", name)].append((due_at, period.key))
    for subject, periods in missed.items():
        raise_alert(PERIOD_MISSED, subject, _sentence(periods), CRITICAL)
    for subject in open_subjects(PERIOD_MISSED) - missed.keys():
        resolve_alert(PERIOD_MISSED, subject)
    return sum(map(len, missed.values()))


def _sentence(periods: list[tuple[datetime, str]]) -> str:
    due_at, key = min(periods)
    since = f"was due at {due_at:%Y-%m-%d %H:%M} UTC and has not begun"
    others = f" {len(periods) - 1} later ones have not either." if len(periods) > 1 else ""
    return f"{key} {since}.{others} See whether its job runs, and whether payouts are paused."
