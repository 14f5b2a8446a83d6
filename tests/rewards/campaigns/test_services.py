"""Creating, changing and cancelling a campaign: what makes sense, who prepared it, and when it is too late."""

from __future__ import annotations

from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from django.db import transaction

from rewards.audit.models import AuditEvent
from rewards.campaigns import services
from rewards.campaigns.errors import (
    CampaignBegun,
    CampaignExists,
    CampaignInvalid,
    CampaignOver,
    NothingDue,
    NotStarted,
    TooManyRunsDue,
    UnknownCampaign,
)
from rewards.campaigns.models import Campaign
from rewards.campaigns.queries import runs_due
from rewards.common.errors import ReasonMissing
from rewards.distributions.errors import NotAllowed, NotYet, OwnApproval
from rewards.distributions.models import Distribution
from rewards.distributions.services import approve, reject
from rewards.ledger.services import system_account
from tests.rewards.campaigns.conftest import FIXED, NOON, PROPORTIONAL, run, upload

pytestmark = pytest.mark.django_db

HOLDERS = {"source": "holders", "currency": "coins"}
BY_GROUP = {
    "rule": "slices",
    "slices": [{"name": "a", "weight": "1", "members": {"group": "a"}, "rule": {"rule": "equal"}}],
}


@pytest.mark.parametrize(
    ("fields", "field", "sentence"),
    [
        ({"slug": "no slug"}, "slug", "valid"),
        ({"slug": ""}, "slug", "blank"),
        ({"slug": "x" * 61}, "slug", "60"),
        ({"title": "x" * 201}, "title", "200"),
        ({"amount": None}, "amount", "say how much"),
        ({"amount": 0}, "amount", "above zero"),
        ({"amount": 2**63}, "amount", "9223372036854775807"),
        ({"approval_limit": -1}, "approval_limit", "negative"),
        ({"rule": {}}, "rule", "say which rule"),
        ({"rule": {"rule": "proportional", "max_share": "2"}}, "rule", "max_share"),
        ({"rule": {"rule": "proportional", "maximum": "2"}}, "rule", "not known here"),
        ({"rule": {"rule": "proportional", "by": "votes"}}, "rule", "leave out by"),
        ({"rule": FIXED, "participants": HOLDERS}, "rule", "no amounts"),
        ({"rule": BY_GROUP, "participants": HOLDERS}, "rule", "no groups"),
        ({"tie_policy": "lots"}, "tie_policy", "earliest, shared, same"),
        ({"source": "tresury"}, "source", "no system account"),
        ({"source": "burn"}, "source", "no system account"),
        ({"schedule": "daily"}, "starts_at", "first instant"),
        ({"schedule": "hourly", "starts_at": NOON}, "schedule", "valid choice"),
        ({"starts_at": NOON.replace(year=1)}, "starts_at", "1970"),
        ({"participants": {"source": "nobody"}}, "participants", "counter, holders"),
        ({"participants": []}, "participants", "object"),
        ({"participants": {"source": []}}, "participants", "counter, holders"),
        ({"participants": {"source": "upload", "file": "x"}}, "participants", "'file' is not known here"),
        ({"participants": {"source": "holders", "currency": "gold"}}, "participants", "no currency 'gold'"),
        ({"participants": {"source": "counter"}}, "participants", "name a metric"),
        ({"participants": {"source": "counter", "metric": "votes", "month": "2026-13"}}, "participants", "month"),
        ({"participants": {"source": "counter", "metric": "votes", "month": "2026-1"}}, "participants", "month"),
    ],
)
def test_a_campaign_that_makes_no_sense_is_refused_by_field(campaign, fields, field, sentence):
    with pytest.raises(CampaignInvalid) as refusal:
        campaign(**fields)

    assert sentence in refusal.value.facts["errors"][field]
    assert not Campaign.objects.exists()


def test_all_fields_are_told_at_once(campaign, coins):
    coins.active = False
    coins.save()
    with pytest.raises(CampaignInvalid) as refusal:
        campaign(amount=None, rule={"rule": "equal"}, tie_policy="x")

    assert set(refusal.value.facts["errors"]) == {"amount", "currency", "tie_policy"}


def test_a_slug_is_taken_once(campaign):
    campaign()
    with pytest.raises(CampaignExists):
        campaign()


def test_an_account_that_stands_may_pay(campaign, coins):
    with transaction.atomic():
        system_account("sponsor", coins)

    assert campaign(source="sponsor").source == "sponsor"


def test_who_changed_it_last_prepared_it_and_does_not_approve_it(campaign, staff):
    anna, boris = staff("anna", "run_distribution"), staff("boris", "approve_distribution", "run_distribution")
    grants = campaign(actor=anna, approval_limit=1_00)
    upload(grants, "user,weight", "alice,1", actor=anna)
    services.change_campaign(grants.pk, boris, NOON, amount=50_00)
    services.change_campaign(grants.pk, anna, NOON, title="Grants of autumn", amount=50_00)
    grants.refresh_from_db()
    assert (grants.prepared_by, grants.title) == (boris, "Grants of autumn")

    distribution = services.run(grants.pk, anna, NOON)
    assert (distribution.actor, distribution.prepared_by, distribution.approval_limit) == (anna, boris, 1_00)
    distribution = run(grants)
    assert distribution.status == "allocated"
    with pytest.raises(OwnApproval):
        approve(distribution.pk, boris)
    assert distribution.rule_version == grants.history.latest().history_id
    assert [version.history_user for version in grants.history.all()][-1] == anna


