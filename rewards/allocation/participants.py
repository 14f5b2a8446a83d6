"""Who takes part, in position order, and which of them a slice is for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from rewards.allocation import language
from rewards.allocation.errors import RuleError
from rewards.allocation.integers import Column, Integers, exact_integers
from rewards.allocation.ranks import competition_ranks, run_of_equals

TIE_POLICIES = ("earliest", "shared", "same")


@dataclass(frozen=True, eq=False)
class Measure:
    """A column of exact numbers: the true value is `values / 10**decimals`. Values may have any number of digits."""

    values: Integers
    decimals: int

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True, eq=False)
class Participants:
    """Who takes part, row 0 at position 1.

    `score` is what the positions were made from: equal neighbours are equals. `measures` are further columns a rule
    may name; `groups` gives each row one group; `amounts` are minor units for the rule `fixed`. Raises `ValueError`
    when the columns differ in length.
    """

    score: Measure
    measures: Mapping[str, Measure] = field(default_factory=dict)
    groups: Sequence[str] | None = None
    amounts: Integers | None = None

    def __post_init__(self) -> None:
        columns: dict[str, Sized | None] = {"groups": self.groups, "amounts": self.amounts}
        columns |= {f"measure {name!r}": measure for name, measure in self.measures.items()}
        for name, column in columns.items():
            if column is not None and len(column) != len(self):
                raise ValueError(f"There are {len(self)} scores but {len(column)} rows of {name}.")

    def __len__(self) -> int:
        return len(self.score)


class Ranking:
    """Participants with a tie policy: each column is converted once, and only if a rule asks for it."""

    def __init__(self, participants: Participants, tie_policy: str) -> None:
        if tie_policy not in TIE_POLICIES:
            raise ValueError(f"The tie policy is one of {', '.join(TIE_POLICIES)}, not {tie_policy!r}.")
        self.participants = participants
        self.tie_policy = tie_policy
        self._columns: dict[str | None, Column] = {}

    def __len__(self) -> int:
        return len(self.participants)

    @cached_property
    def ranks(self) -> NDArray[np.int64]:
        return competition_ranks(self.column(None, ""))

    def measure(self, name: str | None, path: str) -> Measure:
        """The measure of that name (None: the score). Raises `RuleError` where there is none."""
        if name is None:
            return self.participants.score
        if name not in self.participants.measures:
            known = ", ".join(sorted(self.participants.measures)) or "none"
            raise RuleError(path, f"there is no measure {name!r} here; there are: {known}")
        return self.participants.measures[name]

    def column(self, name: str | None, path: str) -> Column:
        """The scaled values of a measure as exact integers."""
        measure = self.measure(name, path)
        if name not in self._columns:
            self._columns[name] = exact_integers(measure.values)
        return self._columns[name]

    def end_of_equals(self, places: int) -> int:
        """That many places, extended to the last of the equals when the last place is tied with the next."""
        if not 0 < places < len(self):
            return min(places, len(self))
        return run_of_equals(self.ranks, places - 1)[1]

    def places_in_percent(self, percent: Fraction) -> int:
        """ceil(n × percent ÷ 100), exact."""
        return -(-len(self) * percent.numerator // (100 * percent.denominator))


@dataclass(frozen=True, eq=False)
class Field:
    """Whom a rule is for: the eligible rows (ascending), of which those below `places` hold a place in it.

    Places are always counted over the whole ranking. Under the policy `shared`, equals of the last place take part
    in what their places together get, so eligible rows are kept beyond it.
    """

    rows: NDArray[np.int32]
    places: int

    @property
    def placed(self) -> NDArray[np.int32]:
        return rows_between(self.rows, 0, self.places)


def rows_between(rows: NDArray[np.int32], first: int, end: int) -> NDArray[np.int32]:
    """The part of ascending rows with first <= row < end: a view, not a copy."""
    start, stop = np.searchsorted(rows, (first, end))
    return rows[start:stop]


def everyone(ranking: Ranking) -> Field:
    return Field(np.arange(len(ranking), dtype=np.int32), len(ranking))


def narrow(enclosing: Field, members: language.Members, ranking: Ranking) -> Field:
    """The part of an enclosing field that a slice is for.

    Who fails a threshold keeps his place and takes no part. Under the policy `same`, equals of the last place hold
    the better place too and are in.
    """
    places = _places(members, ranking)
    if ranking.tie_policy == "same":
        places = ranking.end_of_equals(places)
    return Field(_eligible(enclosing.rows, members, ranking), min(enclosing.places, places))


def _places(members: language.Members, ranking: Ranking) -> int:
    if members.top is not None:
        return min(members.top, len(ranking))
    if members.top_percent is not None:
        return ranking.places_in_percent(members.top_percent)
    return len(ranking)


def _eligible(rows: NDArray[np.int32], members: language.Members, ranking: Ranking) -> NDArray[np.int32]:
    if members.group is not None:
        rows = rows[_in_group(members, ranking)[rows]]
    if members.min_score is not None:
        path = f"{members.path}.min_score"
        rows = _reaching(rows, None, members.min_score, path, ranking)
    for name, least in members.at_least:
        rows = _reaching(rows, name, least, f"{members.path}.at_least.{name}", ranking)
    return rows


def _in_group(members: language.Members, ranking: Ranking) -> NDArray[np.bool_]:
    groups = ranking.participants.groups
    if groups is None:
        raise RuleError(f"{members.path}.group", "these participants have no groups: choose by top, top_percent or all")
    return np.fromiter((group == members.group for group in groups), dtype=bool, count=len(groups))


def _reaching(
    rows: NDArray[np.int32], name: str | None, least: Fraction, path: str, ranking: Ranking
) -> NDArray[np.int32]:
    """The rows whose measure is at least `least`, compared as scaled integers."""
    column = ranking.column(name, path)
    scaled = least * 10 ** ranking.measure(name, path).decimals
    return rows[column[rows] >= -(-scaled.numerator // scaled.denominator)]
