"""The player services by name: what each moves, a second call, refusals, and failures anywhere in between."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.apps import apps
from django.db import DatabaseError, OperationalError, connection, transaction

from rewards.claims import economy
from rewards.claims.charges import AboveHardCap, Charges, charges
from rewards.claims.economy import DerivedStats
from rewards.claims.errors import AlreadyClaimed, ContextRefused, InvalidKey, UnknownCurrency
from rewards.claims.models import ChargeClock, Claim
from rewards.common.amounts import InvalidAmount
from rewards.common.errors import ReasonMissing
from rewards.ledger.errors import (
    IdempotencyConflict,
    InactiveCurrency,
    InsufficientFunds,
    NotTransferable,
    SameAccount,
)
from rewards.ledger.models import Account, Currency, Journal
from rewards.parameters.services import set_parameter
from tests.rewards.promises import broken_promises

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("game")]

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def alice(make_user):
    """She has played for a while: some of everything, drop charges at their maximum."""
    alice = make_user("alice", date_joined=NOON - 99 * HOUR)
    Currency.objects.create(code="shard_fire")
    Currency.objects.create(code="gems", decimals=2, transferable=True)
    wealth = {"gems": 100, "xp": 100, "shard_fire": 100, "token_bronze": 100, "stat_points": 100}
    for currency, amount in wealth.items():
        economy.add_resource(alice, currency, amount, key=f"opening-{currency}", reason="opening balance")
    return alice


@pytest.fixture
def bob(make_user):
    return make_user("bob", date_joined=NOON)


def held(user) -> dict[str, str]:
    """Currency → balance in units, of all that is not zero."""
    accounts = Account.objects.filter(user=user).exclude(balance=0).select_related("currency")
    return {account.currency.code: account.currency.to_units(account.balance) for account in accounts}


def change(user, deed: Callable[[], Any]) -> dict[str, int]:
    """What a deed changes in minor units, by currency."""
    before = dict(Account.objects.filter(user=user).values_list("currency__code", "balance"))
    deed()
    after = dict(Account.objects.filter(user=user).values_list("currency__code", "balance"))
    changes = {code: balance - before.get(code, 0) for code, balance in after.items()}
    return {code: amount for code, amount in changes.items() if amount}


def operators_set(key: str, value: Any) -> None:
    set_parameter(key, value, actor=None, reason="test")


# ----------------------------------------------------------------------------------------- every service, by name


@dataclass(frozen=True)
class Deed:
    """A call, and what it changes for Alice in minor units. `do` may be given another key and amount."""

    do: Callable[..., Any]
    changes: dict[str, int]


POSTINGS = {
    "add_resource": Deed(
        lambda alice, bob, amount="2.50", **about: economy.add_resource(alice, "gems", amount, **about), {"gems": 250}
    ),
    "subtract_resource": Deed(
        lambda alice, bob, amount="2.50", **about: economy.subtract_resource(alice, "gems", amount, **about),
        {"gems": -250},
    ),
    "transfer_resource": Deed(
        lambda alice, bob, amount="2.50", **about: economy.transfer_resource(alice, bob, "gems", amount, **about),
        {"gems": -250},
    ),
    "add_shards": Deed(
        lambda alice, bob, amount=7, **about: economy.add_shards(alice, "fire", amount, **about), {"shard_fire": 7}
    ),
    "subtract_shards": Deed(
        lambda alice, bob, amount=7, **about: economy.subtract_shards(alice, "fire", amount, **about),
        {"shard_fire": -7},
    ),
    "add_xp": Deed(lambda alice, bob, amount=40, **about: economy.add_xp(alice, amount, **about), {"xp": 40}),
    "spend_tokens": Deed(
        lambda alice, bob, amount=3, **about: economy.spend_tokens(alice, "bronze", amount, **about),
        {"token_bronze": -3},
    ),
    "add_drop_charges": Deed(
        lambda alice, bob, amount=2, **about: economy.add_drop_charges(alice, amount, at=NOON, **about),
        {"drop_charges": 3 + 2},  # three had regenerated and were not posted yet
    ),
    "award_floor_tokens": Deed(
        lambda alice, bob, amount=5, **about: economy.award_floor_tokens(alice, amount, **about), {"token_bronze": 1}
    ),
}

CLAIMS = {
    "finalize_ascension_victory": Deed(
        lambda alice, bob: economy.finalize_ascension_victory(alice, 50, "e1", at=NOON),
        {"lumees": 1109, "xp": 739, "token_gold": 1 + 3, "token_platinum": 1},
    ),
    "finalize_pvp_victory": Deed(
        lambda alice, bob: economy.finalize_pvp_victory(alice, bob, "e1", at=NOON), {"lumees": 50, "xp": 25}
    ),
    "finalize_pve_victory": Deed(
        lambda alice, bob: economy.finalize_pve_victory(alice, "rat", "e1", at=NOON), {"lumees": 100, "xp": 50}
    ),
    "finalize_matron_victory": Deed(
        lambda alice, bob: economy.finalize_matron_victory(alice, 3, "e1", boss=True, at=NOON),
        {"lumees": 6000, "xp": 600, "drop_charges": 3 + 1, "fusion_catalysts": 1},
    ),
    "claim_daily_rewards": Deed(
        lambda alice, bob: economy.claim_daily_rewards(alice, at=NOON), {"lumees": 100, "xp": 50}
    ),
    "redeem_token_for_summon": Deed(
        lambda alice, bob: economy.redeem_token_for_summon(alice, "bronze", key="r1", at=NOON),
        {"token_bronze": -1, "ticket_bronze": 1},
    ),
    "redeem_tokens_for_multi_summon": Deed(
        lambda alice, bob: economy.redeem_tokens_for_multi_summon(alice, "bronze", 10, key="r1", at=NOON),
        {"token_bronze": -10, "ticket_bronze": 10},
    ),
    "execute_drop": Deed(
        lambda alice, bob: economy.execute_drop(alice, key="r1", at=NOON), {"auric_coins": 5, "drop_charges": 3 - 1}
    ),
    "spend_stat_points": Deed(
        lambda alice, bob: economy.spend_stat_points(alice, "energy", 4, key="r1", at=NOON),
        {"stat_points": -4, "energy_points": 4},
    ),
}

ABOUT = {"key": "order-1", "reason": "a test"}


@pytest.mark.parametrize("name", POSTINGS)
def test_a_posting_moves_what_it_says_and_leaves_its_journal(name, alice, bob):
    deed = POSTINGS[name]
    assert change(alice, lambda: deed.do(alice, bob, **ABOUT)) == deed.changes
    journal = Journal.objects.get(key=f"economy:{name}:{alice.pk}:order-1")
    assert journal.reason == "a test"
    assert broken_promises() == []


@pytest.mark.parametrize("name", POSTINGS)
def test_the_same_posting_again_is_the_first_journal_and_moves_nothing(name, alice, bob):
    do = POSTINGS[name].do
    first = do(alice, bob, **ABOUT)
    assert change(alice, lambda: do(alice, bob, **ABOUT)) == {}
    assert do(alice, bob, **ABOUT) == first


@pytest.mark.parametrize("name", POSTINGS)
def test_another_amount_under_the_same_key_is_a_conflict(name, alice, bob):
    do = POSTINGS[name].do
    do(alice, bob, **ABOUT)
    before = held(alice)
    with pytest.raises(IdempotencyConflict):
        do(alice, bob, amount=50, **ABOUT)
    assert held(alice) == before


@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_gives_and_takes_what_its_recipe_says_once(name, alice, bob):
    deed = CLAIMS[name]
    made: list[Claim] = []
    assert change(alice, lambda: made.append(deed.do(alice, bob))) == deed.changes
    before = every_row()
    with pytest.raises(AlreadyClaimed) as refusal:
        deed.do(alice, bob)
    assert every_row() == before
    assert [refusal.value.claim] == made == list(Claim.objects.all())
    assert broken_promises() == []


# ------------------------------------------------------------------------------------------------------ failures

STEPS = {
    "claim row": 'INSERT INTO "rewards_claim"',
    "accounts": "rewards_account",
    "journal": 'INSERT INTO "rewards_journal"',
    "transfers": "rewards_transfer",
    "claim filled": 'UPDATE "rewards_claim"',
    "audit": 'INSERT INTO "rewards_auditevent"',
    "end": "RELEASE SAVEPOINT",
}


def every_row() -> dict[str, list[tuple]]:
    """Every table of the app, in order."""
    models = apps.get_app_config("rewards").get_models(include_auto_created=True)
    return {model._meta.label: list(model._base_manager.order_by("pk").values_list()) for model in models}


@contextmanager
def connection_lost_at_a_new_place(places: list[str]) -> Iterator[None]:
    """Raise in place of the first statement that is not among `places` yet, and add it to them.

    A place is the text of a statement and how often it came before. Counting statements would not do: a cache that
    was filled by one try moves the numbers of the next.
    """
    seen: Counter[str] = Counter()
    lost = False

    def execute_or_lose(execute, sql, params, many, context):
        nonlocal lost
        text = re.sub(r"SAVEPOINT .*", "SAVEPOINT", sql)
        seen[text] += 1
        place = f"{text} #{seen[text]}"
        if not lost and place not in places:
            lost = True
            places.append(place)
            raise OperationalError("the connection was lost")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(execute_or_lose):
        yield


def fail_at_each_statement(deed: Callable[[], Any]) -> list[str]:
    """Do the deed again and again, each time with another statement failing, and look that nothing remains of it.

    Returns the statements that failed; the deed has been done then.
    """
    before, places = every_row(), []
    while len(places) < 200:
        try:
            with transaction.atomic(), connection_lost_at_a_new_place(places):
                deed()
        except DatabaseError:
            assert every_row() == before, f"something remains of the try that failed at {places[-1]}"
        else:
            return places
    raise AssertionError("it never ended")


@pytest.mark.parametrize("name", CLAIMS)
def test_nothing_remains_of_a_claim_that_fails_at_any_statement(name, alice, bob):
    deed = CLAIMS[name]
    failed: list[str] = []
    changes = change(alice, lambda: failed.extend(fail_at_each_statement(lambda: deed.do(alice, bob))))
    missed = [step for step, sql in STEPS.items() if not any(sql in statement for statement in failed)]
    assert missed == []
    assert changes == deed.changes
    assert broken_promises() == []


@pytest.mark.parametrize("name", POSTINGS)
def test_nothing_remains_of_a_posting_that_fails_at_any_statement(name, alice, bob):
    deed = POSTINGS[name]
    changes = change(alice, lambda: fail_at_each_statement(lambda: deed.do(alice, bob, **ABOUT)))
    assert changes == deed.changes


def test_nothing_remains_of_an_upgrade_that_fails_at_any_statement(alice):
    failed = fail_at_each_statement(lambda: economy.increase_max_charges(alice, 5, reason="bought", at=NOON))
    assert any('UPDATE "rewards_chargeclock"' in sql for sql in failed)
    assert charges(alice, NOON).maximum == 5


def test_services_in_one_transaction_happen_together_or_not_at_all(alice, bob):
    """The seed's red flag: XP without coins."""
    before = every_row()

    def win() -> None:
        economy.add_xp(alice, 500, key="e1", reason="victory")
        economy.finalize_pve_victory(alice, "rat", "e1", at=NOON)
        economy.add_drop_charges(alice, 1, key="e1", reason="victory", at=NOON)
        economy.subtract_resource(bob, "gems", 1, key="e1", reason="he has none")

    with pytest.raises(InsufficientFunds), transaction.atomic():
        win()
    assert every_row() == before


