"""From a list to money: what each rule pays, once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest
from django.db import OperationalError, transaction

from rewards.alerts.models import Alert
from rewards.allocation.rules import Measure
from rewards.campaigns import services, sources
from rewards.campaigns.errors import CampaignInvalid, EmptyList, NothingToPay, OverBudget, UnknownCampaign
from rewards.campaigns.models import Campaign
from rewards.campaigns.services import Layout
from rewards.campaigns.sources import ParticipantSource
from rewards.common.errors import RewardsError
from rewards.distributions.errors import OwnApproval
from rewards.distributions.models import Distribution
from rewards.distributions.preview import compare, preview_of, with_rule
from rewards.distributions.programmes import NoPreview, Snapshot, programme_named
from rewards.distributions.queries import period_states, verify
from rewards.distributions.services import approve
from rewards.jobs.progress import Unwatched
from rewards.ledger import services as ledger
from rewards.ledger.services import system_account
from rewards.parameters.services import set_parameter
from tests.rewards.campaigns.conftest import (
    AMOUNTS,
    FIXED,
    NOON,
    PROPORTIONAL,
    WEIGHTS,
    csv_file,
    paid,
    run,
    stored,
    upload,
)

pytestmark = pytest.mark.django_db


def test_a_list_is_paid_by_weight(campaign):
    grants = campaign()
    upload(grants, "user,weight", "alice,1", "bob,2.5", "carol,")

    distribution = run(grants)

    assert (distribution.status, distribution.paid_amount) == ("paid", 100_00)
    assert paid(distribution) == {"bob": 71_43, "alice": 28_57, "carol": 0}
    assert verify(distribution) == []
    grants.refresh_from_db()
    assert grants.status == "done"


def test_each_line_its_own_amount(campaign):
    prizes = campaign("prizes", rule=FIXED, amount=None)
    upload(prizes, "user,amount", "alice,1.5", "bob,20", "carol,0", layout=AMOUNTS)
    assert stored(prizes) == [("alice", "", 150, ""), ("bob", "", 2000, ""), ("carol", "", 0, "")]

    distribution = run(prizes)

    assert (distribution.status, distribution.amount) == ("paid", 21_50)
    assert paid(distribution) == {"bob": 20_00, "alice": 1_50, "carol": 0}
    assert verify(distribution) == []


# ---------------------------------------------------------------------------------------------------------------- rules


def test_the_order_of_the_lines_changes_nothing(campaign):
    lines = ["alice,3.3", "bob,3.3", "Carol,3.3", "dora,1e-9", "eve,0"]
    payouts = []
    for number, given in enumerate((lines, lines[::-1], sorted(lines, key=str.lower))):
        grants = campaign(f"grants{number}", rule={"rule": "tiers", "tiers": [{"to": 2, "share": "0.7"}]})
        upload(grants, "user,weight", *given)
        payouts.append(list(paid(run(grants)).items()))

    assert payouts[0] == [("Carol", 35_00), ("alice", 35_00), ("bob", 0), ("dora", 0), ("eve", 0)]
    assert payouts[0] == payouts[1] == payouts[2]


def slices(*parts: dict[str, Any]) -> dict[str, Any]:
    return {
        "rule": "slices",
        "slices": [{"weight": "1", "name": f"part{index}"} | part for index, part in enumerate(parts)],
    }


EQUAL = {"rule": "equal"}
EACH = {"rule": "tiers", "tiers": [{"to": 1, "each": "60"}, {"to": 3, "each": "10"}]}
CAPPED = {"rule": "proportional", "max_share": "0.4", "min_amount": "9"}
GROUPS = slices({"members": {"group": "north"}, "rule": EQUAL}, {"members": {"group": "south"}, "rule": EQUAL})
TOP = slices({"members": {"top": 1}, "rule": EQUAL}, {"members": {"all": True, "min_score": "2"}, "rule": EQUAL})
OWN = slices({"members": {"group": "north"}, "rule": FIXED}, {"members": {"group": "south"}, "rule": PROPORTIONAL})


@pytest.mark.parametrize(
    ("rule", "payout", "left"),
    [
        (EQUAL, [25_00, 25_00, 25_00, 25_00], 0),
        (PROPORTIONAL, [50_00, 30_00, 15_00, 5_00], 0),
        (CAPPED, [40_00, 40_00, 20_00, 0], 0),
        ({"rule": "proportional", "max_amount": "20"}, [20_00, 20_00, 20_00, 20_00], 20_00),
        (EACH, [60_00, 10_00, 10_00, 0], 20_00),
        (TOP, [66_67, 16_67, 16_66, 0], 0),
        (GROUPS, [25_00, 25_00, 25_00, 25_00], 0),
        (OWN, [11_00, 42_86, 12_00, 7_14], 27_00),
    ],
)
def test_each_rule_pays_and_what_is_left_stays_in_the_source(campaign, coins, rule, payout, left):
    with transaction.atomic():
        treasury = system_account("treasury", coins)
        ledger.post("fund", "fund", [ledger.Move(system_account("issuance", coins), treasury, 100_00)])
    grants = campaign(rule=rule, source="treasury")
    lines = "alice,10,11,north", "bob,6,0,south", "carol,3,12,north", "dora,1,0,south"
    upload(grants, "user,weight,amount,group", *lines, layout=Layout("user", "weight", "amount", "group"))

    distribution = run(grants)

    assert distribution.status == "paid", distribution.error
    assert list(paid(distribution).values()) == payout
    assert distribution.carried_over == left
    assert ledger.balance(treasury) == left
    assert verify(distribution) == []


@pytest.mark.parametrize(("policy", "payout"), [("earliest", [60, 30, 10]), ("shared", [45, 45, 10])])
def test_equals_are_paid_by_the_tie_policy(campaign, policy, payout):
    tiers = {"rule": "tiers", "tiers": [{"to": 1, "each": "60"}, {"to": 2, "each": "30"}, {"to": 3, "each": "10"}]}
    grants = campaign(rule=tiers, tie_policy=policy)
    upload(grants, "user,weight", "alice,2", "bob,2", "carol,1")

    distribution = run(grants)

    assert [amount // 100 for amount in paid(distribution).values()] == payout
    assert (distribution.tie_policy, verify(distribution)) == (policy, [])


# --------------------------------------------------------------------------------------- what is found out before


def refusal(kind: type[RewardsError], campaign: Campaign) -> str:
    """The sentence with which a run is refused; nothing is opened, and the campaign can be mended."""
    with pytest.raises(kind) as refused:
        services.run(campaign.pk, None, NOON)
    assert not Distribution.objects.exists()
    campaign.refresh_from_db()
    assert campaign.status == "draft"
    return refused.value.message


def test_a_list_that_pays_more_than_the_ceiling_or_than_there_is(campaign):
    prizes = campaign("prizes", rule=FIXED, amount=10_00)
    upload(prizes, "user,amount", "alice,10", "bob,0.01", layout=AMOUNTS)
    assert "This pays 10.01 coins, but no more than 10.00 are there" in refusal(OverBudget, prizes)

    places = campaign("places", rule=EACH, amount=79_99)
    upload(places, "user,weight", "alice,1", "bob,1", "carol,1")
    assert "This pays 80.00 coins, but no more than 79.99" in refusal(OverBudget, places)
    services.change_campaign(places.pk, None, NOON, amount=80_00)
    assert run(places).status == "paid"


def test_all_weights_or_amounts_zero(campaign):
    grants = campaign()
    upload(grants, "user,weight", "alice,0", "bob,")
    assert "All weights are zero" in refusal(NothingToPay, grants)

    prizes = campaign("prizes", rule=FIXED, amount=None)
    upload(prizes, "user,amount", "alice,0", layout=AMOUNTS)
    assert "All amounts are zero" in refusal(NothingToPay, prizes)


def test_a_list_that_nobody_uploaded_or_that_lacks_what_the_rule_asks_for(campaign, points):
    grants = campaign()
    refusal(EmptyList, grants)
    upload(grants, "user,weight", "alice,1")
    services.change_campaign(grants.pk, None, NOON, rule=FIXED)
    assert "some lines have none" in refusal(CampaignInvalid, grants)

    groups = campaign("groups", rule=GROUPS)
    upload(groups, "user,weight", "alice,1")
    assert "no groups" in refusal(CampaignInvalid, groups)

    refusal(EmptyList, campaign("nobody", participants={"source": "holders", "currency": "points"}))


# -------------------------------------------------------------------------------------------------------- what is due


@pytest.fixture
def active(campaign) -> Callable[..., Campaign]:
    """A campaign with a list of two, active from noon on."""

    def create(slug: str, **fields: Any) -> Campaign:
        created = campaign(slug, **{"starts_at": NOON} | fields)
        if created.participants == {"source": "upload"}:
            upload(created, "user,weight", "alice,1", "bob,1")
        return services.change_campaign(created.pk, None, NOON, status="active")

    return create


class Counting(ParticipantSource):
    """Alice with 7.00 coins; it counts how often it is asked, and can break."""

    gives_amounts = True
    breaks_at = 0

    def __init__(self, user_id: int) -> None:
        self.asked: list[datetime] = []
        self.user_id = user_id

    def check(self, options: Any) -> dict[str, Any]:
        return {"source": "counting"}

    def words(self, options: Any) -> str:
        return "Alice"

    def snapshot(self, options: Any, currency: Any, at: datetime) -> Snapshot:
        self.asked.append(at)
        if len(self.asked) == self.breaks_at:
            raise OperationalError("deadlock detected")
        return Snapshot(np.array([self.user_id]), ["alice"], Measure([7], 0), amounts=[7_00])


@pytest.fixture
def counting(alice) -> Iterator[Counting]:
    source = Counting(alice.pk)
    sources.register_source("counting", source)
    yield source
    del sources._sources["counting"]


def runs() -> list[tuple[str, str, str]]:
    opened = Distribution.objects.order_by("programme", "starts_at")
    return list(opened.values_list("programme", "period_key", "status"))


def test_what_is_due_is_run_once(active, campaign):
    active("once")
    active("daily", schedule="daily")
    active("later", starts_at=NOON + timedelta(days=3))
    active("by-hand", starts_at=None)
    campaign("draft", starts_at=NOON)

    assert services.run_due(NOON - timedelta(seconds=1)).opened == 0
    assert services.run_due(NOON).figures() == {
        "opened": 2, "paid": 2, "waiting_for_approval": [], "failures": [], "paused": False,
    }  # fmt: skip
    assert services.run_due(NOON).opened == 0
    assert services.run_due(NOON + timedelta(days=2)).paid == 2
    assert runs() == [
        ("campaign:daily", "2026-11-21", "paid"),
        ("campaign:daily", "2026-11-22", "paid"),
        ("campaign:daily", "2026-11-23", "paid"),
        ("campaign:once", "1", "paid"),
    ]
    assert Distribution.objects.get(period_key="2026-11-22").starts_at == NOON + timedelta(days=1)


def test_one_that_cannot_be_run_is_told_and_holds_up_nobody(active, campaign):
    bad = active("bad", schedule="daily", rule=EACH, amount=1)
    active("good")

    result = services.run_due(NOON + timedelta(days=1))

    assert (result.opened, result.paid, len(result.failures)) == (1, 1, 1)
    assert "This pays 70.00 coins" in result.failures[0]
    assert runs() == [("campaign:good", "1", "paid")]
    alert = Alert.objects.get()
    assert (alert.code, alert.subject, alert.resolved_at) == ("campaign_failed", "bad", None)

    services.change_campaign(bad.pk, None, NOON, amount=100_00)
    assert services.run_due(NOON + timedelta(days=1)).paid == 2
    alert.refresh_from_db()
    assert alert.resolved_at is not None


def test_a_run_that_waits_for_approval_does_not_hold_up_the_next(active):
    active("daily", schedule="daily", approval_limit=0)

    result = services.run_due(NOON + timedelta(days=1))

    assert result.waiting == ["campaign:daily 2026-11-21", "campaign:daily 2026-11-22"]


def test_a_schedule_by_which_nobody_takes_part_has_its_empty_run(active, points):
    active("daily", schedule="daily", participants={"source": "holders", "currency": "points"})

    assert services.run_due(NOON).paid == 1
    distribution = Distribution.objects.get()
    assert (distribution.participants, distribution.carried_over) == (0, 100_00)


def test_while_payouts_are_paused_nothing_is_opened(active):
    active("once")
    set_parameter("payouts_paused", True, actor=None, reason="audit")

    assert services.run_due(NOON).paused
    assert runs() == []


@pytest.mark.parametrize("change", [{"status": "draft"}, {"starts_at": NOON + timedelta(hours=1)}])
def test_one_that_was_stopped_or_moved_meanwhile_is_not_run(active, change):
    once = active("once")

    class Meanwhile(Unwatched):
        def keep_going(self) -> bool:
            services.change_campaign(once.pk, None, NOON, **change)
            return True

    assert services.run_due(NOON, progress=Meanwhile()).failures == []
    assert runs() == []
    assert not Alert.objects.exists()


def test_what_the_schedule_opened_any_approver_may_approve(active, campaign, staff):
    boris = staff("boris", "approve_distribution", "run_distribution")
    active("once", approval_limit=0, actor=boris)
    services.run_due(NOON)
    scheduled = Distribution.objects.get()
    assert (scheduled.actor, scheduled.prepared_by) == (None, None)
    assert approve(scheduled.pk, boris).status == "approved"

    by_command = campaign("command", approval_limit=0, actor=boris)
    upload(by_command, "user,weight", "alice,1")
    with pytest.raises(OwnApproval):
        approve(run(by_command).pk, boris)


def test_a_round_ends_where_it_is_told_to(active):
    class Once(Unwatched):
        answers = [False, True]

        def keep_going(self) -> bool:
            return bool(self.answers) and self.answers.pop()

    active("once")
    assert services.run_due(NOON, progress=Once()).waiting == ["campaign:once 1"]
    assert runs() == [("campaign:once", "1", "open")]


def test_a_deadlock_of_one_holds_up_nobody(active, counting):
    counting.breaks_at = 2  # the first time it is asked is before the run is opened
    active("first", participants={"source": "counting"}, rule=FIXED)
    active("second")

    result = services.run_due(NOON)

    assert (result.opened, result.paid, result.failures) == (2, 1, ["campaign:first 1: deadlock detected"])
    assert runs() == [("campaign:first", "1", "open"), ("campaign:second", "1", "paid")]


def test_preview_and_run_of_any_source_agree(active, counting):
    prizes = active("prizes", participants={"source": "counting"}, rule=FIXED)  # 100.00 is its ceiling
    later = NOON + timedelta(days=9)
    draft = programme_named(prizes.programme).draft(prizes.programme, "1", later)
    assert (draft.amount, counting.asked) == (7_00, [NOON])

    distribution = run(prizes, later)

    assert (distribution.status, distribution.amount, distribution.carried_over) == ("paid", 7_00, 0)
    assert counting.asked == [NOON] * 3  # previewed, tried, frozen


def test_periods_name_the_runs_that_are_due(active):
    active("daily", schedule="daily")
    services.run_due(NOON)
    at = NOON + timedelta(days=1, hours=5)

    states = period_states(at)

    assert [(each.programme, each.period_key, each.state) for each in states] == [
        ("campaign:daily", "2026-11-22", "missed"),
        ("campaign:daily", "2026-11-21", "done"),
    ]
    assert period_states(at, "campaign:daily") == states
    assert period_states(at, "campaign:other") == []


# ------------------------------------------------------------------------------------------------------- previews


def test_a_draft_says_what_a_run_would_freeze(active, campaign):
    daily = active("daily", schedule="daily")
    programme = programme_named(daily.programme)

    draft = programme.draft(daily.programme, "2026-11-25", NOON)

    assert (draft.currency, draft.amount, draft.rule) == (daily.currency, 100_00, PROPORTIONAL)
    assert list(draft.snapshot.usernames) == ["alice", "bob"]
    for key in ("1", "2026-11-20", "tomorrow"):
        with pytest.raises(NoPreview):
            programme.draft(daily.programme, key, NOON)
    with pytest.raises(UnknownCampaign):
        programme.draft("campaign:other", "1", NOON)
    prizes = campaign("prizes", rule=FIXED, amount=None)
    upload(prizes, "user,amount", "alice,10", layout=AMOUNTS)
    assert programme.draft(prizes.programme, "1", NOON).amount == 10_00
    assert not Distribution.objects.exists()


def test_a_preview_tells_users_apart_who_do_not_exist_yet(campaign, alice):
    grants = campaign()
    lines = csv_file("user,weight", "bob,1", "alice,2", "carol,3")
    draft = services.preview_upload(grants, lines, WEIGHTS, create_users=True, at=NOON).draft
    by_weight = preview_of(grants.programme, "1", draft)

    difference = compare(by_weight, with_rule(by_weight, EQUAL))

    assert {each.user: each.difference for each in difference.gaining.largest} == {"bob": 16_66}
    assert {each.user: each.after for each in difference.losing.largest} == {"carol": 33_34}
    assert draft.snapshot.user_ids.tolist() == [-4, alice.pk, -2]
