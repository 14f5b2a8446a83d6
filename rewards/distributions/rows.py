"""The rows of a distribution on their way into the database and back: streamed, never all in memory.

Leaf 0 of the tree is the header, leaf i the row at position i; a chunk is a run of `chunk_rows` leaves, a power of
two, so the chunks' roots make the digest.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any

import numpy as np
from django.db.models import TextField
from django.db.models.functions import Cast

from rewards.allocation.leaves import header_leaf, row_leaf
from rewards.allocation.merkle import leaf_hash, root_of
from rewards.allocation.ranks import competition_ranks
from rewards.allocation.rules import Allocation, Measure, Participants
from rewards.common.amounts import to_units
from rewards.distributions.models import Distribution, Reward
from rewards.distributions.programmes import Snapshot

REWARD_COLUMNS = (
    "distribution_id", "user_id", "position", "rank", "score", "amount", "breakdown", "inputs", "salt",
)  # fmt: skip


@dataclass
class ChunkTotals:
    """What a chunk row says of its rows, counted while they pass."""

    number: int
    first_position: int
    last_position: int
    recipients: int = 0
    amount: int = 0
    root: bytes = b""


def header_of(distribution: Distribution) -> bytes:
    """Leaf 0: what the digest says about the distribution as a whole."""
    currency = distribution.currency
    return header_leaf(
        distribution.programme,
        distribution.period_key,
        currency.code,
        distribution.source_account.code,
        currency.to_units(distribution.amount),
        distribution.rule,
    )


def participants_of(snapshot: Snapshot) -> Participants:
    return Participants(snapshot.scores, snapshot.measures, snapshot.groups, snapshot.amounts)


class RowWriter:
    """Turns a snapshot and its allocation into reward rows, and keeps each chunk's totals and root as they pass."""

    def __init__(self, distribution: Distribution, snapshot: Snapshot, allocation: Allocation, chunk_rows: int) -> None:
        self.distribution_id, self.snapshot, self.allocation = distribution.pk, snapshot, allocation
        self.chunk_rows = chunk_rows
        # Read now: while the rows stream into the database, nothing else can be asked of it.
        self.header, self.decimals = leaf_hash(header_of(distribution)), distribution.currency.decimals
        self.chunks: list[ChunkTotals] = []

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """Reward rows in position order, as values of `REWARD_COLUMNS`."""
        source = self._rows_and_leaves()
        first, count = 1, len(self.snapshot)
        leaves = [self.header]
        while first <= count or not self.chunks:
            last = min(first + self.chunk_rows - len(leaves) - 1, count)
            chunk = ChunkTotals(len(self.chunks), first, last)
            for row, leaf in islice(source, last - first + 1):
                leaves.append(leaf)
                amount = row[5]
                if amount:
                    chunk.recipients += 1
                    chunk.amount += amount
                yield row
            chunk.root = root_of(leaves)
            self.chunks.append(chunk)
            leaves, first = [], last + 1

    def _rows_and_leaves(self) -> Iterator[tuple[tuple[Any, ...], bytes]]:
        snapshot, decimals = self.snapshot, self.decimals
        columns = zip(
            _streamed(snapshot.user_ids),
            snapshot.usernames,
            _streamed(competition_ranks(snapshot.scores.values)),
            _decimal_texts(snapshot.scores),
            _streamed(self.allocation.amounts),
            self.allocation.breakdowns(),
            _inputs(snapshot),
            _salts(len(snapshot)),
            strict=True,
        )
        for position, (user_id, user, rank, score, amount, parts, inputs, salt) in enumerate(columns, start=1):
            stored, shown = _breakdown_texts(tuple(parts.items()), decimals)
            row = (self.distribution_id, user_id, position, rank, score, amount, stored, inputs, salt)
            yield row, leaf_hash(row_leaf(position, user, score, _units(amount, decimals), shown, salt))


def stored_leaves(distribution: Distribution, first: int, last: int) -> Iterator[bytes]:
    """Leaf hashes of the rows as they stand in the database, from position `first` to `last`."""
    decimals = distribution.currency.decimals
    rows = (
        Reward.objects.filter(distribution=distribution, position__range=(first, last))
        .order_by("position")
        .values_list("position", "user__username", "score", "amount", Cast("breakdown", TextField()), "salt")
    )
    for position, user, score, amount, breakdown, salt in rows.iterator(chunk_size=10_000):
        shown = _shown_breakdown(breakdown, decimals)
        yield leaf_hash(row_leaf(position, user, score, _units(amount, decimals), shown, salt))


