"""What rules pay: small stories worked out by hand, to the last unit."""

from __future__ import annotations

import numpy as np
import pytest

from rewards.allocation.presets import case_rule, daily_rule, hourly_rule
from rewards.allocation.rules import (
    Allocation,
    BudgetExceeded,
    Measure,
    NothingToWeigh,
    Participants,
    RuleError,
    allocate,
    amount_needed,
)

EQUAL = {"rule": "equal"}


def ranked(*scores: int, **columns: object) -> Participants:
    """Participants with whole scores, best first."""
    measures = {name: Measure(values, 0) for name, values in columns.pop("measures", {}).items()}
    return Participants(Measure(list(scores), 0), measures=measures, **columns)


def part(name: str, members: dict, weight: str = "1", rule: dict = EQUAL) -> dict:
    return {"name": name, "weight": weight, "members": members, "rule": rule}


def slices(*parts: dict) -> dict:
    return {"rule": "slices", "slices": list(parts)}


def paid(allocation: Allocation) -> dict[str, int]:
    return {share.name: share.paid for share in allocation.slices}


def test_equal_shares_for_alice_bob_and_carol():
    allocation = allocate(EQUAL, 100, ranked(9, 5, 1), decimals=0)
    assert allocation.amounts.tolist() == [34, 33, 33]
    assert allocation.amounts.dtype == np.int64
    assert allocation.unpaid == 0
    assert list(allocation.breakdowns()) == [{"equal": 34}, {"equal": 33}, {"equal": 33}]


def test_fixed_pays_each_row_its_own_amount_under_the_ceiling():
    participants = ranked(3, 2, 1, amounts=[500, 0, 250])
    allocation = allocate({"rule": "fixed"}, 1000, participants, decimals=2)
    assert allocation.amounts.tolist() == [500, 0, 250]
    assert allocation.unpaid == 250
    assert list(allocation.breakdowns()) == [{"fixed": 500}, {}, {"fixed": 250}]


def test_fixed_above_the_ceiling_pays_nobody():
    with pytest.raises(BudgetExceeded) as refused:
        allocate({"rule": "fixed"}, 700, ranked(2, 1, amounts=[500, 250]), decimals=2)
    assert (refused.value.needed_minor, refused.value.available_minor) == (750, 700)
    assert refused.value.code == "budget_exceeded"


def test_fixed_needs_amounts_and_none_below_zero():
    with pytest.raises(RuleError, match="an amount for each row"):
        allocate({"rule": "fixed"}, 1, ranked(1), decimals=0)
    with pytest.raises(ValueError, match="Row 1 has a negative amount"):
        allocate({"rule": "fixed"}, 9, ranked(2, 1, amounts=[5, -5]), decimals=0)


def test_proportional_goes_by_the_score():
    allocation = allocate({"rule": "proportional"}, 1000, ranked(5, 3, 2, 0), decimals=0)
    assert allocation.amounts.tolist() == [500, 300, 200, 0]
    assert list(allocation.breakdowns())[3] == {}


def test_proportional_by_a_measure_of_another_scale():
    participants = Participants(Measure([3, 2], 0), {"ecc": Measure([1_500_000, 4_500_000], 6)})
    allocation = allocate({"rule": "proportional", "by": "ecc"}, 100, participants, decimals=0)
    assert allocation.amounts.tolist() == [25, 75]


def test_a_capped_share_is_floored_and_a_minimum_raised_to_the_unit():
    rule = {"rule": "proportional", "max_share": "0.335", "min_amount": "0.051"}
    # 1000 units of 2 decimals: the cap is 335, the minimum 6 units; 5 units would not do
    allocation = allocate(rule, 1000, ranked(900, 90, 5, 5), decimals=2)
    assert allocation.amounts.tolist() == [335, 335, 165, 165]
    tiny = allocate({"rule": "proportional", "min_amount": "0.051"}, 1000, ranked(990, 5, 5), decimals=2)
    assert tiny.amounts.tolist() == [1000, 0, 0]


