"""Pausing payouts is an event of its own, whoever does it: a service, the admin, a deleted row."""

from __future__ import annotations

from typing import Any

from django.dispatch import receiver
from simple_history.signals import post_create_historical_record

from rewards.audit.services import record
from rewards.parameters.models import Parameter
from rewards.parameters.registry import PARAMETERS
from rewards.users.models import User

PAUSE = "payouts_paused"


@receiver(post_create_historical_record, sender=Parameter.history.model, dispatch_uid="audit_of_pause")
def record_pause(
    history_instance: Any, history_user: User | None, history_change_reason: str | None, **kwargs: Any
) -> None:
    """Runs in the transaction of the change."""
    if history_instance.key != PAUSE:
        return
    before, after = _value_of(history_instance.prev_record), _value_of(history_instance)
    if before != after:
        event_type = "payouts_paused" if after else "payouts_resumed"
        record(event_type, actor=history_user, reason=history_change_reason or "")


def _value_of(version: Any) -> bool:
    """What a version of the row said; without a row the default holds."""
    return bool(PARAMETERS[PAUSE].default if version is None or version.history_type == "-" else version.value)
