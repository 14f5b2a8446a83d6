"""Alice sends coins to Bob."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from rewards.access.models import IdempotentAnswer
from rewards.audit.models import AuditEvent
from rewards.claims.charges import charges, regenerate
from rewards.ledger.checks import run_checks
from rewards.ledger.models import Currency, Journal, Transfer
from rewards.ledger.services import require_payouts_running
from rewards.parameters.services import set_parameter
from rewards.users.models import User

pytestmark = pytest.mark.django_db


@pytest.fixture
def rich(alice: User, bob: User, coins: Currency, fund: Any) -> User:
    """Alice with 100.00 coins."""
    fund(alice, coins, 100_00)
    return alice


def test_it_arrives_and_leaves_a_trace(rich: User, bob: User, coins: Currency, send: Any, balance: Any) -> None:
    answer = send(rich, to="bob", currency="coins", amount="12.50", note="Lunch")
    transfer = Transfer.objects.get(journal__kind="transfer")

    assert answer.status_code == 201
    assert answer.json() == {
        "transfer_id": transfer.pk,
        "to": "bob",
        "currency": "coins",
        "amount": "12.50",
        "note": "Lunch",
        "balance": "87.50",
        "created_at": transfer.created_at.isoformat().replace("+00:00", "Z"),
    }
    assert (balance(rich, coins), balance(bob, coins)) == (87_50, 12_50)
    event = AuditEvent.objects.get(event_type="transferred")
    assert (event.actor, event.user, event.amount, event.currency, event.reason) == (rich, bob, 12_50, coins, "Lunch")
    assert event.data == {"transfer_id": transfer.pk, "from": "alice", "to": "bob"}
    assert not [finding for finding in run_checks() if finding.offenders]


def test_the_journal_is_named_after_the_request_not_after_the_callers_key(rich: User, bob: User, send: Any) -> None:
    send(rich, "my own key", to="bob", currency="coins", amount=1)
    send(rich, "my-own-key", to="bob", currency="coins", amount=1)

    kept = IdempotentAnswer.objects.get()
    assert Journal.objects.get(kind="transfer").key == f"transfer:{kept.pk}"


@pytest.mark.parametrize(("sent", "shown"), [(7, "7.00"), ("7", "7.00"), ("7.5", "7.50"), ("007.50", "7.50")])
def test_amounts_are_text_or_whole_numbers(rich: User, bob: User, send: Any, sent: Any, shown: str) -> None:
    assert send(rich, to="bob", currency="coins", amount=sent).json()["amount"] == shown


@pytest.mark.parametrize(
    ("changed", "status", "code", "field"),
    [
        ({"to": "nobody"}, 422, "unknown_user", "to"),
        ({"to": ""}, 400, "invalid_request", "to"),
        ({"to": " bob"}, 400, "invalid_request", "to"),
        ({"to": "x" * 151}, 400, "invalid_request", "to"),
        ({"to": 7}, 400, "invalid_request", "to"),
        ({"to": None}, 400, "invalid_request", "to"),
        ({"currency": "gold"}, 422, "unknown_currency", "currency"),
        ({"currency": "x" * 41}, 400, "invalid_request", "currency"),
        ({"currency": "points"}, 422, "not_transferable", None),
        ({"currency": "old"}, 422, "inactive_currency", None),
        ({"to": "alice"}, 422, "same_account", None),
        ({"amount": "100.01"}, 409, "insufficient_funds", None),
        ({"amount": "0.001"}, 400, "invalid_request", "amount"),
        ({"amount": "92233720368547758.08"}, 400, "invalid_request", "amount"),
        ({"note": "x" * 501}, 400, "invalid_request", "note"),
        ({"note": None}, 400, "invalid_request", "note"),
        ({"from": "bob"}, 400, "invalid_request", "from"),
    ],
)
def test_refused(
    rich: User, bob: User, points: Currency, coins: Currency, fund: Any, send: Any, balance: Any,
    changed: dict[str, Any], status: int, code: str, field: str | None,
) -> None:  # fmt: skip
    fund(rich, points, 50)
    old = Currency.objects.create(code="old", transferable=True)
    fund(rich, old, 50)
    Currency.objects.filter(pk=old.pk).update(active=False)
    answer = send(rich, **({"to": "bob", "currency": "coins", "amount": "1"} | changed))

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert field is None or [*answer.json()["errors"]] == [field]
    assert (balance(rich, coins), balance(rich, points), balance(bob, coins)) == (100_00, 50, 0)
    assert not IdempotentAnswer.objects.exists()
    assert not Journal.objects.filter(kind="transfer").exists()
    assert not AuditEvent.objects.filter(event_type="transferred").exists()


def test_who_was_deactivated_gets_nothing(rich: User, bob: User, send: Any) -> None:
    bob.is_active = False
    bob.save()

    assert send(rich, to="bob", currency="coins", amount=1).json()["code"] == "unknown_user"


def test_a_key_is_required(rich: User, bob: User, send: Any) -> None:
    answer = send(rich, None, to="bob", currency="coins", amount=1)

    assert (answer.status_code, answer.json()["code"]) == (400, "idempotency_key_required")


def test_a_pause_of_payouts_does_not_stop_it(rich: User, bob: User, send: Any) -> None:
    set_parameter("payouts_paused", True, reason="Audit", actor=None)
    with pytest.raises(Exception, match="paused"), transaction.atomic():
        require_payouts_running()

    assert send(rich, to="bob", currency="coins", amount=1).status_code == 201


def test_machines_send_nothing(rich: User, bob: User, as_machine: Any) -> None:
    body = {"to": "bob", "currency": "coins", "amount": 1}
    answer = as_machine().post(
        "/api/transfers", data=body, content_type="application/json", headers={"Idempotency-Key": "k"}
    )

    assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")


def test_strangers_are_asked_who_they_are(client: Any) -> None:
    answer = client.post("/api/transfers", data={}, content_type="application/json")

    assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated")
    assert "Bearer" in answer["WWW-Authenticate"]


@pytest.mark.parametrize("name", ["🏆", "a\u202eb", "\u00e9", "e\u0301", "O'Neil; DROP TABLE", "<b>", "%s"])
def test_whatever_a_user_is_called(
    rich: User, make_user: Any, coins: Currency, send: Any, balance: Any, name: str
) -> None:
    friend = make_user(name)
    answer = send(rich, to=name, currency="coins", amount=1, note=name)

    assert (answer.status_code, answer.json()["to"], answer.json()["note"]) == (201, name, name)
    assert balance(friend, coins) == 1_00


def test_time_that_passed_while_the_sender_was_full_brings_no_charge(alice: User, bob: User, send: Any) -> None:
    """What is due is posted before charges are sent: else the time before it would count again afterwards."""
    charge = Currency.objects.create(code="drop_charges", name="Charges", decimals=0, transferable=True)
    now = timezone.now()
    User.objects.filter(pk=alice.pk).update(date_joined=now - timedelta(days=20))
    alice.refresh_from_db()
    with transaction.atomic():
        regenerate(alice, now - timedelta(days=10))
    assert charges(alice, now).balance == 3

    assert send(alice, to="bob", currency=charge.code, amount=3).status_code == 201
    assert charges(alice, now).balance == 0
    assert charges(alice, timezone.now() + timedelta(hours=1)).balance == 1
