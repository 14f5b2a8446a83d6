"""What sidebar and dashboard count, read once for a page and by one statement: no two of them say different numbers."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from rewards.admin.case_page import NOT_OVER
from rewards.alerts.models import Alert
from rewards.audit.models import AuditSeal
from rewards.cases.commitments import COMMITMENT_MISMATCH
from rewards.cases.models import Case
from rewards.common.reading import Counted, read_together
from rewards.distributions.models import Distribution
from rewards.jobs.processes import SCHEDULER, WORKER, running_processes
from rewards.monthly.models import RankingCategory
from rewards.pending.drain import due_rows
from rewards.pending.models import PendingReward
from rewards.users.models import User

MOST_COUNTED = 10_000
LATE_AFTER = timedelta(hours=1)

Figures = dict[str, Any]


def figures(request: HttpRequest) -> Figures:
    """The figures that this user's page shows, by name; on the dashboard all of them, elsewhere the sidebar's."""
    kept: Figures | None = getattr(request, "_figures", None)
    if kept is None:
        kept = request._figures = _read(request)  # type: ignore[attr-defined]
    return kept


def _read(request: HttpRequest) -> Figures:
    user: Any = request.user
    wanted = _of_sidebar()
    if request.path == reverse("admin:index"):
        wanted = {right: wanted.get(right, {}) | more for right, more in _of_dashboard(timezone.now()).items()}
    expressions = {
        name: expression for right, some in wanted.items() if user.has_perm(right) for name, expression in some.items()
    }
    # The user's own row is there, so the statement has a row, whatever the others find.
    return read_together(User.objects.filter(pk=user.pk), expressions)


def _of_sidebar() -> dict[str, dict[str, Subquery]]:
    """Figures under the right that it takes to see them; each an index, or a part of one, counted to a limit."""
    return {
        "rewards.view_distribution": {"approvals": _count(Distribution.objects.filter(status="allocated"))},
        "rewards.view_alert": {"alerts": _count(Alert.objects.filter(resolved_at=None))},
        "rewards.view_pendingreward": {"dead": _count(PendingReward.objects.filter(status="failed"))},
        "rewards.view_case": {"moderation": _count(Case.objects.filter(status="pending_moderation"))},
    }


def _of_dashboard(at: datetime) -> dict[str, dict[str, Any]]:
    open_alerts = Alert.objects.filter(resolved_at=None)
    open_cases = Case.objects.filter(status="active")
    categories = RankingCategory.objects.filter(active=True, active_since__isnull=False).order_by("active_since")
    months = {"months_since": _first(categories, "active_since")}
    due = {f"due_{priority}": _oldest_due(priority, at) for priority in PendingReward.Priority.values}
    return {
        "rewards.view_distribution": {
            "approvals": _of_sidebar()["rewards.view_distribution"]["approvals"],
            "dead": _count(PendingReward.objects.filter(status="failed")),
            **due,
            **months,
        },
        "rewards.view_monthlyrewardjob": months,
        "rewards.view_alert": {"critical": _count(open_alerts.filter(severity=Alert.Severity.CRITICAL))},
        "rewards.view_pendingreward": {
            "queued": _count(PendingReward.objects.filter(status="queued")),
            **due,
        },
        "rewards.view_case": {
            "cases": _count(open_cases),
            "late_cases": _count(open_cases.filter(closes_at__lt=at - LATE_AFTER)),
            "failing_cases": _count(_not_over().filter(failures__gt=0)),
            "differing": _count(open_alerts.filter(code=COMMITMENT_MISMATCH)),
        },
        "rewards.view_processheartbeat": {
            f"{kind}_silence": _first(running_processes(kind), "silence") for kind in (WORKER, SCHEDULER)
        },
        "rewards.view_auditseal": {
            f"seal_{name}": _first(AuditSeal.objects.order_by("-id"), name)
            for name in ("base_event", "last_transaction_number", "last_event")
        },
    }


def _not_over() -> QuerySet[Case]:
    return Case.objects.filter(Q(status__in=NOT_OVER) | Q(status=Case.Status.CLOSED, settled_at=None))


def _oldest_due(priority: str, at: datetime) -> Subquery:
    """Since when the first reward of a priority has been due; the queue's index gives it."""
    first = due_rows(at).filter(priority=priority).order_by("queued_at", "pk")
    return _first(first.annotate(due_at=Coalesce("not_before", "queued_at")), "due_at")


def _count(rows: QuerySet[Any]) -> Subquery:
    return Counted(rows.order_by()[: MOST_COUNTED + 1])


def _first(rows: QuerySet[Any], name: str) -> Subquery:
    return Subquery(rows.values(name)[:1])


def oldest_due(figures: Figures) -> datetime | None:
    """Since when the first pending reward has been due, whatever its priority."""
    due = (figures[f"due_{priority}"] for priority in PendingReward.Priority.values)
    return min((instant for instant in due if instant is not None), default=None)
