"""Which rules are refused, and where the refusal points."""

from __future__ import annotations

import copy

import pytest

from rewards.allocation.presets import case_rule, daily_rule, hourly_rule
from rewards.allocation.rules import RuleError, check_rule

EQUAL = {"rule": "equal"}


def part(name: str = "a", **changes: object) -> dict[str, object]:
    return {"name": name, "weight": "1", "members": {"all": True}, "rule": EQUAL} | changes


def slices(*parts: object) -> dict[str, object]:
    return {"rule": "slices", "slices": list(parts)}


def tiers(*entries: object, **changes: object) -> dict[str, object]:
    return {"rule": "tiers", "by": "position", "tiers": list(entries)} | changes


def members(**values: object) -> dict[str, object]:
    return slices(part(members=values))


def proportional(**values: object) -> dict[str, object]:
    return {"rule": "proportional"} | values


def nested(depth: int) -> dict[str, object]:
    rule: dict[str, object] = EQUAL
    for level in range(depth):
        rule = slices(part(f"level{level}", rule=rule))
    return rule


GOOD_RULES = [
    {"rule": "fixed"},
    EQUAL,
    proportional(),
    proportional(max_share="0.05", max_amount=None, min_amount="200"),
    proportional(max_amount="0.019", min_amount="0"),
    proportional(by="ecc", weight_cap={"times": "5", "mean_of_top_percent": "10"}),
    tiers({"to": 1, "each": "1000"}, {"to": 10, "share": "0.3"}),
    tiers({"to": 1, "each": "1000.25", "name": "Champion"}, {"to": None, "each": "10", "name": "Unplaced"}, by="rank"),
    {"rule": "tiers", "tiers": [{"to": 1, "share": "1"}]},
    tiers({"to": 1, "share": "0.5"}, {"to": 2, "share": "0"}, {"to": 3, "share": "0.50"}),
    slices(part(members={"top": 10}), part("b", weight="0.25", members={"top_percent": "12.5"})),
    members(group="winning voters", min_score="-1.5"),
    members(all=True, at_least={"votes": "10"}),
    nested(5),
    hourly_rule(),
    daily_rule(),
    case_rule(),
    slices(part(rule=tiers({"to": 1, "share": "0.5", "name": "a"}, {"to": 2, "share": "0.5", "name": "a"}))),
]