def test_the_lower_of_both_caps_counts_and_what_is_left_is_reported():
    rule = {"rule": "proportional", "max_share": "0.5", "max_amount": "30"}
    allocation = allocate(rule, 100, ranked(6, 3, 1), decimals=0)
    assert allocation.amounts.tolist() == [30, 30, 30]
    assert allocation.unpaid == 10
    assert (allocation.slices[0].amount, allocation.slices[0].paid) == (100, 90)


def test_all_weights_zero_pays_nothing_and_says_so():
    with pytest.raises(NothingToWeigh):
        allocate({"rule": "proportional"}, 100, ranked(0, 0), decimals=0)


def test_without_participants_everything_is_unpaid():
    nobody = Participants(Measure([], 0), amounts=[])
    for rule in (EQUAL, {"rule": "proportional"}, {"rule": "fixed"}, hourly_rule()):
        allocation = allocate(rule, 100, nobody, decimals=0)
        assert (len(allocation.amounts), allocation.unpaid) == (0, 100)
        assert list(allocation.breakdowns()) == []


# --- tiers -----------------------------------------------------------------------------------------------------


def test_the_monthly_tiers_and_their_names():
    rule = {
        "rule": "tiers",
        "tiers": [
            {"to": 1, "each": "1000", "name": "Champion"},
            {"to": 3, "each": "500", "name": "Elite"},
            {"to": None, "each": "10", "name": "Unplaced"},
        ],
    }
    month = ranked(90, 80, 70, 60, 50)
    assert amount_needed(rule, month, decimals=0) == 2020
    allocation = allocate(rule, 2020, month, decimals=0)
    assert allocation.amounts.tolist() == [1000, 500, 500, 10, 10]
    assert paid(allocation) == {"Champion": 1000, "Elite": 1000, "Unplaced": 20}
    assert [share.members for share in allocation.slices] == [1, 2, 2]
    assert list(allocation.breakdowns())[1] == {"Elite": 500}


def test_tiers_with_amounts_and_shares_of_the_whole():
    rule = {"rule": "tiers", "tiers": [{"to": 1, "each": "40"}, {"to": 4, "share": "0.5"}]}
    allocation = allocate(rule, 101, ranked(5, 4, 3, 2, 1), decimals=0)
    # half of 101 is 50.5, and the missing unit goes to the tier before what nobody claims
    assert allocation.amounts.tolist() == [40, 17, 17, 17, 0]
    assert paid(allocation) == {"tier1": 40, "tier2": 51}
    assert allocation.unpaid == 10


def test_shares_of_tiers_are_cut_by_largest_remainder():
    rule = {
        "rule": "tiers",
        "tiers": [{"to": place, "share": share} for place, share in ((1, "0.5"), (2, "0.3"), (3, "0.2"))],
    }
    assert allocate(rule, 11, ranked(3, 2, 1), decimals=0).amounts.tolist() == [6, 3, 2]  # 5.5, 3.3, 2.2


def test_a_tier_without_members_leaves_its_share():
    rule = {"rule": "tiers", "tiers": [{"to": 2, "share": "0.6"}, {"to": 5, "share": "0.4"}]}
    allocation = allocate(rule, 100, ranked(2, 1), decimals=0)
    assert (allocation.amounts.tolist(), allocation.unpaid) == ([30, 30], 40)
    assert (allocation.slices[1].amount, allocation.slices[1].members) == (40, 0)


def test_tiers_by_rank_pay_all_who_share_it():
    rule = {
        "rule": "tiers",
        "by": "rank",
        "tiers": [{"to": 1, "each": "10"}, {"to": 2, "each": "5"}, {"to": 3, "each": "1"}],
    }
    allocation = allocate(rule, 100, ranked(9, 8, 8, 7), decimals=0)
    assert allocation.amounts.tolist() == [10, 5, 5, 0]  # nobody has rank 3


