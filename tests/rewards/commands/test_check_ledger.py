"""`check_ledger`: nothing to say where all is well; the offender by name, payouts paused, an alert where it is not."""

from __future__ import annotations

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from rewards.alerts.models import Alert
from rewards.common.database import create_missing_guards, drop_guards, standing_triggers
from rewards.distributions import services as distributions
from rewards.distributions.models import Distribution, DistributionChunk, Reward
from rewards.jobs.models import JobRun
from rewards.ledger import services as ledger
from rewards.ledger.models import Account, Currency, Transfer
from rewards.parameters.models import Parameter
from rewards.parameters.services import param, set_parameter

pytestmark = pytest.mark.django_db

PROMISES = 13


@pytest.fixture
def books(prize, open_prize, alice, bob, coins):
    """A payout to two, a transfer, a reversal: something of everything that is checked."""
    prize.scores, prize.prize = {"alice": 2, "bob": 1}, 1000
    paid = distributions.advance(open_prize().pk)
    sent = ledger.transfer(alice, bob, coins, 100, "lunch")
    ledger.reverse(sent, "not hungry")
    return paid


@pytest.fixture
def broken(books, capsys):
    """What `check_ledger` writes; it fails, pauses payouts and raises an alert that name what is wrong."""

    def run() -> str:
        with pytest.raises(CommandError, match="Payouts are paused") as refusal:
            call_command("check_ledger")
        assert refusal.value.returncode == 1
        said = capsys.readouterr().out
        offender = said.partition("BROKEN")[2].splitlines()[1].strip()
        assert offender
        assert param("payouts_paused") is True
        alert = Alert.objects.get(code="ledger_check_failed")
        assert (alert.severity, alert.resolved_at) == ("critical", None)
        assert offender in alert.message
        return said

    return run


def tamper(statement: str, *parameters: object, without_guards: bool = False) -> None:
    """Change rows past everything that keeps them."""
    connection.check_constraints()  # PostgreSQL alters no table while deferred checks of it are pending
    if without_guards:
        drop_guards()
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
    if without_guards:
        connection.check_constraints()
        create_missing_guards()


def wallet(user, currency) -> int:
    return Account.objects.get(user=user, currency=currency).pk


def test_where_all_is_well_each_promise_has_its_line(books, manage):
    said = manage("check_ledger").splitlines()

    assert [line[:6] for line in said[:-1]] == ["holds "] * PROMISES
    assert "1 each currency sums to zero: 1 looked at" in said[0]
    assert f"check_ledger: {PROMISES} items, {PROMISES} succeeded, 0 failed" in said[-1]
    assert param("payouts_paused") is False
    assert not Alert.objects.exists()
    assert manage("check_ledger").count("holds") == PROMISES


def test_an_empty_ledger_is_well(db, manage):
    assert manage("check_ledger").count("holds") == PROMISES


def test_a_balance_that_was_raised_is_named_and_the_currency_no_longer_sums_to_zero(broken, bob, coins):
    tamper("UPDATE rewards_account SET balance = balance + 7 WHERE id = %s", wallet(bob, coins))

    said = broken()

    assert "BROKEN  1 each currency sums to zero" in said
    assert "the accounts in coins add up to 7 minor units" in said
    assert "BROKEN  2 balances equal their transfers" in said
    assert f"account {wallet(bob, coins)} says 507, its transfers say 500" in said
    run = JobRun.objects.get()
    assert (run.status, run.successes, run.failures) == ("succeeded", PROMISES - 2, 2)
    assert run.results["broken"] == 2


def test_units_moved_without_a_transfer_are_found_though_the_sum_is_right(broken, alice, bob, coins):
    tamper("UPDATE rewards_account SET balance = balance + 7 WHERE id = %s", wallet(bob, coins))
    tamper("UPDATE rewards_account SET balance = balance - 7 WHERE id = %s", wallet(alice, coins))

    said = broken()

    assert "holds   1 each currency" in said
    assert f"account {wallet(bob, coins)} says 507, its transfers say 500" in said
    assert f"account {wallet(alice, coins)} says 493, its transfers say 500" in said


def test_a_change_to_issuance_that_has_no_transfer_is_named(broken, coins):
    issuance = ledger.system_account("issuance", coins).pk
    tamper("INSERT INTO rewards_balancechange (account_id, amount) VALUES (%s, 5)", issuance)
    assert f"account {issuance} says -995, its transfers say -1000" in broken()


def test_an_amount_that_was_changed_is_named(broken, alice, coins):
    last = Transfer.objects.filter(journal__kind="distribution", credit_account__user=alice).get()
    tamper("UPDATE rewards_transfer SET amount = 501 WHERE id = %s", last.pk, without_guards=True)

    said = broken()

    assert f"account {wallet(alice, coins)} says 500, its transfers say 501" in said
    assert "prize 1 chunk 0: 2 rewards, 2 transfers, 1 of them match" in said