# ------------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    "spend",
    [
        lambda user: economy.subtract_resource(user, "gems", 1, **ABOUT),
        lambda user: economy.subtract_shards(user, "fire", 1, **ABOUT),
        lambda user: economy.spend_tokens(user, "bronze", 1, **ABOUT),
        lambda user: economy.redeem_token_for_summon(user, "bronze", key="r1", at=NOON),
        lambda user: economy.redeem_tokens_for_multi_summon(user, "bronze", 10, key="r1", at=NOON),
        lambda user: economy.execute_drop(user, key="r1", at=NOON),
        lambda user: economy.spend_stat_points(user, "hp", 1, key="r1", at=NOON),
    ],
)
def test_nobody_spends_what_he_does_not_have_and_may_try_again(spend, alice, bob):
    """Bob has just joined: he has nothing, not even drop charges."""
    before = every_row()
    with pytest.raises(InsufficientFunds):
        spend(bob)
    assert every_row() == before
    for currency in ("gems", "shard_fire", "token_bronze", "stat_points", "drop_charges"):
        economy.add_resource(bob, currency, 10, key=f"gift-{currency}", reason="a gift", at=NOON)
    spend(bob)  # the refusal has not used the key up


def test_one_key_serves_each_service_and_each_player(alice, bob):
    economy.add_xp(alice, 1, key="e1", reason="")
    economy.add_xp(bob, 2, key="e1", reason="")
    economy.add_resource(alice, "xp", 3, key="e1", reason="")
    assert (held(alice)["xp"], held(bob)["xp"]) == ("104", "2")


