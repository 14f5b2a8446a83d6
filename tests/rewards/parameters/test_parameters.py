"""Parameters: read cheaply, changed with a reason, seen by every process within a second."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.db import transaction

from rewards.audit.models import AuditEvent
from rewards.common.errors import ReasonMissing
from rewards.parameters import services
from rewards.parameters.documentation import parameters_page
from rewards.parameters.errors import InvalidParameter, UnknownParameter
from rewards.parameters.models import Parameter, ParameterVersion
from rewards.parameters.registry import PARAMETERS, Definition
from rewards.parameters.services import create_missing_parameters, param, set_parameter
from rewards.users.models import User
from tests.rewards.elsewhere import environment_on_this_database

CHUNK = "distributions.chunk_rows"


class Clock:
    """The monotonic clock that the cache looks at, moved by hand."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    services.forget()
    monkeypatch.setattr(services, "monotonic", clock)
    yield clock
    services.forget()


# -------------------------------------------------------------------------------------------------------- reading


def test_without_a_row_the_registered_default_holds(db: None) -> None:
    assert param(CHUNK) == 65_536
    assert param("payouts_paused") is False


def test_an_unknown_parameter_is_an_error(db: None) -> None:
    with pytest.raises(UnknownParameter, match="no_such"):
        param("no_such")


def test_reading_costs_one_query_a_second(db: None, clock: Clock, django_assert_num_queries: Any) -> None:
    param(CHUNK)
    with django_assert_num_queries(0):
        param(CHUNK)
        clock.now += 0.99
        param("payouts_paused")
    clock.now += 0.02
    with django_assert_num_queries(1):
        param(CHUNK)


def test_a_value_that_is_read_cannot_be_changed_by_accident(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PARAMETERS, "test.table", Definition({"gold": [1]}, "A table"))
    param("test.table")["gold"].append(2)

    assert param("test.table") == {"gold": [1]}


# ------------------------------------------------------------------------------------------------------- changing


def test_a_change_keeps_who_and_why(alice: User) -> None:
    create_missing_parameters()
    set_parameter(CHUNK, 1024, actor=alice, reason="smaller transactions " + "x" * 200)

    newest = Parameter.history.filter(key=CHUNK).first()
    assert (newest.value, newest.history_user, newest.history_type) == (1024, alice, "~")
    assert newest.history_change_reason.startswith("smaller transactions x")
    assert newest.prev_record.value == 65_536


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        (CHUNK, 1000, "a power of two from 2 to 1048576"),
        (CHUNK, True, "a power of two"),
        (CHUNK, "1024", "a power of two"),
        ("payouts_paused", 1, "true or false"),
        ("jobs.budget_seconds", 100, "a whole number from 1 to 80"),
        ("jobs.budget_seconds", float("nan"), "cannot be written as JSON"),
    ],
)
def test_a_value_that_does_not_fit_is_refused(db: None, key: str, value: Any, sentence: str) -> None:
    with pytest.raises(InvalidParameter, match=sentence):
        set_parameter(key, value, actor=None, reason="try")
    assert param(key) == PARAMETERS[key].default


def test_every_default_passes_its_own_check() -> None:
    for key, definition in PARAMETERS.items():
        assert not (definition.check and definition.check(definition.default)), key


def test_a_change_needs_a_reason(db: None) -> None:
    with pytest.raises(ReasonMissing):
        set_parameter(CHUNK, 1024, actor=None, reason="  ")


def test_an_unknown_key_is_refused(db: None) -> None:
    with pytest.raises(UnknownParameter):
        set_parameter("chunk_row", 1024, actor=None, reason="a typing error")


def test_the_same_value_again_writes_nothing(db: None) -> None:
    set_parameter(CHUNK, 1024, actor=None, reason="first")
    set_parameter(CHUNK, 1024, actor=None, reason="again")

    assert Parameter.history.filter(key=CHUNK).count() == 1


def test_the_admin_form_says_what_is_wrong(db: None) -> None:
    with pytest.raises(ValidationError, match="power of two"):
        Parameter(key=CHUNK, value=3, default=3).full_clean()