def test_tiers_that_cost_more_than_there_is_pay_nobody():
    rule = {"rule": "tiers", "tiers": [{"to": None, "each": "10"}]}
    with pytest.raises(BudgetExceeded) as refused:
        allocate(rule, 29, ranked(3, 2, 1), decimals=0)
    assert (refused.value.needed_minor, refused.value.available_minor) == (30, 29)
    mixed = {"rule": "tiers", "tiers": [{"to": 1, "each": "60"}, {"to": 2, "share": "0.5"}]}
    with pytest.raises(BudgetExceeded):
        allocate(mixed, 100, ranked(3, 2, 1), decimals=0)


def test_the_amount_needed_by_fixed_rows_and_by_rules_that_share():
    assert amount_needed({"rule": "fixed"}, ranked(2, 1, amounts=[7, 5]), decimals=0) == 12
    with pytest.raises(RuleError):
        amount_needed(EQUAL, ranked(1), decimals=0)
    with pytest.raises(RuleError):
        amount_needed({"rule": "tiers", "tiers": [{"to": 1, "share": "1"}]}, ranked(1), decimals=0)


# --- slices ----------------------------------------------------------------------------------------------------


def test_each_slice_is_shared_by_its_members_and_adds_up():
    rule = slices(part("top2", {"top": 2}, "3"), part("all", {"all": True}, "2"))
    allocation = allocate(rule, 100, ranked(5, 4, 3), decimals=0)
    assert allocation.amounts.tolist() == [44, 43, 13]
    assert list(allocation.breakdowns()) == [{"top2": 30, "all": 14}, {"top2": 30, "all": 13}, {"all": 13}]


def test_the_amount_is_cut_among_slices_in_the_listed_order():
    rule = slices(*(part(name, {"all": True}) for name in ("a", "b", "c")))
    assert paid(allocate(rule, 101, ranked(1), decimals=0)) == {"a": 34, "b": 34, "c": 33}


def test_decimal_weights_count_exactly():
    rule = slices(part("a", {"all": True}, "0.1"), part("b", {"all": True}, "0.2"), part("c", {"all": True}, "0.03"))
    assert paid(allocate(rule, 330, ranked(1), decimals=0)) == {"a": 100, "b": 200, "c": 30}


def test_a_slice_that_finds_nobody_or_no_weight_pays_nothing():
    rule = slices(
        part("teachers", {"group": "teacher"}),
        part("givers", {"all": True}, rule={"rule": "proportional", "by": "gifts"}),
        part("all", {"all": True}),
    )
    participants = ranked(2, 1, groups=["student", "student"], measures={"gifts": [0, 0]})
    allocation = allocate(rule, 300, participants, decimals=0)
    assert (allocation.amounts.tolist(), allocation.unpaid) == ([50, 50], 200)
    assert paid(allocation) == {"teachers": 0, "givers": 0, "all": 100}
    assert [share.members for share in allocation.slices] == [0, 2, 2]


def test_groups_choose_members():
    rule = slices(part("yes", {"group": "YES"}), part("no", {"group": "NO"}, "2"))
    participants = ranked(3, 2, 1, groups=["YES", "NO", "YES"])
    assert allocate(rule, 90, participants, decimals=0).amounts.tolist() == [15, 60, 15]


@pytest.mark.parametrize(
    ("people", "percent", "members"),
    [(1, "10", 1), (10, "10", 1), (11, "10", 2), (3, "33.4", 2), (3, "100", 3), (7, "50", 4)],
)
def test_a_percentage_of_places_is_rounded_up(people, percent, members):
    rule = slices(part("best", {"top_percent": percent}))
    allocation = allocate(rule, 100, ranked(*range(people, 0, -1)), decimals=0)
    assert allocation.slices[0].members == members


