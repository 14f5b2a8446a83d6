"""What holds for every amount, weight, rule and tree."""

from __future__ import annotations

import json
from collections import Counter
from fractions import Fraction
from itertools import pairwise
from math import ceil

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
from rewards.allocation.ranks import competition_ranks
from rewards.allocation.rules import BudgetExceeded, Measure, Participants, allocate

AMOUNTS = st.one_of(st.integers(0, 1000), st.integers(0, 10**18))
WEIGHT = st.one_of(st.integers(0, 5), st.integers(0, 10**6), st.integers(0, 10**30))
WEIGHTS = st.lists(WEIGHT, min_size=1, max_size=30).filter(any)


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


def exact_shares(amount: int, weights: list[int], cap: int | None, minimum: int) -> list[Fraction]:
    """The rule of the specification, word for word, in fractions: fill to the cap, drop the small, share again."""
    shares = [Fraction(0)] * len(weights)
    paid = {row for row, weight in enumerate(weights) if weight}
    while True:
        at_cap: set[int] = set()
        while True:
            others = paid - at_cap
            rest = amount - sum(cap or 0 for _ in at_cap)
            total = sum(weights[row] for row in others)
            for row in others:
                shares[row] = Fraction(rest * weights[row], total)
            passing = {row for row in others if cap is not None and shares[row] > cap}
            if not passing:
                break
            at_cap |= passing
            for row in passing:
                shares[row] = Fraction(cap or 0)
        small = {row for row in paid if shares[row] < minimum}
        if not small:
            return shares
        paid -= small
        for row in small:
            shares[row] = Fraction(0)


@given(st.integers(0, 10**6), WEIGHTS, st.none() | st.integers(0, 10**6), st.none() | st.integers(0, 10**5))
@settings(max_examples=300)
def test_capped_shares_are_the_exact_solution_rounded(amount, weights, cap, minimum):
    amounts, left = capped_shares(amount, weights, cap, minimum)
    exact = exact_shares(amount, weights, cap, minimum or 0)
    assert int(amounts.sum()) + left == amount
    assert left == amount - sum(exact)
    for share, part in zip(amounts.tolist(), exact, strict=True):
        assert abs(share - part) < 1
        assert cap is None or share <= cap
        assert share == 0 or share >= (minimum or 0)


@given(st.integers(1, 10**6), WEIGHTS, st.integers(1, 10**6), st.integers(0, 10**5))
def test_more_weight_never_gets_less_under_limits(amount, weights, cap, minimum):
    amounts, _ = capped_shares(amount, weights, cap, minimum)
    by_weight = sorted(zip(weights, amounts.tolist(), strict=True))
    for (lighter, less), (heavier, more) in pairwise(by_weight):
        assert lighter == heavier or less <= more


# --- rules -----------------------------------------------------------------------------------------------------

PERCENT = st.sampled_from(["0.1", "10", "33.4", "50", "100"])
MEMBERS = st.builds(
    lambda who, conditions: who | conditions,
    st.one_of(
        st.just({"all": True}),
        st.builds(lambda places: {"top": places}, st.integers(1, 15)),
        st.builds(lambda percent: {"top_percent": percent}, PERCENT),
        st.builds(lambda group: {"group": group}, st.sampled_from("ab")),
    ),
    st.one_of(
        st.just({}),
        st.builds(lambda least: {"min_score": str(least)}, st.integers(0, 5)),
        st.builds(lambda least: {"at_least": {"votes": str(least)}}, st.integers(0, 5)),
    ),
)
PROPORTIONAL = st.builds(
    lambda limits: {"rule": "proportional"} | limits,
    st.fixed_dictionaries(
        {},
        optional={
            "by": st.just("votes"),
            "max_share": st.sampled_from(["0.01", "0.2", "0.5"]),
            "min_amount": st.sampled_from(["1", "2.5", "10"]),
            "weight_cap": st.builds(
                lambda times, percent: {"times": times, "mean_of_top_percent": percent},
                st.sampled_from(["0.5", "1", "5"]),
                PERCENT,
            ),
        },
    ),
)


@st.composite
def tiers(draw: st.DrawFn) -> dict:
    ends = sorted(draw(st.sets(st.integers(1, 20), min_size=1, max_size=4)))
    shares = [f"0.{draw(st.integers(0, 25)):02d}" for _ in ends]
    rule = {"rule": "tiers", "tiers": [{"to": end, "share": share} for end, share in zip(ends, shares, strict=True)]}
    return rule | {"by": draw(st.sampled_from(["position", "rank"]))}