def test_saving_deleting_and_services_all_move_the_version(db: None) -> None:
    versions = []
    for change in (
        lambda: create_missing_parameters(),
        lambda: set_parameter(CHUNK, 1024, actor=None, reason="smaller"),
        lambda: Parameter.objects.get(key=CHUNK).save(),
        lambda: Parameter.objects.filter(key=CHUNK).delete(),
    ):
        change()
        versions.append(ParameterVersion.objects.get().version)

    assert versions[0] == len(PARAMETERS)
    assert [version - versions[0] for version in versions] == [0, 1, 2, 3]


# ---------------------------------------------------------------------------------------- transactions and processes


def test_a_change_is_seen_at_once_where_it_was_made(db: None, clock: Clock) -> None:
    assert param(CHUNK) == 65_536
    set_parameter(CHUNK, 1024, actor=None, reason="smaller")

    assert param(CHUNK) == 1024


@pytest.mark.django_db(transaction=True)
def test_a_change_that_is_rolled_back_never_was(clock: Clock) -> None:
    param(CHUNK)
    with transaction.atomic():
        try:
            with transaction.atomic():
                set_parameter(CHUNK, 1024, actor=None, reason="smaller")
                assert param(CHUNK) == 1024
                raise RuntimeError
        except RuntimeError:
            pass
        assert param(CHUNK) == 65_536
    clock.now += 5
    assert param(CHUNK) == 65_536
    assert not Parameter.history.exists()


@pytest.mark.django_db(transaction=True)
def test_another_process_is_heard_within_a_second(clock: Clock) -> None:
    assert param(CHUNK) == 65_536
    change = (
        "import django; django.setup()\n"
        "from rewards.parameters.services import set_parameter\n"
        f"set_parameter({CHUNK!r}, 1024, actor=None, reason='from elsewhere')\n"
    )
    subprocess.run([sys.executable, "-c", change], check=True, env=environment_on_this_database(), timeout=60)

    clock.now += 0.9
    assert param(CHUNK) == 65_536
    clock.now += 0.1
    assert param(CHUNK) == 1024


# -------------------------------------------------------------------------------------------------- setup and docs


def test_setup_keeps_what_an_operator_changed_and_follows_new_defaults(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert create_missing_parameters() == list(PARAMETERS)
    assert create_missing_parameters() == []
    set_parameter(CHUNK, 1024, actor=None, reason="smaller")

    for key, default in ((CHUNK, 4096), ("jobs.keep_days", 30)):
        monkeypatch.setitem(PARAMETERS, key, Definition(default, "changed by a release"))
    create_missing_parameters()

    assert (param(CHUNK), Parameter.objects.get(key=CHUNK).default) == (1024, 4096)
    assert param("jobs.keep_days") == 30


def test_the_page_in_docs_is_up_to_date() -> None:
    assert Path(settings.BASE_DIR, "docs", "parameters.md").read_text(encoding="utf-8") == parameters_page()
    call_command("document_parameters", "--check")


def test_a_page_that_is_out_of_date_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PARAMETERS, "brand.new", Definition(1, "Not in the page yet"))

    with pytest.raises(CommandError, match="out of date"):
        call_command("document_parameters", "--check")


# -------------------------------------------------------------------------------------------------- pausing payouts


def pauses() -> list[tuple[str, Any, str]]:
    events = AuditEvent.objects.order_by("id").values_list("event_type", "actor__username", "reason")
    return [event for event in events if event[0].startswith("payouts_")]


def test_pausing_and_lifting_are_audit_events_with_who_and_why(alice: User) -> None:
    create_missing_parameters()
    set_parameter("payouts_paused", True, actor=alice, reason="The rates look wrong.")
    set_parameter("payouts_paused", True, actor=alice, reason="Again.")
    set_parameter("payouts_paused", False, actor=alice, reason="Rates are fixed.")

    assert pauses() == [
        ("payouts_paused", "alice", "The rates look wrong."),
        ("payouts_resumed", "alice", "Rates are fixed."),
    ]


def test_pausing_on_a_fresh_database_is_an_event_too(alice: User) -> None:
    set_parameter("payouts_paused", True, actor=alice, reason="At once.")

    assert pauses() == [("payouts_paused", "alice", "At once.")]


def test_deleting_the_row_of_a_pause_lifts_it(db: None) -> None:
    set_parameter("payouts_paused", True, actor=None, reason="The ledger check failed.")
    Parameter.objects.get(key="payouts_paused").delete()

    assert [event_type for event_type, _, _ in pauses()] == ["payouts_paused", "payouts_resumed"]
    assert param("payouts_paused") is False
