"""The example client against the product itself, over a network that loses requests and answers."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
from django.conf import settings
from django.db import transaction

from rewards.access.services import create_api_key, create_token
from rewards.claims.models import Claim, ClaimType
from rewards.ledger import services as ledger
from rewards.ledger.models import Currency, Transfer
from tests.site.unreliable import DROP, HALF, REFUSE, unreliable_proxy

pytestmark = pytest.mark.django_db(transaction=True)

PATH = Path(settings.BASE_DIR) / "docs" / "examples" / "rewards_client.py"
WOLF = {"enemy_id": "wolf", "encounter_id": "e-77"}


@pytest.fixture(scope="module")
def example():
    spec = spec_from_file_location("rewards_client", PATH)
    module = sys.modules["rewards_client"] = module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["rewards_client"]


@pytest.fixture
def network(live_server):
    with unreliable_proxy(live_server.url) as proxy:
        yield proxy


@pytest.fixture
def pauses():
    """The seconds that the client would have slept."""
    return []


@pytest.fixture
def game(example, network, pauses):
    """The client of a game's server."""
    _, secret = create_api_key("game", ["claims:write"], by=None)
    return example.RewardsClient(network.url, api_key=secret, sleep=pauses.append)


@pytest.fixture
def alices(example, network, pauses, alice):
    _, secret = create_token(alice)
    return example.RewardsClient(network.url, token=secret, sleep=pauses.append)


@pytest.fixture
def victory(alice):
    lumees = Currency.objects.create(code="lumees")
    with transaction.atomic():
        pve = ClaimType.objects.create(slug="pve_victory", key_pattern="<enemy_id>_<encounter_id>")
        pve.lines.create(currency="lumees", amount="100")
    return lumees


@pytest.fixture
def hundred_coins(alice, bob, coins):
    with transaction.atomic():
        ledger.credit(alice, coins, 10000, "won", "won")


def holdings(user, currency) -> int:
    with transaction.atomic():
        return ledger.balance(ledger.user_account(user, currency))


class TestClaims:
    def test_a_claim(self, example, game, victory):
        claim = game.claim("pve_victory", WOLF, user="alice")

        assert claim.credits == [example.Amount("alice", "lumees", Decimal(100))]
        assert (claim.claim_key, claim.debits, claim.balances) == ("wolf_e-77", [], {"lumees": Decimal(100)})
        assert not claim.repeated

    def test_claimed_again_it_is_what_it_was(self, game, victory, alice):
        first, again = (game.claim("pve_victory", WOLF, user="alice") for _ in range(2))

        assert (first.claim_id, first.credits, first.balances) == (again.claim_id, again.credits, again.balances)
        assert (first.repeated, again.repeated) == (False, True)
        assert holdings(alice, victory) == 100

    @pytest.mark.parametrize(
        ("fates", "passed_on"), [([DROP], 2), ([HALF], 2), ([REFUSE], 1), ([DROP, HALF, REFUSE, DROP], 4)]
    )
    def test_whatever_gets_lost_the_deed_is_rewarded_once(
        self, game, network, victory, alice, pauses, fates, passed_on
    ):
        network.fates = [*fates]

        claim = game.claim("pve_victory", WOLF, user="alice")

        assert claim.repeated == (fates != [REFUSE])
        assert claim.balances == {"lumees": Decimal(100)}
        assert (network.passed_on, len(pauses)) == (passed_on, len(fates))
        assert (Claim.objects.count(), holdings(alice, victory)) == (1, 100)

    @pytest.mark.parametrize("status", [429, 502, 503, 504])
    def test_who_is_told_to_wait_waits(self, game, network, victory, pauses, status):
        network.fates = [(status, "7"), (status, "3")]

        assert not game.claim("pve_victory", WOLF, user="alice").repeated
        assert [pause >= least for pause, least in zip(pauses, (7, 3), strict=True)] == [True, True]

    def test_until_a_date_as_well(self, game, network, victory, pauses):
        network.fates = [(503, format_datetime(datetime.now(UTC) + timedelta(seconds=20), usegmt=True))]

        game.claim("pve_victory", WOLF, user="alice")

        assert 15 < pauses[0] <= 20

    def test_when_patience_ends_the_same_deed_can_be_claimed_later(self, example, game, network, victory, alice):
        network.fates, game.patience_seconds = [DROP], 0
        with pytest.raises(example.Unanswered):
            game.claim("pve_victory", WOLF, user="alice")

        assert game.claim("pve_victory", WOLF, user="alice").repeated
        assert holdings(alice, victory) == 100

    def test_a_refusal_is_told_at_once(self, example, game, victory, pauses):
        with pytest.raises(example.Refused) as refused:
            game.claim("pve_victory", WOLF, user="nobody")

        assert (refused.value.status, refused.value.code, pauses) == (422, "unknown_user", [])


class TestTransfers:
    def test_an_answer_that_is_lost_moves_nothing_twice(self, alices, network, alice, bob, coins, hundred_coins):
        network.fates = [DROP, HALF]

        answer = alices.transfer("bob", "coins", Decimal("25.50"), key="present-1", note="Thank you")

        assert answer["amount"] == "25.50"
        assert network.passed_on == 3
        assert (holdings(alice, coins), holdings(bob, coins)) == (7450, 2550)
        assert Transfer.objects.filter(credit_account__user=bob).count() == 1

    def test_who_has_too_little_is_told_at_once(self, example, alices, bob, coins, hundred_coins, pauses):
        with pytest.raises(example.Refused, match="insufficient_funds"):
            alices.transfer("bob", "coins", Decimal("100.01"), key="present-1")

        assert pauses == []

    def test_a_key_that_stands_for_another_transfer_is_told_at_once(self, example, alices, hundred_coins, pauses):
        alices.transfer("bob", "coins", Decimal(1), key="present-1")

        with pytest.raises(example.Refused, match="idempotency_conflict"):
            alices.transfer("bob", "coins", Decimal(2), key="present-1")
        assert pauses == []


class TestReading:
    def test_the_profile(self, alices, network, hundred_coins):
        network.fates = [HALF]

        assert alices.profile()["balances"] == {"coins": "100.00"}

    def test_a_statement_is_read_page_by_page(self, alices, network, alice, coins):
        with transaction.atomic():
            for number in range(501):
                ledger.credit(alice, coins, 100, f"won:{number}", str(number))
        network.fates = [DROP]

        lines = list(alices.statement("coins"))

        assert [line["reason"] for line in lines] == [str(number) for number in reversed(range(501))]
        assert network.passed_on == 3

    def test_bad_credentials_are_told_at_once(self, example, network, pauses, db):
        stranger = example.RewardsClient(network.url, token="rwt_unknown", sleep=pauses.append)

        with pytest.raises(example.Refused) as refused:
            stranger.profile()
        assert (refused.value.status, pauses) == (401, [])
