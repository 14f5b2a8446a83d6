"""The claim types that ship, number by number.

The amounts are written out. Those with a power of 1.1 were worked out in whole numbers, without decimals: the largest
n with n ** 10 <= 15 ** 10 * floor ** 11 (10 ** 10 for XP).
"""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from django.core.management import call_command

from rewards.claims.errors import ContextRefused, KeyMismatch, KeyMissing, NothingToClaim, RecipeFailed, UnknownParty
from rewards.claims.models import Claim, ClaimType, Line
from rewards.claims.recipes import compile_recipe, preview, recipe_of
from rewards.claims.services import claim
from rewards.claims.setup import CLAIM_TYPES, create_default_claim_types
from rewards.ledger.models import Account
from rewards.parameters.services import set_parameter

pytestmark = pytest.mark.django_db

TODAY = date(2026, 11, 21)


def worked_out(slug: str, **context: Any) -> tuple[dict[str, int], dict[str, int]]:
    """What a claim gives and takes: {currency} or {party:currency} → amount."""
    gives: dict[str, int] = {}
    takes: dict[str, int] = {}
    for entry, minor, currency in preview(recipe_of(slug), context):
        side = gives if entry.direction == "credit" else takes
        name = f"{entry.party}:{currency}" if entry.party else str(currency)
        side[name] = side.get(name, 0) + minor
    return gives, takes


def key_of(slug: str, context: dict[str, Any], given: str | None = None) -> str:
    return recipe_of(slug).derive_key(context, given, TODAY)


def change(key: str, value: Any) -> None:
    set_parameter(key, value, actor=None, reason="a new season")


# ----------------------------------------------------------------------------------------------------------- ascension


@pytest.mark.parametrize(
    ("floor", "lumees", "xp", "tokens"),
    [
        (1, 15, 10, {}),
        (2, 32, 21, {}),
        (4, 68, 45, {}),
        (5, 88, 58, {"token_bronze": 1}),
        (10, 188, 125, {"token_bronze": 1}),
        (11, 209, 139, {}),
        (15, 294, 196, {"token_silver": 1}),
        (25, 517, 344, {"token_silver": 1}),
        (30, 632, 421, {"token_gold": 1}),
        (50, 1109, 739, {"token_gold": 4, "token_platinum": 1}),
        (55, 1231, 821, {"token_platinum": 1}),
        (100, 2377, 1584, {"token_platinum": 4, "token_diamond": 1}),
        (101, 2403, 1602, {}),
        (105, 2508, 1672, {"token_diamond": 1}),
        (1000, 29928, 19952, {"token_diamond": 1}),
    ],
)
def test_an_ascension_gives_by_the_floor(game, floor, lumees, xp, tokens):
    gives, takes = worked_out("ascension_victory", floor=floor, encounter_id="e1")
    assert gives == {"lumees": lumees, "xp": xp, **tokens}
    assert takes == {}


def test_every_number_of_an_ascension_is_a_parameter(game):
    change("claims.ascension_victory.lumees_base", "7.5")
    change("claims.ascension_victory.lumees_exponent", 2)
    change("claims.ascension_victory.xp_base", 1)
    change("claims.ascension_victory.xp_exponent", "0.5")
    change("claims.ascension_victory.token_every_floors", 3)
    change("claims.ascension_victory.tokens", 2)
    change("claims.ascension_victory.token_kinds", [[8, "gold"], [None, "bronze"]])
    change("claims.ascension_victory.milestone_tokens", {"9": {"diamond": 5}})

    gives, _ = worked_out("ascension_victory", floor=9, encounter_id="e1")
    assert gives == {"lumees": 607, "xp": 3, "token_bronze": 2, "token_diamond": 5}
    assert worked_out("ascension_victory", floor=50, encounter_id="e1")[0] == {"lumees": 18750, "xp": 7}


def test_a_table_of_kinds_that_ends_says_so(game):
    change("claims.ascension_victory.token_kinds", [[10, "bronze"]])
    with pytest.raises(RecipeFailed, match=r"line 3.currency: claims.ascension_victory.token_kinds has nothing for 15"):
        worked_out("ascension_victory", floor=15, encounter_id="e1")


