"""Drop charges: one an hour up to the maximum, posted when they are looked at or change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction

from rewards.audit.models import AuditEvent
from rewards.claims.charges import AboveHardCap, Charges, charges, progress, raise_maximum, regenerate
from rewards.claims.models import ChargeClock
from rewards.common.amounts import InvalidAmount
from rewards.common.errors import InvariantBroken, ReasonMissing
from rewards.ledger import services as ledger
from rewards.ledger.models import Account, Currency, Journal
from rewards.parameters.services import set_parameter

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def drop_charges(db):
    return Currency.objects.create(code="drop_charges")


@pytest.fixture
def alice(make_user):
    return make_user("alice", date_joined=NOON)


def held(user) -> int:
    account = Account.objects.filter(user=user, currency__code="drop_charges").first()
    return account.balance if account else 0


def spend(user, amount, at):
    """As a claim does: what is due first, then the spending."""
    regenerate(user, at)
    currency = Currency.objects.get(code="drop_charges")
    ledger.debit(user, currency, amount, f"spend:{user.pk}:{at.isoformat()}", "a drop")


def give(user, amount, at):
    regenerate(user, at)
    currency = Currency.objects.get(code="drop_charges")
    ledger.credit(user, currency, amount, f"gift:{user.pk}:{at.isoformat()}", "a gift")


def operators_set(key, value):
    set_parameter(key, value, actor=None, reason="test")


# ------------------------------------------------------------------------------------------------- hour by hour


def test_who_just_joined_has_none_and_gets_one_each_full_hour(alice):
    gained = [regenerate(alice, NOON + timedelta(minutes=minutes)) for minutes in (0, 59, 60, 61, 119, 120)]
    assert gained == [0, 0, 1, 0, 0, 1]
    assert held(alice) == 2


def test_whole_hours_are_counted_and_the_rest_of_the_time_stays_for_the_next_charge(alice):
    assert regenerate(alice, NOON + timedelta(minutes=90)) == 1
    assert charges(alice, NOON + timedelta(minutes=90)) == Charges(1, 3, NOON + 2 * HOUR)
    assert regenerate(alice, NOON + timedelta(minutes=120)) == 1


def test_the_maximum_is_filled_at_once_after_a_long_time_and_never_exceeded(alice):
    assert regenerate(alice, NOON + 500 * HOUR) == 3
    assert regenerate(alice, NOON + 1000 * HOUR) == 0
    assert held(alice) == 3
    assert charges(alice, NOON + 1000 * HOUR) == Charges(3, 3, None)


def test_at_the_maximum_the_timer_stands_still_until_a_charge_is_spent(alice):
    regenerate(alice, NOON + 3 * HOUR)
    spent_at = NOON + 7 * HOUR + timedelta(minutes=45)
    spend(alice, 1, spent_at)
    assert charges(alice, spent_at) == Charges(2, 3, spent_at + HOUR)
    assert regenerate(alice, spent_at + HOUR - timedelta(seconds=1)) == 0
    assert regenerate(alice, spent_at + HOUR) == 1


def test_spending_below_the_maximum_does_not_touch_the_timer(alice):
    spend(alice, 1, NOON + timedelta(minutes=150))  # two had come
    assert charges(alice, NOON + timedelta(minutes=150)) == Charges(1, 3, NOON + 3 * HOUR)


def test_the_same_instant_twice_gives_once(alice):
    assert [regenerate(alice, NOON + 2 * HOUR) for _ in range(3)] == [2, 0, 0]


def test_each_posting_is_a_journal_of_its_own_out_of_issuance(alice, drop_charges):
    regenerate(alice, NOON + HOUR)
    regenerate(alice, NOON + 4 * HOUR)
    journals = Journal.objects.order_by("pk").values_list("kind", "key")
    assert list(journals) == [
        ("charge_regeneration", f"charges:{alice.pk}:2026-03-01T12:00:00+00:00"),
        ("charge_regeneration", f"charges:{alice.pk}:2026-03-01T13:00:00+00:00"),
    ]
    assert ledger.balance(ledger.system_account("issuance", drop_charges)) == -3


def test_a_clock_put_back_changes_nothing(alice):
    regenerate(alice, NOON + 2 * HOUR)
    before = ChargeClock.objects.values().get()
    assert regenerate(alice, NOON - 100 * HOUR) == 0
    assert ChargeClock.objects.values().get() == before
    assert regenerate(alice, NOON + 3 * HOUR) == 1


def test_a_clock_put_back_while_charges_are_full_changes_nothing(alice):
    regenerate(alice, NOON + 9 * HOUR)
    assert regenerate(alice, NOON) == 0
    assert ChargeClock.objects.get().counted_from == NOON + 9 * HOUR


def test_players_do_not_touch_each_other(alice, make_user):
    bob = make_user("bob", date_joined=NOON + HOUR)
    regenerate(alice, NOON + 2 * HOUR)
    regenerate(bob, NOON + 2 * HOUR)
    assert (held(alice), held(bob)) == (2, 1)


# -------------------------------------------------------------------------------------------------------- gifts


def test_a_gift_may_lie_above_the_maximum_and_regeneration_waits_until_it_is_spent(alice):
    give(alice, 4, NOON + timedelta(minutes=150))  # on top of two
    assert held(alice) == 6
    assert regenerate(alice, NOON + 20 * HOUR) == 0
    spend(alice, 3, NOON + 20 * HOUR)  # still at the maximum
    assert regenerate(alice, NOON + 40 * HOUR) == 0
    spend(alice, 1, NOON + 40 * HOUR)
    assert charges(alice, NOON + 40 * HOUR) == Charges(2, 3, NOON + 41 * HOUR)


def test_what_was_due_before_a_gift_is_not_lost(alice):
    give(alice, 3, NOON + HOUR)
    assert held(alice) == 4


# ------------------------------------------------------------------------------------------------------ reading


def test_reading_counts_what_is_due_and_writes_nothing(alice):
    assert charges(alice, NOON + timedelta(minutes=90)) == Charges(1, 3, NOON + 2 * HOUR)
    assert charges(alice, NOON + 9 * HOUR) == Charges(3, 3, None)
    assert not any(model.objects.exists() for model in (ChargeClock, Account, Journal))


@pytest.mark.parametrize("minutes", [0, 59, 60, 90, 179, 180, 181, 9999])
def test_reading_says_the_same_before_and_after_posting(alice, minutes):
    at = NOON + timedelta(minutes=minutes)
    before = charges(alice, at)
    regenerate(alice, at)
    assert charges(alice, at) == before
    assert held(alice) == before.balance


# --------------------------------------------------------------------------------------------------- parameters


def test_a_shorter_period_counts_from_the_last_counted_time(alice):
    operators_set("drop_charges.regen_seconds", 600)
    assert regenerate(alice, NOON + timedelta(minutes=25)) == 2
    assert charges(alice, NOON + timedelta(minutes=25)).next_at == NOON + timedelta(minutes=30)


def test_a_higher_maximum_lets_the_timer_run_again(alice):
    regenerate(alice, NOON + 3 * HOUR)
    operators_set("drop_charges.maximum", 5)
    assert regenerate(alice, NOON + 4 * HOUR) == 1
    assert charges(alice, NOON + 4 * HOUR) == Charges(4, 5, NOON + 5 * HOUR)


def test_a_lower_maximum_takes_nothing_away(alice):
    regenerate(alice, NOON + 3 * HOUR)
    operators_set("drop_charges.maximum", 1)
    assert regenerate(alice, NOON + 30 * HOUR) == 0
    assert charges(alice, NOON + 30 * HOUR) == Charges(3, 1, None)


def test_the_hard_cap_holds_whatever_the_maximum_says(alice):
    operators_set("drop_charges.maximum", 50)
    regenerate(alice, NOON + 100 * HOUR)
    assert charges(alice, NOON + 100 * HOUR) == Charges(10, 10, None)


def test_a_maximum_of_zero_regenerates_nothing(alice):
    operators_set("drop_charges.maximum", 0)
    assert regenerate(alice, NOON + 100 * HOUR) == 0
    assert charges(alice, NOON + 100 * HOUR) == Charges(0, 0, None)


# ----------------------------------------------------------------------------------------------------- upgrades


def test_an_upgrade_lets_charges_fill_up_further(alice):
    assert raise_maximum(alice, 5, reason="bought", at=NOON) == 5
    assert regenerate(alice, NOON + 100 * HOUR) == 5


def test_the_same_upgrade_twice_is_one(alice):
    assert [raise_maximum(alice, 5, reason="bought", at=NOON) for _ in range(2)] == [5, 5]
    assert ChargeClock.objects.get().extra_maximum == 2
    event = AuditEvent.objects.get(event_type="charge_maximum_raised")
    assert (event.user, event.reason, event.data) == (alice, "bought", {"from": 3, "to": 5})


def test_a_smaller_upgrade_that_comes_late_takes_nothing_away(alice):
    raise_maximum(alice, 7, reason="bought", at=NOON)
    assert raise_maximum(alice, 4, reason="bought before", at=NOON) == 7


def test_full_hours_at_the_old_maximum_do_not_count_for_the_new_one(alice):
    raise_maximum(alice, 6, reason="bought", at=NOON + 50 * HOUR)
    assert held(alice) == 3
    assert charges(alice, NOON + 50 * HOUR) == Charges(3, 6, NOON + 51 * HOUR)


def test_no_upgrade_lies_above_the_hard_cap(alice):
    assert raise_maximum(alice, 10, reason="bought", at=NOON) == 10
    with pytest.raises(AboveHardCap, match="more than 10 charges"):
        raise_maximum(alice, 11, reason="bought", at=NOON)
    assert charges(alice, NOON).maximum == 10


@pytest.mark.parametrize("to", [0, -1, True, 2.0, "5", None])
def test_a_maximum_is_a_whole_number(alice, to):
    with pytest.raises(InvalidAmount):
        raise_maximum(alice, to, reason="bought", at=NOON)
    assert not ChargeClock.objects.exists()


def test_an_upgrade_needs_a_reason(alice):
    with pytest.raises(ReasonMissing):
        raise_maximum(alice, 5, reason=" ", at=NOON)


# --------------------------------------------------------------------------------------------- where it cannot be


@pytest.mark.django_db(transaction=True)
def test_regenerating_needs_a_transaction(alice):
    with pytest.raises(InvariantBroken, match="must run inside"):
        regenerate(alice, NOON)


def test_without_the_currency_nothing_regenerates(alice, drop_charges):
    drop_charges.delete()
    assert regenerate(alice, NOON + 9 * HOUR) == 0
    assert charges(alice, NOON + 9 * HOUR) == Charges(0, 3, None)


def test_while_the_currency_is_not_active_nothing_regenerates(alice, drop_charges):
    regenerate(alice, NOON + HOUR)
    drop_charges.active = False
    drop_charges.save()
    assert regenerate(alice, NOON + 9 * HOUR) == 0
    assert charges(alice, NOON + 9 * HOUR).next_at is None
    drop_charges.active = True
    drop_charges.save()
    assert regenerate(alice, NOON + 9 * HOUR) == 2


def test_charges_are_whole_even_where_the_currency_has_decimals(alice, drop_charges):
    drop_charges.decimals = 2
    drop_charges.save()
    assert regenerate(alice, NOON + HOUR) == 1
    ledger.debit(alice, drop_charges, 50, "half", "half a charge")
    assert charges(alice, NOON + HOUR) == Charges(0, 3, NOON + 2 * HOUR)
    assert regenerate(alice, NOON + 90 * HOUR) == 3
    assert held(alice) == 350


def test_what_is_rolled_back_regenerates_again(alice):
    with transaction.atomic():
        regenerate(alice, NOON + 2 * HOUR)
        transaction.set_rollback(True)
    assert held(alice) == 0
    assert regenerate(alice, NOON + 2 * HOUR) == 2


# --------------------------------------------------------------------------------------------------------- pure


@pytest.mark.parametrize(
    ("minutes", "standing", "maximum", "gain", "counted_minutes"),
    [
        (-1, 0, 3, 0, 0),
        (0, 0, 3, 0, 0),
        (59, 0, 3, 0, 0),
        (60, 0, 3, 1, 60),
        (125, 0, 3, 2, 120),
        (125, 1, 3, 2, 125),
        (125, 2, 3, 1, 125),
        (30, 3, 3, 0, 30),
        (30, 9, 3, 0, 30),
        (600, 0, 0, 0, 600),
    ],
)
def test_progress_by_hand(minutes, standing, maximum, gain, counted_minutes):
    at, until = NOON + timedelta(minutes=minutes), NOON + timedelta(minutes=counted_minutes)
    assert progress(NOON, at, standing, maximum, HOUR) == (gain, until)