def test_who_fails_a_threshold_keeps_the_place_and_gets_nothing_from_that_slice():
    votes = {"votes": [3, 12, 10, 50]}
    rule = slices(part("top3", {"top": 3, "at_least": {"votes": "10"}}), part("all", {"all": True}))
    allocation = allocate(rule, 200, ranked(9, 8, 7, 6, measures=votes), decimals=0)
    # Alice has too few votes; Dave, fourth, does not move up
    assert list(allocation.breakdowns()) == [{"all": 25}, {"top3": 50, "all": 25}, {"top3": 50, "all": 25}, {"all": 25}]


def test_thresholds_compare_exactly_across_scales():
    participants = Participants(Measure([20_001, 20_000, 19_999], 3), {"hours": Measure([5, 15, 25], 1)})
    rule = slices(part("in", {"all": True, "min_score": "20.0000", "at_least": {"hours": "0.51"}}))
    assert allocate(rule, 10, participants, decimals=0).amounts.tolist() == [0, 10, 0]


def test_positions_in_nested_slices_are_those_of_the_whole_ranking():
    inner = slices(part("best2", {"top": 2}), part("rest", {"all": True}))
    rule = slices(part("students", {"group": "s"}, rule=inner))
    participants = ranked(9, 8, 7, 6, groups=["t", "s", "s", "s"])
    allocation = allocate(rule, 60, participants, decimals=0)
    # only the student at place 2 is among the best two of all
    assert allocation.amounts.tolist() == [0, 40, 10, 10]
    assert [share.name for share in allocation.slices] == ["best2", "rest"]


def test_a_nested_slice_reaches_no_further_than_the_one_around_it():
    inner = slices(part("first", {"top": 1}), part("five", {"top": 5}), part("everyone", {"all": True}))
    rule = slices(part("top2", {"top": 2}, rule=inner))
    assert allocate(rule, 30, ranked(9, 8, 7, 6), decimals=0).amounts.tolist() == [20, 10, 0, 0]


def test_fixed_amounts_in_a_slice_may_not_pass_what_the_slice_was_given():
    rule = slices(part("fixed", {"group": "a"}, rule={"rule": "fixed"}), part("rest", {"group": "none"}))
    participants = ranked(3, 2, 1, groups=["a", "b", "a"], amounts=[40, 500, 11])
    assert allocate(rule, 102, participants, decimals=0).amounts.tolist() == [40, 0, 11]
    with pytest.raises(BudgetExceeded) as refused:
        allocate(rule, 100, participants, decimals=0)
    assert (refused.value.path, refused.value.needed_minor) == ("slices[0].rule", 51)


def test_tiers_inside_a_slice_carry_its_name():
    tiers = {"rule": "tiers", "tiers": [{"to": 1, "share": "0.7"}, {"to": 2, "share": "0.3", "name": "second"}]}
    rule = slices(part("prizes", {"all": True}, rule=tiers), part("rest", {"all": True}))
    allocation = allocate(rule, 200, ranked(2, 1), decimals=0)
    assert list(allocation.breakdowns()) == [{"prizes.tier1": 70, "rest": 50}, {"second": 30, "rest": 50}]


def test_tiers_named_like_their_slice_are_one_part_with_it():
    tiers = [
        {"to": 1, "share": "0.5", "name": "prizes"},
        {"to": 2, "share": "0.3", "name": "second"},
        {"to": 3, "share": "0.2", "name": "prizes"},
    ]
    rule = slices(part("prizes", {"all": True}, rule={"rule": "tiers", "tiers": tiers}), part("rest", {"all": True}))
    allocation = allocate(rule, 200, ranked(3, 2, 1), decimals=0)
    assert paid(allocation) == {"prizes": 70, "second": 30, "rest": 100}
    assert [share.members for share in allocation.slices] == [2, 1, 3]
    assert list(allocation.breakdowns())[2] == {"prizes": 20, "rest": 33}
    of_two = allocate(rule, 200, ranked(3, 2), decimals=0)  # nobody has the third place: its part is paid to nobody
    assert (of_two.slices[0].name, of_two.slices[0].amount, of_two.slices[0].paid) == ("prizes", 70, 50)
    assert of_two.unpaid == 20


