"""A badge is taken back with its bonus, and given back with it."""

from __future__ import annotations

import pytest
from django.db import IntegrityError, transaction

from badges import services
from badges.errors import AlreadyRevoked, NoSuchAward, NotRevoked
from badges.models import AwardedUsers, BadgeAward
from rewards.audit.models import AuditEvent
from rewards.common.errors import ReasonMissing
from rewards.distributions.errors import NotAllowed
from rewards.ledger import services as ledger
from rewards.ledger.checks import run_checks
from rewards.ledger.errors import InsufficientFunds, PayoutsPaused
from rewards.ledger.models import Journal
from rewards.parameters.services import set_parameter
from tests.badges.conftest import NOON, badges_of, did, points_of


@pytest.fixture
def support(staff):
    return staff("support", "revoke_badgeaward")


@pytest.fixture
def given(nine, alice, bob) -> BadgeAward:
    """Alice's first win, which she got together with Bob."""
    did(alice, "cases_won")
    did(bob, "cases_won")
    services.check_badges(NOON)
    return alice.badge_awards.get()


def spend(user, points, amount: int) -> None:
    with transaction.atomic():
        account = ledger.user_account(user, points)
        ledger.debit(user, points, amount, f"shop:{user}:{ledger.balance(account)}", "a hat")


def test_a_revoked_badge_stays_on_record_and_its_bonus_is_reversed(given, alice, bob, support):
    services.revoke(given.pk, support, "won against himself")

    given.refresh_from_db()
    assert (given.revoked_by, given.reason) == (support, "won against himself")
    assert given.revoked_at is not None
    assert (badges_of(alice), points_of(alice)) == (set(), 0)
    assert (badges_of(bob), points_of(bob)) == ({"first_win"}, 50)
    mirror = Journal.objects.get(kind="reversal").transfers.get()
    assert mirror.reverses.journal == given.journal
    assert [finding.offenders for finding in run_checks() if not finding.holds] == []


def test_it_blocks_a_new_one_until_it_is_reinstated(given, alice, support):
    services.revoke(given.pk, support, "won against himself")
    did(alice, "cases_won", 3)

    assert services.check_badges(NOON).awarded == 0
    assert services.award_at_once([alice.pk], NOON) == 0
    AwardedUsers.objects.all().delete()
    assert services.check_badges(NOON).awarded == 0
    assert points_of(alice) == 0


def test_reinstated_it_brings_its_bonus_again_once(given, alice, support):
    services.revoke(given.pk, support, "won against himself")

    services.reinstate(given.pk, support, "a mix-up of names")

    given.refresh_from_db()
    assert (given.revoked_at, given.revoked_by, given.reason) == (None, None, "")
    assert (badges_of(alice), points_of(alice)) == ({"first_win"}, 50)
    assert given.journal.transfers.get().amount == 50
    with pytest.raises(NotRevoked):
        services.reinstate(given.pk, support, "again")
    assert services.check_badges(NOON).awarded == 0
    assert points_of(alice) == 50


def test_back_and_forth_every_bonus_is_reversed_and_paid_as_often(given, alice, support):
    for _ in range(3):
        services.revoke(given.pk, support, "won against himself")
        assert points_of(alice) == 0
        services.reinstate(given.pk, support, "a mix-up of names")
        assert points_of(alice) == 50

    assert [finding.offenders for finding in run_checks() if not finding.holds] == []


def test_the_audit_tells_who_and_why(given, alice, support):
    services.revoke(given.pk, support, "won against himself")
    services.reinstate(given.pk, support, "a mix-up of names")

    told = AuditEvent.objects.order_by("pk").values_list("event_type", "user", "actor", "amount", "reason")[1:]
    assert list(told) == [
        ("badge_revoked", alice.pk, support.pk, 50, "won against himself"),
        ("badge_reinstated", alice.pk, support.pk, 50, "a mix-up of names"),
    ]


# --------------------------------------------------------------------------------------------------------- who spent it


def test_who_has_spent_the_bonus_is_named_and_nothing_changes(given, alice, points, support):
    spend(alice, points, 20)

    with pytest.raises(InsufficientFunds, match="alice"):
        services.revoke(given.pk, support, "won against himself")

    assert (badges_of(alice), points_of(alice)) == ({"first_win"}, 30)


