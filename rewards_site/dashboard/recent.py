"""The newest distributions and the open alerts, as tables."""

from __future__ import annotations

from collections.abc import Sequence

from rewards.admin.common.display import ago, amount, badge, grouped, link_to
from rewards.admin.common.tables import Table
from rewards.alerts.models import Alert
from rewards.distributions.models import Distribution


def newest_distributions(newest: Sequence[Distribution]) -> Table:
    rows = [
        (
            link_to(each, f"{each.programme} {each.period_key}"),
            badge(each.status),
            grouped(each.recipients),
            amount(each.paid_amount, each.currency),
        )
        for each in newest
    ]
    empty = "No payout yet. Votes come in by the API or `manage.py import_votes`; what is due is paid by the jobs."
    return Table(["Distribution", "Status", "Recipients", "Paid"], rows, frozenset({"Recipients", "Paid"}), empty)


def alerts_table(alerts: Sequence[Alert]) -> Table:
    rows = [(link_to(each), badge(each.severity), each.message or "–", ago(each.last_seen)) for each in alerts]
    return Table(["Alert", "Severity", "Message", "Last seen"], rows, frozenset(), "None: nothing needs you.")