@pytest.mark.parametrize("key", ["", " ", " e1", "e1\n", "e\x00", "x" * 200, None, 7])
@pytest.mark.parametrize("name", ["add_xp", "transfer_resource", "award_floor_tokens"])
def test_a_key_is_printable_and_short_enough(name, key, alice, bob):
    before = every_row()
    with pytest.raises(InvalidKey, match=r"1 to 1\d\d printable"):
        POSTINGS[name].do(alice, bob, key=key, reason="")
    assert every_row() == before


def test_the_longest_key_fits(alice):
    longest = 200 - len(f"economy:add_xp:{alice.pk}:")
    journal = economy.add_xp(alice, 1, key="x" * longest, reason="")
    assert len(Journal.objects.get(pk=journal.pk).key) == 200


@pytest.mark.parametrize("amount", [0, -1, "0.005", "NaN", "1e3", 1.5, True, "", None, 10**20])
def test_an_amount_is_above_zero_and_fits_the_currency(amount, alice):
    before = every_row()
    for service in (economy.add_resource, economy.subtract_resource):
        with pytest.raises(InvalidAmount):
            service(alice, "gems", amount, **ABOUT)
    assert every_row() == before


def test_amounts_are_in_currency_units(alice):
    economy.add_resource(alice, "gems", "0.01", key="a", reason="")
    economy.add_resource(alice, "gems", 1, key="b", reason="")
    assert held(alice)["gems"] == "101.01"