def test_it_is_lent_what_is_missing(given, alice, points, support):
    spend(alice, points, 20)

    services.revoke(given.pk, support, "won against himself", missing="lend")

    assert (badges_of(alice), points_of(alice)) == (set(), 0)
    assert ledger.balance(ledger.user_account(alice, points, "debt")) == -20
    assert AuditEvent.objects.get(event_type="badge_revoked").data["missing_total"] == 20


def test_what_is_missing_is_written_off(given, alice, points, support):
    spend(alice, points, 20)

    services.revoke(given.pk, support, "won against himself", missing="write_off")

    assert (badges_of(alice), points_of(alice)) == (set(), 0)
    assert ledger.balance(ledger.system_account("write_off", points)) == -20


@pytest.mark.parametrize(
    ("spent", "paid"), [([20, 20, 10], [30, 10, 0]), ([50, 0, 0], [0, 0, 0]), ([0, 50, 0], [50, 0, 0])]
)
def test_what_was_written_off_is_not_paid_again(given, alice, points, support, spent, paid):
    for amount_spent, amount_paid in zip(spent, paid, strict=True):
        if amount_spent:
            spend(alice, points, amount_spent)
        services.revoke(given.pk, support, "won against himself", missing="write_off")
        assert points_of(alice) == 0
        services.reinstate(given.pk, support, "a mix-up of names")
        assert (badges_of(alice), points_of(alice)) == ({"first_win"}, amount_paid)

    assert ledger.balance(ledger.system_account("write_off", points)) == -50
    told = AuditEvent.objects.filter(event_type="badge_reinstated").order_by("pk").values_list("amount", flat=True)
    assert list(told) == paid
    assert [finding.offenders for finding in run_checks() if not finding.holds] == []


def test_what_was_lent_is_paid_again_and_stays_owed(given, alice, points, support):
    spend(alice, points, 20)
    services.revoke(given.pk, support, "won against himself", missing="lend")

    services.reinstate(given.pk, support, "a mix-up of names")

    assert points_of(alice) == 50
    assert ledger.balance(ledger.user_account(alice, points, "debt")) == -20


def test_a_badge_without_a_bonus_goes_and_comes_alone(make_badge, alice, support):
    make_badge("thanks")
    did(alice, "tests_completed")
    services.check_badges(NOON)
    award = alice.badge_awards.get()

    services.revoke(award.pk, support, "a test account")
    assert badges_of(alice) == set()
    services.reinstate(award.pk, support, "no test account")

    assert badges_of(alice) == {"thanks"}
    assert not Journal.objects.exists()


# ------------------------------------------------------------------------------------------------------------- refusals


def test_it_takes_the_right_a_reason_and_an_award_that_stands(given, alice, staff, support):
    with pytest.raises(NotAllowed):
        services.revoke(given.pk, staff("viewer"), "won against himself")
    with pytest.raises(NotAllowed):
        services.reinstate(given.pk, alice, "it is mine")
    with pytest.raises(ReasonMissing):
        services.revoke(given.pk, support, "  ")
    with pytest.raises(NoSuchAward):
        services.revoke(given.pk + 1_000, support, "won against himself")
    with pytest.raises(NotRevoked):
        services.reinstate(given.pk, support, "a mix-up of names")
    services.revoke(given.pk, support, "won against himself")
    with pytest.raises(AlreadyRevoked):
        services.revoke(given.pk, support, "won against himself")

    assert Journal.objects.filter(kind="reversal").count() == 1


def test_nothing_is_reinstated_while_payouts_are_paused(given, alice, support):
    services.revoke(given.pk, support, "won against himself")
    set_parameter("payouts_paused", True, actor=None, reason="a test")

    with pytest.raises(PayoutsPaused):
        services.reinstate(given.pk, support, "a mix-up of names")

    assert badges_of(alice) == set()


def test_the_database_itself_refuses_a_second_award(given, alice):
    with pytest.raises(IntegrityError), transaction.atomic():
        BadgeAward.objects.create(badge=given.badge, user=alice)
