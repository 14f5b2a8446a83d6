"""POST /api/claims/{claim_type}: each deed once, over HTTP; what a user's own client can and cannot get."""

from __future__ import annotations

from functools import partial

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from rewards.access.models import IdempotentAnswer, Right
from rewards.claims.models import Claim, ClaimType, Line
from rewards.ledger.models import Journal
from tests.concurrency.racing import at_once

pytestmark = pytest.mark.django_db

WOLF = {"enemy_id": "wolf", "encounter_id": "e-77"}


def recipe(slug: str, *lines: tuple[str, str, str], **fields) -> ClaimType:
    """A claim type with lines (direction, amount, currency)."""
    claim_type = ClaimType.objects.create(slug=slug, **fields)
    for order, (direction, amount, currency) in enumerate(lines):
        Line.objects.create(claim_type=claim_type, order=order, direction=direction, amount=amount, currency=currency)
    return claim_type


@pytest.fixture
def victory(coins, points) -> ClaimType:
    """12.50 coins and 3 points, for machines, under the key that the context gives."""
    lines = ("credit", "12.50", "coins"), ("credit", "3", "points")
    return recipe("victory", *lines, key_pattern="<enemy_id>_<encounter_id>")


@pytest.fixture
def shop(coins, points) -> ClaimType:
    """Points for two coins each; users may come themselves."""
    return recipe("shop", ("debit", "2 * count", "coins"), ("credit", "count", "points"), callers="user")


@pytest.fixture
def game(as_machine):
    return as_machine(Right.CLAIMS_WRITE)


def post(client, claim_type: str, key: str | None = None, **body):
    headers = {"Idempotency-Key": key} if key else {}
    return client.post(f"/api/claims/{claim_type}", body, content_type="application/json", headers=headers)


def nothing_happened() -> bool:
    return not Claim.objects.exists() and not Journal.objects.filter(kind="claim").exists()


