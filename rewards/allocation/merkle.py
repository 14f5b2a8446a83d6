"""Merkle trees as in RFC 6962 (SHA-256): roots, proofs of inclusion, their check. Standard library only.

A leaf is hashed as SHA-256(0x00 ‖ data), a node as SHA-256(0x01 ‖ left ‖ right). A tree of n leaves splits at the
largest power of two below n. So a tree cut into subtrees of one power-of-two size, only the last being smaller, has
the root that the tree over the subtrees' roots has: a distribution is hashed chunk by chunk, and a proof needs one
chunk's leaves and the other chunks' roots.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """Hash of a leaf's bytes."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of a node over its two children's hashes."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_of(leaf_hashes: Iterable[bytes]) -> bytes:
    """Root over leaf hashes in order. Streams: holds one hash per level. Without leaves: SHA-256 of nothing."""
    complete: list[tuple[int, bytes]] = []  # (leaves, root) of complete subtrees, larger ones first
    for current in leaf_hashes:
        size = 1
        while complete and complete[-1][0] == size:
            current = node_hash(complete.pop()[1], current)
            size *= 2
        complete.append((size, current))
    if not complete:
        return EMPTY_ROOT
    root = complete.pop()[1]
    while complete:
        root = node_hash(complete.pop()[1], root)
    return root


def subtree_roots(leaf_hashes: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Roots of consecutive subtrees of `size` leaves (a power of two; the last may have fewer)."""
    if size < 1 or size & (size - 1):
        raise ValueError(f"A subtree has a power of two of leaves, not {size}.")
    leaves = iter(leaf_hashes)
    while subtree := list(islice(leaves, size)):
        yield root_of(subtree)


def root_from_subtrees(roots: Sequence[bytes]) -> bytes:
    """Root of the whole tree from the roots of its subtrees, all but the last of one power-of-two size."""
    return root_of(roots)


def inclusion_proof(leaf_hashes: Sequence[bytes], index: int) -> list[bytes]:
    """The audit path of leaf `index`: the sibling hashes from the leaf up. Raises `IndexError`."""
    if not 0 <= index < len(leaf_hashes):
        raise IndexError(f"There is no leaf {index} in a tree of {len(leaf_hashes)}.")
    path = []
    level = list(leaf_hashes)
    while len(level) > 1:
        sibling = index ^ 1
        if sibling < len(level):
            path.append(level[sibling])
        index //= 2
        level = _level_above(level)
    return path


def _level_above(level: list[bytes]) -> list[bytes]:
    """Pairs joined; an odd last one moves up as it is, which is where RFC 6962 splits."""
    above = [node_hash(level[left], level[left + 1]) for left in range(0, len(level) - 1, 2)]
    if len(level) % 2:
        above.append(level[-1])
    return above


def proof_from_subtrees(
    chunk_leaf_hashes: Sequence[bytes], index_in_chunk: int, subtree_roots: Sequence[bytes], chunk_number: int
) -> list[bytes]:
    """The audit path in the whole tree from one chunk's leaf hashes and the roots of all chunks.

    `chunk_number` counts from 0; all chunks but the last have one power-of-two number of leaves. Raises `IndexError`
    for a leaf or chunk that is not there and `ValueError` when the leaves do not hash to their chunk's root.
    """
    within = inclusion_proof(chunk_leaf_hashes, index_in_chunk)
    above = inclusion_proof(subtree_roots, chunk_number)
    if root_of(chunk_leaf_hashes) != subtree_roots[chunk_number]:
        raise ValueError(f"The leaves of chunk {chunk_number} do not hash to its root.")
    return within + above


def verify_inclusion(leaf_hash: bytes, leaf_index: int, tree_size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Whether the path leads from that leaf of a tree of that size to the root (RFC 9162, section 2.1.3.2)."""
    if not 0 <= leaf_index < tree_size:
        return False
    node, last = leaf_index, tree_size - 1
    current = leaf_hash
    for sibling in path:
        if last == 0:
            return False
        if node & 1 or node == last:
            current = node_hash(sibling, current)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            current = node_hash(current, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and current == root
