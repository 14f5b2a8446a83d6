"""Submitting a case: it waits for moderation, and of one user not too many do."""

from __future__ import annotations

import pytest

from rewards.audit.models import AuditEvent
from rewards.cases.errors import InvalidCase, TooManyWaiting
from rewards.cases.models import Case
from rewards.cases.services import submit_case
from rewards.parameters.services import set_parameter
from rewards.users.models import User
from tests.rewards.cases.conftest import NOON
from tests.rewards.tables import everything, what_differs

pytestmark = pytest.mark.django_db


def test_it_waits_for_moderation(alice: User) -> None:
    made = submit_case(alice, "A promise", "It has become hard.", NOON)

    case = Case.objects.get()
    assert (case, case.status, case.created_by, case.created_at) == (made, "pending_moderation", alice, NOON)
    assert (case.title, case.context, case.payout) == ("A promise", "It has become hard.", "ledger")
    assert (case.verdict, case.verdict_hash, case.commitment, case.opens_at, case.closes_at) == (
        "",
        "",
        None,
        None,
        None,
    )
    event = AuditEvent.objects.get(event_type="case_submitted")
    assert (event.user, event.actor, event.data) == (alice, alice, {"case": case.pk, "title": "A promise"})


def test_it_pays_as_cases_do_then(alice: User) -> None:
    set_parameter("cases.payout", "chain", actor=None, reason="A test")

    assert submit_case(alice, "A promise", "It has become hard.", NOON).payout == "chain"


def test_five_of_a_user_wait_at_most(alice: User, bob: User) -> None:
    for number in range(5):
        submit_case(alice, f"Promise {number}", "It has become hard.", NOON)
    before = everything()

    with pytest.raises(TooManyWaiting) as refused:
        submit_case(alice, "One more", "It has become hard.", NOON)

    assert refused.value.facts == {"waiting": 5}
    assert what_differs(before) == {}
    submit_case(bob, "His own", "It has become hard.", NOON)
    Case.objects.filter(title="Promise 0").update(status="void")
    submit_case(alice, "One more", "It has become hard.", NOON)
    assert Case.objects.filter(status="pending_moderation", created_by=alice).count() == 5


@pytest.mark.parametrize(
    ("title", "context"),
    [("", "Hard."), (" ", "Hard."), ("x" * 201, "Hard."), ("A promise", ""), ("A promise", "\n"), ("A", "x" * 10_001)],
)
def test_what_is_no_case(alice: User, title: str, context: str) -> None:
    with pytest.raises(InvalidCase):
        submit_case(alice, title, context, NOON)
    assert not Case.objects.exists()


def test_the_longest_case(alice: User) -> None:
    submit_case(alice, "x" * 200, "y" * 10_000, NOON)

    assert len(Case.objects.get().context) == 10_000