class TestMachines:
    def test_a_deed_is_rewarded(self, game, alice, coins, points, victory, balance):
        answer = post(game, "victory", user="alice", context=WOLF)

        assert answer.status_code == 201
        assert answer.json() == {
            "claim_id": Claim.objects.get().pk,
            "claim_type": "victory",
            "claim_key": "wolf_e-77",
            "credits": [
                {"user": "alice", "currency": "coins", "amount": "12.50"},
                {"user": "alice", "currency": "points", "amount": "3"},
            ],
            "debits": [],
            "balances": {"coins": "12.50", "points": "3"},
        }
        assert (balance(alice, coins), balance(alice, points)) == (1250, 3)

    def test_again_it_is_told_the_first_result(self, game, alice, coins, victory, balance):
        first = post(game, "victory", user="alice", context=WOLF).json()
        post(game, "victory", user="alice", context=WOLF | {"encounter_id": "e-78"})

        again = post(game, "victory", user="alice", context=WOLF, claim_key="wolf_e-77")

        assert (again.status_code, again["Content-Type"]) == (409, "application/problem+json")
        assert (again.json()["code"], again.json()["claim"]) == ("already_claimed", first)
        assert balance(alice, coins) == 2500

    def test_a_key_that_does_not_fit_the_context(self, game, alice, victory):
        answer = post(game, "victory", user="alice", context=WOLF, claim_key="bear_e-77")

        assert (answer.status_code, answer.json()["code"]) == (422, "claim_key_mismatch")
        assert nothing_happened()

    def test_where_the_recipe_names_the_parties_nobody_else_needs_to_be(self, game, alice, bob, coins, balance):
        duel = ClaimType.objects.create(slug="duel", scope="global", key_pattern="<encounter_id>")
        duel.lines.create(party="winner", currency="coins", amount="5")
        duel.lines.create(party="loser", currency="coins", amount="1", order=1)

        answer = post(game, "duel", context={"winner": "bob", "loser": "alice", "encounter_id": "d-1"})

        assert answer.status_code == 201
        assert answer.json()["balances"] == {"coins": "5.00"}  # bob's alone
        assert (balance(alice, coins), balance(bob, coins)) == (100, 500)

    @pytest.mark.parametrize("path", ["/api/claims/victory", "/api/claims/victory/"])
    def test_with_and_without_a_slash(self, game, alice, victory, path):
        assert game.post(path, {"user": "alice", "context": WOLF}, content_type="application/json").status_code == 201

    def test_who_claims_must_be_said_and_known(self, game, alice, victory):
        unsaid, unknown = post(game, "victory", context=WOLF), post(game, "victory", user="nobody", context=WOLF)

        assert (unsaid.status_code, unsaid.json()["code"]) == (422, "claimant_missing")
        assert (unknown.status_code, unknown.json()["code"]) == (422, "unknown_user")
        assert [*unknown.json()["errors"]] == ["user"]
        assert nothing_happened()

    @pytest.mark.parametrize("slug", ["nothing", "Victory", "'", "%00", "a" * 150, "..%2f"])
    def test_a_type_that_does_not_exist(self, game, alice, victory, slug):
        answer = post(game, slug, user="alice", context=WOLF)

        assert (answer.status_code, answer["Content-Type"]) == (404, "application/problem+json")
        assert nothing_happened()

    @pytest.mark.parametrize(
        "body",
        [
            "", "[]", "null", '"victory"', "{",
            '{"user": "alice"}', '{"user": "alice", "context": null}', '{"user": "alice", "context": []}',
            '{"user": "alice", "context": {}}', '{"user": "alice", "context": {"enemy_id": "wolf"}}',
            '{"user": 1, "context": {"enemy_id": "w", "encounter_id": "e"}}',
            '{"user": null, "context": {"enemy_id": "w", "encounter_id": "e"}}',
            '{"user": "alice", "user": "alice", "context": {"enemy_id": "w", "encounter_id": "e"}}',
            '{"user": "alice", "amount": 5, "context": {"enemy_id": "w", "encounter_id": "e"}}',
            '{"user": "alice", "claim_key": 5, "context": {"enemy_id": "w", "encounter_id": "e"}}',
            '{"user": "alice", "claim_key": " ", "context": {"enemy_id": "w", "encounter_id": "e"}}',
            '{"user": "alice", "context": {"enemy_id": "w", "encounter_id": {"a": 1}}}',
            '{"user": "alice", "context": {"enemy_id": "w", "encounter_id": true}}',
            '{"user": "alice", "context": {"enemy_id": "w", "encounter_id": 1e400}}',
            '{"user": "alice", "context": {"enemy_id": "w", "encounter_id": NaN}}',
            '{"user": "alice", "context": {"enemy_id": "w", "encounter_id": "\\u0000"}}',
            '{"user": "alice", "context": {"enemy_id": "w", "encounter_id": "\\ud800"}}',
            '{"user": "alice", "context": {"enemy_id": "w", "encounter_id": "e", "more": "\\u0000"}}',
            '{"user": "alice", "context": {"enemy_id": "w", "encounter_id": "%s"}}' % ("e" * 300),
            '{"user": "alice", "context": {"enemy_id": "w", "encounter_id": "e", "a": %s}}' % ("[" * 500 + "]" * 500),
        ],
    )  # fmt: skip
    def test_a_bad_body_is_refused_and_nothing_happens(self, game, alice, victory, body):
        answer = game.post("/api/claims/victory", body, content_type="application/json")

        assert answer.status_code in (400, 422), answer.content
        assert answer["Content-Type"] == "application/problem+json"
        assert nothing_happened()

    @pytest.mark.parametrize("rights", [[Right.ACTIVITY_WRITE], [Right.READ, Right.MONTHLY_RUN]])
    def test_a_key_without_the_right_may_not(self, as_machine, alice, victory, rights):
        assert post(as_machine(*rights), "victory", user="alice", context=WOLF).status_code == 403
        assert nothing_happened()

    def test_nobody_may_not(self, client, alice, victory):
        assert post(client, "victory", user="alice", context=WOLF).status_code == 401
        assert nothing_happened()

    def test_it_takes_a_bounded_number_of_statements(self, game, alice, victory):
        post(game, "victory", user="alice", context=WOLF)

        with CaptureQueriesContext(connection) as queries:
            post(game, "victory", user="alice", context=WOLF | {"encounter_id": "e-78"})

        statements = [query["sql"] for query in queries if "SAVEPOINT" not in query["sql"]]
        assert len(statements) <= 12, "\n".join(statements)


