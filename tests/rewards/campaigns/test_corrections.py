"""What late votes would have changed, paid as a campaign."""

from __future__ import annotations

from functools import partial

import pytest

from rewards.audit.models import AuditEvent
from rewards.campaigns import services as campaigns
from rewards.campaigns.corrections import correction_for, correction_of, differences
from rewards.campaigns.errors import CorrectionStays, NothingToCorrect
from rewards.campaigns.models import Campaign
from rewards.distributions import services
from rewards.distributions.corrections import take_back
from rewards.distributions.errors import OwnApproval
from rewards.distributions.models import Reward
from rewards.distributions.programmes import LateChange
from rewards.ledger.checks import run_checks
from rewards.ledger.models import Account
from rewards.parameters.services import set_parameter
from rewards.pools.services import run_hourly
from tests.concurrency.racing import at_once
from tests.rewards.pools.conftest import holds, instant, payout, pools, rewards_of, vote
from tests.rewards.reading import reading_only

from .conftest import AMOUNTS, NOON, stored, upload

__all__ = ["pools", "vote"]

pytestmark = pytest.mark.django_db


@pytest.fixture
def hour(pools, vote):
    """25 points for Alice's vote. With Bob's three, which came late, there had been 100: 60 for him, 40 for her."""
    vote("alice", "1", "2026-03-10T07:10")
    run_hourly(instant("2026-03-10T08:30"))
    vote("bob", "1", "2026-03-10T07:50", times=3, recorded="2026-03-10T09:00")
    run_hourly(instant("2026-03-10T09:30"))
    return payout("pool_hourly", "2026-03-10T07")


@pytest.fixture
def operator(staff):
    return staff("olga", "run_distribution", "approve_distribution")


def test_what_is_missing_to_whom_is_the_list_of_a_campaign(hour, operator):
    with reading_only():
        found = differences(hour)
    assert found.missing == [LateChange("bob", 0, 60), LateChange("alice", 25, 40)]
    assert (found.given_too_much, found.to_pay, found.too_much) == ([], 75, 0)

    campaign = correction_for(hour, operator, NOON)
    assert (campaign.slug, campaign.corrects, campaign.rule) == (f"correction-{hour.pk}", hour, {"rule": "fixed"})
    assert (campaign.source, campaign.approval_limit, campaign.prepared_by) == ("issuance", 0, operator)
    assert (campaign.status, campaign.rows) == ("draft", 2)
    assert stored(campaign) == [("alice", "", 15, ""), ("bob", "", 60, "")]
    event = AuditEvent.objects.get(event_type="correction_prepared")
    assert (event.distribution, event.actor, event.amount) == (hour, operator, 75)


def test_another_person_approves_it_and_what_was_paid_before_stays(hour, operator, staff):
    campaign = correction_for(hour, operator, NOON)
    distribution = services.advance(campaigns.run(campaign.pk, operator, NOON).pk)
    assert distribution.status == "allocated"
    with pytest.raises(OwnApproval):
        services.approve(distribution.pk, operator)
    services.approve(distribution.pk, staff("paul", "approve_distribution"))
    assert services.advance(distribution.pk).status == "paid"

    balances = dict(Account.objects.filter(user__isnull=False).values_list("user__username", "balance"))
    assert balances == {"alice": 40, "bob": 60}
    assert rewards_of("pool_hourly", hour.period_key) == {"alice": 25}
    assert holds("issuance") == -100 - 75
    assert not [each for each in run_checks() if not each.holds]


def test_a_second_call_returns_the_first_ones_campaign(hour, operator, vote, staff):
    first = correction_for(hour, operator, NOON)
    vote("carol", "9", "2026-03-10T07:51", recorded="2026-03-10T10:00")
    assert correction_for(hour, staff("paul"), NOON) == first == correction_of(hour)
    assert stored(first) == [("alice", "", 15, ""), ("bob", "", 60, "")]
    assert AuditEvent.objects.filter(event_type="correction_prepared").count() == 1


def test_who_was_given_too_much_keeps_it(hour, operator, vote):
    """Alice was given more than she would get by today's rows: shown, and no line of the campaign."""
    Reward.objects.filter(distribution=hour).update(amount=45)
    found = differences(hour)
    assert found.given_too_much == [LateChange("alice", 45, 40)]
    assert (found.to_pay, found.too_much) == (60, 5)
    assert stored(correction_for(hour, operator, NOON)) == [("bob", "", 60, "")]


def test_from_what_amount_on_it_is_approved_is_a_parameter(hour, operator):
    set_parameter("corrections.approval_limit", 100, actor=None, reason="small ones are fine")
    campaign = correction_for(hour, operator, NOON)
    assert campaign.approval_limit == 100
    set_parameter("corrections.approval_limit", 0, actor=None, reason="and read when it is run")
    assert services.advance(campaigns.run(campaign.pk, operator, NOON).pk).status == "allocated"


