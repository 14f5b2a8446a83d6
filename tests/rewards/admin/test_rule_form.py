"""The form of a rule: what it is drawn from, what it says while a rule is written, where it puts what is wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from rewards.ledger.models import Currency
from rewards.pools.models import Pool
from rewards.pools.services import create_default_pools
from tests.rewards.admin.test_actions import pool_form

CHECK = "/admin/rewards/pool/rule/"
DEEP = "[" * 100_000


def change(pool: Pool) -> str:
    return reverse("admin:rewards_pool_change", args=[pool.pk])


def asked(client: Client, rule: Any, currency: Currency | None = None) -> dict[str, str]:
    text = rule if isinstance(rule, str) else json.dumps(rule)
    answer = client.post(CHECK, {"rule": text, "currency": currency.pk if currency else ""})
    assert answer.status_code == 200
    return answer.json()


@pytest.mark.usefixtures("pools")
def test_the_form_is_drawn_from_the_rule_as_it_is_stored_with_its_words_beside_it(sign_in, pools) -> None:
    for pool in pools:
        answer = sign_in().get(change(pool))
        widget = answer.context["adminform"].form["rule"]
        assert json.loads(widget.value()) == pool.rule
        assert "data-rule" in str(widget)
        assert "rewards/rule_form.js" in answer.content.decode()
    assert "top10p_ecc: 1/3 to the first 10% of places" in answer.content.decode()


def test_what_is_saved_is_what_was_sent(sign_in, pools) -> None:
    limited = {"rule": "proportional", "min_amount": None, "max_share": "0.05"}
    tiers = [{"to": 1, "each": "5", "name": "best"}, {"to": None, "share": "0.1"}]
    tiered = {"rule": "tiers", "by": "rank", "tiers": tiers}
    rule = {
        "rule": "slices",
        "slices": [
            {"name": "z", "weight": "0.50", "members": {"all": True, "min_score": "1"}, "rule": limited},
            {"name": "a", "weight": "1", "members": {"top": 3}, "rule": tiered},
        ],
    }
    assert sign_in().post(change(pools[0]), pool_form(pools[0], rule=json.dumps(rule))).status_code == 302
    pools[0].refresh_from_db()
    assert pools[0].rule == rule


def test_a_mistake_is_named_with_its_place_in_the_rule(sign_in, pools) -> None:
    rule = {"rule": "tiers", "tiers": [{"to": 1, "each": "1"}, {"to": 1, "each": "2%"}]}
    shown = sign_in().post(change(pools[0]), pool_form(pools[0], rule=json.dumps(rule))).content.decode()
    assert 'data-refused-path="tiers[1].each"' in shown
    assert "tiers[1].each: write a plain decimal number" in shown


def test_while_it_is_written_a_rule_is_said_in_words_and_checked(sign_in, pools) -> None:
    root = sign_in()
    good = asked(root, {"rule": "proportional", "max_share": "0.2"}, pools[0].currency)
    assert "nobody more than 20% of it" in good["words"]
    assert good["sentence"] == ""
    bad = asked(
        root, {"rule": "slices", "slices": [{"name": "a", "weight": "0", "members": {"all": True}, "rule": {}}]}
    )
    assert (bad["path"], bad["sentence"]) == (
        "slices[0].weight", "must be above zero; leave out what is not wanted",
    )  # fmt: skip
    foreign = asked(root, {"rule": "proportional", "by": "steps"})
    assert foreign["path"] == "by"
    assert Pool.objects.get(pk=pools[0].pk).rule == pools[0].rule


def test_amounts_in_a_rule_fit_the_currency(sign_in, coins) -> None:
    create_default_pools(coins)
    halves = {"rule": "tiers", "tiers": [{"to": 1, "each": "0.5"}]}
    whole = Currency.objects.create(code="points", decimals=0)
    assert asked(sign_in(), halves, coins)["sentence"] == ""
    assert asked(sign_in(), halves, whole)["path"] == "tiers[0].each"


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"<b>x</b>"', DEEP, '{"rule": "equal", "rule": 1}'])
def test_what_is_no_rule_is_said_to_be_none_and_never_an_error(sign_in, pools, text) -> None:
    assert asked(sign_in(), text)["sentence"]
    answer = sign_in().post(change(pools[0]), pool_form(pools[0], rule=text))
    assert answer.context["adminform"].form.errors["rule"]


def test_whoever_may_look_asks_what_a_rule_means_and_gets_no_form_of_the_pools(sign_in, pools, make_user) -> None:
    viewer = sign_in("Viewer")
    assert asked(viewer, {"rule": "equal"})["sentence"] == ""
    assert "data-rule" not in viewer.get(change(pools[0])).content.decode()
    blind = Client()
    blind.force_login(make_user("blind", is_staff=True))
    assert blind.post(CHECK, {"rule": "{}"}).status_code == 403
    assert sign_in().get(CHECK).status_code == 403
    assert Client().post(CHECK, {"rule": "{}"}).status_code == 302