def test_only_what_decides_who_is_paid_what_moves_who_prepared_it(campaign, staff):
    anna, boris = staff("anna", "run_distribution"), staff("boris", "run_distribution")
    votes = {"source": "counter", "metric": "votes"}
    board = campaign("board", participants=votes, actor=anna)
    when = {"title": "Board", "starts_at": NOON, "schedule": "daily", "approval_limit": 5}
    assert (
        services.change_campaign(board.pk, boris, NOON, participants=votes, amount=100_00, **when).prepared_by == anna
    )
    assert services.change_campaign(board.pk, None, NOON, amount=1).prepared_by == anna
    assert services.change_campaign(board.pk, boris, NOON, tie_policy="shared").prepared_by == boris

    grants = campaign(actor=anna)
    for lines, actor, prepared_by in (
        (["alice,1"], None, anna), (["alice,2"], anna, anna), (["alice,2.0"], boris, anna), (["bob,1"], boris, boris),
    ):  # fmt: skip
        upload(grants, "user,weight", *lines, actor=actor)
        grants.refresh_from_db()
        assert grants.prepared_by == prepared_by


def test_a_limit_that_is_raised_or_removed_is_on_record(campaign, alice):
    grants = campaign(approval_limit=5)
    for limit in (3, 4, 4, None, 9):
        services.change_campaign(grants.pk, None, NOON, approval_limit=limit)

    events = AuditEvent.objects.filter(event_type="approval_limit_raised").order_by("pk")
    assert [(each.data["before"], each.data["after"]) for each in events] == [(3, 4), (4, None)]
    assert events[0].data["campaign"] == "grants"


def test_the_currency_changes_with_its_amounts_and_not_under_a_list(campaign, coins, points):
    grants = campaign(approval_limit=5)
    for change in ({}, {"amount": 7}, {"approval_limit": 7}):
        with pytest.raises(CampaignInvalid, match="in the new one"):
            services.change_campaign(grants.pk, None, NOON, currency=points, **change)
    changed = services.change_campaign(grants.pk, None, NOON, currency=points, amount=7, approval_limit=None)
    assert (changed.currency, changed.amount) == (points, 7)
    upload(grants, "user,weight", "alice,1")
    with pytest.raises(CampaignInvalid, match="its list is written in it"):
        services.change_campaign(grants.pk, None, NOON, currency=coins, amount=1)


def test_changing_what_runs_by_itself_takes_the_right_to_run(campaign, staff):
    editor, operator = staff("edna", "change_campaign"), staff("olga", "run_distribution")
    grants = campaign()
    upload(grants, "user,weight", "alice,1", actor=editor)
    services.change_campaign(grants.pk, editor, NOON, amount=2)
    with pytest.raises(NotAllowed):
        services.change_campaign(grants.pk, editor, NOON, status="active")
    services.change_campaign(grants.pk, operator, NOON, status="active")
    with pytest.raises(NotAllowed):
        services.change_campaign(grants.pk, editor, NOON, amount=1)
    with pytest.raises(NotAllowed):
        upload(grants, "user,weight", "edna,1", actor=editor)


def test_the_names_of_corrections_are_theirs(campaign):
    with pytest.raises(CampaignInvalid, match="those of corrections"):
        campaign("correction-7")


def test_it_takes_a_right_to_run(campaign, staff):
    grants = campaign()
    upload(grants, "user,weight", "alice,1")
    with pytest.raises(NotAllowed):
        services.run(grants.pk, staff("anna"), NOON)
    assert not Distribution.objects.exists()


def test_nothing_that_is_paid_changes_once_it_is_opened(campaign):
    grants = campaign()
    upload(grants, "user,weight", "alice,1")
    services.run(grants.pk, None, NOON)
    for change in ({"amount": 1}, {"rule": {"rule": "equal"}}, {"participants": HOLDERS}, {"approval_limit": 5}):
        with pytest.raises(CampaignBegun):
            services.change_campaign(grants.pk, None, NOON, **change)
    with pytest.raises(CampaignBegun):
        services.cancel(grants.pk, None, "a mistake")

    assert services.change_campaign(grants.pk, None, NOON, title="Grants", amount=100_00).title == "Grants"
    run(grants)
    with pytest.raises(CampaignOver):
        services.change_campaign(grants.pk, None, NOON, title="Other")


def test_what_cannot_be_changed(campaign):
    grants = campaign()
    for change in ({"slug": "other"}, {"status": "done"}, {"rows": 5}):
        with pytest.raises(CampaignInvalid) as refusal:
            services.change_campaign(grants.pk, None, NOON, **change)
        assert set(refusal.value.facts["errors"]) == set(change)
    with pytest.raises(UnknownCampaign):
        services.change_campaign(0, None, NOON, title="x")


