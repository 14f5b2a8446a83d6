"""The policy simulator: a rule tried beside the one that stands, and saved where it is kept."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from rewards.admin import simulated
from rewards.admin.rule_owners import RuleChanged, owner_of, save_rule
from rewards.campaigns.models import Campaign
from rewards.campaigns.services import create_campaign, run, store_rows
from rewards.distributions.models import Distribution, Reward
from rewards.distributions.services import advance
from rewards.ledger.models import Currency, Transfer
from rewards.monthly.models import RankingCategory
from rewards.monthly.services import save_category
from rewards.monthly.setup import create_default_categories
from rewards.pools.models import Pool
from rewards.users.models import User

from .conftest import instant, make_whole_product, votes

pytestmark = pytest.mark.django_db

WINNER = {"rule": "tiers", "tiers": [{"to": 1, "share": "1"}]}
EQUAL = {"rule": "equal"}


def simulator(snapshot: object = "") -> str:
    address = reverse("admin:rewards_distribution_simulator")
    return f"{address}?snapshot={snapshot}" if snapshot else address


def page(response: Any) -> str:
    assert response.status_code == 200, response.status_code
    return " ".join(response.content.decode().split())


def simulate(client: Client, snapshot: object, rule: Any = None, **sent: str) -> Any:
    """Send a rule as the form does; with `save` and the version that its page shows, if none is given."""
    url = simulator(snapshot)
    if "save" in sent and "version" not in sent:
        sent["version"] = client.get(url).context["version"]
    text = rule if isinstance(rule, str) else json.dumps(rule or WINNER)
    return client.post(url, {"rule": text, "tie_policy": "earliest", **sent})


def cells(response: Any, table: str) -> dict[str, list[str]]:
    return {row[0]: list(row[1:]) for row in response.context[table].rows}


class TestChoosing:
    def test_frozen_snapshots_are_found_by_programme_and_period(self, sign_in, failed_hour) -> None:
        """What failed has no snapshot; what waits for an approval has one."""
        viewer = sign_in("Viewer")
        text = page(viewer.get(simulator()))
        assert "pool_hourly 2026-11-20T07" in text
        assert "pool_hourly 2026-11-20T08" in text
        assert "pool_hourly 2026-11-20T09" not in text
        found = page(viewer.get(simulator(), {"q": "pool_h 2026-11-20T08"}))
        assert "pool_hourly 2026-11-20T08" in found
        assert "pool_hourly 2026-11-20T07" not in found
        assert "No frozen snapshot begins with that" in page(viewer.get(simulator(), {"q": "<b>"}))

    def test_what_is_paid_next_stands_beside_them(self, sign_in, paid_hour, points) -> None:
        create_default_categories()
        RankingCategory.objects.update(currency="points")
        grants(points)
        text = page(sign_in("Viewer").get(simulator()))
        for snapshot in ("pool:hourly", "pool:daily", "monthly:students", "campaign:grants"):
            assert simulator(snapshot).replace("&", "&amp;") in text

    def test_the_pages_of_a_payout_and_of_a_pool_lead_to_it(self, sign_in, paid_hour, pools) -> None:
        viewer = sign_in("Viewer")
        preview = reverse("admin:rewards_distribution_preview", args=[paid_hour.pk])
        assert preview in page(viewer.get(reverse("admin:rewards_distribution_change", args=[paid_hour.pk])))
        assert viewer.get(preview).url == simulator(paid_hour.pk)
        assert viewer.get(reverse("admin:rewards_pool_preview", args=[pools[0].pk])).url == simulator("pool:hourly")

    @pytest.mark.parametrize("snapshot", ["0", "999", "9" * 30, "pool:weekly", "monthly:", "badge:1", "²"])
    def test_what_there_is_not_is_not_found(self, sign_in, paid_hour, snapshot) -> None:
        assert sign_in("Viewer").get(simulator(snapshot)).status_code == 404

    def test_who_may_not_look_at_payouts_or_at_the_pool_gets_nothing(self, sign_in, paid_hour) -> None:
        nobody = User.objects.create(username="nobody", password="!", is_staff=True)
        client = Client()
        client.force_login(nobody)
        assert client.get(simulator()).status_code == 403
        assert client.post(simulator(paid_hour.pk)).status_code == 403
        nobody.user_permissions.add(permission("view_distribution"))
        assert client.get(simulator(paid_hour.pk)).status_code == 200
        assert client.get(simulator("pool:hourly")).status_code == 403
        assert "pool:hourly" not in page(client.get(simulator()))


class TestTrying:
    def test_shows_both_rules_side_by_side_and_writes_nothing(self, sign_in, paid_hour) -> None:
        """150 points: 70 for Alice, 40 each for Bob and Carol; by the other rule Alice has all."""
        before = (Reward.objects.count(), Transfer.objects.count(), Pool.objects.get(slug="hourly").rule)
        viewer = sign_in("Viewer")
        asked = page(viewer.get(simulator(paid_hour.pk)))
        assert "Nothing is written" in asked
        assert "The rule now" in asked
        assert "&quot;slices&quot;" in asked

        shown = simulate(viewer, paid_hour.pk)
        figures = cells(shown, "side_by_side")
        assert figures["Recipients"] == ["3", "1", "▼ −2"]
        assert figures["Paid (points)"] == ["150", "150", "same"]
        assert figures["Carried over (points)"] == ["0", "0", "same"]
        assert figures["Median of the recipients (points)"] == ["40", "150", "▲ +110"]
        assert figures["Gini of all participants"] == ["0.133", "0.667", "▲ +0.533"]
        gaining, losing = shown.context["gaining"], shown.context["losing"]
        assert gaining.rows == [("alice", "70", "150", "▲ +80")]
        assert losing.rows == [("bob", "40", "0", "▼ −40"), ("carol", "40", "0", "▼ −40")]
        text = page(shown)
        assert "+80 points in all" in text
        assert "−80 points in all" in text
        after = (Reward.objects.count(), Transfer.objects.count(), Pool.objects.get(slug="hourly").rule)
        assert after == before

    def test_curves_say_the_same_in_a_picture_and_in_words(self, sign_in, paid_hour) -> None:
        shown = simulate(sign_in("Viewer"), paid_hour.pk)
        lorenz = json.loads(shown.context["preview_lorenz"].data)
        curves = {each["label"]: each["data"] for each in lorenz["datasets"]}
        assert list(curves) == ["As edited", "Now", "All the same"]
        assert (curves["As edited"][0], curves["As edited"][25], curves["As edited"][-1]) == (0, 0, 100)
        assert curves["Now"][25] == 40.0  # one and a half of three: 40 + 20 of 150 points
        assert curves["All the same"][25] == 50
        assert "Gini 0.667" in shown.context["preview_lorenz"].summary
        places = json.loads(shown.context["preview_curve"].data)["datasets"]
        assert [each["data"] for each in places] == [[150, 0, 0], [70, 40, 40]]
        most = json.loads(shown.context["changes_chart"].data)
        assert most["labels"] == ["alice", "carol", "bob"]

    def test_the_ten_who_gain_most_are_named_out_of_more(self, sign_in, pools, points) -> None:
        votes("2026-11-20T07", *(f"user{number:02d}" for number in range(30)))
        shown = simulate(sign_in("Viewer"), "pool:hourly", EQUAL)
        assert len(shown.context["gaining"].rows) == len(shown.context["losing"].rows) == 10
        assert shown.context["comparison"].gaining.count > 10

    @pytest.mark.parametrize(
        ("rule", "sentence"),
        [
            ("{", "Enter a valid JSON"),
            ('{"rule": "equal", "by": "age"}', "by: not known here"),
            ('{"rule": "proportional", "by": "votes"}', "by: there is no measure"),
            ('{"rule": "tiers", "tiers": [{"to": 1, "each": "200"}]}', "200"),
        ],
    )
    def test_a_mistake_is_said_at_the_rule(self, sign_in, paid_hour, rule, sentence) -> None:
        shown = simulate(sign_in(), paid_hour.pk, rule, save="ask")
        assert sentence in str(shown.context["form"].errors["rule"])
        assert "preview" not in shown.context
        assert sentence.split(":")[0] in page(shown)

    def test_where_the_own_rule_failed_another_one_is_still_tried(self, sign_in, failed_hour) -> None:
        shown = simulate(sign_in(), failed_hour.pk, EQUAL)
        text = page(shown)
        assert "25 points" in text
        assert "there is no measure" in text
        assert "comparison" not in shown.context

    def test_of_a_pool_the_period_that_is_paid_next_is_tried(self, sign_in, paid_hour) -> None:
        votes("2026-11-20T08", "alice", "bob")
        viewer = sign_in("Viewer")
        assert "pool_hourly 2026-11-20T08" in page(viewer.get(simulator("pool:hourly")))
        shown = simulate(viewer, "pool:hourly", {"rule": "proportional", "by": "votes"})
        assert shown.context["preview"].amounts.tolist() == [38, 37]
        assert not Distribution.objects.filter(period_key="2026-11-20T08").exists()

    def test_a_rule_changed_since_is_what_stands_now(self, sign_in, paid_hour) -> None:
        Pool.objects.filter(slug="hourly").update(rule=EQUAL)
        shown = simulate(sign_in("Viewer"), paid_hour.pk)
        assert "made by another rule" in page(shown)
        assert shown.context["comparison"].before.amounts.tolist() == [50, 50, 50]

    def test_of_a_category_tiers_that_name_more_come_to_more(self, sign_in, paid_hour) -> None:
        make_category()
        shown = simulate(sign_in("Viewer"), "monthly:voters", tiers("300"))
        assert cells(shown, "side_by_side")["Paid (points)"] == ["100", "300", "▲ +200"]

    def test_a_payout_too_large_for_a_page_names_the_command(self, sign_in, paid_hour, monkeypatch) -> None:
        monkeypatch.setattr(simulated, "LARGEST_SIMULATED", 2)
        viewer = sign_in("Viewer")
        assert "manage.py preview pool_hourly 2026-11-20T07" in page(viewer.get(simulator(paid_hour.pk)))
        assert "preview" not in simulate(viewer, paid_hour.pk).context


class TestSaving:
    def test_asks_with_both_rules_in_words_and_numbers_then_saves_with_history(self, sign_in, paid_hour) -> None:
        administrator = sign_in("Administrator")
        assert "Save as new version" in page(simulate(administrator, paid_hour.pk))
        asked = simulate(administrator, paid_hour.pk, save="ask")
        text = page(asked)
        assert "Save as the rule of" in text
        assert "place 1: 100% shared equally" in text
        assert "▲ +80" not in text  # names are in the simulator; here is what it comes to
        assert cells(asked, "side_by_side")["Recipients"] == ["3", "1", "▼ −2"]
        assert not asked.context["reason"].errors
        assert Pool.objects.get(slug="hourly").rule != WINNER

        unexplained = simulate(administrator, paid_hour.pk, save="yes", reason=" ")
        assert "Say why" in page(unexplained)
        assert Pool.objects.get(slug="hourly").rule != WINNER

        saved = simulate(administrator, paid_hour.pk, save="yes", reason="Winner takes all")
        pool = Pool.objects.get(slug="hourly")
        assert saved.url == reverse("admin:rewards_pool_change", args=[pool.pk])
        assert (pool.rule, pool.tie_policy) == (WINNER, "earliest")
        record = pool.history.first()
        assert (record.history_change_reason, record.history_user.username) == ("Winner takes all", "administrator")
        history = page(administrator.get(reverse("admin:rewards_pool_history", args=[pool.pk])))
        assert "Winner takes all" in history
        paid_hour.refresh_from_db()
        assert paid_hour.rule["rule"] == "slices"

    @pytest.mark.parametrize("role", ["Viewer", "Operator", "Approver"])
    def test_who_may_not_change_it_only_simulates(self, sign_in, paid_hour, role) -> None:
        client = sign_in(role)
        text = page(simulate(client, paid_hour.pk))
        assert "Save as new version" not in text
        assert "Saving it takes the right" in text
        for step in ("ask", "yes"):
            assert simulate(client, paid_hour.pk, save=step, reason="mine").status_code == 403
        assert Pool.objects.get(slug="hourly").rule != WINNER

    def test_a_rule_that_somebody_changed_meanwhile_is_not_overwritten(self, sign_in, paid_hour) -> None:
        administrator = sign_in("Administrator")
        seen = administrator.get(simulator(paid_hour.pk)).context["version"]
        Pool.objects.filter(slug="hourly").update(rule=EQUAL)
        for step in ("ask", "yes"):
            shown = simulate(administrator, paid_hour.pk, save=step, version=seen, reason="mine")
            assert "rule_changed" in page(shown)
            assert json.loads(shown.context["form"]["rule"].value()) == WINNER  # what was written is still there
        assert Pool.objects.get(slug="hourly").rule == EQUAL
        saved = simulate(administrator, paid_hour.pk, save="yes", reason="Seen, and still")
        assert saved.status_code == 302
        assert Pool.objects.get(slug="hourly").rule == WINNER

    def test_not_even_when_it_is_changed_while_the_request_is_at_it(self, sign_in, paid_hour) -> None:
        sign_in("Administrator")
        owner, actor = owner_of("pool_hourly"), User.objects.get(username="administrator")
        assert owner is not None
        Pool.objects.filter(slug="hourly").update(rule=EQUAL)
        with pytest.raises(RuleChanged):
            save_rule(
                owner, WINNER, "earliest", version=owner.version, actor=actor, reason="mine", at=instant("2026-11-21")
            )
        assert Pool.objects.get(slug="hourly").rule == EQUAL

    def test_the_same_rule_is_not_saved_again(self, sign_in, paid_hour) -> None:
        administrator, pool = sign_in("Administrator"), Pool.objects.get(slug="hourly")
        before = pool.history.count()
        shown = simulate(administrator, paid_hour.pk, pool.rule, save="yes", reason="again")
        assert "nothing would change" in page(shown)
        assert pool.history.count() == before

    def test_another_way_to_share_ties_is_a_change_too(self, sign_in, paid_hour) -> None:
        pool = Pool.objects.get(slug="hourly")
        simulate(sign_in("Administrator"), paid_hour.pk, pool.rule, tie_policy="shared", save="yes", reason="Fair")
        pool.refresh_from_db()
        assert pool.tie_policy == "shared"

    def test_the_other_settings_of_a_pool_stay(self, sign_in, paid_hour) -> None:
        Pool.objects.filter(slug="hourly").update(approval_limit=500, title="Each hour")
        simulate(sign_in("Administrator"), "pool:hourly", save="yes", reason="Try it")
        pool = Pool.objects.get(slug="hourly")
        assert (pool.rule, pool.approval_limit, pool.title) == (WINNER, 500, "Each hour")

    def test_a_category_is_prepared_by_who_saves(self, sign_in, paid_hour) -> None:
        category = make_category()
        saved = simulate(sign_in("Administrator"), "monthly:voters", tiers("300"), save="yes", reason="More")
        assert saved.url == reverse("admin:rewards_rankingcategory_change", args=[category.pk])
        category.refresh_from_db()
        assert (category.tiers, category.prepared_by.username) == (tiers("300"), "administrator")
        assert category.history.first().history_change_reason == "More"

    def test_what_a_category_refuses_is_said_at_the_rule(self, sign_in, paid_hour) -> None:
        make_category()
        weigh = {"rule": "proportional", "by": "likes"}
        shown = simulate(sign_in("Administrator"), "monthly:voters", weigh, save="yes", reason="More")
        assert "likes" in str(shown.context["form"].errors["rule"])
        assert RankingCategory.objects.get(slug="voters").tiers == tiers("100")

    def test_a_campaign_that_has_not_run_takes_another_rule(self, sign_in, points) -> None:
        campaign = grants(points)
        saved = simulate(sign_in("Administrator"), "campaign:grants", WINNER, save="yes", reason="One prize")
        assert saved.url == reverse("admin:rewards_campaign_change", args=[campaign.pk])
        campaign.refresh_from_db()
        assert (campaign.rule, campaign.prepared_by.username) == (WINNER, "administrator")
        assert campaign.history.first().history_change_reason == "One prize"

    def test_one_that_has_run_says_why_not(self, sign_in, points) -> None:
        campaign = grants(points)
        paid = advance(run(campaign.pk, None, instant("2026-11-21")).pk)
        assert paid.status == "paid"
        administrator = sign_in("Administrator")
        shown = simulate(administrator, paid.pk, WINNER)
        assert "has been run: its rule stays as it is" in page(shown)
        assert "Save as new version" not in page(shown)
        assert "has been run" in page(simulate(administrator, paid.pk, WINNER, save="yes", reason="late"))
        assert Campaign.objects.get().rule == EQUAL

    def test_a_programme_that_nothing_keeps_a_rule_for_is_simulated_only(self, sign_in, paid_hour) -> None:
        """Such as one of another app: its payouts stand in the list as all others do."""
        paid_hour.pk, paid_hour.programme = None, "raffle"
        paid_hour.save()
        for row in Reward.objects.filter(distribution__programme="pool_hourly"):
            row.pk, row.distribution = None, paid_hour
            row.save()
        shown = simulate(sign_in("Administrator"), paid_hour.pk, EQUAL, save="ask")
        assert shown.context["preview"].amounts.tolist() == [50, 50, 50]
        assert "No pool, ranking category or campaign keeps the rule of raffle" in page(shown)


class TestItsPage:
    """What the page of a payout shows of it, and what is taken along from there."""

    def test_how_evenly_it_was_spread_is_drawn_and_said(self, sign_in, paid_hour) -> None:
        """70, 40 and 40 points: the half that gets least gets 60 of 150."""
        shown = sign_in("Viewer").get(reverse("admin:rewards_distribution_change", args=[paid_hour.pk]))
        chart = shown.context["lorenz"]
        assert "The half that gets least gets 40.00% of it" in chart.summary
        assert "Gini 0.133" in chart.summary
        assert chart.summary in page(shown)
        curve, equality = json.loads(chart.data)["datasets"]
        assert (curve["data"][25], equality["data"][25]) == (40.0, 50.0)

    def test_of_what_was_paid_before_it_was_kept_there_is_none(self, sign_in, paid_hour) -> None:
        del paid_hour.results["evenness"]
        paid_hour.save()
        text = page(sign_in("Viewer").get(reverse("admin:rewards_distribution_change", args=[paid_hour.pk])))
        assert "How evenly it was spread" not in text
        assert "Payout by place" in text

    def test_its_rows_are_taken_along_by_place(self, sign_in, paid_hour) -> None:
        User.objects.filter(username="bob").update(username="=bob()")
        viewer = sign_in("Viewer")
        export = reverse("admin:rewards_distribution_export", args=[paid_hour.pk])
        assert export in page(viewer.get(reverse("admin:rewards_distribution_change", args=[paid_hour.pk])))
        answer = viewer.get(export)
        assert answer.streaming
        rows = list(csv.reader(io.StringIO(b"".join(answer.streaming_content).decode())))
        assert rows[0] == ["period", "user", "position", "rank", "score", "amount", "status", "currency"]
        assert [row[1:4] for row in rows[1:]] == [["alice", "1", "1"], ["'=bob()", "2", "2"], ["carol", "3", "3"]]
        assert [row[5:] for row in rows[1:]] == [
            ["70", "paid", "points"], ["40", "paid", "points"], ["40", "paid", "points"],
        ]  # fmt: skip

    def test_who_may_not_look_takes_nothing_along(self, sign_in, paid_hour) -> None:
        client = Client()
        client.force_login(User.objects.create(username="nobody", password="!", is_staff=True))
        assert client.get(reverse("admin:rewards_distribution_export", args=[paid_hour.pk])).status_code == 403


class TestQueries:
    def test_each_page_needs_few(self, sign_in, product) -> None:
        viewer = sign_in("Viewer")
        paid = Distribution.objects.get(programme="pool_hourly", period_key="2026-11-20T07")
        monthly = Distribution.objects.filter(programme__startswith="monthly:").first()
        assert monthly is not None
        asked: list[tuple[Callable[[], Any], int]] = [
            (lambda: viewer.get(simulator()), 20),
            (lambda: viewer.get(simulator(paid.pk)), 20),
            (lambda: viewer.get(simulator(monthly.pk)), 20),
            (lambda: viewer.get(simulator("pool:daily")), 20),
            (lambda: simulate(viewer, paid.pk, WINNER), 20),
            (lambda: simulate(viewer, "campaign:grants", WINNER), 20),
            (lambda: simulate(viewer, "monthly:students", tiers("3")), 20),
            (lambda: simulate(viewer, "pool:daily", WINNER), 20),
        ]
        for number, (ask, limit) in enumerate(asked):
            with CaptureQueriesContext(connection) as caught:
                answer = ask()
            assert answer.status_code == 200
            assert len(caught) < limit, (number, [query["sql"][:150] for query in caught])


@pytest.fixture
def product(db: None) -> None:
    make_whole_product()


def permission(codename: str) -> Permission:
    return Permission.objects.get(codename=codename)


def tiers(each: str) -> dict[str, Any]:
    return {"rule": "tiers", "tiers": [{"to": 1, "each": each, "name": "Champion"}]}


def make_category() -> RankingCategory:
    category = RankingCategory(slug="voters", score={"cc_vote": "1"}, tiers=tiers("100"), currency="points")
    return save_category(category, None)


def grants(points: Currency) -> Campaign:
    """90 points, shared equally by Alice, Bob and Carol."""
    campaign = create_campaign(slug="grants", currency=points, amount=90, rule=EQUAL, at=instant("2026-11-20"))
    people = [User.objects.get_or_create(username=name)[0] for name in ("alice", "bob", "carol")]
    store_rows(campaign.pk, [(each.pk, "1", None, "") for each in people], actor=None, at=instant("2026-11-20"))
    return campaign
