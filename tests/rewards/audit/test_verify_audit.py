"""The command an auditor runs."""

from __future__ import annotations

import pytest
from django.core.management import CommandError, call_command

from rewards.audit.models import AuditEvent
from rewards.audit.services import record, seal_events
from rewards.common import database

pytestmark = pytest.mark.django_db


@pytest.fixture
def two_seals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rewards.audit.services.transaction_horizon", lambda: (2**62, 2**62))
    for event_type in ("opened", "approved"):
        record(event_type)
        seal_events()


def head_printed(output: str) -> str:
    return output.splitlines()[-1].removeprefix("head ")


def test_it_prints_the_head_which_can_be_expected_later(two_seals: None, capsys: pytest.CaptureFixture[str]) -> None:
    record("paid")
    call_command("verify_audit")
    output = capsys.readouterr().out
    head = head_printed(output)
    assert "2 events in 2 seals; 1 not sealed yet" in output
    assert len(head) == 64

    seal_events()
    call_command("verify_audit", expect=head)
    assert head_printed(capsys.readouterr().out) != head


def test_a_head_that_is_not_on_the_chain_fails(two_seals: None) -> None:
    with pytest.raises(CommandError, match="1 findings"):
        call_command("verify_audit", expect="ab" * 32)


def test_a_change_is_named_and_fails(two_seals: None, capsys: pytest.CaptureFixture[str]) -> None:
    database.drop_guards()
    event = AuditEvent.objects.get(event_type="approved")
    AuditEvent.objects.filter(pk=event.pk).update(reason="never mind")

    with pytest.raises(CommandError, match="was changed"):
        call_command("verify_audit")
    assert f"Event {event.pk} ({event.event_id}) is not what was sealed" in capsys.readouterr().out


def test_an_empty_trail_is_intact(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("verify_audit")

    assert head_printed(capsys.readouterr().out) == "0" * 64
