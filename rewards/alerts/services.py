"""Raising and resolving alerts."""

from __future__ import annotations

from django.conf import settings
from django.core.mail import mail_admins
from django.db.models import F
from django.utils import timezone

from rewards.alerts.models import Alert
from rewards.common.database import insert_if_absent

WARNING = Alert.Severity.WARNING
CRITICAL = Alert.Severity.CRITICAL


def raise_alert(code: str, subject: str = "", message: str = "", severity: str = WARNING) -> None:
    """Open an alert for a cause, or count it once more on the one that is open.

    It is written in the caller's transaction, so a failure is reported after its rollback, outside of it.
    """
    cause = {"code": code, "subject": subject[:200], "resolved_at": None}
    now, message = timezone.now(), message.replace("\x00", "\ufffd")
    while True:  # ends: each round either writes or meets a row that someone resolved at that very moment
        alert = Alert(**cause, message=message, severity=severity, first_seen=now, last_seen=now)
        if insert_if_absent(alert, ["code", "subject"], where="resolved_at IS NULL"):
            return
        again = {"count": F("count") + 1, "last_seen": now, "message": message, "severity": severity}
        if Alert.objects.filter(code=code, subject=cause["subject"], resolved_at__isnull=True).update(**again):
            return


def resolve_alert(code: str, subject: str = "") -> bool:
    """Close the open alert of a cause. False when none was open."""
    open_alert = Alert.objects.filter(code=code, subject=subject[:200], resolved_at__isnull=True)
    return open_alert.update(resolved_at=timezone.now()) == 1


def open_subjects(code: str) -> set[str]:
    """What open alerts of this code are about."""
    return set(Alert.objects.filter(code=code, resolved_at=None).values_list("subject", flat=True))


def mail_alerts(limit: int = 50) -> int:
    """Mail the open alerts that were not mailed yet to `ADMINS`, in one mail; how many it were.

    Marked after sending: a mail server that fails, or a crash in between, costs a second mail and never the only one.
    """
    alerts = list(Alert.objects.filter(mailed_at__isnull=True, resolved_at__isnull=True).order_by("id")[:limit])
    if not alerts or not settings.ADMINS:
        return 0
    subject = f"{len(alerts)} new: {', '.join(sorted({alert.code for alert in alerts}))}"
    mail_admins(subject.replace("\n", " ")[:150], "\n\n".join(map(_paragraph, alerts)))
    Alert.objects.filter(pk__in=[alert.pk for alert in alerts]).update(mailed_at=timezone.now())
    return len(alerts)


def _paragraph(alert: Alert) -> str:
    seen = f"{alert.last_seen:%Y-%m-%d %H:%M} UTC" + (f", {alert.count} times" if alert.count > 1 else "")
    return f"{alert.severity.upper()} {alert.code} {alert.subject}".rstrip() + f" ({seen})\n{alert.message}"
