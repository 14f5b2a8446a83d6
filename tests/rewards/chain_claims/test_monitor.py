"""Transactions of claims are looked after until each is completed, once, or has failed."""

from __future__ import annotations

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from leaderboard.models import Board
from leaderboard.queries import board_page
from rewards.alerts.models import Alert
from rewards.alerts.services import open_subjects
from rewards.audit.models import AuditEvent
from rewards.chain.errors import ChainUnavailable
from rewards.chain.models import ChainTransaction, LocalEntry
from rewards.chain_claims.models import RewardClaim
from rewards.chain_claims.monitor import settle
from rewards.distributions import queries
from rewards.ledger.models import Journal
from rewards.ledger.queries import earned, earnings
from rewards.parameters.services import set_parameter
from tests.rewards.chain_claims.conftest import (
    NOON,
    after,
    broken_promises,
    claims,
    holds,
    look,
    mine,
    reward_of,
    status_of,
)
from tests.rewards.faults import refused

pytestmark = pytest.mark.django_db


@pytest.fixture
def under_way(payout, alice, bob, carol):
    """The claims of all three, in the order of their rewards."""
    return [claims(user, reward_of(payout, user))[0] for user in (alice, bob, carol)]


class TestConfirmed:
    def test_it_is_credited_once(self, payout, under_way, alice, coins):
        reward, before = reward_of(payout, alice), timezone.now()
        assert look(minutes=2).figures() == {
            "checked": 3, "completed": 3, "failed": 0, "errors": 0, "node_down": False, "paused": False,
        }  # fmt: skip

        assert (status_of(reward), holds(alice, coins)) == ("paid", (0, 334))
        done = RewardClaim.objects.get(reward=reward)
        assert (done.status, done.finished_at, done.journal.key) == (
            "completed", after(minutes=2), f"chain-claim:{reward.pk}",
        )  # fmt: skip
        assert look(minutes=3).figures()["checked"] == 0
        assert holds(alice, coins) == (0, 334)
        events = AuditEvent.objects.filter(event_type="reward_claim_completed", user_id=alice.pk)
        assert [each.data["tx_hash"] for each in events] == [done.transaction.tx_hash]
        assert queries.credit_of(reward).created_at >= before
        assert queries.receipt(reward)["transfer"] == queries.credit_of(reward).pk
        assert broken_promises() == []
        assert queries.verify(payout) == []

    def test_before_it_is_confirmed_it_waits(self, under_way, alice, coins):
        assert look(seconds=1).figures()["completed"] == 0
        assert holds(alice, coins) == (334, 0)

    def test_it_is_earned_at_that_instant(self, under_way, alice, bob, coins):
        before = timezone.now()
        look(minutes=2)
        assert (earned(alice, coins), earned(bob, coins)) == (334, 333)
        assert not earnings(coins, before).exists()
        assert earnings(coins, timezone.now()).count() == 3

    def test_a_second_conclusion_changes_nothing(self, under_way):
        look(minutes=2)
        assert [settle(each.pk, after(hours=1)) for each in under_way] == [None] * 3
        assert Journal.objects.filter(kind="chain_claim").count() == 3

    def test_who_died_before_the_credit_is_followed_by_the_next(self, under_way, alice, coins, monkeypatch):
        with monkeypatch.context() as patch:
            patch.setattr("rewards.chain_claims.monitor.settle", lambda claim_id, at: None)
            look(minutes=2)
        assert set(ChainTransaction.objects.values_list("status", flat=True)) == {"confirmed"}
        assert holds(alice, coins) == (334, 0)

        assert look(minutes=3).figures()["completed"] == 3
        assert holds(alice, coins) == (0, 334)

    def test_while_payouts_are_paused_it_is_not_credited(self, under_way, alice, coins):
        set_parameter("payouts_paused", True, actor=None, reason="to see")
        assert look(minutes=2).paused
        assert holds(alice, coins) == (334, 0)
        assert not RewardClaim.objects.filter(failures__gt=0).exists()

        set_parameter("payouts_paused", False, actor=None, reason="seen")
        assert look(minutes=3).figures()["completed"] == 3
        assert holds(alice, coins) == (0, 334)