@pytest.mark.parametrize(
    "post",
    [
        lambda user: economy.add_resource(user, "no_such", 1, **ABOUT),
        lambda user: economy.add_shards(user, "no_such", 1, **ABOUT),
        lambda user: economy.spend_tokens(user, "wood", 1, **ABOUT),
    ],
)
def test_a_currency_must_be_there(post, alice):
    with pytest.raises(UnknownCurrency):
        post(alice)


def test_a_currency_must_be_active(alice):
    Currency.objects.filter(code="gems").update(active=False)
    with pytest.raises(InactiveCurrency):
        economy.add_resource(alice, "gems", 1, **ABOUT)


def test_players_send_each_other_only_what_may_be_sent(alice, bob):
    with pytest.raises(NotTransferable):
        economy.transfer_resource(alice, bob, "xp", 1, **ABOUT)
    with pytest.raises(SameAccount):
        economy.transfer_resource(alice, alice, "gems", 1, **ABOUT)
    economy.transfer_resource(alice, bob, "gems", 30, **ABOUT)
    assert (held(alice)["gems"], held(bob)["gems"]) == ("70.00", "30.00")


# --------------------------------------------------------------------------------------------------- drop charges


def test_charges_that_are_given_lie_above_the_maximum_and_are_spent_first(alice):
    economy.add_drop_charges(alice, 4, key="gift", reason="a gift", at=NOON)
    assert charges(alice, NOON) == Charges(7, 3, None)
    for number in range(5):
        economy.execute_drop(alice, key=f"drop-{number}", at=NOON)
    assert charges(alice, NOON) == Charges(2, 3, NOON + HOUR)


@pytest.mark.parametrize("service", ["subtract_resource", "transfer_resource"])
def test_charges_that_are_taken_otherwise_start_the_timer_too(service, alice, bob):
    Currency.objects.filter(code="drop_charges").update(transferable=True)
    if service == "subtract_resource":
        economy.subtract_resource(alice, "drop_charges", 1, at=NOON, **ABOUT)
    else:
        economy.transfer_resource(alice, bob, "drop_charges", 1, at=NOON, **ABOUT)
    assert charges(alice, NOON) == Charges(2, 3, NOON + HOUR)


def test_a_matron_gives_her_charge_on_top_of_those_that_were_due(bob):
    economy.finalize_matron_victory(bob, 1, "e1", at=NOON + 3 * HOUR)
    assert charges(bob, NOON + 3 * HOUR) == Charges(4, 3, None)


