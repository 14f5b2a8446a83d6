"""Alice is given or taken units by a person, with a reason, within that person's limit of the day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import DatabaseError, IntegrityError, transaction

from rewards.audit.models import AuditEvent
from rewards.common.amounts import MAX_MINOR, InvalidAmount
from rewards.common.errors import InvariantBroken, ReasonMissing
from rewards.ledger import services as ledger
from rewards.ledger.corrections import correct, left_today, take_back
from rewards.ledger.errors import (
    AlreadyReversed,
    CorrectionLimit,
    IdempotencyConflict,
    InactiveActor,
    InactiveCurrency,
    InsufficientFunds,
    OwnCorrection,
)
from rewards.ledger.models import BURN, ISSUANCE, TREASURY, Correction, Journal
from rewards.ledger.queries import earned
from rewards.parameters.services import set_parameter
from tests.rewards.promises import broken_promises

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def give(user, currency, amount, actor, key="form", at=NOON, against=ISSUANCE, reason="A vote was lost"):
    return correct(user, currency, amount, against=against, key=key, reason=reason, actor=actor, at=at)


def take(user, currency, amount, actor, key="form", at=NOON, against=BURN, reason="Paid twice"):
    return give(user, currency, -amount, actor, key, at, against, reason)


def holdings(user, currency) -> int:
    return ledger.balance(ledger.user_account(user, currency))


def limit(units: int, **by_currency: int) -> None:
    set_parameter("corrections.daily_limit", units, actor=None, reason="Here")
    set_parameter("corrections.daily_limit_by_currency", by_currency, actor=None, reason="Here")


@pytest.fixture
def support(make_user):
    return make_user("support")


def test_given_from_nowhere_and_taken_to_the_treasury(alice, support, points) -> None:
    given = give(alice, points, 50, support)
    taken = take(alice, points, 20, support, "another form", against=TREASURY)
    assert (given.amount, taken.amount, holdings(alice, points)) == (50, -20, 30)
    assert ledger.balance(ledger.system_account(TREASURY, points)) == 20
    assert ledger.balance(ledger.system_account(ISSUANCE, points)) == -50
    assert (given.journal.kind, given.journal.actor, given.journal.reason) == ("correction", support, "A vote was lost")
    event = AuditEvent.objects.get(event_type="correction_posted", amount=50)
    assert (event.user_id, event.actor_id, event.reason) == (alice.pk, support.pk, "A vote was lost")
    assert not broken_promises()


def test_the_treasury_gives_what_it_has(alice, support, points) -> None:
    with pytest.raises(InsufficientFunds):
        give(alice, points, 50, support, against=TREASURY)
    assert not Correction.objects.exists()
    assert not Journal.objects.exists()


def test_a_form_sent_twice_is_posted_once(alice, bob, support, points) -> None:
    limit(50)
    first = give(alice, points, 50, support)
    assert give(alice, points, 50, support) == first
    assert holdings(alice, points) == 50
    for user, amount in ((alice, 49), (bob, 50)):
        with pytest.raises(IdempotencyConflict):
            give(user, points, amount, support)


def test_the_form_of_one_person_is_not_that_of_another(alice, bob, support, points) -> None:
    assert give(alice, points, 50, support) != give(alice, points, 50, bob)
    assert holdings(alice, points) == 100


def test_nobody_corrects_his_own_account(support, points) -> None:
    with pytest.raises(OwnCorrection):
        give(support, points, 1, support)
    assert not Correction.objects.exists()


def test_superusers_neither_and_they_have_the_same_limit(alice, make_user, points) -> None:
    root = make_user("root", is_superuser=True)
    with pytest.raises(OwnCorrection):
        give(root, points, 1, root)
    limit(10)
    with pytest.raises(CorrectionLimit):
        give(alice, points, 11, root)


def test_who_is_switched_off_corrects_nothing(alice, support, points) -> None:
    type(support).objects.filter(pk=support.pk).update(is_active=False)
    with pytest.raises(InactiveActor):
        give(alice, points, 1, support)


def test_what_is_given_and_taken_counts_towards_the_limit_together(alice, bob, support, points) -> None:
    limit(100)
    give(alice, points, 60, support, "1")
    take(alice, points, 30, support, "2")
    assert left_today(support, points, NOON) == 10
    with pytest.raises(CorrectionLimit, match="you have 10 left, and this needs 11"):
        give(bob, points, 11, support, "3")
    give(bob, points, 10, support, "4")
    assert left_today(support, points, NOON) == 0


def test_the_limit_is_of_a_person_a_currency_and_a_day(alice, bob, support, points, coins) -> None:
    limit(100, coins=5)
    give(alice, points, 100, support, "1")
    give(alice, points, 100, bob, "2")
    assert left_today(support, coins, NOON) == 500  # five coins of a hundred parts each
    give(alice, coins, 500, support, "3")
    with pytest.raises(CorrectionLimit, match=r"limit of 5\.00 coins you have 0\.00 left, and this needs 0\.01"):
        give(alice, coins, 1, support, "4")
    give(alice, points, 100, support, "5", at=NOON + timedelta(days=1))


def test_a_day_is_one_of_the_operators_zone(alice, support, points, settings) -> None:
    from zoneinfo import ZoneInfo

    settings.REWARDS_TIME_ZONE = ZoneInfo("America/New_York")
    limit(100)
    give(alice, points, 100, support, "evening", at=datetime(2026, 11, 20, 23, 30, tzinfo=UTC))
    assert left_today(support, points, datetime(2026, 11, 21, 4, 59, tzinfo=UTC)) == 0
    assert left_today(support, points, datetime(2026, 11, 21, 5, tzinfo=UTC)) == 100


def test_the_limit_may_be_nothing(alice, support, points) -> None:
    limit(0)
    with pytest.raises(CorrectionLimit):
        give(alice, points, 1, support)


def test_nobody_is_taken_what_he_has_not(alice, support, points) -> None:
    give(alice, points, 10, support, "1")
    with pytest.raises(InsufficientFunds):
        take(alice, points, 11, support, "2")
    assert (holdings(alice, points), Correction.objects.count()) == (10, 1)
    assert AuditEvent.objects.filter(event_type="correction_posted").count() == 1


@pytest.mark.parametrize(
    ("amount", "against", "reason", "error"),
    [
        (0, BURN, "why", InvalidAmount),
        (MAX_MINOR + 1, ISSUANCE, "why", InvalidAmount),
        (1, ISSUANCE, "  ", ReasonMissing),
        (1, BURN, "why", InvariantBroken),
        (-1, ISSUANCE, "why", InvariantBroken),
        (1, "pool:daily", "why", InvariantBroken),
    ],
)
def test_what_is_refused(alice, support, points, amount, against, reason, error) -> None:
    with pytest.raises(error):
        give(alice, points, amount, support, against=against, reason=reason)
    assert not Journal.objects.exists()


def test_a_currency_that_is_switched_off_is_left_alone(alice, support, points) -> None:
    points.active = False
    points.save()
    with pytest.raises(InactiveCurrency):
        give(alice, points, 1, support)


class TestTakenBack:
    def test_mirrors_it_and_is_not_earned_any_more(self, alice, bob, support, points) -> None:
        given = give(alice, points, 50, support)
        assert earned(alice, points) == 50
        back = take_back(given, reason="The wrong Alice", actor=bob, at=NOON)
        assert (back.amount, back.takes_back, holdings(alice, points), earned(alice, points)) == (-50, given, 0, 0)
        assert back.journal.transfers.get().reverses == given.journal.transfers.get()
        event = AuditEvent.objects.get(event_type="correction_taken_back")
        assert (event.amount, event.actor_id, event.reason) == (-50, bob.pk, "The wrong Alice")
        assert not broken_promises()

    def test_gives_again_what_was_taken(self, alice, support, points) -> None:
        give(alice, points, 50, support, "1")
        taken = take(alice, points, 50, support, "2")
        assert take_back(taken, reason="It was his", actor=support, at=NOON).amount == 50
        assert holdings(alice, points) == 50

    def test_happens_once(self, alice, bob, support, points) -> None:
        given = give(alice, points, 50, support)
        back = take_back(given, reason="Wrong", actor=support, at=NOON)
        assert take_back(given, reason="Wrong", actor=support, at=NOON) == back
        with pytest.raises(AlreadyReversed):
            take_back(given, reason="Wrong", actor=bob, at=NOON)
        with pytest.raises(AlreadyReversed):
            take_back(back, reason="Right after all", actor=bob, at=NOON)

    def test_counts_towards_the_limit_of_who_does_it(self, alice, bob, support, points) -> None:
        limit(60)
        given = give(alice, points, 50, support)
        with pytest.raises(CorrectionLimit):
            take_back(given, reason="Wrong", actor=support, at=NOON)
        take_back(given, reason="Wrong", actor=bob, at=NOON)
        assert left_today(bob, points, NOON) == 10

    def test_takes_nothing_that_is_spent(self, alice, support, points) -> None:
        given = give(alice, points, 50, support)
        with transaction.atomic():
            ledger.debit(alice, points, 1, "hat", "a hat")
        with pytest.raises(InsufficientFunds):
            take_back(given, reason="Wrong", actor=support, at=NOON)
        assert Correction.objects.count() == 1

    def test_not_by_whom_it_concerns(self, alice, support, points) -> None:
        give(alice, points, 50, support, "1")
        taken = take(alice, points, 50, support, "2")
        with pytest.raises(OwnCorrection):
            take_back(taken, reason="Mine", actor=alice, at=NOON)


class TestTheDatabase:
    def test_refuses_to_change_or_delete_one(self, alice, support, points) -> None:
        given = give(alice, points, 50, support)
        for change in (
            lambda: Correction.objects.update(amount=1),
            lambda: Correction.objects.filter(pk=given.pk)._raw_delete("default"),
        ):
            with pytest.raises(DatabaseError), transaction.atomic():
                change()

    def test_refuses_one_of_the_own_account(self, alice, support, points) -> None:
        given = give(alice, points, 50, support)
        own = Correction(
            journal=give(alice, points, 5, support, "2").journal, user=support, currency=points, amount=5,
            against=ISSUANCE, actor=support, created_at=NOON,
        )  # fmt: skip
        with pytest.raises(IntegrityError), transaction.atomic():
            own.save(force_insert=True)
        assert given.pk

    def test_the_check_names_a_correction_that_moved_something_else(self, alice, bob, support, points) -> None:
        with transaction.atomic():
            journal = ledger.credit(alice, points, 50, "welcome", "welcome")
        Correction.objects.create(
            journal=journal, user=bob, currency=points, amount=50, against=ISSUANCE, actor=support, created_at=NOON
        )
        assert "is not what the journal welcome has moved" in " ".join(broken_promises())