@pytest.mark.parametrize("floor", [0, -1, 1.5, "5", None, True, [5], {"floor": 5}])
def test_a_floor_is_a_whole_number_from_one(game, floor):
    with pytest.raises(ContextRefused, match="floor"):
        worked_out("ascension_victory", floor=floor, encounter_id="e1")


def test_a_floor_beyond_every_amount_is_refused(game):
    with pytest.raises(RecipeFailed, match="too large"):
        worked_out("ascension_victory", floor=10**30, encounter_id="e1")


def test_the_key_of_an_ascension_names_floor_and_encounter(game):
    context = {"floor": 50, "encounter_id": "e1"}
    assert key_of("ascension_victory", context) == "floor_50_e1"
    assert key_of("ascension_victory", {"floor": 50.0, "encounter_id": "e1"}) == "floor_50_e1"
    assert key_of("ascension_victory", context, "floor_50_e1") == "floor_50_e1"
    with pytest.raises(KeyMismatch, match="floor_50_e1"):
        key_of("ascension_victory", context, "floor_51_e1")


# ------------------------------------------------------------------------------------------------------ other victories


def test_both_sides_of_a_fight_get_something(game, alice, bob):
    fight = {"winner": "alice", "loser": "bob", "encounter_id": 77}
    assert worked_out("pvp_victory", **fight) == (
        {"alice:lumees": 50, "alice:xp": 25, "bob:lumees": 10, "bob:xp": 5},
        {},
    )
    assert key_of("pvp_victory", fight) == "77"
    assert recipe_of("pvp_victory").claim_type.scope == "global"

    for number, name in enumerate(["winner_lumees", "winner_xp", "loser_lumees", "loser_xp"], start=1):
        change(f"claims.pvp_victory.{name}", number)
    gives, _ = worked_out("pvp_victory", **fight)
    assert gives == {"alice:lumees": 1, "alice:xp": 2, "bob:lumees": 3, "bob:xp": 4}


def test_nobody_wins_against_himself(game, alice):
    with pytest.raises(NothingToClaim):
        claim(None, "pvp_victory", None, {"winner": "alice", "loser": "alice", "encounter_id": "e1"})
    assert not Claim.objects.exists()
    assert not Account.objects.filter(user=alice).exists()


def test_a_pve_victory(game):
    context = {"enemy_id": "goblin", "encounter_id": "e1"}
    assert worked_out("pve_victory", **context) == ({"lumees": 100, "xp": 50}, {})
    assert key_of("pve_victory", context) == "goblin_e1"

    change("combat.rewards.base_lumees", 120)
    change("claims.pve_victory.xp", 0)
    assert worked_out("pve_victory", **context) == ({"lumees": 120}, {})


@pytest.mark.parametrize(
    ("sector", "lumees", "xp"),
    [(1, 1000, 100), (2, 2000, 200), (3, 3000, 300), (4, 4000, 400), (5, 5000, 500), (6, 6000, 600), (7, 7000, 700)],
)
def test_a_matron_gives_by_the_sector_and_a_boss_twice_as_much(game, sector, lumees, xp):
    things = {"drop_charges": 1, "fusion_catalysts": 1}
    assert worked_out("matron_victory", sector=sector, encounter_id="e1") == (
        {"lumees": lumees, "xp": xp, **things},
        {},
    )
    assert worked_out("matron_victory", sector=sector, boss=True, encounter_id="e1") == (
        {"lumees": 2 * lumees, "xp": 2 * xp, **things},
        {},
    )