def test_a_drop_when_the_only_charge_has_just_come_back(bob):
    with pytest.raises(InsufficientFunds):
        economy.execute_drop(bob, key="r1", at=NOON + HOUR - timedelta(seconds=1))
    economy.execute_drop(bob, key="r1", at=NOON + HOUR)
    assert charges(bob, NOON + HOUR) == Charges(0, 3, NOON + 2 * HOUR)


def test_an_upgrade_is_named_by_its_goal_and_counts_once(alice):
    assert [economy.increase_max_charges(alice, 6, reason="bought", at=NOON) for _ in range(2)] == [6, 6]
    assert ChargeClock.objects.get(user=alice).extra_maximum == 3
    for to, error in ((11, AboveHardCap), (0, InvalidAmount)):
        with pytest.raises(error):
            economy.increase_max_charges(alice, to, reason="bought", at=NOON)
    with pytest.raises(ReasonMissing):
        economy.increase_max_charges(alice, 7, reason="", at=NOON)
    assert charges(alice, NOON + 99 * HOUR) == Charges(6, 6, None)


# --------------------------------------------------------------------------------------------------------- tokens


def tokens_of(floor: int, user) -> dict[str, int]:
    return change(user, lambda: economy.award_floor_tokens(user, floor, key=f"f{floor}", reason="a floor"))


@pytest.mark.parametrize(
    ("floor", "tokens"),
    [
        (1, {}),
        (5, {"token_bronze": 1}),
        (10, {"token_bronze": 1}),
        (11, {}),
        (15, {"token_silver": 1}),
        (25, {"token_silver": 1}),
        (30, {"token_gold": 1}),
        (50, {"token_gold": 4, "token_platinum": 1}),
        (55, {"token_platinum": 1}),
        (100, {"token_platinum": 4, "token_diamond": 1}),
        (105, {"token_diamond": 1}),
    ],
)
def test_tokens_of_a_floor(floor, tokens, alice):
    assert tokens_of(floor, alice) == tokens


def test_where_a_floor_gives_no_tokens_nothing_is_written(alice):
    before = every_row()
    assert economy.award_floor_tokens(alice, 7, **ABOUT) is None
    assert every_row() == before


def test_tokens_of_a_floor_are_those_of_the_victory_also_after_the_tables_change(alice, bob):
    operators_set("claims.ascension_victory.token_every_floors", 2)
    operators_set("claims.ascension_victory.milestone_tokens", {"4": {"diamond": 9}})
    for floor in (3, 4, 6, 12, 50):
        won = change(bob, lambda floor=floor: economy.finalize_ascension_victory(bob, floor, "e1", at=NOON))
        assert tokens_of(floor, alice) == {code: n for code, n in won.items() if code.startswith("token_")}
    assert held(alice)["token_diamond"] == "9"


@pytest.mark.parametrize("floor", [0, -5, "5", 2.5, None])
def test_a_floor_is_a_whole_number_from_one(floor, alice):
    with pytest.raises(ContextRefused):
        economy.award_floor_tokens(alice, floor, **ABOUT)


# ---------------------------------------------------------------------------------------------------------- stats


def test_stats_of_who_has_spent_no_points(bob):
    assert economy.derived_stats(bob) == DerivedStats(max_energy=100, max_stamina=100, max_hp=500)


def test_stats_grow_with_the_points(alice):
    for stat, points in (("energy", 3), ("stamina", 1), ("hp", 7)):
        economy.spend_stat_points(alice, stat, points, key=stat, at=NOON)
    assert economy.derived_stats(alice) == DerivedStats(max_energy=130, max_stamina=110, max_hp=850)


def test_stats_follow_the_parameters_at_once(alice):
    economy.spend_stat_points(alice, "hp", 2, key="hp", at=NOON)
    operators_set("player.progression.base_hp", 1000)
    operators_set("player.progression.hp_per_point", 75)
    operators_set("player.progression.base_energy", 1)
    operators_set("player.progression.base_stamina", 2)
    assert economy.derived_stats(alice) == DerivedStats(max_energy=1, max_stamina=2, max_hp=1150)


def test_a_point_of_another_player_counts_for_him_alone(alice, bob):
    economy.spend_stat_points(alice, "energy", 5, key="e", at=NOON)
    assert economy.derived_stats(bob).max_energy == 100