def test_a_campaign_is_cancelled_with_a_reason(campaign, alice):
    grants = campaign(starts_at=NOON)
    services.change_campaign(grants.pk, None, NOON, status="active")
    with pytest.raises(ReasonMissing):
        services.cancel(grants.pk, alice, " ")

    services.cancel(grants.pk, alice, "no money left")

    assert services.run_due(NOON).figures()["opened"] == 0
    event = AuditEvent.objects.get(event_type="campaign_cancelled")
    assert (event.actor, event.reason, event.data) == (alice, "no money left", {"campaign": "grants"})
    for late in (
        lambda: services.cancel(grants.pk, alice, "again"),
        lambda: services.run(grants.pk, None, NOON),
        lambda: upload(grants, "user,weight", "alice,1"),
    ):
        with pytest.raises(CampaignOver):
            late()


def test_one_that_was_rejected_is_cancelled(campaign, staff):
    grants = campaign(approval_limit=0)
    upload(grants, "user,weight", "alice,1")
    reject(run(grants).pk, staff("boris", "approve_distribution"), "not this year")

    grants.refresh_from_db()
    assert grants.status == "cancelled"
    with pytest.raises(CampaignOver):
        services.change_campaign(grants.pk, None, NOON, amount=1)


# ------------------------------------------------------------------------------------------------------------ schedules


@pytest.fixture
def daily(campaign):
    """Every day from noon on, by an uploaded list."""
    grants = campaign("daily", rule=PROPORTIONAL, starts_at=NOON, schedule="daily")
    upload(grants, "user,weight", "alice,1", "bob,1")
    return services.change_campaign(grants.pk, None, NOON, status="active")


def keys() -> list[str]:
    return list(Distribution.objects.order_by("starts_at").values_list("period_key", flat=True))


def test_a_schedule_is_run_by_hand_one_day_at_a_time(daily):
    two_days_later = NOON + timedelta(days=2)
    run(daily, two_days_later)
    run(daily, two_days_later)
    assert keys() == ["2026-11-21", "2026-11-22"]

    run(daily, two_days_later)
    with pytest.raises(NothingDue):
        services.run(daily.pk, None, two_days_later)
    daily.refresh_from_db()
    assert daily.status == "active"


def test_a_run_waits_for_the_one_before_to_be_allocated(daily):
    services.run(daily.pk, None, NOON + timedelta(days=1))
    with pytest.raises(NotYet):
        services.run(daily.pk, None, NOON + timedelta(days=1))


def test_between_its_runs_a_schedule_can_be_changed_but_not_moved(daily):
    services.run(daily.pk, None, NOON)
    with pytest.raises(CampaignBegun):
        services.change_campaign(daily.pk, None, NOON, amount=5)
    with pytest.raises(CampaignBegun):
        upload(daily, "user,weight", "carol,1")
    with pytest.raises(CampaignBegun):
        services.cancel(daily.pk, None, "no money left")
    Distribution.objects.update(allocated_at=NOON)

    services.change_campaign(daily.pk, None, NOON, amount=5)
    upload(daily, "user,weight", "carol,1")
    for change in ({"starts_at": NOON + timedelta(hours=1)}, {"schedule": "weekly"}, {"schedule": ""}):
        with pytest.raises(CampaignBegun):
            services.change_campaign(daily.pk, None, NOON, **change)
    assert services.cancel(daily.pk, None, "no money left").status == "cancelled"


def test_a_schedule_that_would_run_too_often_at_once_is_not_activated(campaign):
    for days, slug in ((30, "month"), (31, "more")):
        created = campaign(slug, starts_at=NOON - timedelta(days=days), schedule="daily")
        if slug == "month":
            services.change_campaign(created.pk, None, NOON, status="active")
            services.change_campaign(created.pk, None, NOON + timedelta(days=9), amount=5)  # it can be mended
            continue
        with pytest.raises(TooManyRunsDue, match="32 runs of more would be due at once, the first of 2026-10-21"):
            services.change_campaign(created.pk, None, NOON, status="active")


def test_what_was_run_is_not_due_again_in_another_time_zone(daily, settings):
    run(daily)
    settings.REWARDS_TIME_ZONE = ZoneInfo("Pacific/Auckland")  # it is the 22nd there

    assert [each.key for each in runs_due(daily, NOON + timedelta(days=1))] == ["2026-11-23"]


def test_nobody_runs_a_campaign_before_its_start_or_a_draft_on_a_schedule(campaign):
    later = campaign("later", starts_at=NOON + timedelta(minutes=1))
    upload(later, "user,weight", "alice,1")
    with pytest.raises(NotStarted):
        services.run(later.pk, None, NOON)
    draft = campaign("draft", starts_at=NOON, schedule="daily")
    with pytest.raises(NotStarted):
        services.run(draft.pk, None, NOON)
    assert not Distribution.objects.exists()