def test_a_transfer_that_was_removed_is_named(broken, alice, coins):
    gone = Transfer.objects.filter(journal__kind="distribution", credit_account__user=alice).get()
    tamper("DELETE FROM rewards_transfer WHERE id = %s", gone.pk, without_guards=True)
    assert "prize 1 chunk 0: 2 rewards, 1 transfers, 1 of them match" in broken()


def test_a_journal_without_transfers_is_named(broken):
    tamper(
        "INSERT INTO rewards_journal (key, kind, reason, source, fingerprint, created_at, metadata) "
        "VALUES ('hollow', '', '', '', '', '2026-11-21', '{}')"
    )
    assert "the journal hollow has no transfer" in broken()


def test_a_reversal_that_does_not_mirror_is_named(broken, coins):
    mirror = Transfer.objects.get(reverses__isnull=False)
    tamper("UPDATE rewards_transfer SET amount = 99 WHERE id = %s", mirror.pk, without_guards=True)
    assert f"transfer {mirror.pk} does not mirror transfer {mirror.reverses_id}" in broken()


@pytest.mark.parametrize(
    ("table", "guard"),
    [
        ("rewards_transfer", "transfer_append_only"),
        ("rewards_transfer", "transfer_mirrors_reversed"),
        ("rewards_journal", "journal_append_only"),
        ("rewards_auditevent", "audit_event_append_only"),
        ("rewards_activityevent", "activity_append_only"),
    ],
)
def test_a_trigger_that_is_missing_is_named(broken, table, guard):
    trigger = min(name for name in standing_triggers() if name.startswith(guard))
    on_table = f" ON {table}" if connection.vendor == "postgresql" else ""
    tamper(f"DROP TRIGGER {trigger}{on_table}")
    assert f"the trigger {trigger} is missing" in broken()


@pytest.mark.postgresql
def test_a_trigger_that_is_switched_off_is_missing(broken):
    tamper("ALTER TABLE rewards_transfer DISABLE TRIGGER transfer_append_only")
    assert "the trigger transfer_append_only is missing" in broken()


@pytest.mark.postgresql
def test_a_balance_below_its_floor_is_named(broken, alice, coins):
    tamper("ALTER TABLE rewards_account DROP CONSTRAINT account_floor")
    tamper("UPDATE rewards_account SET balance = -1 WHERE id = %s", wallet(alice, coins))
    assert f"account {wallet(alice, coins)} holds -1, its floor is 0" in broken()


def test_a_reward_that_was_changed_after_it_was_paid_is_named(broken, alice):
    Reward.objects.filter(user=alice).update(amount=400)
    assert "prize 1 chunk 0: 2 rewards, 2 transfers, 1 of them match" in broken()


def test_a_payout_that_says_more_than_its_chunks_is_named(broken):
    Distribution.objects.update(paid_amount=999)
    assert "prize 1 says it paid 999, its chunks paid 1000" in broken()


def test_a_payout_that_belongs_to_no_chunk_is_named(broken):
    DistributionChunk.objects.update(journal=None)
    assert "the journal prize:1:0 pays no chunk" in broken()


def test_many_offenders_are_named_a_hundred_at_most(broken, points, make_user):
    accounts = [
        Account(user=make_user(f"user-{number}"), currency=points, balance=1, min_balance=0) for number in range(120)
    ]
    Account.objects.bulk_create(accounts)
    assert broken().count("says 1, its transfers say 0") == 100


def test_a_failed_check_stops_payouts_until_somebody_lifts_it_with_a_reason(broken, open_prize, bob, coins, manage):
    tamper("UPDATE rewards_account SET balance = balance + 7 WHERE id = %s", wallet(bob, coins))
    broken()
    broken()  # a second time counts on the same alert
    assert Alert.objects.get().count == 2
    assert Parameter.history.filter(key="payouts_paused", value=True).count() == 1

    waiting = open_prize("2")
    assert distributions.advance(waiting.pk).status == "approved"
    tamper("UPDATE rewards_account SET balance = balance - 7 WHERE id = %s", wallet(bob, coins))
    assert manage("check_ledger").count("holds") == PROMISES
    assert Alert.objects.get().resolved_at is not None
    assert distributions.advance(waiting.pk).status == "approved"  # the pause is an administrator's to lift

    set_parameter("payouts_paused", False, actor=None, reason="the balance was put right")
    assert distributions.advance(waiting.pk).status == "paid"


def test_the_check_of_one_currency_does_not_hide_behind_another(broken, alice, bob, coins):
    """Two wrongs in two currencies that add up to nothing."""
    points = Currency.objects.create(code="points")
    ledger.credit(alice, points, 50, "p", "")
    tamper("UPDATE rewards_account SET balance = balance + 7 WHERE id = %s", wallet(alice, points))
    tamper("UPDATE rewards_account SET balance = balance - 7 WHERE id = %s", wallet(bob, coins))
    said = broken()
    assert "the accounts in coins add up to -7" in said
    assert "the accounts in points add up to 7" in said