BAD_RULES = [
    # the rule as a whole
    (None, ""),
    ([], ""),
    ("equal", ""),
    ({}, "rule"),
    ({"rule": "lottery"}, "rule"),
    ({"rule": ["equal"]}, "rule"),
    ({"rule": "equal", "max_share": "0.1"}, "max_share"),
    ({"rule": "fixed", "amount": "1"}, "amount"),
    # proportional
    (proportional(max_shar="0.1"), "max_shar"),
    (proportional(max_share="0"), "max_share"),
    (proportional(max_share="1.01"), "max_share"),
    (proportional(max_share=0.05), "max_share"),
    (proportional(max_share="NaN"), "max_share"),
    (proportional(max_share="1e-2"), "max_share"),
    (proportional(max_share="٠.١"), "max_share"),
    (proportional(max_share=" 0.1"), "max_share"),
    (proportional(max_share="0.1\n"), "max_share"),
    (proportional(max_amount=100), "max_amount"),
    (proportional(max_amount="0"), "max_amount"),
    (proportional(max_amount="0.009"), "max_amount"),
    (proportional(max_amount=True), "max_amount"),
    (proportional(min_amount="-1"), "min_amount"),
    (proportional(min_amount="300", max_amount="200"), "min_amount"),
    (proportional(by=""), "by"),
    (proportional(by=7), "by"),
    (proportional(weight_cap="5"), "weight_cap"),
    (proportional(weight_cap={"times": "5"}), "weight_cap.mean_of_top_percent"),
    (proportional(weight_cap={"times": "0", "mean_of_top_percent": "10"}), "weight_cap.times"),
    (proportional(weight_cap={"times": "5", "mean_of_top_percent": "101"}), "weight_cap.mean_of_top_percent"),
    (proportional(weight_cap={"times": "5", "mean_of_top_percent": "10", "of": 1}), "weight_cap.of"),
    # tiers
    ({"rule": "tiers"}, "tiers"),
    (tiers(), "tiers"),
    (tiers({"to": 1, "each": "1"}, by="score"), "by"),
    (tiers({"to": 1, "each": "1"}, by=None), "by"),
    (tiers({"to": 1}), "tiers[0]"),
    (tiers({"to": 1, "each": "1", "share": "0.1"}), "tiers[0]"),
    (tiers({"each": "1"}), "tiers[0].to"),
    (tiers({"to": 0, "each": "1"}), "tiers[0].to"),
    (tiers({"to": True, "each": "1"}), "tiers[0].to"),
    (tiers({"to": "1", "each": "1"}), "tiers[0].to"),
    (tiers({"to": 1.0, "each": "1"}), "tiers[0].to"),
    (tiers({"to": 2**60, "each": "1"}), "tiers[0].to"),
    (tiers({"to": 10, "each": "2"}, {"to": 10, "each": "1"}), "tiers[1].to"),
    (tiers({"to": 10, "each": "2"}, {"to": 5, "each": "1"}), "tiers[1].to"),
    (tiers({"to": None, "each": "2"}, {"to": 5, "each": "1"}), "tiers[1].to"),
    (tiers({"to": None, "each": "2"}, {"to": None, "each": "1"}), "tiers[1].to"),
    (tiers({"to": 1, "each": "1.001"}), "tiers[0].each"),
    (tiers({"to": 1, "each": "-1"}), "tiers[0].each"),
    (tiers({"to": 1, "each": 1}), "tiers[0].each"),
    (tiers({"to": 1, "each": "99999999999999999999"}), "tiers[0].each"),
    (tiers({"to": 1, "share": "1.5"}), "tiers[0].share"),
    (tiers({"to": 1, "share": "0.6"}, {"to": 2, "share": "0.41"}), "tiers"),
    (tiers({"to": 1, "each": "1", "name": ""}), "tiers[0].name"),
    (tiers({"to": 1, "each": "1", "title": "Champion"}), "tiers[0].title"),
    (tiers({"to": 1, "each": "1", "name": "a"}, {"to": 2, "each": "1", "name": "a"}), "tiers[1].name"),
    (tiers("first"), "tiers[0]"),
    (tiers(*({"to": place, "each": "1"} for place in range(1, 1002))), "tiers"),
    # slices
    ({"rule": "slices"}, "slices"),
    (slices(), "slices"),
    ({"rule": "slices", "slices": {"a": 1}}, "slices"),
    (slices(part(), "b"), "slices[1]"),
    (slices(part(), part("b", weight="0")), "slices[1].weight"),
    (slices(part(weight="-1")), "slices[0].weight"),
    (slices(part(weight="NaN")), "slices[0].weight"),
    (slices(part(weight="Infinity")), "slices[0].weight"),
    (slices(part(weight=1)), "slices[0].weight"),
    (slices(part(weight=True)), "slices[0].weight"),
    (slices(part(weight="one")), "slices[0].weight"),
    (slices(part(weight="1" * 41)), "slices[0].weight"),
    (slices(part(weights="1")), "slices[0].weights"),
    (slices({"weight": "1", "members": {"all": True}, "rule": EQUAL}), "slices[0].name"),
    (slices(part(name=7)), "slices[0].name"),
    (slices(part(name=" a")), "slices[0].name"),
    (slices(part(name="a\x00b")), "slices[0].name"),
    (slices(part(name="\ud800")), "slices[0].name"),
    (slices(part(name="a" * 65)), "slices[0].name"),
    (slices(part("a"), part("a")), "slices[1].name"),
    (slices(part("a"), part("b", rule=slices(part("a")))), "slices[1].rule.slices[0].name"),
    (slices(part("a"), part("b", rule=tiers({"to": 1, "share": "1", "name": "a"}))), "slices[1].rule.tiers[0].name"),
    (
        slices(part("a", rule=slices(part("b", rule=tiers({"to": 1, "share": "1", "name": "a"}))))),
        "slices[0].rule.slices[0].rule.tiers[0].name",
    ),
    (slices(part("a", rule=tiers({"to": 1, "share": "1", "name": "a"})), part("a")), "slices[1].name"),
    (
        slices(part("a", rule=tiers(*({"to": place, "each": "1", "name": "a"} for place in range(1, 1001))))),
        "slices[0].rule.tiers[999]",
    ),
    (slices(part(rule={"rule": "equal", "x": 1})), "slices[0].rule.x"),
    (slices(part(rule=None)), "slices[0].rule"),
    (slices(part(rule=slices(part("b", weight="0")))), "slices[0].rule.slices[0].weight"),
    (nested(6), "slices[0].rule" + ".slices[0].rule" * 4),
    # members
    (slices(part(members=[])), "slices[0].members"),
    (members(), "slices[0].members"),
    (members(top=1, all=True), "slices[0].members"),
    (members(min_score="1"), "slices[0].members"),
    (members(bottom=1), "slices[0].members.bottom"),
    (members(top=0), "slices[0].members.top"),
    (members(top=True), "slices[0].members.top"),
    (members(top="10"), "slices[0].members.top"),
    (members(top_percent="0"), "slices[0].members.top_percent"),
    (members(top_percent="100.1"), "slices[0].members.top_percent"),
    (members(top_percent=10), "slices[0].members.top_percent"),
    (members(group=""), "slices[0].members.group"),
    (members(group=3), "slices[0].members.group"),
    (members(all=False), "slices[0].members.all"),
    (members(all=1), "slices[0].members.all"),
    (members(all=True, min_score=3), "slices[0].members.min_score"),
    (members(all=True, at_least={}), "slices[0].members.at_least"),
    (members(all=True, at_least={"votes": 10}), "slices[0].members.at_least.votes"),
]


