"""Events are sealed in runs that chain, and a change to any of them shows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.db import connection

from rewards.audit import chain
from rewards.audit.chain import GENESIS, SEALED_COLUMNS
from rewards.audit.models import AuditEvent, AuditSeal
from rewards.audit.queries import seal_lag, verify_chain
from rewards.audit.services import record, seal_events
from rewards.common import database
from rewards.distributions.models import Distribution
from rewards.ledger.models import Account, Currency
from rewards.users.models import User

pytestmark = pytest.mark.django_db


@pytest.fixture
def everything_is_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests here run inside one transaction, whose own events PostgreSQL rightly does not take for settled."""
    monkeypatch.setattr("rewards.audit.services.transaction_horizon", lambda: (2**62, 2**62))


@pytest.fixture
def sealed(alice: User, bob: User, points: Currency, everything_is_settled: None) -> list[AuditEvent]:
    """Six events in three seals of two."""
    events = [
        record("reward_distributed", user=alice, actor=bob, amount=10 + n, currency=points, data={"chunk": n})
        for n in range(6)
    ]
    while seal_events(limit=2):
        pass
    return events


@pytest.fixture
def without_guards(db: None) -> None:
    """As the owner of the database could: lift the triggers. They are back when the test's transaction is undone."""
    database.drop_guards()


def change(model: type, row: int, column: str, value: Any) -> None:
    with connection.cursor() as cursor:
        table = database.table_of(model)
        cursor.execute(f"UPDATE {table} SET {connection.ops.quote_name(column)} = %s WHERE id = %s", [value, row])


def kinds() -> list[tuple[str, int | None, int | None]]:
    return [(finding.kind, finding.seal, finding.event) for finding in verify_chain().findings]


def seal_ids() -> list[int]:
    return list(AuditSeal.objects.order_by("id").values_list("id", flat=True))


# ------------------------------------------------------------------------------------------------------- sealing


def test_seals_take_events_in_order_and_chain(sealed: list[AuditEvent]) -> None:
    first, second, third = AuditSeal.objects.order_by("id")

    assert first.previous_hash == GENESIS == "0" * 64
    assert (second.previous_hash, third.previous_hash) == (first.hash, second.hash)
    assert [row for seal in (first, second, third) for row, _ in seal.entries] == [event.pk for event in sealed]
    assert (second.first_event, second.last_event) == (sealed[2].pk, sealed[3].pk)


def test_an_untouched_chain_is_intact(sealed: list[AuditEvent]) -> None:
    record("approved")
    verdict = verify_chain()

    assert verdict.intact
    assert (verdict.seals, verdict.sealed_events, verdict.unsealed_events) == (3, 6, 1)
    assert verdict.head == AuditSeal.objects.latest("id").hash


def test_without_events_nothing_is_sealed(everything_is_settled: None) -> None:
    assert seal_events() == 0
    assert verify_chain().head == GENESIS
    assert seal_lag() == (0, 0.0)


def test_lag_is_the_number_and_age_of_unsealed_events(sealed: list[AuditEvent]) -> None:
    AuditEvent.objects.create(event_type="approved", timestamp=datetime.now(UTC) - timedelta(minutes=5))
    record("approved")

    events, seconds = seal_lag()

    assert events == 2
    assert 300 <= seconds < 360


def test_every_column_of_an_event_is_sealed() -> None:
    assert {field.attname for field in AuditEvent._meta.concrete_fields} == {"id", *SEALED_COLUMNS}


def test_the_hash_of_a_seal_covers_all_of_it(sealed: list[AuditEvent]) -> None:
    seal = AuditSeal.objects.latest("id")
    hashed = {field.attname for field in AuditSeal._meta.concrete_fields} - {"id", "hash"}
    changed: dict[str, Any] = {"entries": [], "previous_hash": "1" * 64, "sealed_at": datetime(2020, 1, 1, tzinfo=UTC)}

    for column in hashed:
        original = getattr(seal, column)
        setattr(seal, column, changed.get(column, -5))
        assert chain.seal_hash(seal) != seal.hash, column
        setattr(seal, column, original)
    assert chain.seal_hash(seal) == seal.hash


# --------------------------------------------------------------------------------------------------- what is found

OTHER_VALUES = {
    "event_id": UUID(int=7).hex,
    "event_type": "reward_distributeb",
    "reward_id": "x",
    "amount": 1_000_011,
    "reason": "because",
    "error_message": "none",
    "data": '{"chunk": 9}',
    "timestamp": datetime(2020, 1, 1, tzinfo=UTC),
    "transaction_number": 12_345,
}


@pytest.mark.parametrize("column", SEALED_COLUMNS)
def test_an_edited_event_is_found_and_named(
    column: str, sealed: list[AuditEvent], carol: User, points: Currency, coins: Currency, without_guards: None
) -> None:
    event = sealed[3]
    treasury = Account.objects.create(code="treasury", currency=points)
    payout = Distribution.objects.create(programme="p", period_key="k", currency=points, source_account=treasury)
    keys = {"distribution_id": payout.pk, "user_id": carol.pk, "actor_id": None, "currency_id": coins.pk}
    value = {**OTHER_VALUES, **keys, "success": False}[column]
    if isinstance(value, datetime):
        value = connection.ops.adapt_datetimefield_value(value)
    change(AuditEvent, event.pk, column, value)

    findings = verify_chain().findings

    # With another transaction number it also stands where it does not belong.
    assert "event_edited" in {finding.kind for finding in findings}
    assert {finding.event for finding in findings} == {event.pk}
    if column != "event_id":
        assert str(event.event_id) in findings[0].sentence