def test_a_boss_doubles_what_was_rounded_down(game):
    """1001 × (1 + 0.25 × 1) = 1251.25 and 99 × 1.25 = 123.75."""
    change("claims.matron_victory.lumees_base", 1001)
    change("claims.matron_victory.xp_base", 99)
    change("claims.matron_victory.sector_growth", "0.25")
    change("claims.matron_victory.drop_charges", 0)
    change("claims.matron_victory.fusion_catalysts", 3)
    assert worked_out("matron_victory", sector=2, encounter_id="e1")[0] == {
        "lumees": 1251, "xp": 123, "fusion_catalysts": 3
    }  # fmt: skip
    assert worked_out("matron_victory", sector=2, boss=True, encounter_id="e1")[0] == {
        "lumees": 2502, "xp": 246, "fusion_catalysts": 3
    }  # fmt: skip
    change("claims.matron_victory.boss_factor", "1.5")
    assert worked_out("matron_victory", sector=2, boss=True, encounter_id="e1")[0] == {
        "lumees": 1876, "xp": 184, "fusion_catalysts": 3
    }  # fmt: skip


def test_boss_is_yes_or_no(game):
    for boss in ("yes", 1, None):
        with pytest.raises(ContextRefused, match="boss"):
            worked_out("matron_victory", sector=1, boss=boss, encounter_id="e1")


def test_victories_are_not_for_users(game):
    callers = dict(ClaimType.objects.values_list("slug", "callers"))
    assert {slug for slug, who in callers.items() if who == "machine"} == {
        "ascension_victory", "pvp_victory", "pve_victory", "matron_victory"
    }  # fmt: skip
    assert {slug for slug, who in callers.items() if who == "user"} == {
        "daily_quest", "token_redemption", "multi_summon", "drop_execution", "stat_points"
    }  # fmt: skip


# ------------------------------------------------------------------------------------------ what users claim themselves


def test_the_daily_quest_is_one_of_today(game):
    assert worked_out("daily_quest") == ({"lumees": 100, "xp": 50}, {})
    assert key_of("daily_quest", {}) == "2026-11-21"
    with pytest.raises(KeyMismatch):
        key_of("daily_quest", {}, "2026-11-20")
    # Who sends a `today` of his own changes nothing.
    assert key_of("daily_quest", {"today": "2026-11-22"}) == "2026-11-21"

    quest = recipe_of("daily_quest").claim_type
    assert (quest.limit_per_user, quest.limit_period) == (1, "day")
    change("claims.daily_quest.lumees", 70)
    change("claims.daily_quest.xp", 7)
    assert worked_out("daily_quest") == ({"lumees": 70, "xp": 7}, {})


@pytest.mark.parametrize("kind", ["bronze", "silver", "gold", "platinum", "diamond"])
def test_a_token_buys_a_ticket_of_its_kind(game, kind):
    assert worked_out("token_redemption", kind=kind) == ({f"ticket_{kind}": 1}, {f"token_{kind}": 1})


def test_the_price_of_a_ticket_is_a_parameter(game):
    change("claims.token_redemption.cost_per_summon", 3)
    change("claims.token_redemption.tickets", 2)
    assert worked_out("token_redemption", kind="gold") == ({"ticket_gold": 2}, {"token_gold": 3})


@pytest.mark.parametrize("slug", ["token_redemption", "multi_summon", "drop_execution", "stat_points"])
def test_spending_needs_the_id_of_the_request(game, slug):
    context = recipe_of(slug).claim_type.sample_context
    assert key_of(slug, context, "request-1") == "request-1"
    with pytest.raises(KeyMissing):
        key_of(slug, context)


@pytest.mark.parametrize("kind", ["wood", "", "GOLD", 1, None])
def test_there_are_five_kinds(game, kind):
    for slug, more in (("token_redemption", {}), ("multi_summon", {"count": 10})):
        with pytest.raises(ContextRefused, match="kind"):
            worked_out(slug, kind=kind, **more)


def test_ten_tickets_at_once(game):
    assert worked_out("multi_summon", kind="silver", count=10) == ({"ticket_silver": 10}, {"token_silver": 10})


@pytest.mark.parametrize("count", [1, 9, 11, 100])
def test_other_numbers_of_tickets_are_refused_by_name(game, count):
    with pytest.raises(RecipeFailed, match=f"allowed_counts has nothing for {count}; it has 10"):
        worked_out("multi_summon", kind="silver", count=count)


