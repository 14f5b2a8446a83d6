"""Sharing out whole units: textbook seats, missing cents, numbers too large for any machine word."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from rewards.allocation.apportion import NothingToWeigh, apportion, capped_shares, equal_shares
from rewards.allocation.errors import SumMismatch, ensure_sum
from rewards.allocation.integers import exact_integers, exact_sum


def test_the_textbook_parliament_of_ten_seats():
    votes = [47_000, 16_000, 15_900, 12_000, 6_100, 3_100]
    assert apportion(10, votes).tolist() == [5, 2, 1, 1, 1, 0]


def test_the_alabama_paradox_shows_that_it_is_hamiltons_method():
    states = [6, 6, 2]
    assert apportion(10, states).tolist() == [4, 4, 2]
    assert apportion(11, states).tolist() == [5, 5, 1]  # one seat more, and the small state loses one


def test_alice_bob_and_carol_share_a_euro_and_the_cent_goes_to_the_earliest():
    assert apportion(100, [1, 1, 1]).tolist() == [34, 33, 33]
    assert apportion(101, [1, 1, 1]).tolist() == [34, 34, 33]


def test_equal_remainders_go_to_the_earlier_row_whatever_the_weights():
    # 3 × 1/6 and 3 × 5/6 leave one half each
    assert apportion(3, [1, 5]).tolist() == [1, 2]
    assert apportion(3, [5, 1]).tolist() == [3, 0]


def test_a_weight_of_zero_never_gets_a_missing_unit():
    assert apportion(2, [0, 1, 1, 1, 0]).tolist() == [0, 1, 1, 0, 0]


def test_nothing_to_share_gives_everybody_nothing():
    assert apportion(0, [3, 4]).tolist() == [0, 0]


def test_a_quintillion_units_over_weights_of_thirty_digits_are_exact():
    weights = [10**30 - 1, 7 * 10**29 + 3, 1]
    amount = 10**18
    shares = apportion(amount, weights)
    assert shares.dtype == np.int64
    assert int(shares.sum()) == amount
    exact = [Fraction(amount * weight, sum(weights)) for weight in weights]
    assert all(abs(int(share) - part) < 1 for share, part in zip(shares, exact, strict=True))
    assert shares.tolist() == [588_235_294_117_647_059, 411_764_705_882_352_941, 0]


def test_both_number_paths_agree():
    weights = [3, 1, 4, 1, 5, 9, 2, 6]
    scaled = [weight * 10**25 for weight in weights]  # needs Python integers
    assert apportion(1003, weights).tolist() == apportion(1003, scaled).tolist()


def test_weights_whose_sum_passes_64_bits_do_not_wrap_around():
    weights = np.array([2**63 - 1, 2**63 - 1, 2**63 - 1], dtype=np.int64)
    assert apportion(3, weights).tolist() == [1, 1, 1]
    assert exact_sum(weights) == 3 * (2**63 - 1)


def test_unsigned_and_mixed_columns_keep_every_digit():
    assert exact_integers(np.array([2**64 - 1], dtype=np.uint64)).tolist() == [2**64 - 1]
    assert exact_integers([2**63, -1]).tolist() == [2**63, -1]
    assert exact_integers([np.int32(7), 2]).tolist() == [7, 2]
    assert exact_integers(range(3)).tolist() == [0, 1, 2]


@pytest.mark.parametrize("weights", [[1.5], [True], ["1"], [None], [[1]], np.array([0.5]), np.array([True])])
def test_only_whole_numbers_are_weights(weights):
    with pytest.raises(TypeError):
        apportion(1, weights)


def test_all_weights_zero_is_an_error_of_its_own():
    with pytest.raises(NothingToWeigh, match="nobody to share with") as refused:
        apportion(100, [0, 0])
    assert refused.value.code == "nothing_to_weigh"
    assert isinstance(refused.value, ValueError)
    with pytest.raises(NothingToWeigh):
        apportion(100, [])


@pytest.mark.parametrize(("amount", "weights"), [(-1, [1]), (1, [2, -1]), (2**63, [1])])
def test_amounts_and_weights_outside_the_range_are_refused(amount, weights):
    with pytest.raises(ValueError):
        apportion(amount, weights)


@pytest.mark.parametrize("amount", [1.0, "1", True, None])
def test_an_amount_is_a_whole_number(amount):
    with pytest.raises(TypeError):
        apportion(amount, [1])


def test_equal_shares_give_the_first_one_more():
    assert equal_shares(10, 4).tolist() == [3, 3, 2, 2]
    assert equal_shares(2, 4).tolist() == [1, 1, 0, 0]
    assert equal_shares(12, 4).tolist() == [3, 3, 3, 3]


def test_equal_shares_of_nobody_are_refused():
    with pytest.raises(NothingToWeigh):
        equal_shares(10, 0)
    with pytest.raises(ValueError):
        equal_shares(10, -1)


# --- with a ceiling and a floor per row ------------------------------------------------------------------------


def test_without_limits_it_is_plain_apportionment():
    amounts, left = capped_shares(100, [5, 3, 2], None, None)
    assert (amounts.tolist(), left) == ([50, 30, 20], 0)


def test_whoever_would_pass_the_cap_gets_the_cap_and_the_others_share_the_rest():
    amounts, left = capped_shares(100, [50, 30, 20], 40, None)
    assert (amounts.tolist(), left) == ([40, 36, 24], 0)


def test_the_rest_may_lift_the_next_one_to_the_cap():
    # Alice is capped at 35; of the 65 left Bob would get 45.5, so he is capped too
    amounts, left = capped_shares(100, [60, 28, 12], 35, None)
    assert (amounts.tolist(), left) == ([35, 35, 30], 0)


def test_when_all_are_capped_something_is_left():
    amounts, left = capped_shares(100, [6, 3, 1], 20, None)
    assert (amounts.tolist(), left) == ([20, 20, 20], 40)


def test_payouts_below_the_minimum_are_shared_again():
    amounts, left = capped_shares(100, [60, 36, 4], None, 5)
    assert (amounts.tolist(), left) == ([63, 37, 0], 0)  # 62.5 and 37.5: the missing unit goes to the earlier


def test_what_the_small_ones_leave_may_lift_others_to_the_cap():
    # 48, 46 and six of 1 under a cap of 49: the six leave, and 51.06 : 48.94 meets the cap
    amounts, left = capped_shares(100, [48, 46, 1, 1, 1, 1, 1, 1], 49, 2)
    assert (amounts.tolist(), left) == ([49, 49, 0, 0, 0, 0, 0, 0], 2)


def test_those_at_the_cap_get_nothing_of_what_the_small_ones_leave():
    amounts, left = capped_shares(100, [90, 6, 3, 1], 50, 10)
    # capped 50; the rest 50 is 30 : 15 : 5; the 5 is too small and goes to Bob and Carol alone
    assert (amounts.tolist(), left) == ([50, 33, 17, 0], 0)


def test_the_minimum_is_met_by_exact_shares_before_rounding():
    # 100 × 1/6 is 16.67, which rounds to 17 and yet is below a minimum of 17
    amounts, left = capped_shares(100, [5, 1], None, 17)
    assert (amounts.tolist(), left) == ([100, 0], 0)


def test_everybody_below_the_minimum_leaves_everything():
    amounts, left = capped_shares(100, [1] * 11, None, 10)
    assert (amounts.sum(), left) == (0, 100)


def test_a_cap_below_the_minimum_pays_nobody():
    amounts, left = capped_shares(100, [3, 2], 5, 10)
    assert (amounts.tolist(), left) == ([0, 0], 100)


def test_a_cap_of_nothing_leaves_everything():
    amounts, left = capped_shares(100, [3, 2], 0, None)
    assert (amounts.tolist(), left) == ([0, 0], 100)


def test_nothing_to_share_under_limits():
    amounts, left = capped_shares(0, [3, 2], 5, 1)
    assert (amounts.tolist(), left) == ([0, 0], 0)


def test_limits_hold_for_weights_of_thirty_digits():
    amounts, left = capped_shares(100, [50 * 10**28, 30 * 10**28, 20 * 10**28, 1], 40, 1)
    assert (amounts.tolist(), left) == ([40, 36, 24, 0], 0)


def test_limits_do_not_help_when_there_is_nothing_to_weigh():
    with pytest.raises(NothingToWeigh):
        capped_shares(100, [0, 0], 40, 1)


def test_a_broken_sum_raises_even_without_asserts():
    with pytest.raises(SumMismatch, match="99 minor units instead of 100"):
        ensure_sum(100, 99, "shares")