def test_equals_whose_places_lie_in_several_tiers_of_one_name_get_the_sum_of_them():
    tiers = [{"to": 1, "share": "0.6", "name": "prizes"}, {"to": 2, "share": "0.2", "name": "prizes"}]
    rule = slices(part("prizes", {"all": True}, rule={"rule": "tiers", "tiers": tiers}))
    allocation = allocate(rule, 100, ranked(5, 5, 5), decimals=0, tie_policy="shared")
    assert list(allocation.breakdowns()) == [{"prizes": 27}, {"prizes": 27}, {"prizes": 26}]
    assert [(share.members, share.amount, share.paid) for share in allocation.slices] == [(3, 80, 80)]


def marked(winners: list[int], arguments: list[int], creators: list[int]) -> dict[str, list[int]]:
    return {"winning_voter": winners, "argument": arguments, "participant": [1] * len(winners), "creator": creators}


def test_the_pool_of_a_case_in_four_parts():
    # likes of an argument; the third has voted and said nothing, the last has written the case
    people = ranked(7, 7, 2, 0, 0, measures=marked([1, 0, 1, 0, 1], [1, 1, 1, 1, 0], [0, 0, 0, 0, 1]))
    allocation = allocate(case_rule(), 1000, people, decimals=0)
    assert list(allocation.breakdowns()) == [
        {"winning_voter": 134, "top_argument": 150, "participant": 40},
        {"top_argument": 90, "participant": 40},
        {"winning_voter": 133, "top_argument": 60, "participant": 40},
        {"participant": 40},
        {"winning_voter": 133, "participant": 40, "creator": 100},
    ]
    assert allocation.unpaid == 0


def test_what_of_a_case_finds_nobody_is_paid_to_nobody():
    allocation = allocate(case_rule(), 1000, ranked(4, measures=marked([0], [1], [0])), decimals=0)
    assert list(allocation.breakdowns()) == [{"top_argument": 150, "participant": 200}]
    assert allocation.unpaid == 650


def test_the_parts_of_a_case_are_cut_to_the_unit():
    people = ranked(3, 2, 1, measures=marked([1, 1, 1], [1, 1, 1], [0, 0, 1]))
    allocation = allocate(case_rule(), 7, people, decimals=0)
    # 2.8, 2.1, 1.4, 0.7 of seven: 3, 2, 1, 1; and of the two for arguments 1, 0.6, 0.4
    assert paid(allocation) == {"winning_voter": 3, "top_argument": 2, "participant": 1, "creator": 1}
    assert allocation.amounts.tolist() == [3, 2, 2]


def test_a_rule_that_names_what_is_not_there_is_refused_with_its_path():
    with pytest.raises(RuleError) as refused:
        allocate({"rule": "proportional", "by": "ecc"}, 1, ranked(1, measures={"votes": [1]}), decimals=0)
    assert (refused.value.path, "there are: votes" in str(refused.value)) == ("by", True)
    with pytest.raises(RuleError) as refused:
        allocate(slices(part("a", {"group": "g"})), 1, ranked(1), decimals=0)
    assert refused.value.path == "slices[0].members.group"
    with pytest.raises(RuleError) as refused:
        allocate(slices(part("a", {"all": True, "at_least": {"votes": "1"}})), 1, ranked(1), decimals=0)
    assert refused.value.path == "slices[0].members.at_least.votes"


def test_columns_of_different_length_are_refused():
    with pytest.raises(ValueError, match="2 scores but 1 rows of amounts"):
        ranked(2, 1, amounts=[1])
    with pytest.raises(ValueError, match="measure 'votes'"):
        ranked(2, 1, measures={"votes": [1, 2, 3]})


