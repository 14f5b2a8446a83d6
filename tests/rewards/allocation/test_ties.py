"""Equals: who gets what under the three tie policies."""

from __future__ import annotations

import pytest

from rewards.allocation.rules import BudgetExceeded, Measure, Participants, allocate

PODIUM = {"rule": "tiers", "tiers": [{"to": 1, "each": "100"}, {"to": 2, "each": "61"}, {"to": 3, "each": "30"}]}


def ranked(*scores: int, **measures: list[int]) -> Participants:
    columns = {name: Measure(values, 0) for name, values in measures.items()}
    return Participants(Measure(list(scores), 0), measures=columns)


def amounts(rule: dict, amount: int, participants: Participants, tie_policy: str) -> list[int]:
    return allocate(rule, amount, participants, decimals=0, tie_policy=tie_policy).amounts.tolist()


def top(places: int, rule: dict | None = None, **conditions: object) -> dict:
    members = {"top": places} | conditions
    return {
        "rule": "slices",
        "slices": [{"name": "top", "weight": "1", "members": members, "rule": rule or {"rule": "equal"}}],
    }


def test_earliest_pays_the_places_as_they_are():
    assert amounts(PODIUM, 200, ranked(9, 9, 7), "earliest") == [100, 61, 30]


def test_shared_splits_the_sum_of_the_places():
    assert amounts(PODIUM, 200, ranked(9, 9, 7), "shared") == [81, 80, 30]
    assert amounts(PODIUM, 200, ranked(9, 7, 7), "shared") == [100, 46, 45]
    assert amounts(PODIUM, 200, ranked(9, 9, 9), "shared") == [64, 64, 63]


def test_shared_at_the_edge_of_the_podium_takes_in_who_has_no_place():
    assert amounts(PODIUM, 200, ranked(9, 8, 7, 7), "shared") == [100, 61, 15, 15]
    assert amounts(PODIUM, 200, ranked(9, 8, 8, 8, 1), "shared") == [100, 31, 30, 30, 0]


def test_shared_deals_the_units_left_over_round_so_that_equals_differ_by_one_at_most():
    rule = {"rule": "tiers", "tiers": [{"to": 1, "each": "7"}, {"to": 2, "each": "5"}, {"to": 3, "each": "2"}]}
    allocation = allocate(rule, 14, ranked(9, 9, 9), decimals=0, tie_policy="shared")
    assert allocation.amounts.tolist() == [5, 5, 4]
    assert [share.shares.tolist() for share in allocation.slices] == [[3, 2, 2], [1, 2, 2], [1, 1, 0]]
    assert [share.paid for share in allocation.slices] == [7, 5, 2]


def test_same_gives_each_the_better_place_if_the_budget_allows():
    assert amounts(PODIUM, 230, ranked(9, 9, 7), "same") == [100, 100, 30]
    assert amounts(PODIUM, 300, ranked(9, 8, 7, 7), "same") == [100, 61, 30, 30]
    allocation = allocate(PODIUM, 300, ranked(9, 9, 7), decimals=0, tie_policy="same")
    assert list(allocation.breakdowns()) == [{"tier1": 100}, {"tier1": 100}, {"tier3": 30}]
    assert [share.members for share in allocation.slices] == [2, 0, 1]


def test_same_beyond_the_budget_pays_nobody():
    with pytest.raises(BudgetExceeded) as refused:
        amounts(PODIUM, 229, ranked(9, 9, 7), "same")
    assert (refused.value.needed_minor, refused.value.available_minor) == (230, 229)


def test_same_is_measured_by_what_it_pays_not_by_the_places_as_they_are():
    rule = {"rule": "tiers", "tiers": [{"to": 1, "each": "20"}, {"to": 2, "each": "90"}]}
    assert amounts(rule, 50, ranked(9, 9), "same") == [20, 20]
    with pytest.raises(BudgetExceeded):
        amounts(rule, 50, ranked(9, 8), "same")


def test_same_may_not_spend_what_another_slice_left():
    prizes = {"name": "prizes", "weight": "1", "members": {"all": True}, "rule": PODIUM}
    nobody = {"name": "nobody", "weight": "1", "members": {"group": "x"}, "rule": {"rule": "equal"}}
    equals = Participants(Measure([9, 9, 7], 0), groups=["a", "a", "a"])
    with pytest.raises(BudgetExceeded) as refused:
        amounts({"rule": "slices", "slices": [prizes, nobody]}, 400, equals, "same")
    assert (refused.value.path, refused.value.needed_minor) == ("slices[0].rule", 230)


