"""What a job does about a case that it failed with: it is seen, it is tried again, and the others go on."""

from __future__ import annotations

import logging

from django.db import transaction
from django.db.models import F

from rewards.alerts.services import CRITICAL, raise_alert, resolve_alert
from rewards.cases.models import Case
from rewards.common.errors import RewardsError

CASE_FAILED = "case_failed"
ALERT_AFTER = 3  # failures in a row

logger = logging.getLogger(__name__)


def note_failure(case_id: int, error: Exception) -> str:
    """Keep what went wrong with a case where it is seen, and raise an alert from the third time in a row on.

    Returns what is said of it. Call it outside of the transaction that failed.
    """
    about = f"case:{case_id}"
    sentence = error.message if isinstance(error, RewardsError) else f"{type(error).__name__}: {error}"
    sentence = sentence.replace("\x00", "\ufffd")
    logger.error("%s: %s", about, sentence, exc_info=error, extra={"event": CASE_FAILED, "case": case_id})
    with transaction.atomic():
        Case.objects.filter(pk=case_id).update(failures=F("failures") + 1, error=sentence)
        if Case.objects.filter(pk=case_id, failures__gte=ALERT_AFTER).exists():
            raise_alert(CASE_FAILED, about, sentence, CRITICAL)
    return f"{about}: {sentence}"


def note_success(case_id: int) -> None:
    """The failures of a case are over: its row and its alert say so."""
    Case.objects.filter(pk=case_id, failures__gt=0).update(failures=0, error="")
    resolve_alert(CASE_FAILED, f"case:{case_id}")
