"""The nine recipes that ship, through claim() into the ledger, at the numbers of the specification."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings

from rewards.claims.errors import (
    AlreadyClaimed,
    ContextRefused,
    KeyMismatch,
    KeyMissing,
    NotForUsers,
    RecipeFailed,
    UnknownParty,
)
from rewards.claims.models import Claim
from rewards.claims.services import claim, public_result
from rewards.ledger import services as ledger
from rewards.ledger.checks import run_checks
from rewards.ledger.errors import InsufficientFunds
from rewards.ledger.models import Account, Currency, Journal
from rewards.parameters.services import set_parameter

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("game")]

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def alice(make_user):
    return make_user("alice", date_joined=NOON)


@pytest.fixture(autouse=True)
def the_ledger_is_proved_after_each_story(db):
    yield
    assert [offender for finding in run_checks() for offender in finding.offenders] == []


def held(user) -> dict[str, int]:
    accounts = Account.objects.filter(user=user).exclude(balance=0)
    return dict(accounts.values_list("currency__code", "balance"))


def fund(user, **amounts: int) -> None:
    for code, amount in amounts.items():
        ledger.credit(user, Currency.objects.get(code=code), amount, f"fund:{user.pk}:{code}", "opening balance")


def amounts(lines: list[dict[str, str]], user: str = "alice") -> dict[str, int]:
    """Currency → the sum of what these lines of a result move for a user."""
    sums: dict[str, int] = {}
    for line in lines:
        if line["user"] == user:
            sums[line["currency"]] = sums.get(line["currency"], 0) + int(line["amount"])
    return sums


def operators_set(key: str, value: Any) -> None:
    set_parameter(key, value, actor=None, reason="test")


def refused_again(first: Claim, *arguments: Any, **named: Any) -> None:
    """The same claim again: told the first result, and nothing moves."""
    before = list(Account.objects.order_by("pk").values_list("pk", "balance"))
    with pytest.raises(AlreadyClaimed) as refusal:
        claim(*arguments, **named)
    assert public_result(refusal.value.claim) == public_result(first)
    assert list(Account.objects.order_by("pk").values_list("pk", "balance")) == before


# ------------------------------------------------------------------------------------------------------- ascension


@pytest.mark.parametrize(
    ("floor", "expected"),
    [
        # 15 × floor^1.1 and 10 × floor^1.1, rounded down
        (1, {"lumees": 15, "xp": 10}),
        (5, {"lumees": 88, "xp": 58, "token_bronze": 1}),
        (10, {"lumees": 188, "xp": 125, "token_bronze": 1}),
        (11, {"lumees": 209, "xp": 139}),
        (25, {"lumees": 517, "xp": 344, "token_silver": 1}),
        (50, {"lumees": 1109, "xp": 739, "token_gold": 1 + 3, "token_platinum": 1}),
        (100, {"lumees": 2377, "xp": 1584, "token_platinum": 1 + 3, "token_diamond": 1}),
        (101, {"lumees": 2403, "xp": 1602}),
        (105, {"lumees": 2508, "xp": 1672, "token_diamond": 1}),
    ],
)
def test_ascension_victory(floor, expected, alice):
    context = {"floor": floor, "encounter_id": "e1"}
    made = claim(alice, "ascension_victory", None, context, at=NOON)
    assert made.claim_key == f"floor_{floor}_e1"
    assert (amounts(made.result["credits"]), made.result["debits"]) == (expected, [])
    assert held(alice) == expected
    refused_again(made, alice, "ascension_victory", f"floor_{floor}_e1", context, at=NOON + DAY)


def test_lumees_of_every_floor_by_whole_numbers_alone(alice):
    """x = ⌊15 × floor^1.1⌋ means x^10 ≤ 15^10 × floor^11 < (x + 1)^10: no power of a fraction is needed to see it."""
    for floor in [*range(1, 40), 64, 99, 100, 101, 250, 1_000, 10_000]:
        made = claim(alice, "ascension_victory", None, {"floor": floor, "encounter_id": "e1"}, at=NOON)
        for code, base in (("lumees", 15), ("xp", 10)):
            amount = amounts(made.result["credits"])[code]
            assert amount**10 <= base**10 * floor**11 < (amount + 1) ** 10


def test_one_floor_in_two_encounters_is_two_deeds_and_a_key_of_another_floor_does_not_fit(alice):
    for encounter in ("e1", "e2"):
        claim(alice, "ascension_victory", None, {"floor": 1, "encounter_id": encounter}, at=NOON)
    assert held(alice) == {"lumees": 30, "xp": 20}
    with pytest.raises(KeyMismatch):
        claim(alice, "ascension_victory", "floor_100_e3", {"floor": 1, "encounter_id": "e3"}, at=NOON)


# ------------------------------------------------------------------------------------------------------------- PvP


def test_pvp_victory_rewards_both_once_whoever_is_said_to_have_won(alice, bob):
    context = {"winner": "alice", "loser": "bob", "encounter_id": "duel"}
    made = claim(None, "pvp_victory", None, context, at=NOON)
    assert (made.user, made.claim_key) == (alice, "duel")
    assert held(alice) == {"lumees": 50, "xp": 25}
    assert held(bob) == {"lumees": 10, "xp": 5}
    refused_again(made, None, "pvp_victory", "duel", {**context, "winner": "bob", "loser": "alice"}, at=NOON)
    refused_again(made, bob, "pvp_victory", None, context, at=NOON)


def test_pvp_victory_needs_two_players_who_exist(alice):
    with pytest.raises(UnknownParty, match="nobody"):
        claim(alice, "pvp_victory", None, {"winner": "alice", "loser": "nobody", "encounter_id": "duel"}, at=NOON)
    assert not Claim.objects.exists()


# ------------------------------------------------------------------------------------------------------------- PvE


def test_pve_victory(alice):
    context = {"enemy_id": "rat", "encounter_id": "e1"}
    made = claim(alice, "pve_victory", None, context, at=NOON)
    assert made.claim_key == "rat_e1"
    assert held(alice) == {"lumees": 100, "xp": 50}
    refused_again(made, alice, "pve_victory", None, context, at=NOON)


# ---------------------------------------------------------------------------------------------------------- matron


@pytest.mark.parametrize("boss", [False, True])
@pytest.mark.parametrize("sector", range(1, 8))
def test_matron_victory(sector, boss, alice):
    context = {"sector": sector, "boss": boss, "encounter_id": "m1"}
    made = claim(alice, "matron_victory", None, context, at=NOON)
    factor = sector * (2 if boss else 1)
    assert made.claim_key == "m1"
    assert held(alice) == {
        "lumees": 1000 * factor, "xp": 100 * factor, "drop_charges": 1, "fusion_catalysts": 1
    }  # fmt: skip
    refused_again(made, alice, "matron_victory", "m1", {**context, "sector": 7}, at=NOON)


def test_a_matron_is_no_boss_unless_the_context_says_so(alice):
    claim(alice, "matron_victory", None, {"sector": 2, "encounter_id": "m1"}, at=NOON)
    assert held(alice)["lumees"] == 2000


# ----------------------------------------------------------------------------------------------------- daily quest


def test_daily_quest_once_a_day_under_the_date_of_the_zone(alice):
    today = NOON.astimezone(settings.REWARDS_TIME_ZONE).date()
    made = claim(alice, "daily_quest", today.isoformat(), {}, by_user=True, at=NOON)
    assert held(alice) == {"lumees": 100, "xp": 50}
    refused_again(made, alice, "daily_quest", None, {}, by_user=True, at=NOON + timedelta(minutes=5))
    claim(alice, "daily_quest", None, {}, by_user=True, at=NOON + DAY)
    assert held(alice) == {"lumees": 200, "xp": 100}


@pytest.mark.parametrize("days", [-1, 1])
def test_no_other_day_can_be_claimed_today(days, alice):
    other = (NOON.astimezone(settings.REWARDS_TIME_ZONE) + days * DAY).date()
    with pytest.raises(KeyMismatch):
        claim(alice, "daily_quest", other.isoformat(), {}, by_user=True, at=NOON)
    assert held(alice) == {}


# --------------------------------------------------------------------------------------------------------- summons

METALS = ("bronze", "silver", "gold", "platinum", "diamond")


@pytest.mark.parametrize("kind", METALS)
def test_token_redemption(kind, alice):
    fund(alice, **{f"token_{kind}": 1})
    made = claim(alice, "token_redemption", "r1", {"kind": kind}, by_user=True, at=NOON)
    assert held(alice) == {f"ticket_{kind}": 1}
    assert made.result["balances"] == {f"token_{kind}": "0", f"ticket_{kind}": "1"}
    refused_again(made, alice, "token_redemption", "r1", {"kind": kind}, by_user=True, at=NOON)
    with pytest.raises(InsufficientFunds):
        claim(alice, "token_redemption", "r2", {"kind": kind}, by_user=True, at=NOON)
    assert [made] == list(Claim.objects.all())


def test_multi_summon(alice):
    fund(alice, token_gold=12)
    made = claim(alice, "multi_summon", "r1", {"kind": "gold", "count": 10}, by_user=True, at=NOON)
    assert held(alice) == {"token_gold": 2, "ticket_gold": 10}
    refused_again(made, alice, "multi_summon", "r1", {"kind": "gold", "count": 10}, by_user=True, at=NOON)
    with pytest.raises(InsufficientFunds):
        claim(alice, "multi_summon", "r2", {"kind": "gold", "count": 10}, by_user=True, at=NOON)
    assert held(alice) == {"token_gold": 2, "ticket_gold": 10}


@pytest.mark.parametrize("count", [1, 9, 11, 100])
def test_only_the_allowed_numbers_can_be_summoned_at_once(count, alice):
    fund(alice, token_gold=1000)
    with pytest.raises(RecipeFailed):
        claim(alice, "multi_summon", "r1", {"kind": "gold", "count": count}, by_user=True, at=NOON)
    operators_set("claims.multi_summon.allowed_counts", [10, count])
    claim(alice, "multi_summon", "r1", {"kind": "gold", "count": count}, by_user=True, at=NOON)
    assert held(alice) == {"token_gold": 1000 - count, "ticket_gold": count}


def test_a_discount_is_rounded_in_the_players_favour_and_bonuses_come_on_top(alice):
    fund(alice, token_gold=100)
    operators_set("claims.multi_summon.discount", "0.15")
    operators_set("claims.multi_summon.bonus_tickets", {"10": 2})
    claim(alice, "multi_summon", "r1", {"kind": "gold", "count": 10}, by_user=True, at=NOON)
    assert held(alice) == {"token_gold": 100 - 8, "ticket_gold": 12}  # ⌊8.5⌋


@pytest.mark.parametrize("kind", ["wood", "", "gold ", 1, None])
def test_there_are_no_other_kinds(kind, alice):
    with pytest.raises(ContextRefused):
        claim(alice, "token_redemption", "r1", {"kind": kind}, by_user=True, at=NOON)


# ----------------------------------------------------------------------------------------------------------- drops


def test_drop_execution_takes_a_charge_that_came_back(alice):
    made = claim(alice, "drop_execution", "r1", {}, by_user=True, at=NOON + timedelta(hours=2))
    assert held(alice) == {"auric_coins": 5, "drop_charges": 1}
    assert made.result["balances"] == {"auric_coins": "5", "drop_charges": "1"}
    refused_again(made, alice, "drop_execution", "r1", {}, by_user=True, at=NOON + timedelta(hours=2))


def test_without_a_charge_there_is_no_drop(alice):
    with pytest.raises(InsufficientFunds):
        claim(alice, "drop_execution", "r1", {}, by_user=True, at=NOON + timedelta(minutes=59))
    assert held(alice) == {}
    claim(alice, "drop_execution", "r1", {}, by_user=True, at=NOON + timedelta(minutes=60))
    assert held(alice) == {"auric_coins": 5}


@pytest.mark.parametrize(
    ("player_class", "coins"), [("alchemist", 7), ("miser", 2), ("knight", 5), ("", 5), ("Alchemist", 5)]
)
def test_some_classes_get_more_auric_coins(player_class, coins, alice):
    operators_set("drop_system.class_bonus", {"alchemist": "1.5", "miser": "0.5"})
    claim(alice, "drop_execution", "r1", {"player_class": player_class}, by_user=True, at=NOON + DAY)
    assert held(alice)["auric_coins"] == coins


# ----------------------------------------------------------------------------------------------------- stat points


@pytest.mark.parametrize("stat", ["energy", "stamina", "hp"])
def test_stat_points(stat, alice):
    fund(alice, stat_points=5)
    context = {"stat": stat, "points": 3}
    made = claim(alice, "stat_points", "r1", context, by_user=True, at=NOON)
    assert held(alice) == {"stat_points": 2, f"{stat}_points": 3}
    refused_again(made, alice, "stat_points", "r1", {"stat": stat, "points": 1}, by_user=True, at=NOON)
    with pytest.raises(InsufficientFunds):
        claim(alice, "stat_points", "r2", context, by_user=True, at=NOON)


@pytest.mark.parametrize("context", [{"stat": "luck", "points": 1}, {"stat": "hp", "points": 0}, {"stat": "hp"}, {}])
def test_stat_points_go_into_what_there_is(context, alice):
    fund(alice, stat_points=5)
    with pytest.raises(ContextRefused):
        claim(alice, "stat_points", "r1", context, by_user=True, at=NOON)
    assert held(alice) == {"stat_points": 5}


# ----------------------------------------------------------------------------------------------------- who, and key

VICTORIES = {
    "ascension_victory": {"floor": 1000, "encounter_id": "e1"},
    "pvp_victory": {"winner": "alice", "loser": "bob", "encounter_id": "e1"},
    "pve_victory": {"enemy_id": "rat", "encounter_id": "e1"},
    "matron_victory": {"sector": 7, "boss": True, "encounter_id": "e1"},
}
REQUESTS = {
    "token_redemption": {"kind": "gold"},
    "multi_summon": {"kind": "gold", "count": 10},
    "drop_execution": {},
    "stat_points": {"stat": "hp", "points": 1},
}


@pytest.mark.parametrize("claim_type", VICTORIES)
def test_no_player_awards_himself_a_victory(claim_type, alice, bob):
    with pytest.raises(NotForUsers):
        claim(alice, claim_type, None, VICTORIES[claim_type], by_user=True, at=NOON)
    assert not Journal.objects.exists()
    claim(alice, claim_type, None, VICTORIES[claim_type], at=NOON)


@pytest.mark.parametrize("claim_type", VICTORIES)
def test_a_victory_needs_its_encounter(claim_type, alice, bob):
    context = {name: value for name, value in VICTORIES[claim_type].items() if name != "encounter_id"}
    with pytest.raises(ContextRefused):
        claim(alice, claim_type, "e1", context, at=NOON)


@pytest.mark.parametrize("claim_type", REQUESTS)
def test_a_request_needs_a_key_of_the_client(claim_type, alice):
    with pytest.raises(KeyMissing):
        claim(alice, claim_type, None, REQUESTS[claim_type], by_user=True, at=NOON)


# ------------------------------------------------------------------------------------------------ numbers are data


@pytest.mark.parametrize(
    ("parameter", "value", "claim_type", "context", "code", "amount"),
    [
        ("claims.ascension_victory.lumees_base", 20, "ascension_victory", {"floor": 1}, "lumees", 20),
        ("claims.ascension_victory.xp_exponent", 2, "ascension_victory", {"floor": 3}, "xp", 90),
        ("combat.rewards.base_lumees", 250, "pve_victory", {"enemy_id": "rat"}, "lumees", 250),
        ("claims.pve_victory.xp", 0, "pve_victory", {"enemy_id": "rat"}, "xp", 0),
        ("claims.matron_victory.sector_growth", "0.25", "matron_victory", {"sector": 2}, "lumees", 1250),
        ("claims.matron_victory.boss_factor", 3, "matron_victory", {"sector": 1, "boss": True}, "xp", 300),
        ("claims.pvp_victory.winner_xp", 99, "pvp_victory", {"winner": "alice", "loser": "bob"}, "xp", 99),
        ("claims.daily_quest.lumees", 7, "daily_quest", {}, "lumees", 7),
    ],
)
def test_a_parameter_counts_for_the_next_claim(parameter, value, claim_type, context, code, amount, alice, bob):
    claim(alice, claim_type, None, {**context, "encounter_id": "before"}, at=NOON)
    before = held(alice).get(code, 0)
    operators_set(parameter, value)
    claim(alice, claim_type, None, {**context, "encounter_id": "after"}, at=NOON + DAY)
    assert held(alice).get(code, 0) - before == amount