@st.composite
def rules(draw: st.DrawFn, depth: int = 2) -> dict:
    kinds = [st.just({"rule": "equal"}), PROPORTIONAL, tiers()]
    if depth == 0:
        return draw(st.one_of(kinds))
    inner = draw(st.lists(st.tuples(MEMBERS, rules(depth=depth - 1)), min_size=1, max_size=4))
    slices = []
    for number, (members, rule) in enumerate(inner):
        weight = draw(st.sampled_from(["1", "0.333", "2"]))
        slices.append(
            {"name": f"s{number}", "weight": weight, "members": members, "rule": renamed(rule, f"s{number}.")}
        )
    return {"rule": "slices", "slices": slices}


def renamed(rule: dict, prefix: str) -> dict:
    if rule["rule"] != "slices":
        return rule
    parts = [part | {"name": prefix + part["name"], "rule": renamed(part["rule"], prefix)} for part in rule["slices"]]
    return rule | {"slices": parts}


@st.composite
def participants(draw: st.DrawFn) -> Participants:
    scores = sorted(draw(st.lists(st.integers(0, 6), max_size=25)), reverse=True)
    people = len(scores)
    votes = draw(st.lists(st.integers(0, 8), min_size=people, max_size=people))
    groups = draw(st.lists(st.sampled_from("ab"), min_size=people, max_size=people))
    return Participants(Measure(scores, 0), {"votes": Measure(votes, 0)}, groups=groups)


@given(rules(), AMOUNTS, participants(), st.sampled_from(["earliest", "shared", "same"]))
@settings(max_examples=300, deadline=None)
def test_every_rule_accounts_for_every_unit(rule, amount, people, tie_policy):
    try:
        allocation = allocate(rule, amount, people, decimals=0, tie_policy=tie_policy)
    except BudgetExceeded:
        assert tie_policy == "same"
        return
    amounts = allocation.amounts.tolist()
    assert min(amounts, default=0) >= 0
    assert sum(amounts) + allocation.unpaid == amount
    assert allocation.unpaid >= 0
    for part in allocation.slices:
        assert part.paid == int(part.shares.sum()) <= part.amount
        assert part.members == len(part.rows) == len(set(part.rows.tolist()))
        assert sorted(part.rows.tolist()) == part.rows.tolist()
    breakdowns = list(allocation.breakdowns())
    assert [sum(breakdown.values()) for breakdown in breakdowns] == amounts
    assert all(share > 0 for breakdown in breakdowns for share in breakdown.values())


@given(rules(), AMOUNTS, participants())
@settings(deadline=None)
def test_sharing_places_pays_each_slice_what_the_places_got(rule, amount, people):
    earliest = allocate(rule, amount, people, decimals=0)
    shared = allocate(rule, amount, people, decimals=0, tie_policy="shared")
    assert [part.paid for part in shared.slices] == [part.paid for part in earliest.slices]


@given(tiers(), AMOUNTS, participants())
@settings(deadline=None)
def test_equals_who_share_their_places_differ_by_a_unit_at_most(rule, amount, people):
    allocation = allocate(rule, amount, people, decimals=0, tie_policy="shared")
    ranks = competition_ranks(people.score.values).tolist()
    for rank in set(ranks):
        equals = [paid for paid, other in zip(allocation.amounts.tolist(), ranks, strict=True) if other == rank]
        assert max(equals) - min(equals) <= 1
        assert equals == sorted(equals, reverse=True)


@given(AMOUNTS, participants(), PERCENT)
def test_a_percentage_finds_the_exact_number_of_places(amount, people, percent):
    members = {"top_percent": percent}
    rule = {"rule": "slices", "slices": [{"name": "a", "weight": "1", "members": members, "rule": {"rule": "equal"}}]}
    allocation = allocate(rule, amount, people, decimals=0)
    assert allocation.slices[0].members == ceil(Fraction(percent) * len(people) / 100)


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
@settings(deadline=None)
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
@settings(deadline=None)
def test_no_flipped_bit_gets_through(size, data):
    leaves = [leaf_hash(number.to_bytes(4, "big")) for number in range(size)]
    index = data.draw(st.integers(0, size - 1))
    parts = [leaves[index], root_of(leaves), *inclusion_proof(leaves, index)]
    which, bit = data.draw(st.integers(0, len(parts) - 1)), data.draw(st.integers(0, 255))
    flipped = (int.from_bytes(parts[which], "big") ^ (1 << bit)).to_bytes(32, "big")
    leaf, root, *path = [*parts[:which], flipped, *parts[which + 1 :]]
    assert not verify_inclusion(leaf, index, size, path, root)
