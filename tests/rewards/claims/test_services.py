"""Claiming: once per deed, whole or not at all, by whom the type allows, as often as the limit says."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from rewards.audit.models import AuditEvent
from rewards.claims.errors import (
    AlreadyClaimed,
    ClaimantMissing,
    ClaimTypeInactive,
    CreditWithoutDebit,
    KeyMissing,
    LimitReached,
    NotForUsers,
    NothingToClaim,
    UnknownClaimType,
    UnknownCurrency,
    UnknownParty,
)
from rewards.claims.models import Claim, ClaimCount, ClaimType, Line
from rewards.claims.services import claim, public_result
from rewards.ledger import services as ledger
from rewards.ledger.errors import InsufficientFunds
from rewards.ledger.models import Journal
from tests.rewards.promises import broken_promises

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def recipe(slug: str, *lines: tuple[str, str, str], **fields) -> ClaimType:
    """A claim type with lines (direction, amount, currency)."""
    claim_type = ClaimType.objects.create(slug=slug, **fields)
    for order, (direction, amount, currency) in enumerate(lines):
        Line.objects.create(claim_type=claim_type, order=order, direction=direction, amount=amount, currency=currency)
    return claim_type


def holdings(user, currency) -> int:
    return ledger.balance(ledger.user_account(user, currency))


@pytest.fixture
def victory(coins, points) -> ClaimType:
    """12.50 coins and 3 points."""
    return recipe("victory", ("credit", "12.50", "coins"), ("credit", "3", "points"), title="A victory")


@pytest.fixture
def shop(coins, points) -> ClaimType:
    """A point for two coins; users may come themselves."""
    return recipe("shop", ("debit", "2", "coins"), ("credit", "1", "points"), callers="user")


class TestOnce:
    def test_gives_what_the_recipe_says_and_tells_it(self, alice, coins, points, victory):
        made = claim(alice, "victory", "meadow-1", {}, at=NOON)

        assert (holdings(alice, coins), holdings(alice, points)) == (1250, 3)
        assert public_result(made) == {
            "claim_id": made.pk,
            "claim_type": "victory",
            "claim_key": "meadow-1",
            "credits": [
                {"user": "alice", "currency": "coins", "amount": "12.50"},
                {"user": "alice", "currency": "points", "amount": "3"},
            ],
            "debits": [],
            "balances": {"coins": "12.50", "points": "3"},
        }
        assert Claim.objects.get().result == made.result
        assert Claim.objects.get().claimed_at == NOON
        assert made.journal.key == f"claim:{made.pk}"
        assert made.journal.transfers.count() == 2
        assert broken_promises() == []

    def test_a_second_time_is_told_the_first_result_and_changes_nothing(self, alice, coins, victory):
        first = claim(alice, "victory", "meadow-1", {})
        claim(alice, "victory", "meadow-2", {})
        with pytest.raises(AlreadyClaimed) as refused:
            claim(alice, "victory", "meadow-1", {"other": "context"})

        assert public_result(refused.value.claim) == public_result(first)
        assert holdings(alice, coins) == 2500
        assert Journal.objects.filter(kind="claim").count() == 2

    def test_the_first_result_is_told_whatever_has_changed_since(self, alice, coins, points, shop):
        ledger.credit(alice, coins, 200, "pocket money", "")
        first = claim(alice, "shop", "purchase-1", {}, by_user=True)
        shop.lines.filter(direction="credit").delete()
        shop.ends_at = NOON - timedelta(days=1)
        shop.active = False
        shop.save()
        with pytest.raises(AlreadyClaimed) as refused:
            claim(alice, "shop", "purchase-1", {}, by_user=True)
        assert refused.value.claim == first
        assert holdings(alice, coins) == 0

    def test_keys_are_each_users_own_or_for_all(self, alice, bob, points, victory):
        claim(alice, "victory", "meadow-1", {})
        claim(bob, "victory", "meadow-1", {})
        recipe("first_to_come", ("credit", "1", "points"), scope="global")
        claim(alice, "first_to_come", "treasure", {})
        with pytest.raises(AlreadyClaimed) as refused:
            claim(bob, "first_to_come", "treasure", {})
        assert refused.value.claim.user == alice

    def test_keys_of_two_types_have_nothing_to_do_with_each_other(self, alice, points, victory):
        recipe("defeat", ("credit", "1", "points"))
        claim(alice, "victory", "meadow-1", {})
        claim(alice, "defeat", "meadow-1", {})
        assert holdings(alice, points) == 4

    def test_nothing_remains_of_a_claim_that_failed(self, alice, bob, coins, points, shop):
        ledger.credit(alice, coins, 100, "pocket money", "")
        with pytest.raises(InsufficientFunds):
            claim(alice, "shop", "purchase-1", {})
        assert not Claim.objects.exists()
        assert not AuditEvent.objects.filter(event_type="claimed").exists()
        assert (holdings(alice, coins), holdings(alice, points)) == (100, 0)

        ledger.credit(alice, coins, 100, "more", "")
        claim(alice, "shop", "purchase-1", {})
        assert (holdings(alice, coins), holdings(alice, points)) == (0, 1)

    def test_it_belongs_to_the_transaction_of_the_caller(self, alice, coins, victory):
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            print(claim(alice, "victory", "meadow-1", {}).pk / 0)
        assert not Claim.objects.exists()
        assert holdings(alice, coins) == 0

    def test_a_complete_claim_can_neither_be_changed_nor_removed(self, alice, victory):
        made = claim(alice, "victory", "meadow-1", {})
        for change in (
            lambda: Claim.objects.filter(pk=made.pk).update(claim_key="other"),
            lambda: Claim.objects.filter(pk=made.pk).delete(),
        ):
            with pytest.raises(IntegrityError), transaction.atomic():
                change()

    def test_what_comes_to_less_than_a_minor_unit_is_left_out(self, alice, coins, points):
        recipe("crumbs", ("credit", "0.019", "coins"), ("credit", "0.9", "points"))
        assert claim(alice, "crumbs", "a", {}).result["credits"] == [
            {"user": "alice", "currency": "coins", "amount": "0.01"}
        ]
        recipe("nothing", ("credit", "0.9", "points"))
        with pytest.raises(NothingToClaim):
            claim(alice, "nothing", "a", {})
        assert Claim.objects.count() == 1


class TestWhoMayClaimWhat:
    def test_a_user_claims_only_what_his_type_allows(self, alice, coins, points, victory, shop):
        ledger.credit(alice, coins, 200, "pocket money", "")
        with pytest.raises(NotForUsers):
            claim(alice, "victory", "meadow-1", {}, by_user=True)
        made = claim(alice, "shop", "purchase-1", {}, by_user=True)
        assert made.journal.actor == alice
        assert not Claim.objects.filter(claim_type=victory).exists()

    def test_a_price_that_comes_to_nothing_is_none(self, alice, points):
        """However the recipe was saved, a user's client gets nothing for nothing."""
        free = recipe("free", ("credit", "1", "points"), ("debit", "1 - 1", "points"), callers="user")
        with pytest.raises(CreditWithoutDebit):
            claim(alice, "free", "a", {}, by_user=True)
        assert holdings(alice, points) == 0
        free.limit_per_user = 1
        free.save()
        claim(alice, "free", "a", {}, by_user=True)
        assert holdings(alice, points) == 1

    def test_a_type_counts_from_its_start_until_before_its_end(self, alice, points):
        recipe("season", ("credit", "1", "points"), starts_at=NOON, ends_at=NOON + timedelta(hours=1))
        with pytest.raises(ClaimTypeInactive, match="starts"):
            claim(alice, "season", "a", {}, at=NOON - timedelta(microseconds=1))
        claim(alice, "season", "b", {}, at=NOON)
        with pytest.raises(ClaimTypeInactive, match="ended"):
            claim(alice, "season", "c", {}, at=NOON + timedelta(hours=1))
        assert Claim.objects.count() == 1

    def test_what_is_not_there_or_switched_off_is_said(self, alice, victory):
        with pytest.raises(UnknownClaimType):
            claim(alice, "voctiry", "a", {})
        victory.active = False
        victory.save()
        with pytest.raises(ClaimTypeInactive):
            claim(alice, "victory", "a", {})
        with pytest.raises(KeyMissing):
            claim(alice, "victory", None, {})

    def test_a_currency_that_is_not_there_is_named(self, alice):
        recipe("treasure", ("credit", "1", "doubloons"))
        with pytest.raises(UnknownCurrency, match="doubloons"):
            claim(alice, "treasure", "a", {})