def test_places_together_beyond_any_budget_are_refused_by_name():
    rule = {"rule": "tiers", "tiers": [{"to": 2, "each": str(2**63 - 1)}, {"to": 3, "each": "1"}]}
    for tie_policy in ("earliest", "shared", "same"):
        with pytest.raises(BudgetExceeded):
            amounts(rule, 2**63 - 1, ranked(9, 9, 9), tie_policy)


def test_same_in_tiers_by_share_goes_by_what_the_better_place_gets():
    rule = {"rule": "tiers", "tiers": [{"to": 1, "share": "0.4"}, {"to": 3, "share": "0.2"}]}
    assert amounts(rule, 100, ranked(9, 9, 7), "same") == [40, 40, 10]


def test_a_tie_inside_one_tier_changes_nothing():
    rule = {"rule": "tiers", "tiers": [{"to": 3, "share": "1"}]}
    for tie_policy in ("earliest", "shared", "same"):
        assert amounts(rule, 100, ranked(9, 9, 9), tie_policy) == [34, 33, 33]


def test_the_top_two_with_three_equals():
    three_equals = ranked(9, 5, 5, 5, 1)
    assert amounts(top(2), 101, three_equals, "earliest") == [51, 50, 0, 0, 0]
    assert amounts(top(2), 101, three_equals, "shared") == [51, 17, 17, 16, 0]
    assert amounts(top(2), 101, three_equals, "same") == [26, 25, 25, 25, 0]  # all four are among the best two


def test_an_equal_who_fails_the_threshold_takes_no_part_in_the_split():
    participants = ranked(9, 5, 5, 5, votes=[20, 20, 3, 15])
    rule = top(2, at_least={"votes": "10"})
    assert amounts(rule, 100, participants, "shared") == [50, 25, 0, 25]
    assert amounts(rule, 100, participants, "same") == [34, 33, 0, 33]


def test_equals_whose_own_places_fail_the_threshold_hold_none():
    participants = ranked(9, 5, 5, votes=[20, 3, 15])
    assert amounts(top(2, at_least={"votes": "10"}), 100, participants, "shared") == [100, 0, 0]


def test_who_holds_no_place_is_no_member():
    participants = ranked(9, 5, 5, votes=[20, 3, 15])
    rule = top(2, at_least={"votes": "10"})
    allocation = allocate(rule, 100, participants, decimals=0, tie_policy="shared")
    assert (allocation.slices[0].members, allocation.slices[0].rows.tolist()) == (1, [0])


def test_a_tie_at_the_edge_of_a_percentage():
    rule = top(1)
    rule["slices"][0]["members"] = {"top_percent": "50"}
    assert amounts(rule, 100, ranked(9, 5, 5, 1), "shared") == [50, 25, 25, 0]
    assert amounts(rule, 100, ranked(9, 5, 5, 1), "same") == [34, 33, 33, 0]


def test_weights_are_split_at_the_edge_and_left_alone_inside():
    rule = top(3, {"rule": "proportional", "by": "ecc"})
    participants = ranked(9, 9, 5, 5, ecc=[60, 20, 20, 1000])
    assert amounts(rule, 100, participants, "shared") == [60, 20, 10, 10]


def test_equals_who_all_have_a_place_are_paid_by_their_weights():
    rule = top(2, {"rule": "proportional", "by": "ecc"})
    assert amounts(rule, 100, ranked(9, 9, 5, ecc=[60, 40, 7]), "shared") == [60, 40, 0]


def test_tiers_in_a_slice_meet_its_edge_too():
    tiers = {"rule": "tiers", "tiers": [{"to": 1, "share": "0.5"}, {"to": None, "share": "0.5"}]}
    participants = ranked(9, 5, 5, 1)
    assert amounts(top(2, tiers), 100, participants, "earliest") == [50, 50, 0, 0]
    assert amounts(top(2, tiers), 100, participants, "shared") == [50, 25, 25, 0]
    assert amounts(top(2, tiers), 100, participants, "same") == [50, 25, 25, 0]


def test_ranks_leave_no_tie_to_settle():
    rule = {"rule": "tiers", "by": "rank", "tiers": [{"to": 1, "each": "10"}, {"to": 3, "each": "5"}]}
    for tie_policy in ("earliest", "shared", "same"):
        assert amounts(rule, 100, ranked(9, 9, 7), tie_policy) == [10, 10, 5]


def test_no_tie_policy_touches_fixed_amounts():
    fixed = Participants(Measure([5, 5, 5], 0), amounts=[7, 2, 1])
    for tie_policy in ("earliest", "shared", "same"):
        assert amounts({"rule": "fixed"}, 10, fixed, tie_policy) == [7, 2, 1]
