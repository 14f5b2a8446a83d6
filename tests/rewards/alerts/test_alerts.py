"""An alert is one row per open cause."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.core import mail
from django.db import connection

from rewards.alerts.models import Alert
from rewards.alerts.services import CRITICAL, mail_alerts, raise_alert, resolve_alert

pytestmark = pytest.mark.django_db


def test_the_same_cause_is_counted_on_the_open_alert() -> None:
    raise_alert("pool_low", "hourly", "10 left")
    first = Alert.objects.get()
    raise_alert("pool_low", "hourly", "3 left", CRITICAL)

    alert = Alert.objects.get()
    assert (alert.pk, alert.count, alert.message, alert.severity) == (first.pk, 2, "3 left", "critical")
    assert alert.first_seen == first.first_seen < alert.last_seen


def test_another_subject_is_another_alert() -> None:
    raise_alert("pool_low", "hourly")
    raise_alert("pool_low", "daily")

    assert Alert.objects.count() == 2


def test_a_cause_that_comes_back_opens_a_new_alert() -> None:
    raise_alert("ledger_check")
    assert resolve_alert("ledger_check")
    assert not resolve_alert("ledger_check")
    raise_alert("ledger_check")

    closed, opened = Alert.objects.order_by("id")
    assert closed.resolved_at is not None
    assert (opened.count, opened.resolved_at) == (1, None)


def test_a_long_subject_is_cut_and_still_resolved() -> None:
    raise_alert("stuck", "x" * 300)

    assert resolve_alert("stuck", "x" * 300)


def test_new_alerts_are_mailed_once(settings: Any) -> None:
    settings.ADMINS = [("", "operator@example.org")]
    raise_alert("ledger_check", "", "The books differ by 3.", CRITICAL)
    raise_alert("pool_low", "hourly", "10 left")
    raise_alert("over", "before the mail")
    resolve_alert("over", "before the mail")

    assert mail_alerts() == 2
    assert mail_alerts() == 0

    (sent,) = mail.outbox
    assert sent.to == ["operator@example.org"]
    assert "ledger_check, pool_low" in sent.subject
    assert "CRITICAL ledger_check" in sent.body
    assert "The books differ by 3." in sent.body


def test_a_mail_server_that_fails_is_asked_again(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.ADMINS = [("", "operator@example.org")]
    raise_alert("ledger_check")
    with monkeypatch.context() as broken:
        broken.setattr("django.core.mail.backends.locmem.EmailBackend.send_messages", refuse)
        with pytest.raises(OSError, match="no route"):
            mail_alerts()

    assert mail_alerts() == 1


def refuse(*args: Any) -> None:
    raise OSError("no route to the mail server")


def test_without_admins_nothing_is_marked_as_mailed(settings: Any) -> None:
    settings.ADMINS = []
    raise_alert("ledger_check")

    assert mail_alerts() == 0
    assert Alert.objects.get().mailed_at is None


@pytest.mark.django_db(transaction=True)
def test_many_processes_that_see_a_cause_share_one_row() -> None:
    start = threading.Barrier(4)

    def see() -> None:
        start.wait(timeout=30)
        for _ in range(10):
            raise_alert("ledger_check", "", "differs")
        connection.close()

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(see) for _ in range(4)]:
            future.result()

    assert Alert.objects.get().count == 40