class TestFailed:
    def test_not_found_for_a_day(self, payout, node_is_deaf, alice, coins):
        reward = reward_of(payout, alice)
        claims(alice, reward)
        assert look(hours=23).figures()["failed"] == 0
        assert status_of(reward) == "processing"

        assert look(hours=24).figures()["failed"] == 1
        assert (status_of(reward), holds(alice, coins)) == ("failed", (334, 0))
        event = AuditEvent.objects.get(event_type="reward_claim_failed")
        assert (event.success, "24 hours" in event.error_message) == (False, True)
        assert broken_promises() == []

    def test_it_is_claimed_again_with_the_same_nonce(self, payout, node_is_deaf, alice, coins):
        reward = reward_of(payout, alice)
        (first,) = claims(alice, reward)
        look(hours=24)
        node_is_deaf()
        (second,) = claims(alice, reward, at=after(hours=25), wallet="another")

        assert (second.pk, second.attempts, second.wallet_address) == (first.pk, 2, "another")
        assert second.transaction.pk != first.transaction.pk
        assert second.transaction.nonce == first.transaction.nonce
        look(hours=26)
        assert (status_of(reward), holds(alice, coins)) == ("paid", (0, 334))
        assert RewardClaim.objects.get().transaction == second.transaction

    def test_if_the_first_is_mined_after_all_it_completes_the_claim(self, payout, node_is_deaf, alice, coins):
        reward = reward_of(payout, alice)
        (first,) = claims(alice, reward, wallet="first")
        look(hours=24)
        (second,) = claims(alice, reward, at=after(hours=25), wallet="second")
        node_is_deaf()
        mine(first.transaction, after(hours=26))
        look(hours=27)
        look(hours=28)

        done = RewardClaim.objects.get()
        assert (done.status, done.transaction, done.wallet_address) == ("completed", first.transaction, "first")
        assert ChainTransaction.objects.get(pk=second.transaction.pk).status == "failed"
        assert holds(alice, coins) == (0, 334)
        assert Journal.objects.filter(kind="chain_claim").count() == LocalEntry.objects.count() == 1
        assert look(hours=60).figures()["errors"] == 0
        assert broken_promises() == []

    def test_nor_does_it_matter_when_the_first_waits_for_more_blocks(self, payout, node_is_deaf, alice, coins):
        set_parameter("chain.confirmations_local", 5, actor=None, reason="slow")
        (first,) = claims(alice, reward_of(payout, alice))
        look(hours=24)
        claims(alice, reward_of(payout, alice), at=after(hours=25))
        node_is_deaf()
        mine(first.transaction, after(hours=26))
        look(hours=26, minutes=1)
        assert RewardClaim.objects.get().status == "processing"

        look(hours=26, minutes=6)
        done = RewardClaim.objects.get()
        assert (done.status, done.transaction, holds(alice, coins)) == ("completed", first.transaction, (0, 334))

    def test_a_claim_of_what_was_mined_in_between(self, payout, node_is_deaf, alice, coins):
        """Nobody looked at the first any more, so the second stands; it cannot be mined, and the first counts."""
        reward = reward_of(payout, alice)
        (first,) = claims(alice, reward)
        look(hours=24)
        node_is_deaf()
        mine(first.transaction, after(hours=25))
        claims(alice, reward, at=after(hours=26))
        look(hours=27)
        look(hours=28)

        assert RewardClaim.objects.get().transaction == first.transaction
        assert (status_of(reward), holds(alice, coins)) == ("paid", (0, 334))

    def test_what_was_lost_on_the_way_is_sent_again(self, payout, node_is_deaf, alice, coins):
        claims(alice, reward_of(payout, alice))
        node_is_deaf()
        look(minutes=1)
        look(minutes=3)
        assert holds(alice, coins) == (0, 334)

    def test_another_payload_on_the_chain_is_no_payment(self, payout, alice, coins):
        (claimed,) = claims(alice, reward_of(payout, alice))
        ChainTransaction.objects.filter(pk=claimed.transaction.pk).update(payload_hash="0" * 64)
        look(minutes=2)
        assert (RewardClaim.objects.get().status, holds(alice, coins)) == ("failed", (334, 0))


class TestManyAtOnce:
    def test_so_many_a_run_and_those_never_looked_at_first(self, under_way):
        set_parameter("chain.checks_per_run", 2, actor=None, reason="few")
        looked_at = lambda: ChainTransaction.objects.exclude(checked_at=None)  # noqa: E731
        assert look(seconds=1).checked == 2
        assert looked_at().count() == 2
        assert look(seconds=2).checked == 2
        assert looked_at().count() == 3
        assert [*looked_at().order_by("pk").values_list("checked_at", flat=True)] == [
            after(seconds=2), after(seconds=1), after(seconds=2),
        ]  # fmt: skip

    def test_commitments_are_not_its_business(self, payout):
        from rewards.chain.services import submit

        submit("verdict_commitment", "0" * 64, at=NOON)
        assert look(minutes=5).checked == 0

    def test_it_stops_when_it_is_told_to(self, under_way):
        class Impatient:
            def step(self, successes=0, failures=0): ...

            def keep_going(self):
                return False

        from rewards.chain_claims.monitor import monitor_transactions

        assert monitor_transactions(after(minutes=2), Impatient()).checked == 0


