"""What holds for every amount, weight and tree. What rules make of them: `test_rule_laws.py`."""

from __future__ import annotations

import json
from collections import Counter
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewards.allocation.apportion import apportion, capped_shares, equal_shares
from rewards.allocation.canonical import canonical_json
from rewards.allocation.leaves import row_leaf
from rewards.allocation.merkle import (
    inclusion_proof,
    leaf_hash,
    node_hash,
    proof_from_subtrees,
    root_from_subtrees,
    root_of,
    subtree_roots,
    verify_inclusion,
)
from tests.laws.reference import exact_shares
from tests.laws.strategies import AMOUNTS, WEIGHTS, limits

pytestmark = pytest.mark.once

# --- apportionment ---------------------------------------------------------------------------------------------


@given(AMOUNTS, WEIGHTS)
def test_shares_add_up_and_stay_within_one_unit_of_the_exact_share(amount, weights):
    shares = apportion(amount, weights).tolist()
    assert sum(shares) == amount
    for share, weight in zip(shares, weights, strict=True):
        assert abs(share - Fraction(amount * weight, sum(weights))) < 1


@given(AMOUNTS, WEIGHTS)
def test_more_weight_never_gets_less_and_no_weight_gets_nothing(amount, weights):
    shares = apportion(amount, weights).tolist()
    by_weight = sorted(zip(weights, shares, strict=True))
    for (lighter, less), (heavier, more) in pairwise(by_weight):
        assert lighter == heavier or less <= more
    assert all(share == 0 for weight, share in zip(weights, shares, strict=True) if weight == 0)


@given(AMOUNTS, WEIGHTS, st.randoms(use_true_random=False))
def test_the_order_of_rows_decides_only_between_equal_remainders(amount, weights, random):
    def outcome(rows: list[int]) -> Counter[tuple[int, int]]:
        total = sum(rows)
        shares = apportion(amount, rows).tolist()
        return Counter((amount * w % total, s - amount * w // total) for w, s in zip(rows, shares, strict=True))

    shuffled = weights.copy()
    random.shuffle(shuffled)
    assert outcome(shuffled) == outcome(weights)


@given(AMOUNTS, WEIGHTS, st.integers(1, 10**20))
def test_only_the_proportion_of_weights_counts(amount, weights, factor):
    assert apportion(amount, weights).tolist() == apportion(amount, [weight * factor for weight in weights]).tolist()


@given(AMOUNTS, st.integers(1, 50))
def test_equal_shares_are_apportionment_by_equal_weights(amount, members):
    assert equal_shares(amount, members).tolist() == apportion(amount, [1] * members).tolist()


@given(AMOUNTS, WEIGHTS, st.data())
@settings(max_examples=300)
def test_capped_shares_are_the_exact_solution_rounded(amount, weights, data):
    cap, minimum = data.draw(limits(amount))
    amounts, left = capped_shares(amount, weights, cap, minimum)
    exact = exact_shares(amount, weights, cap, minimum or 0)
    assert int(amounts.sum()) + left == amount
    assert left == amount - sum(exact)
    for share, part in zip(amounts.tolist(), exact, strict=True):
        assert abs(share - part) < 1
        assert cap is None or share <= cap
        assert share == 0 or share >= (minimum or 0)


@given(AMOUNTS, WEIGHTS, st.data())
def test_more_weight_never_gets_less_under_limits(amount, weights, data):
    amounts, _ = capped_shares(amount, weights, *data.draw(limits(amount)))
    by_weight = sorted(zip(weights, amounts.tolist(), strict=True))
    for (lighter, less), (heavier, more) in pairwise(by_weight):
        assert lighter == heavier or less <= more


# --- canonical JSON and trees ----------------------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_canonical_json_says_the_same_and_does_not_depend_on_the_order_of_keys(value):
    data = canonical_json(value)
    assert json.loads(data) == value
    assert canonical_json(json.loads(data)) == data
    if isinstance(value, dict):
        assert canonical_json(dict(reversed(value.items()))) == data


@given(st.integers(0, 2**53 - 1), TEXT, TEXT, TEXT, st.dictionaries(TEXT, TEXT, max_size=6), TEXT)
def test_the_fast_leaf_is_canonical_json_byte_for_byte(position, user, score, amount, breakdown, salt):
    row = {
        "position": position,
        "user": user,
        "score": score,
        "amount": amount,
        "breakdown": breakdown,
        "salt": salt,
    }
    assert row_leaf(**row) == canonical_json(row)


def root_by_the_rfc(leaves: list[bytes]) -> bytes:
    """MTH as RFC 6962 section 2.1 defines it."""
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return node_hash(root_by_the_rfc(leaves[:split]), root_by_the_rfc(leaves[split:]))


@given(st.integers(1, 300), st.sampled_from([1, 2, 4, 16, 64, 256]), st.data())
def test_chunks_make_the_same_tree_and_the_same_proofs(size, chunk_size, data):
    leaves = [leaf_hash(number.to_bytes(4, "big")) for number in range(size)]
    root = root_by_the_rfc(leaves)
    roots = list(subtree_roots(leaves, chunk_size))
    assert root_of(iter(leaves)) == root
    assert root_from_subtrees(roots) == root
    index = data.draw(st.integers(0, size - 1))
    chunk, within = divmod(index, chunk_size)
    path = proof_from_subtrees(leaves[chunk * chunk_size : (chunk + 1) * chunk_size], within, roots, chunk)
    assert path == inclusion_proof(leaves, index)
    assert verify_inclusion(leaves[index], index, size, path, root)


@given(st.integers(2, 200), st.data())
def test_no_flipped_bit_gets_through(size, data):
    leaves = [leaf_hash(number.to_bytes(4, "big")) for number in range(size)]
    index = data.draw(st.integers(0, size - 1))
    parts = [leaves[index], root_of(leaves), *inclusion_proof(leaves, index)]
    which, bit = data.draw(st.integers(0, len(parts) - 1)), data.draw(st.integers(0, 255))
    flipped = (int.from_bytes(parts[which], "big") ^ (1 << bit)).to_bytes(32, "big")
    leaf, root, *path = [*parts[:which], flipped, *parts[which + 1 :]]
    assert not verify_inclusion(leaf, index, size, path, root)