def test_there_is_nothing_to_correct(hour, operator, pools, vote, staff):
    vote("alice", "1", "2026-03-10T11:10")
    run_hourly(instant("2026-03-10T12:30"))
    with pytest.raises(NothingToCorrect, match="brought nobody more"):
        correction_for(payout("pool_hourly", "2026-03-10T11"), operator, NOON)
    services.reverse(hour.pk, staff("boss", "reverse_distribution"), "wrong votes")
    hour.refresh_from_db()
    with pytest.raises(NothingToCorrect, match="is reversed: only what is paid"):
        correction_for(hour, operator, NOON)
    assert correction_of(hour) is None


def pay(campaign, operator, approver):
    distribution = services.advance(campaigns.run(campaign.pk, operator, NOON).pk)
    services.approve(distribution.pk, approver)
    return services.advance(distribution.pk)


def test_of_a_correction_only_title_and_status_change(hour, operator):
    campaign = correction_for(hour, operator, NOON)
    for change in ({"amount": 1}, {"approval_limit": None}, {"source": "treasury"}, {"starts_at": NOON}):
        with pytest.raises(CorrectionStays):
            campaigns.change_campaign(campaign.pk, operator, NOON, **change)
    with pytest.raises(CorrectionStays):
        upload(campaign, "user,amount", "olga,1000", layout=AMOUNTS, actor=operator)
    assert campaigns.change_campaign(campaign.pk, operator, NOON, title="Late", status="active").title == "Late"
    assert stored(campaign) == [("alice", "", 15, ""), ("bob", "", 60, "")]


def test_after_one_that_is_paid_or_cancelled_another_pays_what_is_still_missing(hour, operator, vote, staff):
    paul, first = staff("paul", "approve_distribution"), correction_for(hour, operator, NOON)
    campaigns.cancel(first.pk, operator, "by mistake")
    assert correction_of(hour) is None
    second = correction_for(hour, operator, NOON)
    assert (second.slug, stored(second)) == (f"correction-{hour.pk}-2", stored(first))
    pay(second, operator, paul)
    assert (differences(hour).missing, correction_of(hour)) == ([], None)
    with pytest.raises(NothingToCorrect):
        correction_for(hour, operator, NOON)

    vote("bob", "1", "2026-03-10T07:51", times=4, recorded="2026-03-10T10:00")
    late = {each.username: (each.amount, each.with_late_events) for each in differences(hour).missing}
    third = correction_for(hour, operator, NOON)
    assert third.slug == f"correction-{hour.pk}-3"
    assert late.keys() == {user for user, *_ in stored(third)}
    pay(third, operator, paul)
    balances = dict(Account.objects.filter(user__username__in=late).values_list("user__username", "balance"))
    assert balances == {user: due for user, (_, due) in late.items()}


def test_from_whom_the_reward_was_taken_back_gets_no_correction_of_it(hour, operator, staff):
    boss, reward = staff("boss", "reverse_distribution", "approve_distribution"), Reward.objects.get(distribution=hour)
    campaign = correction_for(hour, operator, NOON)
    take_back(hour.pk, boss, "she voted for herself", reward_id=reward.pk)
    assert [each.username for each in differences(hour).missing] == ["bob"]

    distribution = pay(campaign, operator, boss)

    assert (distribution.status, distribution.amount) == ("paid", 60)
    assert rewards_of(campaign.programme, "1") == {"bob": 60}


@pytest.mark.parametrize("stage", ["prepared", "opened", "allocated", "approved"])
def test_a_payout_that_was_taken_back_is_not_corrected(hour, operator, staff, stage):
    boss = staff("boss", "reverse_distribution", "approve_distribution")
    campaign = correction_for(hour, operator, NOON)
    if stage != "prepared":
        distribution = campaigns.run(campaign.pk, operator, NOON)
    if stage in ("allocated", "approved"):
        services.step(distribution)
    if stage == "approved":
        services.approve(distribution.pk, boss)
    services.reverse(hour.pk, boss, "wrong votes")

    if stage in ("opened", "approved"):
        assert services.advance(distribution.pk).status == "failed"
    elif stage == "prepared":
        with pytest.raises(NothingToCorrect, match="is reversed"):
            campaigns.run(campaign.pk, operator, NOON)
    else:
        with pytest.raises(NothingToCorrect, match="is reversed"):
            services.approve(distribution.pk, boss)
    assert not Account.objects.filter(user__isnull=False, balance__gt=0).exists()


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_two_who_press_the_button_at_once_get_one_campaign(hour, operator):
    answers = at_once(*[partial(correction_for, hour, operator, NOON)] * 3)
    assert {type(answer) for answer in answers} == {Campaign}
    assert len(set(answers)) == Campaign.objects.count() == 1
    assert stored(answers[0]) == [("alice", "", 15, ""), ("bob", "", 60, "")]