class TestAPoisonedOne:
    @pytest.fixture
    def poisoned(self, under_way, bob):
        """Nothing of Bob's can be written down."""
        with refused("rewards_auditevent", when=f"NEW.user_id = {bob.pk}"):
            yield under_way[1]

    def test_the_others_are_done_and_it_is_tried_again_and_told(self, poisoned, alice, bob, carol, coins, caplog):
        found = look(minutes=2)
        assert (found.checked, found.completed, found.errors) == (3, 2, 1)
        assert (holds(alice, coins), holds(bob, coins), holds(carol, coins)) == ((0, 334), (333, 0), (0, 333))
        assert "out of order" in caplog.text
        assert "Traceback" in caplog.text
        assert not open_subjects("reward_claim_stuck")

        assert [look(minutes=minutes).errors for minutes in (3, 4)] == [1, 1]
        claim = RewardClaim.objects.get(pk=poisoned.pk)
        assert (claim.status, claim.failures, "out of order" in claim.error) == ("processing", 3, True)
        assert open_subjects("reward_claim_stuck") == {f"reward {claim.reward_id}"}

    def test_once_it_is_mended_it_is_completed(self, under_way, bob, coins):
        with refused("rewards_auditevent", when=f"NEW.user_id = {bob.pk}"):
            for minutes in (2, 3, 4):
                look(minutes=minutes)
        assert look(minutes=5).completed == 1
        claim = RewardClaim.objects.get(user=bob)
        assert (claim.status, claim.failures, claim.error) == ("completed", 0, "")
        assert not open_subjects("reward_claim_stuck")
        assert Alert.objects.get().resolved_at is not None

    def test_one_that_the_chain_chokes_on(self, under_way, alice, bob, coins, monkeypatch):
        from rewards.chain.backends.local import LocalChain

        find, bad = LocalChain.find, under_way[0].transaction.tx_hash

        def choke(self, tx_hash, at):
            if tx_hash == bad:
                raise ZeroDivisionError("the answer is odd")
            return find(self, tx_hash, at)

        monkeypatch.setattr(LocalChain, "find", choke)
        set_parameter("chain.checks_per_run", 1, actor=None, reason="few")
        assert look(minutes=2).errors == 1
        assert look(minutes=3).figures()["completed"] == 1  # it went behind those that wait
        assert (holds(alice, coins), holds(bob, coins)) == ((334, 0), (0, 333))


class TestANodeThatIsDown:
    @pytest.fixture
    def down(self, under_way, monkeypatch):
        def find(self, tx_hash, at):
            raise ChainUnavailable

        with monkeypatch.context() as patch:
            patch.setattr("rewards.chain.backends.local.LocalChain.find", find)
            yield patch

    def test_it_is_the_fault_of_none(self, down):
        found = look(minutes=2)
        assert (found.checked, found.node_down, found.errors) == (1, True, 0)
        assert not RewardClaim.objects.filter(failures__gt=0).exists()
        assert open_subjects("chain_unavailable") == {""}

    def test_it_goes_on_when_it_is_back(self, down, under_way):
        look(minutes=2)
        down.undo()
        assert look(minutes=3).completed == 3
        assert not open_subjects("chain_unavailable")

    def test_nothing_fails_for_it(self, down, under_way):
        for days in range(1, 4):
            monitor = look(days=days)
            assert monitor.node_down
        assert set(RewardClaim.objects.values_list("status", flat=True)) == {"processing"}


class TestTheCommand:
    def test_it_is_the_job_at_an_instant(self, under_way, alice, coins, capsys):
        call_command("monitor_transactions", at="2026-11-21T12:02:00Z")
        assert "3 succeeded" in capsys.readouterr().out
        assert holds(alice, coins) == (0, 334)

    def test_a_dry_run_only_lists(self, under_way, capsys):
        call_command("monitor_transactions", dry_run=True)
        assert "3 to look at" in capsys.readouterr().out
        assert set(RewardClaim.objects.values_list("status", flat=True)) == {"processing"}

    def test_it_says_what_went_wrong(self, under_way, monkeypatch):
        def find(self, tx_hash, at):
            raise ChainUnavailable

        monkeypatch.setattr("rewards.chain.backends.local.LocalChain.find", find)
        with pytest.raises(CommandError, match="does not answer"):
            call_command("monitor_transactions", at="2026-11-21T12:02:00Z")


def test_a_board_counts_it_from_the_claim_on(under_way, coins):
    board = Board.objects.create(slug="coins", currency="coins")
    before = timezone.now()
    look(minutes=2)

    assert board_page(board, before).entries == []
    assert [(line.username, line.points) for line in board_page(board, timezone.now()).entries] == [
        ("alice", 334), ("bob", 333), ("carol", 333),
    ]  # fmt: skip