def chunk_leaves(distribution: Distribution, first: int, last: int) -> Iterator[bytes]:
    """The leaves of a chunk: the first one has the header before its rows."""
    if first == 1:
        yield leaf_hash(header_of(distribution))
    yield from stored_leaves(distribution, first, last)


def stored_snapshot(distribution: Distribution) -> Snapshot:
    """The frozen snapshot, read back from the reward rows."""
    rows = list(
        Reward.objects.filter(distribution=distribution)
        .order_by("position")
        .values_list("user_id", "user__username", "score", "inputs")
        .iterator(chunk_size=10_000)
    )
    inputs = [row[3] or {} for row in rows]
    first = inputs[0] if inputs else {}
    return Snapshot(
        user_ids=np.fromiter((row[0] for row in rows), dtype=np.int64, count=len(rows)),
        usernames=[row[1] for row in rows],
        scores=_measure(row[2] for row in rows),
        measures={name: _measure(each["measures"][name] for each in inputs) for name in first.get("measures", {})},
        groups=[each["group"] for each in inputs] if "group" in first else None,
        amounts=[int(each["amount"]) for each in inputs] if "amount" in first else None,
    )


# ---------------------------------------------------------------------------------------------------- texts of a row


@lru_cache(maxsize=20_000)
def _units(minor: int, decimals: int) -> str:
    return to_units(minor, decimals)


@lru_cache(maxsize=20_000)
def _breakdown_texts(parts: tuple[tuple[str, int], ...], decimals: int) -> tuple[str, dict[str, str]]:
    """The breakdown as stored (JSON, minor units) and as the leaf shows it (currency units). Most rows share a few."""
    return json.dumps(dict(parts)), {name: to_units(minor, decimals) for name, minor in parts}


@lru_cache(maxsize=20_000)
def _shown_breakdown(stored: str, decimals: int) -> dict[str, str]:
    return {name: to_units(minor, decimals) for name, minor in json.loads(stored).items()}


def _decimal_texts(measure: Measure) -> Iterator[str]:
    """Canonical decimal text of each value of a measure."""
    decimals = measure.decimals
    for value in _streamed(measure.values):
        if decimals == 0:
            yield str(value)
            continue
        text = to_units(value, decimals).rstrip("0")
        yield text.removesuffix(".")


def _streamed(values: Any) -> Iterator[int]:
    """The values as Python integers, a few thousand at a time: a million of them at once are forty megabytes."""
    for first in range(0, len(values), 16_384):
        block = values[first : first + 16_384]
        yield from block.tolist() if isinstance(block, np.ndarray) else block


def _inputs(snapshot: Snapshot) -> Iterator[str | None]:
    """What the rule looks at besides the score, as JSON of decimal texts."""
    if not snapshot.measures and snapshot.groups is None and snapshot.amounts is None:
        return iter([None] * len(snapshot))
    return (json.dumps(inputs) for inputs in _inputs_of_rows(snapshot))


def _inputs_of_rows(snapshot: Snapshot) -> Iterator[dict[str, Any]]:
    names = list(snapshot.measures)
    columns: list[Iterable[Any]] = [_decimal_texts(snapshot.measures[name]) for name in names]
    measures = zip(*columns, strict=True) if names else iter([()] * len(snapshot))
    groups = iter(snapshot.groups) if snapshot.groups is not None else None
    amounts = _streamed(snapshot.amounts) if snapshot.amounts is not None else None
    for values in measures:
        row: dict[str, Any] = {}
        if names:
            row["measures"] = dict(zip(names, values, strict=True))
        if groups is not None:
            row["group"] = next(groups)
        if amounts is not None:
            row["amount"] = str(next(amounts))
        yield row


def _salts(count: int) -> Iterator[str]:
    """32 hex digits for each row."""
    while count > 0:
        block = os.urandom(16 * min(count, 4096)).hex()
        yield from (block[start : start + 32] for start in range(0, len(block), 32))
        count -= 4096


def _measure(texts: Iterable[str]) -> Measure:
    """A column of exact numbers from canonical decimal texts, of any number of digits."""
    parts = [text.partition(".") for text in texts]
    decimals = max((len(fraction) for _, _, fraction in parts), default=0)
    return Measure([int(whole + fraction.ljust(decimals, "0")) for whole, _, fraction in parts], decimals)
