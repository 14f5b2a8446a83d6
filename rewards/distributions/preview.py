"""What a rule would pay, and to whom more or less than another one. Pure reads: nothing is written, nothing locked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rewards.allocation.errors import RuleError
from rewards.allocation.figures import Figures, curve_places, decimal_text, figures_of
from rewards.allocation.integers import exact_sum
from rewards.allocation.participants import TIE_POLICIES
from rewards.allocation.rules import Allocation, check_rule, exact_text
from rewards.common.amounts import to_units
from rewards.distributions import rows
from rewards.distributions.errors import DifferentCurrencies
from rewards.distributions.models import Distribution
from rewards.distributions.programmes import Draft, Snapshot, programme_named
from rewards.ledger.models import Currency

BEST_SHOWN = 20
CHANGES_SHOWN = 20


class Place(NamedTuple):
    """A place of the ranking and what it would get, in minor units."""

    position: int
    user: str
    score: str
    amount: int


class SliceFigures(NamedTuple):
    """What a slice was given and what of it was paid, in minor units, and to how many."""

    name: str
    amount: int
    paid: int
    members: int


@dataclass(frozen=True, eq=False)
class Preview:
    """What a rule would pay for a period; amounts in minor units.

    `figures` has the recipients, total, quantiles, shares of the best paid and Gini; `best` the first places; `curve`
    is (position, amount) at about sixty of them. `snapshot` and `amounts` are columns in position order.
    """

    programme: str
    period_key: str
    currency: Currency
    rule: Mapping[str, Any]
    tie_policy: str
    amount: int
    unpaid: int
    figures: Figures
    best: Sequence[Place]
    curve: Sequence[tuple[int, int]]
    slices: Sequence[SliceFigures]
    snapshot: Snapshot
    amounts: NDArray[np.int64]

    @property
    def participants(self) -> int:
        return len(self.snapshot)

    def as_json(self) -> dict[str, Any]:
        """The figures for a client: amounts as text in currency units, shares and Gini as text with 6 decimals."""
        units, figures = self.currency.to_units, self.figures
        return {
            "programme": self.programme,
            "period_key": self.period_key,
            "currency": self.currency.code,
            "rule": self.rule,
            "tie_policy": self.tie_policy,
            "amount": units(self.amount),
            "total": units(figures.total),
            "unpaid": units(self.unpaid),
            "participants": self.participants,
            "recipients": figures.recipients,
            "best": [{**place._asdict(), "amount": units(place.amount)} for place in self.best],
            "quantiles": {name: units(minor) for name, minor in figures.quantiles.items()},
            "top_1_percent": decimal_text(figures.top_1_percent),
            "top_10_percent": decimal_text(figures.top_10_percent),
            "gini": decimal_text(figures.gini),
            "curve": [{"position": position, "amount": units(minor)} for position, minor in self.curve],
            "slices": [
                {**part._asdict(), "amount": units(part.amount), "paid": units(part.paid)} for part in self.slices
            ],
        }


class Change(NamedTuple):
    """What one user would get before and after, and the difference, which is negative for who loses; minor units."""

    user: str
    before: int
    after: int
    difference: int


@dataclass(frozen=True)
class Changes:
    """How many gain (or lose), how much in all (negative for losses), and the largest of them; minor units."""

    count: int
    sum: int
    largest: Sequence[Change]

    def as_json(self, decimals: int) -> dict[str, Any]:
        return {
            "count": self.count,
            "sum": to_units(self.sum, decimals),
            "largest": [
                {name: value if name == "user" else to_units(value, decimals) for name, value in each._asdict().items()}
                for each in self.largest
            ],
        }


@dataclass(frozen=True, eq=False)
class Comparison:
    """Who gains and who loses between two previews; `unchanged` counts those of either for whom nothing changes."""

    before: Preview
    after: Preview
    gaining: Changes
    losing: Changes
    unchanged: int

    def as_json(self) -> dict[str, Any]:
        """Amounts as text in currency units; losses are negative."""
        decimals = self.after.currency.decimals
        return {
            "currency": self.after.currency.code,
            "gaining": self.gaining.as_json(decimals),
            "losing": self.losing.as_json(decimals),
            "unchanged": self.unchanged,
        }


# -------------------------------------------------------------------------------------------------------------- preview


def preview(
    programme: str,
    period_key: str,
    *,
    at: datetime,
    rule: Mapping[str, Any] | None = None,
    tie_policy: str | None = None,
) -> Preview:
    """What a period would pay by a rule, at `at`; without a rule by its own one.

    A period that is frozen is shared out again from its stored snapshot and amount; of any other one the programme
    says what it would freeze. Raises `UnknownProgramme`, `NoPreview`, whatever working the period out fails with, and
    `AllocationError`: a `RuleError` names the path in the rule.
    """
    return preview_of(programme, period_key, drafted(programme, period_key, at), rule=rule, tie_policy=tie_policy)


def drafted(programme: str, period_key: str, at: datetime) -> Draft:
    """What a period has frozen, or would freeze at `at`. Raises `UnknownProgramme`, `NoPreview`."""
    standing = Distribution.objects.select_related("currency").filter(programme=programme, period_key=period_key)
    distribution = standing.first()
    if distribution is not None and distribution.allocated_at is not None:
        return _of_frozen(distribution)
    draft = programme_named(programme).draft(programme, period_key, at)
    if distribution is not None:  # opened: the rule that it was opened with is the one it is shared out by
        draft = replace(draft, rule=distribution.rule, tie_policy=distribution.tie_policy)
    return draft


def preview_of(
    programme: str,
    period_key: str,
    draft: Draft,
    *,
    rule: Mapping[str, Any] | None = None,
    tie_policy: str | None = None,
) -> Preview:
    """What a draft would pay by a rule; without a rule by its own one. Raises `AllocationError`."""
    rule, tie_policy = draft.rule if rule is None else rule, tie_policy or draft.tie_policy
    if tie_policy not in TIE_POLICIES:
        raise RuleError("tie_policy", f"write one of {', '.join(TIE_POLICIES)}")
    snapshot, allocation = draft.snapshot, _allocated(draft, rule, tie_policy)
    return Preview(
        programme=programme,
        period_key=period_key,
        currency=draft.currency,
        rule=rule,
        tie_policy=tie_policy,
        amount=draft.amount,
        unpaid=allocation.unpaid,
        figures=figures_of(allocation.amounts),
        best=list(_best(snapshot, allocation.amounts)),
        curve=[(place, int(allocation.amounts[place - 1])) for place in curve_places(len(snapshot))],
        slices=[SliceFigures(part.name, part.amount, part.paid, part.members) for part in allocation.slices],
        snapshot=snapshot,
        amounts=allocation.amounts,
    )


def with_rule(shown: Preview, rule: Mapping[str, Any] | None, tie_policy: str | None = None) -> Preview:
    """The same participants and amount by another rule, without reading them again. Raises `AllocationError`."""
    draft = Draft(shown.currency, shown.amount, shown.snapshot, shown.rule, shown.tie_policy)
    return preview_of(shown.programme, shown.period_key, draft, rule=rule, tie_policy=tie_policy)


def _allocated(draft: Draft, rule: Mapping[str, Any], tie_policy: str) -> Allocation:
    decimals = draft.currency.decimals
    if not len(
        draft.snapshot
    ):  # read back from no rows, it knows no measures, groups or amounts that a rule may ask for
        check_rule(rule, decimals)
        return Allocation(np.zeros(0, dtype=np.int64), (), draft.amount, {})
    return rows.shared_out(rule, draft.amount, draft.snapshot, draft.currency, tie_policy)


def _of_frozen(distribution: Distribution) -> Draft:
    return Draft(
        distribution.currency,
        distribution.amount,
        rows.stored_snapshot(distribution),
        distribution.rule,
        distribution.tie_policy,
    )


def _best(snapshot: Snapshot, amounts: NDArray[np.int64]) -> Iterator[Place]:
    scale = 10**snapshot.scores.decimals
    for row in range(min(BEST_SHOWN, len(snapshot))):
        score = exact_text(Fraction(int(snapshot.scores.values[row]), scale))
        yield Place(row + 1, snapshot.usernames[row], score, int(amounts[row]))


# -------------------------------------------------------------------------------------------------------------- compare


def compare(before: Preview, after: Preview) -> Comparison:
    """Who would get more and who less: of two rules, or of two snapshots. Who is missing in one gets nothing there.

    Raises `DifferentCurrencies`.
    """
    if before.currency != after.currency:
        raise DifferentCurrencies(f"One is in {before.currency}, the other in {after.currency}: nothing to compare.")
    user_ids = np.union1d(before.snapshot.user_ids, after.snapshot.user_ids)
    was, would_be = _amounts_of(user_ids, before), _amounts_of(user_ids, after)
    difference = would_be - was  # of two amounts that are not negative: it fits 64 bits
    return Comparison(
        before,
        after,
        gaining=_changes(difference, 1, user_ids, was, before, after),
        losing=_changes(difference, -1, user_ids, was, before, after),
        unchanged=int((difference == 0).sum()),
    )


def _amounts_of(user_ids: NDArray[np.int64], shown: Preview) -> NDArray[np.int64]:
    """What each of these users gets there. `user_ids` ascend and hold everybody of the preview."""
    amounts = np.zeros(len(user_ids), dtype=np.int64)
    amounts[np.searchsorted(user_ids, shown.snapshot.user_ids)] = shown.amounts
    return amounts


def _changes(
    difference: NDArray[np.int64],
    sign: int,
    user_ids: NDArray[np.int64],
    was: NDArray[np.int64],
    before: Preview,
    after: Preview,
) -> Changes:
    """Those whose difference has this sign; the largest first, equals in the order of their ids."""
    found = np.flatnonzero(difference > 0 if sign > 0 else difference < 0)
    largest = found[np.argsort(difference[found] * -sign, kind="stable")[:CHANGES_SHOWN]]
    return Changes(
        count=len(found),
        sum=exact_sum(difference[found]),
        largest=[
            Change(_username(user_ids[row], before, after), int(was[row]), int(was[row] + change), change)
            for row, change in zip(largest.tolist(), difference[largest].tolist(), strict=True)
        ],
    )


def _username(user_id: np.int64, *previews: Preview) -> str:
    (name,) = {
        shown.snapshot.usernames[row]
        for shown in previews
        for row in np.flatnonzero(shown.snapshot.user_ids == user_id).tolist()
    }
    return name