def test_counts_discount_and_bonus_are_parameters(game):
    """25 × 3 × (1 − 0.1) = 67.5, and 5 × 3 × 0.9 = 13.5."""
    change("claims.multi_summon.allowed_counts", [5, 25])
    change("claims.multi_summon.cost_per_summon", 3)
    change("claims.multi_summon.discount", "0.1")
    change("claims.multi_summon.bonus_tickets", {"25": 4})
    assert worked_out("multi_summon", kind="gold", count=25) == ({"ticket_gold": 29}, {"token_gold": 67})
    assert worked_out("multi_summon", kind="gold", count=5) == ({"ticket_gold": 5}, {"token_gold": 13})
    with pytest.raises(RecipeFailed, match="it has 5, 25"):
        worked_out("multi_summon", kind="gold", count=10)


def test_a_drop_takes_a_charge_and_gives_coins_by_class(game):
    assert worked_out("drop_execution") == ({"auric_coins": 5}, {"drop_charges": 1})
    assert worked_out("drop_execution", player_class="alchemist") == ({"auric_coins": 5}, {"drop_charges": 1})

    change("drop_system.class_bonus", {"alchemist": "1.5", "miner": 2})
    assert worked_out("drop_execution", player_class="alchemist")[0] == {"auric_coins": 7}
    assert worked_out("drop_execution", player_class="miner")[0] == {"auric_coins": 10}
    assert worked_out("drop_execution", player_class="bard")[0] == {"auric_coins": 5}
    change("drop_system.auric_coin_per_drop", 9)
    change("claims.drop_execution.charges", 2)
    assert worked_out("drop_execution", player_class="alchemist") == ({"auric_coins": 13}, {"drop_charges": 2})


@pytest.mark.parametrize("stat", ["energy", "stamina", "hp"])
def test_stat_points_become_points_of_a_stat(game, stat):
    assert worked_out("stat_points", stat=stat, points=3) == ({f"{stat}_points": 3}, {"stat_points": 3})


@pytest.mark.parametrize(("stat", "points"), [("luck", 1), ("energy", 0), ("hp", -1), ("hp", 1.5), ("stat", 1)])
def test_stat_points_go_where_they_may(game, stat, points):
    with pytest.raises(ContextRefused):
        worked_out("stat_points", stat=stat, points=points)


# --------------------------------------------------------------------------------------------------------------- setup


def test_each_recipe_passes_the_checks_of_the_admin(game, make_user):
    for slug in CLAIM_TYPES:
        recipe = recipe_of(slug)
        assert compile_recipe(recipe.claim_type, recipe.lines).claim_type.title
        assert preview(recipe, recipe.claim_type.sample_context)


def test_more_may_stand_in_a_context_than_the_recipe_needs(game):
    for slug in CLAIM_TYPES:
        recipe = recipe_of(slug)
        more = {**recipe.claim_type.sample_context, "client": "4.2"}
        assert preview(recipe, more) == preview(recipe, recipe.claim_type.sample_context)


def test_setup_creates_what_is_missing_and_keeps_what_was_changed(game):
    assert create_default_claim_types() == []
    pve = ClaimType.objects.get(slug="pve_victory")
    pve.title = "Slain"
    pve.save()
    pve.lines.first().delete()
    ClaimType.objects.get(slug="stat_points").delete()

    call_command("setup_defaults", verbosity=0)
    pve.refresh_from_db()
    assert (pve.title, pve.lines.count()) == ("Slain", 1)
    assert worked_out("stat_points", stat="hp", points=1)[1] == {"stat_points": 1}


def test_what_ships_says_so_in_its_history(game):
    for model in (ClaimType, Line):
        assert set(model.history.values_list("history_change_reason", "history_user")) == {("default", None)}


@pytest.mark.parametrize("winner", [["alice"], {"a": 1}, None, 5, True])
def test_a_winner_who_is_no_username_is_unknown(game, alice, bob, winner):
    with pytest.raises(UnknownParty):
        claim(None, "pvp_victory", None, {"winner": winner, "loser": "bob", "encounter_id": "e1"})
