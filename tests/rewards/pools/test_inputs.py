"""A pool's rule asks for nothing that votes do not tell."""

from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError

from rewards.allocation.errors import RuleError
from rewards.allocation.presets import daily_rule, hourly_rule
from rewards.pools.inputs import check_pool_rule


def one_slice(members: dict, rule: dict) -> dict:
    return {"rule": "slices", "slices": [{"name": "best", "weight": "1", "members": members, "rule": rule}]}


@pytest.mark.parametrize("rule", [hourly_rule(), daily_rule(), {"rule": "proportional"}])
def test_what_votes_tell_is_enough(rule):
    check_pool_rule(rule, decimals=2)


@pytest.mark.parametrize(
    ("rule", "path"),
    [
        ({"rule": "fixed"}, ""),
        ({"rule": "proportional", "by": "stake"}, "by"),
        (one_slice({"group": "gold"}, {"rule": "equal"}), "slices[0].members.group"),
        (one_slice({"all": True, "at_least": {"stake": "1"}}, {"rule": "equal"}), "slices[0].members.at_least"),
        (one_slice({"all": True}, {"rule": "fixed"}), "slices[0].rule"),
        (one_slice({"all": True}, {"rule": "proportional", "by": "stake"}), "slices[0].rule.by"),
    ],
)
def test_a_rule_that_would_fail_with_every_payout_is_refused_at_its_place(rule, path):
    with pytest.raises(RuleError) as refusal:
        check_pool_rule(rule, decimals=2)
    assert refusal.value.path == path


def test_a_pool_refuses_it_at_the_field_and_a_tie_policy_nobody_knows(pools):
    hourly, daily = pools
    hourly.rule = {"rule": "fixed"}
    with pytest.raises(ValidationError) as refusal:
        hourly.full_clean()
    assert set(refusal.value.message_dict) == {"rule"}

    daily.tie_policy = "latest"
    with pytest.raises(ValidationError) as refusal:
        daily.full_clean()
    assert refusal.value.message_dict == {"tie_policy": ["Write one of earliest, shared, same."]}