def test_negative_weights_and_unknown_tie_policies_are_refused():
    with pytest.raises(ValueError, match="negative weight"):
        allocate({"rule": "proportional"}, 10, ranked(2, -1), decimals=0)
    with pytest.raises(ValueError, match="tie policy"):
        allocate(EQUAL, 10, ranked(1), decimals=0, tie_policy="alphabetical")


def test_breakdowns_stream_in_order_across_blocks():
    people = 40_000
    rule = slices(part("top20000", {"top": 20_000}), part("all", {"all": True}))
    allocation = allocate(rule, 10**9, Participants(Measure(np.arange(people, 0, -1), 0)), decimals=0)
    breakdowns = list(allocation.breakdowns())
    assert [sum(breakdown.values()) for breakdown in breakdowns] == allocation.amounts.tolist()
    assert list(breakdowns[19_999]) == ["top20000", "all"]
    assert list(breakdowns[20_000]) == ["all"]


# --- the pools -------------------------------------------------------------------------------------------------


def test_an_hour_with_twelve_voters():
    allocation = allocate(hourly_rule(), 1000, ranked(*range(12, 0, -1)), decimals=0)
    assert [share.name for share in allocation.slices] == ["top10p", "top10", "top100", "top1000", "all"]
    assert [share.members for share in allocation.slices] == [2, 10, 12, 12, 12]
    # 200 a slice: 100 + 20 + 17 + 17 + 17 for the first, and 16 a slice for the last four of each
    assert allocation.amounts.tolist() == [171, 171, 71, 71, 71, 71, 71, 71, 68, 68, 48, 48]
    assert next(allocation.breakdowns()) == {"top10p": 100, "top10": 20, "top100": 17, "top1000": 17, "all": 17}


def test_a_day_of_three_partners():
    votes, ecc = [12, 4, 1], [900, 100, 50]
    allocation = allocate(daily_rule(), 3000, ranked(9, 8, 7, measures={"votes": votes, "ecc": ecc}), decimals=0)
    # 1000 a part; fixed position 200 a slice: Alice alone in 10 and 100, with Bob in 1000 and 10000, all three in all
    assert list(allocation.breakdowns()) == [
        {"top10": 200, "top100": 200, "top1000": 100, "top10000": 100, "all": 67, "top10p_ecc": 1000, "top50p": 500},
        {"top1000": 100, "top10000": 100, "all": 67, "top50p": 500},
        {"all": 66},
    ]
    assert allocation.facts == {"weight_cap": "4500", "top10p_ecc.weights": "900"}


def test_the_contribution_cap_holds_down_the_heaviest():
    scores = list(range(20, 0, -1))
    ecc = [1, 100] + [10] * 18  # the second by position has a very heavy vote type
    rule = {"rule": "proportional", "by": "ecc", "weight_cap": {"times": "1.1", "mean_of_top_percent": "10"}}
    allocation = allocate(rule, 10_000, ranked(*scores, measures={"ecc": ecc}), decimals=0)
    # 1.1 × (1 + 100) / 2 = 55.55, so the weights are 1, 55.55 and eighteen times 10
    assert allocation.facts == {"weight_cap": "55.55", "proportional.weights": "236.55"}
    assert allocation.amounts[:3].tolist() == [42, 2348, 423]


def test_a_cap_without_finite_decimals_is_a_fraction_in_the_facts():
    participants = Participants(Measure([3, 2, 1], 0), {"ecc": Measure([10, 5, 5], 1)})
    rule = {"rule": "proportional", "by": "ecc", "weight_cap": {"times": "1", "mean_of_top_percent": "100"}}
    allocation = allocate(rule, 100, participants, decimals=0)
    # (1 + 0.5 + 0.5) / 3 = 2/3 caps Alice: 4 : 3 : 3
    assert allocation.facts == {"weight_cap": "2/3", "proportional.weights": "5/3"}
    assert allocation.amounts.tolist() == [40, 30, 30]
