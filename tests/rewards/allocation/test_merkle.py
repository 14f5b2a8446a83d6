"""Merkle trees: the vectors of Certificate Transparency, proofs, and an independent library as the oracle."""

from __future__ import annotations

import hashlib

import pytest

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

# The reference leaves and roots of Certificate Transparency, trees of 1 to 8 leaves.
CT_LEAVES = [
    bytes.fromhex(leaf)
    for leaf in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
CT_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
CT_PATH_OF_THE_FIRST_OF_EIGHT = [
    "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
    "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
]


def hashes(count: int) -> list[bytes]:
    return [leaf_hash(f"row {number}".encode()) for number in range(count)]


@pytest.mark.parametrize("size", range(1, 9))
def test_the_roots_of_certificate_transparency(size):
    assert root_of(map(leaf_hash, CT_LEAVES[:size])).hex() == CT_ROOTS[size - 1]


def test_a_path_of_certificate_transparency():
    path = inclusion_proof([leaf_hash(leaf) for leaf in CT_LEAVES], 0)
    assert [entry.hex() for entry in path] == CT_PATH_OF_THE_FIRST_OF_EIGHT


def test_a_tree_without_leaves_is_the_hash_of_nothing():
    assert root_of([]) == hashlib.sha256(b"").digest()


def test_leaves_and_nodes_cannot_be_mistaken_for_each_other():
    left, right = hashes(2)
    assert leaf_hash(left + right) != node_hash(left, right)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 8, 13, 33])
def test_every_proof_of_a_tree_leads_to_its_root_and_to_no_other_place(size):
    leaves = hashes(size)
    root = root_of(leaves)
    for index, leaf in enumerate(leaves):
        path = inclusion_proof(leaves, index)
        assert verify_inclusion(leaf, index, size, path, root)
        assert not verify_inclusion(leaf, index, size, path, leaf_hash(b"another root"))
        assert not verify_inclusion(leaf_hash(b"another row"), index, size, path, root)
        for elsewhere in range(-1, size + 2):
            assert verify_inclusion(leaf, elsewhere, size, path, root) == (elsewhere == index)


def test_a_path_that_is_cut_or_padded_is_refused():
    leaves = hashes(11)
    path, root = inclusion_proof(leaves, 4), root_of(leaves)
    assert not verify_inclusion(leaves[4], 4, 11, path[:-1], root)
    assert not verify_inclusion(leaves[4], 4, 11, [*path, leaves[0]], root)
    assert not verify_inclusion(leaves[4], 4, 11, path[::-1], root)
    assert not verify_inclusion(leaves[4], 4, 0, path, root)


@pytest.mark.parametrize("index", [-1, 3])
def test_there_is_no_proof_of_a_leaf_that_is_not_there(index):
    with pytest.raises(IndexError):
        inclusion_proof(hashes(3), index)


def test_a_proof_is_put_together_from_one_chunk_and_the_roots_of_the_others():
    leaves = hashes(21)
    roots = list(subtree_roots(leaves, 8))
    assert len(roots) == 3
    assert root_from_subtrees(roots) == root_of(leaves)
    for index in range(21):
        chunk, within = divmod(index, 8)
        path = proof_from_subtrees(leaves[chunk * 8 : chunk * 8 + 8], within, roots, chunk)
        assert path == inclusion_proof(leaves, index)


def test_leaves_that_do_not_belong_to_their_chunk_are_noticed():
    leaves = hashes(16)
    roots = list(subtree_roots(leaves, 8))
    with pytest.raises(ValueError, match="chunk 1"):
        proof_from_subtrees(leaves[:8], 0, roots, 1)


@pytest.mark.parametrize("size", [0, -4, 3, 6])
def test_subtrees_have_a_power_of_two_of_leaves(size):
    with pytest.raises(ValueError, match="power of two"):
        list(subtree_roots(hashes(4), size))


@pytest.mark.filterwarnings("ignore:get_state is deprecated")  # its new name is missing in older releases
@pytest.mark.parametrize("size", [1, 2, 3, 6, 10, 31])
def test_an_independent_library_agrees(size):
    pymerkle = pytest.importorskip("pymerkle")
    tree = pymerkle.InmemoryTree(algorithm="sha256")
    entries = [f"row {number}".encode() for number in range(size)]
    for entry in entries:
        tree.append_entry(entry)
    leaves = [leaf_hash(entry) for entry in entries]
    assert tree.get_state() == root_of(leaves)
    assert [tree.get_leaf(number + 1) for number in range(size)] == leaves
    for number in range(size):
        theirs = tree.prove_inclusion(number + 1, size)
        ours = [entry.hex() for entry in inclusion_proof(leaves, number)]
        assert theirs.serialize()["path"][1:] == ours  # theirs starts with the leaf itself
