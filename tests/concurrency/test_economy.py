"""Everything that can happen to one player at once happens, each once, and nobody waits for another crosswise."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from django.db import transaction

from rewards.claims import economy
from rewards.claims.charges import regenerate
from rewards.claims.errors import AlreadyClaimed
from rewards.claims.models import Claim
from rewards.claims.setup import create_default_claim_types
from rewards.ledger.models import Account
from rewards.management.commands.setup_defaults import create_missing_currencies
from tests.concurrency.conftest import broken_promises
from tests.concurrency.racing import at_once

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
PLAYERS = 12


@pytest.fixture(autouse=True)
def game(db):
    create_missing_currencies()
    create_default_claim_types()


def look(player) -> None:
    """As a profile does when it is read."""
    with transaction.atomic():
        regenerate(player, NOON)


def test_the_first_minute_of_a_player_in_which_all_comes_at_once(make_user):
    """None of his accounts stands yet: whoever needs one makes it, in whatever order the recipes name them."""
    for number in range(PLAYERS):
        player = make_user(f"player-{number}", date_joined=NOON - timedelta(days=1))
        deeds = [
            partial(economy.finalize_ascension_victory, player, 50, f"a{number}", at=NOON),
            partial(economy.finalize_matron_victory, player, 1, f"m{number}", at=NOON),
            partial(economy.finalize_pve_victory, player, "rat", f"p{number}", at=NOON),
            partial(economy.claim_daily_rewards, player, at=NOON),
            partial(economy.execute_drop, player, key="r1", at=NOON),
            partial(economy.add_drop_charges, player, 2, key="gift", reason="a gift", at=NOON),
        ]
        results = at_once(*deeds, *deeds, partial(look, player), partial(look, player))
        errors = [each for each in results if isinstance(each, Exception) and not isinstance(each, AlreadyClaimed)]
        assert errors == []
        assert Claim.objects.filter(user=player).count() == 5
        held = dict(Account.objects.filter(user=player).values_list("currency__code", "balance"))
        assert held == {
            "lumees": 1109 + 1000 + 100 + 100,
            "xp": 739 + 100 + 50 + 50,
            "token_gold": 4,
            "token_platinum": 1,
            "drop_charges": 3 + 1 + 2 - 1,
            "fusion_catalysts": 1,
            "auric_coins": 5,
        }
    assert broken_promises() == []


def test_players_who_send_each_other_charges_and_fight_each_other(make_user):
    alice, bob = (make_user(name, date_joined=NOON - timedelta(days=1)) for name in ("alice", "bob"))
    works = []
    for number in range(8):
        winner, loser = (alice, bob) if number % 2 else (bob, alice)
        works += [
            partial(economy.finalize_pvp_victory, winner, loser, f"duel-{number}", at=NOON),
            partial(economy.finalize_matron_victory, loser, 2, f"m{number}", at=NOON),
        ]
    results = at_once(*works)
    assert [each for each in results if isinstance(each, Exception)] == []
    for player in (alice, bob):
        held = dict(Account.objects.filter(user=player).values_list("currency__code", "balance"))
        assert held == {
            "lumees": 4 * 50 + 4 * 10 + 4 * 2000,
            "xp": 4 * 25 + 4 * 5 + 4 * 200,
            "drop_charges": 3 + 4,
            "fusion_catalysts": 4,
        }
    assert broken_promises() == []