class TestUsers:
    def test_what_costs_his_own_he_may_claim(self, as_user, alice, coins, points, shop, fund, balance):
        fund(alice, coins, 1000)

        answer = post(as_user(alice), "shop", claim_key="r-1", context={"count": 3})

        assert answer.status_code == 201
        assert answer.json()["debits"] == [{"user": "alice", "currency": "coins", "amount": "6.00"}]
        assert answer.json()["balances"] == {"coins": "4.00", "points": "3"}
        assert (balance(alice, coins), balance(alice, points)) == (400, 3)

    def test_he_may_say_that_it_is_himself(self, as_user, alice, coins, shop, fund):
        fund(alice, coins, 1000)

        assert post(as_user(alice), "shop", claim_key="r-1", user="alice", context={"count": 1}).status_code == 201

    def test_nobody_claims_for_another(self, as_user, alice, bob, coins, shop, fund, balance):
        fund(bob, coins, 1000)

        answer = post(as_user(alice), "shop", claim_key="r-1", user="bob", context={"count": 1})

        assert (answer.status_code, answer.json()["code"]) == (403, "not_for_users")
        assert balance(bob, coins) == 1000
        assert nothing_happened()

    def test_who_may_be_another_is_not_told(self, as_user, alice, bob, shop):
        of_bob, of_nobody = (
            post(as_user(alice), "shop", claim_key="r-1", user=name, context={"count": 1}) for name in ("bob", "nobody")
        )

        assert of_bob.json() == of_nobody.json()

    @pytest.mark.parametrize("context", [WOLF, {**WOLF, "floor": 1000}, {}])
    def test_victories_are_not_claimed_by_users(self, as_user, alice, victory, context):
        answer = post(as_user(alice), "victory", claim_key="wolf_e-77", context=context)

        assert answer.status_code in (403, 422)
        assert nothing_happened()

    def test_not_even_by_staff(self, as_user, make_user, victory):
        answer = post(as_user(make_user("root", is_staff=True, is_superuser=True)), "victory", context=WOLF)

        assert (answer.status_code, answer.json()["code"]) == (403, "not_for_users")

    @pytest.mark.parametrize("count", ["-1", "0", "1e9", '"3"', "null", "1000000000000000000000"])
    def test_a_count_of_his_choice_mints_nothing(self, as_user, alice, coins, points, shop, fund, balance, count):
        fund(alice, coins, 1000)

        body = f'{{"claim_key": "r-1", "context": {{"count": {count}}}}}'
        answer = as_user(alice).post("/api/claims/shop", body, content_type="application/json")

        assert 400 <= answer.status_code < 500, answer.content
        assert (balance(alice, coins), balance(alice, points)) == (1000, 0)
        assert nothing_happened()

    def test_more_than_he_has_he_cannot_spend(self, as_user, alice, coins, shop, fund):
        fund(alice, coins, 100)

        answer = post(as_user(alice), "shop", claim_key="r-1", context={"count": 3})

        assert (answer.status_code, answer.json()["code"]) == (409, "insufficient_funds")
        assert nothing_happened()

    def test_a_claim_without_a_key_of_its_own_needs_one(self, as_user, alice, coins, shop, fund):
        fund(alice, coins, 1000)

        answer = post(as_user(alice), "shop", context={"count": 1})

        assert (answer.status_code, answer.json()["code"]) == (422, "claim_key_missing")

    def test_keys_of_two_users_are_their_own(self, as_user, alice, bob, coins, shop, fund):
        for user in (alice, bob):
            fund(user, coins, 1000)

        answers = [post(as_user(user), "shop", claim_key="r-1", context={"count": 1}) for user in (alice, bob)]

        assert [answer.status_code for answer in answers] == [201, 201]

    def test_of_a_deed_that_counts_for_all_he_is_not_told_who_was_first(self, as_user, alice, bob, coins, points, fund):
        recipe("treasure", ("debit", "1", "coins"), ("credit", "9", "points"), callers="user", scope="global")
        for user in (alice, bob):
            fund(user, coins, 1000)
        first = post(as_user(alice), "treasure", claim_key="chest-1", context={})

        his, hers = (post(as_user(user), "treasure", claim_key="chest-1", context={}) for user in (bob, alice))

        assert [(each.status_code, each.json()["code"]) for each in (his, hers)] == [(409, "already_claimed")] * 2
        assert "claim" not in his.json()
        assert "alice" not in his.content.decode()
        assert hers.json()["claim"] == first.json()

    def test_a_limit_holds(self, as_user, alice, points):
        recipe("gift", ("credit", "1", "points"), callers="user", limit_per_user=1, limit_period="day")
        client = as_user(alice)

        answers = [post(client, "gift", claim_key=f"r-{number}", context={}) for number in range(2)]

        assert [answer.status_code for answer in answers] == [201, 409]
        assert answers[1].json()["code"] == "limit_reached"


