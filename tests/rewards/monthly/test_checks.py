"""A category that makes no sense is refused, field by field."""

from __future__ import annotations

import pytest

from rewards.monthly import services
from rewards.monthly.errors import CategoryInvalid
from rewards.monthly.models import RankingCategory
from rewards.monthly.setup import TIERS

pytestmark = pytest.mark.django_db

SHARES = {"rule": "tiers", "tiers": [{"to": 3, "share": "1"}]}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("score", {}),
        ("score", ["tests_completed"]),
        ("score", {"tests_completed": "0"}),
        ("score", {"tests_completed": "-1"}),
        ("score", {"tests_completed": "many"}),
        ("score", {"tests_completed": 1.5}),
        ("score", {"tests_completed": True}),
        ("score", {"tests_completed": "0.0000001"}),
        ("score", {"a\x00b": "1"}),
        ("score", {f"metric_{number}": "1" for number in range(21)}),
        ("tiers", {}),
        ("tiers", {"rule": "fixed"}),
        ("tiers", {"rule": "tiers", "tiers": [{"to": 1, "each": "0.001"}]}),
        ("tiers", {"rule": "proportional", "by": "chess"}),
        ("amount", None),
        ("amount", "0"),
        ("amount", "-3"),
        ("amount", "0.001"),
        ("approval_limit", "-1"),
        ("tie_policy", "random"),
        ("currency", "no-such"),
        ("source", "pocket"),
    ],
)
def test_what_makes_no_sense_is_named(coins, field, value):
    given = {"score": {"tests_completed": "15"}, "tiers": SHARES, "amount": "100"} | {field: value}
    with pytest.raises(CategoryInvalid) as refused:
        services.save_category(RankingCategory(slug="students", **given), None)
    assert list(refused.value.facts["errors"]) == [field]
    assert not RankingCategory.objects.exists()


def test_a_limit_makes_sense_without_an_amount_too(coins):
    given = {"score": {"tests_completed": "15"}, "tiers": TIERS, "approval_limit": "-1"}
    with pytest.raises(CategoryInvalid, match="approval_limit: it must be above zero"):
        services.save_category(RankingCategory(slug="students", **given), None)


def test_what_makes_sense_is_stored_with_who_prepared_it(coins, alice):
    category = RankingCategory(slug="students", score={"tests": 15, "answers": "0.5"}, tiers=TIERS)
    services.save_category(category, alice, "a new year")
    assert (category.prepared_by, category.history.get().history_change_reason) == (alice, "a new year")


def test_a_currency_that_rests_is_refused(coins):
    coins.active = False
    coins.save()
    with pytest.raises(CategoryInvalid, match="not active"):
        services.save_category(RankingCategory(slug="students", score={"tests": "1"}, tiers=TIERS), None)


def test_an_amount_is_shared_out_by_shares(coins, make_user):
    from rewards.distributions.preview import preview
    from tests.rewards.monthly.conftest import AFTER, OCTOBER

    for name in ("alice", "bob", "carol", "dave"):
        make_user(name)
    category = RankingCategory(slug="all", score={"tests": "1"}, tiers=SHARES, amount="100")
    services.save_category(category, None)
    shown = preview(category.programme, OCTOBER.key, at=AFTER)
    assert [place.amount for place in shown.best] == [33_34, 33_33, 33_33, 0]