@pytest.mark.parametrize("rule", GOOD_RULES)
def test_rules_that_make_sense_pass_and_stay_as_they_are(rule):
    before = copy.deepcopy(rule)
    check_rule(rule, 2)
    assert rule == before


@pytest.mark.parametrize(("rule", "path"), BAD_RULES)
def test_rules_that_make_no_sense_are_refused_where_the_fault_is(rule, path):
    with pytest.raises(RuleError) as refused:
        check_rule(rule, 2)
    assert refused.value.path == path
    assert refused.value.code == "rule_invalid"
    assert refused.value.sentence in str(refused.value)


def test_more_than_a_thousand_parts_in_all_are_refused_however_they_are_spread():
    half = [{"to": place, "each": "0"} for place in range(1, 501)]
    check_rule(slices(part("a", rule=tiers(*half[:400])), part("b", rule=tiers(*half))), 0)
    with pytest.raises(RuleError, match="at most 1000"):
        check_rule(slices(part("a", rule=tiers(*half)), part("b", rule=tiers(*half))), 0)


def test_what_a_currency_can_pay_depends_on_its_decimals():
    rule = tiers({"to": 1, "each": "0.001"})
    check_rule(rule, 3)
    with pytest.raises(RuleError, match="only 2 decimals"):
        check_rule(rule, 2)
    check_rule(tiers({"to": 1, "each": "1.000"}), 0)  # the value counts, not how it is written


def test_a_part_of_the_day_is_switched_off_by_weight_zero():
    names = [entry["name"] for entry in daily_rule(weights=("1", "0", "2.5"))["slices"]]
    assert names == ["fixed_position", "top50p"]
    with pytest.raises(RuleError):
        check_rule(daily_rule(weights=("0", "0", "0.0")), 0)