class TestIdempotencyKey:
    def test_the_answer_is_replayed(self, game, alice, coins, victory, balance):
        first = post(game, "victory", "k-1", user="alice", context=WOLF)
        again = post(game, "victory", "k-1", context=WOLF, user="alice")

        assert (again.status_code, again.json()) == (201, first.json())
        assert ("Idempotent-Replayed" in first, again["Idempotent-Replayed"]) == (False, "true")
        assert balance(alice, coins) == 1250

    def test_another_key_does_not_make_it_another_deed(self, game, alice, victory):
        post(game, "victory", "k-1", user="alice", context=WOLF)

        assert post(game, "victory", "k-2", user="alice", context=WOLF).json()["code"] == "already_claimed"

    def test_another_body_is_a_conflict(self, game, alice, victory):
        post(game, "victory", "k-1", user="alice", context=WOLF)

        answer = post(game, "victory", "k-1", user="alice", context=WOLF | {"encounter_id": "e-78"})

        assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_conflict")

    def test_a_refusal_is_not_kept(self, as_user, alice, coins, shop, fund):
        client = as_user(alice)
        refused = post(client, "shop", "k-1", claim_key="r-1", context={"count": 1})
        fund(alice, coins, 1000)

        assert (refused.status_code, IdempotentAnswer.objects.count()) == (409, 0)
        assert post(client, "shop", "k-1", claim_key="r-1", context={"count": 1}).status_code == 201


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
class TestAtOnce:
    def test_of_eight_who_claim_one_deed_one_is_rewarded(self, game, alice, coins, points, victory, balance):
        answers = at_once(*[partial(post, game, "victory", user="alice", context=WOLF)] * 8)

        assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7
        results = [each.json() if each.status_code == 201 else each.json()["claim"] for each in answers]
        assert all(result == results[0] for result in results)
        assert (Claim.objects.count(), balance(alice, coins), balance(alice, points)) == (1, 1250, 3)

    def test_with_one_idempotency_key_all_get_the_answer(self, game, alice, coins, victory, balance):
        answers = at_once(*[partial(post, game, "victory", "k-1", user="alice", context=WOLF)] * 8)

        assert [answer.status_code for answer in answers] == [201] * 8
        assert sum(answer.get("Idempotent-Replayed") == "true" for answer in answers) == 7
        assert len({answer.content for answer in answers}) == 1
        assert (Claim.objects.count(), balance(alice, coins)) == (1, 1250)

    def test_different_deeds_of_one_player_all_count(self, game, alice, coins, points, victory, balance):
        deeds = [{"enemy_id": "wolf", "encounter_id": str(number)} for number in range(8)]

        answers = at_once(*[partial(post, game, "victory", user="alice", context=deed) for deed in deeds])

        assert [answer.status_code for answer in answers] == [201] * 8
        assert (balance(alice, coins), balance(alice, points)) == (8 * 1250, 24)

    def test_a_purse_that_is_enough_for_three_buys_three(self, as_user, alice, coins, points, shop, fund, balance):
        fund(alice, coins, 700)
        client = as_user(alice)

        answers = at_once(
            *[partial(post, client, "shop", claim_key=f"r-{number}", context={"count": 1}) for number in range(8)]
        )

        assert sorted(answer.status_code for answer in answers) == [201] * 3 + [409] * 5
        assert (balance(alice, coins), balance(alice, points)) == (100, 3)