def test_a_removed_event_is_found(sealed: list[AuditEvent], without_guards: None) -> None:
    AuditEvent.objects.filter(pk=sealed[2].pk).delete()

    assert kinds() == [("event_removed", seal_ids()[1], sealed[2].pk)]


def test_an_event_slipped_in_behind_the_seals_is_found(sealed: list[AuditEvent], without_guards: None) -> None:
    AuditEvent.objects.filter(pk=sealed[4].pk).delete()
    slipped = AuditEvent.objects.create(
        pk=sealed[4].pk, event_type="x", transaction_number=sealed[4].transaction_number
    )
    late = AuditEvent.objects.create(pk=sealed[0].pk - 1_000, event_type="x", transaction_number=-3)

    found = verify_chain().findings

    assert [(finding.kind, finding.event) for finding in found] == [
        ("event_slipped_in", late.pk),
        ("event_edited", slipped.pk),
    ]
    assert str(late.event_id) in found[0].sentence


@pytest.mark.parametrize("column", [field.attname for field in AuditSeal._meta.concrete_fields if field.name != "id"])
def test_an_edited_seal_is_found_and_named(column: str, sealed: list[AuditEvent], without_guards: None) -> None:
    second = AuditSeal.objects.order_by("id")[1]
    value: Any = {
        "entries": str(second.entries).replace("'", '"').replace(second.entries[0][1][:3], "000"),
        "previous_hash": "f" + second.previous_hash[1:] if second.previous_hash[0] != "f" else "0" + "f" * 63,
        "hash": "f" * 64,
        "sealed_at": connection.ops.adapt_datetimefield_value(second.sealed_at + timedelta(microseconds=1)),
    }.get(column, 987_654)
    change(AuditSeal, second.pk, column, value)

    assert kinds() == [("seal_edited", second.pk, None)]


def test_a_removed_seal_is_found(sealed: list[AuditEvent], without_guards: None) -> None:
    first, second, third = seal_ids()
    AuditSeal.objects.filter(pk=second).delete()
    assert kinds() == [("seal_missing", third, None)]

    AuditSeal.objects.filter(pk=first).delete()
    assert kinds() == [("seal_missing", third, None)]


def test_reordered_seals_are_found(sealed: list[AuditEvent], without_guards: None) -> None:
    _, second, third = seal_ids()
    for seal, place in ((second, third + 1), (third, second), (third + 1, third)):
        change(AuditSeal, seal, "id", place)

    assert ("seal_missing", second, None) in kinds()


def test_seals_cut_off_show_against_a_head_kept_elsewhere(sealed: list[AuditEvent], without_guards: None) -> None:
    kept = verify_chain().head
    assert verify_chain(expect=kept).intact
    assert verify_chain(expect=GENESIS).intact

    AuditSeal.objects.filter(pk=seal_ids()[-1]).delete()

    assert verify_chain().intact  # nothing in the database tells
    assert [finding.kind for finding in verify_chain(expect=kept).findings] == ["head_missing"]


@pytest.mark.parametrize("column", ["timestamp", "event_id", "amount", "success"])
def test_what_cannot_even_be_read_is_named_too(column: str, sealed: list[AuditEvent], without_guards: None) -> None:
    if database.is_postgresql():
        pytest.skip("PostgreSQL refuses such values")
    change(AuditEvent, sealed[1].pk, column, "?!")

    assert kinds() == [("event_edited", seal_ids()[0], sealed[1].pk)]


# ------------------------------------------------------------------------------------------ another database server


def test_a_database_restored_into_another_server_goes_on_sealing(
    sealed: list[AuditEvent], monkeypatch: pytest.MonkeyPatch, without_guards: None
) -> None:
    """A dump keeps the transaction numbers of the old server; the new server counts from a lower number."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE rewards_auditevent SET transaction_number = 5000")
    AuditSeal.objects.all().delete()
    assert seal_events(limit=6) == 6
    unsealed = AuditEvent.objects.create(event_type="late_on_the_old_server", transaction_number=5001)

    monkeypatch.setattr("rewards.audit.services.transaction_horizon", lambda: (900, 900))
    fresh = AuditEvent.objects.create(event_type="first_on_the_new_server", transaction_number=800)
    sealed_then = [seal_events() for _ in range(4)]

    assert sealed_then == [1, 0, 1, 0]
    assert [seal.entries[0][0] if seal.entries else None for seal in AuditSeal.objects.order_by("id")[1:]] == [
        unsealed.pk,
        None,
        fresh.pk,
    ]
    verdict = verify_chain()
    assert (verdict.findings, verdict.unsealed_events) == ([], 0)

    AuditEvent.objects.create(pk=unsealed.pk - 500, event_type="x", transaction_number=5002)
    assert [finding.kind for finding in verify_chain().findings] == ["event_slipped_in"]


# --------------------------------------------------------------------------------------------------------- storing


def test_data_is_kept_exactly_as_both_databases_can(db: None) -> None:
    event = record(
        "test",
        reason="a\x00b\ud800",
        data={"amount": Decimal("1.50"), "huge": 2**60, "at": datetime(2026, 11, 21, tzinfo=UTC), "rows": (1, None)},
    )
    event.refresh_from_db()

    assert event.reason == "a\ufffdb\ufffd"
    assert event.data == {
        "amount": "1.5",
        "huge": "1152921504606846976",
        "at": "2026-11-21T00:00:00+00:00",
        "rows": [1, None],
    }


def test_data_without_a_plain_form_is_refused(db: None) -> None:
    with pytest.raises(TypeError):
        record("test", data={"what": object()})