class TestParties:
    @pytest.fixture
    def duel(self, points) -> ClaimType:
        schema = {"properties": {"winner": {"type": "string"}, "loser": {"type": "string"}}}
        duel = ClaimType.objects.create(slug="duel", context_schema=schema)
        Line.objects.create(claim_type=duel, party="winner", amount="5", currency="points", order=1)
        Line.objects.create(claim_type=duel, party="loser", amount="2", currency="points", order=2)
        return duel

    def test_each_gets_his_own_and_the_first_is_the_claimant(self, alice, bob, points, duel):
        made = claim(None, "duel", "d1", {"winner": "bob", "loser": "alice"})
        assert (holdings(alice, points), holdings(bob, points)) == (2, 5)
        assert made.user == bob
        assert made.result["balances"] == {"points": "5"}

    def test_a_party_who_is_unknown_is_named(self, alice, points, duel):
        for context in ({"winner": "alice", "loser": "nobody"}, {"winner": "nobody", "loser": "alice"}):
            with pytest.raises(UnknownParty, match="nobody"):
                claim(None, "duel", "d1", context)
        assert holdings(alice, points) == 0

    def test_without_parties_somebody_must_claim(self, points, victory):
        with pytest.raises(ClaimantMissing):
            claim(None, "victory", "a", {})


