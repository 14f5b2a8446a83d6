"""The rows of a distribution on their way into the database and back: streamed, never all in memory.

Leaf 0 of the tree is the header, leaf i the row at position i; a chunk is a run of `chunk_rows` leaves, a power of
two, so the chunks' roots make the digest.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, islice
from sys import intern
from typing import Any

import numpy as np
from django.db.models import TextField
from django.db.models.functions import Cast

from rewards.allocation.errors import BudgetExceeded
from rewards.allocation.integers import INT64_MAX, Column, exact_integers, largest_magnitude
from rewards.allocation.leaves import header_leaf, row_leaf
from rewards.allocation.merkle import leaf_hash, root_of
from rewards.allocation.ranks import competition_ranks
from rewards.allocation.rules import Allocation, Measure, Participants, allocate
from rewards.common.amounts import to_units
from rewards.common.database import in_batches
from rewards.distributions.models import Distribution, Reward
from rewards.distributions.programmes import Snapshot
from rewards.ledger.models import Currency

ROWS_AT_ONCE = 10_000

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


def shared_out(
    rule: Mapping[str, Any], amount: int, snapshot: Snapshot, currency: Currency, tie_policy: str
) -> Allocation:
    """What a rule pays to whom. Raises `AllocationError`; what exceeds the amount is told in currency units."""
    try:
        return allocate(rule, amount, participants_of(snapshot), decimals=currency.decimals, tie_policy=tie_policy)
    except BudgetExceeded as error:
        raise BudgetExceeded(
            error.path, error.needed_minor, error.available_minor,
            lambda minor: f"{currency.to_units(minor)} {currency}",
        ) from error  # fmt: skip


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
            decimal_texts(snapshot.scores),
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
    for position, user, score, amount, breakdown, salt in rows.iterator(chunk_size=ROWS_AT_ONCE):
        shown = _shown_breakdown(breakdown, decimals)
        yield leaf_hash(row_leaf(position, user, score, _units(amount, decimals), shown, salt))


def chunk_leaves(distribution: Distribution, first: int, last: int) -> Iterator[bytes]:
    """The leaves of a chunk: the first one has the header before its rows."""
    if first == 1:
        yield leaf_hash(header_of(distribution))
    yield from stored_leaves(distribution, first, last)


def stored_snapshot(distribution: Distribution) -> Snapshot:
    """The frozen snapshot, read back from the reward rows: streamed into columns, block by block."""
    stored = (
        Reward.objects.filter(distribution=distribution)
        .order_by("position")
        .values_list("user_id", "user__username", "score", "inputs")
        .iterator(chunk_size=ROWS_AT_ONCE)
    )
    blocks = [_block(rows) for rows in in_batches(stored, ROWS_AT_ONCE)]
    return _joined(blocks) if blocks else _block([])


# ---------------------------------------------------------------------------------------------------- texts of a row


@lru_cache(maxsize=20_000)
def _units(minor: int, decimals: int) -> str:
    return to_units(minor, decimals)


@lru_cache(maxsize=4_096)
def _json_text(text: str) -> str:
    return json.dumps(text)


@lru_cache(maxsize=20_000)
def _breakdown_texts(parts: tuple[tuple[str, int], ...], decimals: int) -> tuple[str, dict[str, str]]:
    """The breakdown as stored (JSON, minor units) and as the leaf shows it (currency units). Most rows share a few."""
    stored = ", ".join([f"{_json_text(name)}: {minor}" for name, minor in parts])
    return f"{{{stored}}}", {name: _units(minor, decimals) for name, minor in parts}


@lru_cache(maxsize=20_000)
def _shown_breakdown(stored: str, decimals: int) -> dict[str, str]:
    return {name: to_units(minor, decimals) for name, minor in json.loads(stored).items()}


def decimal_texts(measure: Measure) -> Iterator[str]:
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
    columns = [*_input_columns(snapshot)]
    if not columns:
        return iter([None] * len(snapshot))
    return (f"{{{', '.join(members)}}}" for members in zip(*columns, strict=True))


def _input_columns(snapshot: Snapshot) -> Iterator[Iterator[str]]:
    """Each kind of input, row by row, as the text of a member of a JSON object."""
    if snapshot.measures:
        names = [_json_text(name) for name in snapshot.measures]
        columns = [decimal_texts(measure) for measure in snapshot.measures.values()]
        yield (_measures_member(names, values) for values in zip(*columns, strict=True))
    if snapshot.groups is not None:
        yield (f'"group": {_json_text(group)}' for group in snapshot.groups)
    if snapshot.amounts is not None:
        yield (f'"amount": "{amount}"' for amount in _streamed(snapshot.amounts))


def _measures_member(names: Sequence[str], values: Sequence[str]) -> str:
    shown = ", ".join([f'{name}: "{value}"' for name, value in zip(names, values, strict=True)])
    return f'"measures": {{{shown}}}'


def _salts(count: int) -> Iterator[str]:
    """32 hex digits for each row."""
    while count > 0:
        block = os.urandom(16 * min(count, 4096)).hex()
        yield from (block[start : start + 32] for start in range(0, len(block), 32))
        count -= 4096


# ------------------------------------------------------------------------------------------------ a snapshot read back


def _block(rows: list[tuple[Any, ...]]) -> Snapshot:
    """Some (user id, username, score, inputs) of a distribution as columns."""
    inputs = [row[3] or {} for row in rows]
    first = inputs[0] if inputs else {}
    return Snapshot(
        user_ids=np.fromiter((row[0] for row in rows), dtype=np.int64, count=len(rows)),
        usernames=[row[1] for row in rows],
        scores=measure_of(row[2] for row in rows),
        measures={name: measure_of(each["measures"][name] for each in inputs) for name in first.get("measures", {})},
        groups=[intern(each["group"]) for each in inputs] if "group" in first else None,
        amounts=exact_integers([int(each["amount"]) for each in inputs]) if "amount" in first else None,
    )


def _joined(blocks: list[Snapshot]) -> Snapshot:
    """The blocks of one distribution, one below the other; all have the same columns."""
    first = blocks[0]
    return Snapshot(
        user_ids=np.concatenate([block.user_ids for block in blocks]),
        usernames=list(chain.from_iterable(block.usernames for block in blocks)),
        scores=joined_measure([block.scores for block in blocks]),
        measures={name: joined_measure([block.measures[name] for block in blocks]) for name in first.measures},
        groups=None if first.groups is None else list(chain.from_iterable(block.groups or () for block in blocks)),
        amounts=None if first.amounts is None else np.concatenate([block.amounts for block in blocks]),
    )


def joined_measure(parts: Sequence[Measure]) -> Measure:
    """The columns one below the other, with the same number of decimals."""
    decimals = max(part.decimals for part in parts)
    return Measure(np.concatenate([_scaled(part, decimals) for part in parts]), decimals)


def _scaled(measure: Measure, decimals: int) -> Column:
    """The measure's values with that many decimals, in a type that holds them."""
    column, factor = exact_integers(measure.values), 10 ** (decimals - measure.decimals)
    fits = max(largest_magnitude(column), 1) * factor <= INT64_MAX  # the factor itself, too, where all are zero
    return (column if fits else column.astype(object)) * factor


def measure_of(texts: Iterable[str]) -> Measure:
    """A column of exact numbers from canonical decimal texts, of any number of digits."""
    parts = [text.partition(".") for text in texts]
    decimals = max((len(fraction) for _, _, fraction in parts), default=0)
    return Measure(
        exact_integers([int(whole + fraction.ljust(decimals, "0")) for whole, _, fraction in parts]), decimals
    )
