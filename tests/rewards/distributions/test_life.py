"""The life of a distribution, from open to paid or reversed."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection

from rewards.alerts.models import Alert
from rewards.audit.models import AuditEvent
from rewards.common.database import drop_guards
from rewards.common.errors import ReasonMissing
from rewards.distributions import queries, services
from rewards.distributions.errors import (
    DigestMismatch,
    NotAllowed,
    NotFailed,
    NothingToReverse,
    NotWaitingForApproval,
    OwnApproval,
    PeriodNotOver,
)
from rewards.distributions.models import Distribution, Reward
from rewards.ledger import services as ledger
from rewards.ledger.checks import run_checks
from rewards.ledger.errors import InsufficientFunds
from rewards.ledger.models import Journal, Transfer
from rewards.parameters.services import set_parameter

from .conftest import NOON

pytestmark = pytest.mark.django_db


@pytest.fixture
def three(prize, alice, bob, carol):
    prize.scores = {"alice": 30, "bob": 20, "carol": 20}
    prize.prize = 1000
    return prize


def balances(coins, *users):
    return [ledger.balance(ledger.user_account(user, coins)) for user in users]


def everything_holds():
    return [finding.offenders for finding in run_checks() if not finding.holds] == []


def test_pays_everybody_once_and_the_source_is_short_by_exactly_the_sum(three, open_prize, coins, alice, bob, carol):
    paid = services.advance(open_prize(fund=1500).pk)
    assert paid.status == "paid"
    assert balances(coins, alice, bob, carol) == [334, 333, 333]
    assert ledger.balance(paid.source_account) == 500
    assert (paid.amount, paid.paid_amount, paid.carried_over, paid.recipients) == (1000, 1000, 0, 3)
    assert [(row.position, row.rank) for row in paid.rewards.order_by("position")] == [(1, 1), (2, 2), (3, 2)]
    assert three.completed == ["1"]
    assert services.advance(paid.pk).paid_amount == 1000
    assert three.completed == ["1"]
    assert everything_holds()


def test_the_second_to_open_a_period_gets_the_first_ones_row(three, open_prize):
    first = open_prize()
    assert open_prize(fund=0) == first
    assert AuditEvent.objects.filter(event_type="distribution_started").count() == 1


def test_a_period_that_is_not_over_is_not_opened(three, coins):
    pool = ledger.system_account("pool:prize", coins)
    with pytest.raises(PeriodNotOver, match="not over yet"):
        services.open_distribution(
            "prize", "1", starts_at=NOON, ends_at=NOON + timedelta(hours=1), currency=coins, source_account=pool,
            rule={"rule": "equal"}, at=NOON + timedelta(minutes=59),
        )  # fmt: skip
    assert not Distribution.objects.exists()


def test_nobody_took_part_everything_is_carried_over(three, open_prize):
    three.scores = {}
    empty = services.advance(open_prize().pk)
    assert (empty.status, empty.paid_amount, empty.carried_over) == ("paid", 0, 1000)
    assert queries.verify(empty) == []


def test_rows_without_an_amount_took_part(three, open_prize, coins):
    rule = {"rule": "tiers", "by": "position", "tiers": [{"to": 1, "each": "4"}]}
    paid = services.advance(open_prize(rule=rule).pk)
    assert [row.amount for row in paid.rewards.order_by("position")] == [400, 0, 0]
    assert (paid.recipients, paid.participants, paid.carried_over) == (1, 3, 600)
    statuses = [queries.status_of(row) for row in paid.rewards.order_by("position")]
    assert statuses == ["paid", "none", "none"]


def test_chunks_are_paid_one_journal_each(three, open_prize, make_user, coins):
    people = [make_user(f"user{number}") for number in range(10)]
    three.scores = {user.username: 1 for user in people}
    set_parameter("distributions.chunk_rows", 4, actor=None, reason="small")
    distribution = open_prize()
    assert services.step(distribution)
    assert services.step(distribution)
    assert (distribution.status, distribution.paid_amount) == ("paying", 300)
    paid = services.advance(distribution.pk)
    assert [journal.key for journal in Journal.objects.filter(kind="distribution").order_by("pk")] == [
        "prize:1:0",
        "prize:1:1",
        "prize:1:2",
    ]
    assert [chunk.last_position for chunk in paid.chunks.order_by("number")] == [3, 7, 10]
    assert balances(coins, *people) == [100] * 10
    assert queries.verify(paid) == []
    assert everything_holds()


class TestFailure:
    def test_leaves_the_stage_before_it_and_says_why(self, three, open_prize):
        three.broken = True
        failed = services.advance(open_prize().pk)
        assert (failed.status, failed.failed_from, failed.error) == ("failed", "open", "the snapshot is broken")
        assert "ZeroDivisionError" in failed.error_stack
        assert not Reward.objects.exists()
        assert Alert.objects.get(code="distribution_failed").resolved_at is None

    def test_a_retry_continues_and_pays_once(self, three, open_prize, coins, alice):
        three.broken = True
        distribution = services.advance(open_prize().pk)
        three.broken = False
        assert services.retry(distribution.pk).status == "paid"
        assert balances(coins, alice) == [334]
        assert Alert.objects.get(code="distribution_failed").resolved_at is not None
        with pytest.raises(NotFailed):
            services.retry(distribution.pk)

    def test_an_empty_pool_pays_nobody_and_can_be_funded(self, three, open_prize, coins, alice, bob):
        failed = services.advance(open_prize(fund=999).pk)
        assert (failed.status, failed.failed_from) == ("failed", "approved")
        assert "pool:prize" in failed.error
        assert balances(coins, alice, bob) == [0, 0]
        pool, issuance = failed.source_account, ledger.system_account("issuance", coins)
        ledger.post("more", "fund", [ledger.Move(issuance, pool, 1)])
        assert services.retry(failed.pk).status == "paid"

    def test_rows_changed_after_approval_are_not_paid(self, three, open_prize, coins, alice):
        distribution = open_prize()
        services.step(distribution)
        row = Reward.objects.get(position=1)
        Reward.objects.filter(pk=row.pk).update(amount=row.amount + 1)
        Reward.objects.filter(position=2).update(amount=332)
        failed = services.advance(distribution.pk)
        assert (failed.status, failed.paid_amount) == ("failed", 0)
        assert "not what was approved" in failed.error
        assert balances(coins, alice) == [0]

    def test_one_who_may_not_cannot_retry(self, three, open_prize, staff):
        three.broken = True
        distribution = services.advance(open_prize().pk)
        with pytest.raises(NotAllowed):
            services.retry(distribution.pk, actor=staff("dora", "approve_distribution"))


class TestApproval:
    @pytest.fixture
    def waiting(self, three, open_prize, staff):
        self.opener = staff("olga", "approve_distribution", "run_distribution")
        return services.advance(open_prize(approval_limit=1000, actor=self.opener).pk)

    def test_is_needed_from_the_limit_on(self, waiting, open_prize):
        assert (waiting.status, waiting.paid_amount) == ("allocated", 0)
        assert services.advance(open_prize("2", approval_limit=1001).pk).status == "paid"

    def test_by_another_person_lets_it_be_paid(self, waiting, staff):
        approver = staff("anna", "approve_distribution")
        services.approve(waiting.pk, approver, digest=waiting.digest)
        assert services.advance(waiting.pk).status == "paid"
        event = AuditEvent.objects.get(event_type="approved")
        assert (event.actor, event.data["digest"]) == (approver, waiting.digest)

    def test_by_whoever_opened_it_or_changed_it_is_refused(self, waiting, open_prize, staff):
        with pytest.raises(OwnApproval):
            services.approve(waiting.pk, self.opener)
        editor = staff("edna", "approve_distribution")
        changed = services.advance(open_prize("2", approval_limit=0, actor=self.opener, prepared_by=editor).pk)
        with pytest.raises(OwnApproval):
            services.approve(changed.pk, editor)
        assert not AuditEvent.objects.filter(event_type="approved").exists()

    def test_of_what_the_schedule_opened_is_open_to_any_approver(self, three, open_prize, staff):
        editor = staff("edna", "approve_distribution")
        by_command = services.advance(open_prize("2", approval_limit=0, prepared_by=editor).pk)
        with pytest.raises(OwnApproval):
            services.approve(by_command.pk, editor)
        scheduled = services.advance(open_prize(approval_limit=0).pk)
        assert services.approve(scheduled.pk, editor).status == "approved"

    def test_a_second_time_is_refused(self, waiting, staff):
        approver = staff("anna", "approve_distribution")
        services.approve(waiting.pk, approver)
        with pytest.raises(NotWaitingForApproval):
            services.approve(waiting.pk, approver)

    def test_without_the_right_or_of_another_digest_is_refused(self, waiting, staff):
        with pytest.raises(NotAllowed):
            services.approve(waiting.pk, staff("nora"))
        with pytest.raises(DigestMismatch):
            services.approve(waiting.pk, staff("anna", "approve_distribution"), digest="0" * 64)

    def test_rejected_it_is_cancelled_and_carried_over(self, waiting, staff, coins, alice):
        approver = staff("anna", "approve_distribution")
        with pytest.raises(ReasonMissing):
            services.reject(waiting.pk, approver, " ")
        rejected = services.reject(waiting.pk, approver, "the votes look bought")
        assert (rejected.status, rejected.carried_over) == ("cancelled", 1000)
        assert services.advance(waiting.pk).status == "cancelled"
        assert balances(coins, alice) == [0]


class TestReversal:
    @pytest.fixture
    def boss(self, staff):
        return staff("boss", "reverse_distribution")

    def test_gives_everything_back_to_the_source_once(self, three, open_prize, boss, coins, alice, bob):
        paid = services.advance(open_prize().pk)
        services.reverse(paid.pk, boss, "wrong votes")
        assert balances(coins, alice, bob) == [0, 0]
        assert ledger.balance(paid.source_account) == 1000
        assert {queries.status_of(row) for row in paid.rewards.all()} == {"reversed"}
        with pytest.raises(NothingToReverse):
            services.reverse(paid.pk, boss, "again")
        assert everything_holds()

    def test_that_would_overdraw_changes_nothing(self, three, open_prize, boss, coins, alice, bob):
        paid = services.advance(open_prize().pk)
        ledger.debit(bob, coins, 1, "spent", "")
        before = Transfer.objects.count()
        with pytest.raises(InsufficientFunds) as refusal:
            services.reverse(paid.pk, boss, "wrong votes")
        assert refusal.value.facts["account"] == "bob (coins)"
        assert Transfer.objects.count() == before
        assert Distribution.objects.get(pk=paid.pk).status == "paid"

    def test_needs_the_right_and_a_reason(self, three, open_prize, boss, staff):
        paid = services.advance(open_prize().pk)
        with pytest.raises(NotAllowed):
            services.reverse(paid.pk, staff("nora"), "why not")
        with pytest.raises(ReasonMissing):
            services.reverse(paid.pk, boss, "")


def test_paused_payouts_wait_and_go_on(three, open_prize, coins, alice):
    set_parameter("payouts_paused", True, actor=None, reason="something is odd")
    waiting = services.advance(open_prize().pk)
    assert (waiting.status, waiting.error) == ("approved", "")
    set_parameter("payouts_paused", False, actor=None, reason="it was not")
    assert services.continue_unfinished(NOON + timedelta(days=400)) == 1
    assert balances(coins, alice) == [334]


def test_verification_names_a_row_that_was_changed(three, open_prize):
    paid = services.advance(open_prize().pk)
    assert queries.verify(paid) == []
    Reward.objects.filter(position=2).update(amount=332)
    found = " ".join(map(str, queries.verify(paid)))
    assert "row 2 says 332" in found
    assert "do not hash" in found
    assert "transfers" in found


def test_verification_names_a_rank_that_was_changed(three, open_prize):
    paid = services.advance(open_prize().pk)
    Reward.objects.filter(position=3).update(rank=1)
    assert list(map(str, queries.verify(paid))) == [f"{paid}: row 3 says rank 1, recomputed 2"]


def test_verification_names_a_transfer_that_was_changed(three, open_prize):
    paid = services.advance(open_prize().pk)
    drop_guards()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE rewards_transfer SET amount = 332 WHERE amount = 333")
    assert any("of them match" in str(difference) for difference in queries.verify(paid))
    assert not everything_holds()


def test_each_row_can_be_proved_and_explained(three, open_prize, alice, bob, carol):
    from rewards.allocation.canonical import canonical_json
    from rewards.allocation.merkle import leaf_hash, verify_inclusion

    paid = services.advance(open_prize().pk)
    for user in (alice, bob, carol):
        proof = queries.proof(paid, user)
        leaf = leaf_hash(canonical_json(proof["leaf"]))
        path = [bytes.fromhex(node) for node in proof["path"]]
        assert verify_inclusion(leaf, proof["leaf_index"], proof["tree_size"], path, bytes.fromhex(paid.digest))
        receipt = queries.receipt(paid.rewards.get(user=user))
        assert receipt["status"] == "paid"
        assert receipt["amount"] == proof["leaf"]["amount"]
        assert receipt["transfer"] == Transfer.objects.get(credit_account__user=user).pk


def test_a_receipt_tells_the_exact_share_behind_each_slice(three, open_prize, alice, bob):
    slices = [
        {"name": "places", "weight": "1", "members": {"all": True}, "rule": {"rule": "equal"}},
        {"name": "scores", "weight": "1", "members": {"top": 2}, "rule": {"rule": "proportional"}},
    ]
    paid = services.advance(open_prize(rule={"rule": "slices", "slices": slices}).pk)
    lines = queries.receipt(paid.rewards.get(user=bob))["slices"]
    assert [(line["amount"], line["raw_share"]) for line in lines] == [("1.67", "5/3"), ("2.00", "2")]
    assert (lines[1]["weight"], lines[1]["weights"]) == ("20", "50")
    assert "by weight, 20 of 50; the exact share was 2" in queries.receipt(paid.rewards.get(user=bob))["words"]


def test_who_pays_nobody_waits_for_no_approval(three, open_prize):
    three.scores = {}
    assert services.advance(open_prize(approval_limit=0).pk).status == "paid"


def test_a_payout_that_stands_still_raises_an_alert_until_it_goes_on(three, open_prize):
    set_parameter("payouts_paused", True, actor=None, reason="something is odd")
    distribution = services.advance(open_prize().pk)
    later = NOON + timedelta(days=400)
    services.continue_unfinished(later)
    assert Alert.objects.get(code="period_stuck").subject == str(distribution)
    set_parameter("payouts_paused", False, actor=None, reason="it was not")
    services.continue_unfinished(later)
    assert Alert.objects.get(code="period_stuck").resolved_at is not None


def test_empty_periods_are_recorded_in_one_go(three, coins):
    pool = ledger.system_account("pool:prize", coins)
    hours = [(f"h{hour}", NOON + timedelta(hours=hour), NOON + timedelta(hours=hour + 1)) for hour in range(100)]
    kwargs = {"currency": coins, "source_account": pool, "rule": {"rule": "equal"}}
    assert services.record_empty("prize", hours, **kwargs) == 100
    assert services.record_empty("prize", hours, **kwargs) == 0
    assert queries.verify(Distribution.objects.get(period_key="h7")) == []