class TestLimits:
    @pytest.mark.parametrize(
        ("period", "within", "after"),
        [
            ("hour", timedelta(minutes=59), timedelta(hours=1)),
            ("day", timedelta(hours=11, minutes=59), timedelta(hours=12)),
            ("month", timedelta(days=9), timedelta(days=10)),
            ("", timedelta(days=999), None),
        ],
    )
    def test_so_often_in_a_period(self, alice, bob, points, period, within, after):
        recipe("ration", ("credit", "1", "points"), limit_per_user=2, limit_period=period)
        claim(alice, "ration", "1", {}, at=NOON)
        claim(alice, "ration", "2", {}, at=NOON + within)
        with pytest.raises(LimitReached) as refused:
            claim(alice, "ration", "3", {}, at=NOON + within)
        claim(bob, "ration", "3", {}, at=NOON + within)
        assert refused.value.facts["limit"] == 2
        assert holdings(alice, points) == 2
        if after:
            claim(alice, "ration", "3", {}, at=NOON + after)
            assert holdings(alice, points) == 3

    def test_a_claim_that_failed_does_not_count(self, alice, coins, points):
        recipe("ration", ("debit", "1", "coins"), ("credit", "1", "points"), limit_per_user=1)
        with pytest.raises(InsufficientFunds):
            claim(alice, "ration", "1", {})
        ledger.credit(alice, coins, 100, "pocket money", "")
        claim(alice, "ration", "1", {})
        assert ClaimCount.objects.get().count == 1


class TestFunding:
    def test_what_is_given_comes_from_the_account_that_funds_it(self, alice, bob, points):
        recipe("grant", ("credit", "60", "points"), funded_by="treasury")
        treasury = ledger.system_account("treasury", points)
        ledger.post("fund", "fund", [ledger.Move(ledger.system_account("issuance", points), treasury, 100)])
        claim(alice, "grant", "a", {})
        with pytest.raises(InsufficientFunds) as refused:
            claim(bob, "grant", "a", {})
        assert refused.value.facts["balance"] == "40"
        assert ledger.balance(treasury) == 40
        assert broken_promises() == []

    def test_what_is_taken_is_burned(self, alice, coins, points, shop):
        ledger.credit(alice, coins, 200, "pocket money", "")
        claim(alice, "shop", "a", {})
        assert ledger.balance(ledger.system_account("burn", coins)) == 200


class TestTraces:
    def test_success_and_failure_each_leave_one_structured_line(self, alice, coins, victory, shop, caplog):
        caplog.set_level(logging.INFO, "rewards.claims.services")
        claim(alice, "victory", "meadow-1", {})
        Line.objects.filter(claim_type=shop, direction="debit").update(amount="99")
        shop.save()
        with pytest.raises(InsufficientFunds):
            claim(alice, "shop", "purchase-1", {})
        made, failed = [record for record in caplog.records if getattr(record, "event", "") == "claim"]

        assert (made.user, made.claim_type, made.claim_key, made.success, made.error) == (
            "alice", "victory", "meadow-1", True, None,
        )  # fmt: skip
        assert made.amounts["credits"][0] == {"user": "alice", "currency": "coins", "amount": "12.50"}
        assert (failed.user, failed.claim_type, failed.claim_key, failed.success, failed.error) == (
            "alice", "shop", "purchase-1", False, "insufficient_funds",
        )  # fmt: skip
        assert failed.levelno == logging.WARNING

    def test_a_failure_nobody_expected_is_logged_with_its_stack(self, alice, victory, caplog):
        def break_off(execute, sql, *arguments):
            if "rewards_auditevent" in sql:
                raise RuntimeError("the disk is on fire")
            return execute(sql, *arguments)

        with pytest.raises(RuntimeError), connection.execute_wrapper(break_off):
            claim(alice, "victory", "meadow-1", {})
        (line,) = [record for record in caplog.records if getattr(record, "event", "") == "claim"]
        assert (line.success, line.error, line.levelno) == (False, "RuntimeError", logging.ERROR)
        assert line.exc_info
        assert not Claim.objects.exists()

    def test_the_audit_tells_who_what_and_how_much(self, alice, victory):
        made = claim(alice, "victory", "meadow-1", {})
        event = AuditEvent.objects.get(event_type="claimed")
        assert event.user == alice
        assert event.data["claim_id"] == made.pk
        assert event.data["credits"] == made.result["credits"]

    def test_a_claim_takes_at_most_eight_queries(self, alice, victory):
        claim(alice, "victory", "meadow-1", {})
        with CaptureQueriesContext(connection) as queries:
            claim(alice, "victory", "meadow-2", {})
        taken = [query["sql"] for query in queries if "SAVEPOINT" not in query["sql"]]
        assert len(taken) <= 8, taken
