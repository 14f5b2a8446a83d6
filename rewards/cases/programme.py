"""The programme of cases, as the engine asks for it: `case`, one payout for each case (`case:<id>`).

Positions: likes of one's argument, the earlier of equal ones first, then by the instant of the vote who said nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from django.db import transaction
from django.db.models import Q, QuerySet, Sum
from numpy.typing import NDArray

from rewards.allocation.presets import case_rule
from rewards.allocation.rules import Measure
from rewards.cases.errors import CaseNotClosed
from rewards.cases.models import PROGRAMME, Argument, Case, CaseVote
from rewards.common.errors import ensure
from rewards.distributions.models import Distribution
from rewards.distributions.programmes import Draft, NoPreview, Programme, Snapshot, register
from rewards.ledger.models import Account, Transfer
from rewards.ledger.queries import currency_named
from rewards.ledger.services import system_account
from rewards.parameters.services import param

BEST_FIRST = ("-likes", "created_at", "pk")
"""The order of arguments."""

TOP_PLACES = 3
ROWS_AT_ONCE = 20_000


@dataclass(frozen=True)
class CasePeriod:
    """A case as a period of the programme."""

    key: str
    start: datetime
    end: datetime


class CaseProgramme(Programme):
    """What a case pays: its pool, to who was right, who argued best, who took part, and who wrote it."""

    def amount(self, distribution: Distribution) -> int:
        return pool_of(_case(distribution.period_key))

    def snapshot(self, distribution: Distribution) -> Snapshot:
        return participants_of(_case(distribution.period_key))

    def require_standing(self, distribution: Distribution) -> None:
        """What is closed stays closed, so nothing needs to be held. Raises `CaseNotClosed`."""
        if _case(distribution.period_key).status != Case.Status.CLOSED:
            raise CaseNotClosed(f"{distribution} is not closed: nothing is paid.")

    def due_periods(self, at: datetime) -> list[CasePeriod]:
        waiting = {case.period_key: case for case in cases_to_close(at)}
        opened = Distribution.objects.filter(programme=PROGRAMME, period_key__in=waiting)
        for key in opened.values_list("period_key", flat=True):
            del waiting[key]
        return [CasePeriod(key, case.opens_at, case.closes_at) for key, case in waiting.items()]  # type: ignore[arg-type]

    def draft(self, name: str, period_key: str, at: datetime) -> Draft:
        """What a closed case is about to pay. What another one would pay would tell its verdict."""
        case = _find(period_key) if name == PROGRAMME else None
        if case is None:
            raise NoPreview(f"{name} has no case {period_key!r}: write {PROGRAMME} and one such as case:12.")
        if case.status != Case.Status.CLOSED:
            raise NoPreview("This case is not closed: what it would pay would tell its verdict.")
        currency = currency_named(param("cases.currency"))
        escrow = standing_escrow(case)
        return Draft(escrow.currency if escrow else currency, pool_of(case), participants_of(case), case_rule())


def register_programme() -> None:
    register(PROGRAMME, CaseProgramme())


def cases_to_close(at: datetime) -> QuerySet[Case]:
    """The cases that are due at `at`, and those closed ones of which something is left to do; the first due first."""
    due = Q(status=Case.Status.ACTIVE, closes_at__lte=at)
    unsettled = Q(status=Case.Status.CLOSED, settled_at=None)
    return Case.objects.filter(due | unsettled).order_by("closes_at", "pk")


def settled_with_money() -> list[Case]:
    """The settled cases whose escrow holds something again: some of their payout was taken back."""
    escrows = Account.objects.filter(user=None, code__startswith=f"{PROGRAMME}:", balance__gt=0)
    ids = [int(code.partition(":")[2]) for code in escrows.values_list("code", flat=True)]
    return list(Case.objects.filter(pk__in=ids, status=Case.Status.CLOSED, settled_at__isnull=False).order_by("pk"))


# --------------------------------------------------------------------------------------------------------------- escrow


def escrow_of(case: Case) -> Account:
    """The account that holds the pool of a case, in the currency that it opened with."""
    standing = standing_escrow(case)
    if standing is not None:
        return standing
    with transaction.atomic():  # it opened with nothing in its pool
        return system_account(case.escrow, currency_named(param("cases.currency")))


def standing_escrow(case: Case) -> Account | None:
    return Account.objects.select_related("currency").filter(user=None, code=case.escrow).first()


def pool_of(case: Case) -> int:
    """Minor units that were put into the escrow of a case when it opened."""
    funded = Transfer.objects.filter(
        journal__key=f"case-escrow:{case.pk}", credit_account__code=case.escrow, credit_account__user=None
    )
    return int(funded.aggregate(pool=Sum("amount", default=0))["pool"])


# --------------------------------------------------------------------------------------------------------- participants


def participants_of(case: Case) -> Snapshot:
    """Who voted or argued in a closed case, each once, and its creator where a part is due to him.

    The measures are 1 for who is in: `winning_voter`, `argument` (he has one), `participant`, `creator`.
    """
    author_ids, author_names, likes = _columns(_authors(case))
    voter_ids, voter_names, won = _columns(_voters(case))
    _ensure_placed(case, author_ids[:TOP_PLACES])
    silent = np.flatnonzero(~np.isin(voter_ids, author_ids))
    user_ids = np.concatenate([author_ids, voter_ids[silent]])
    usernames = [*author_names, *(voter_names[row] for row in silent.tolist())]
    took_part = len(user_ids)
    creator = case.created_by if took_part >= param("cases.creator_participants") else None
    if creator is not None and creator.pk not in user_ids:
        user_ids = np.append(user_ids, np.int64(creator.pk))
        usernames.append(creator.get_username())
    rows = np.arange(len(user_ids))
    return Snapshot(
        user_ids=user_ids,
        usernames=usernames,
        scores=Measure(np.concatenate([likes, np.zeros(len(rows) - len(likes), dtype=np.int64)]), 0),
        measures={
            "winning_voter": _mark(np.isin(user_ids, voter_ids[won == 1])),
            "argument": _mark(rows < len(author_ids)),
            "participant": _mark(rows < took_part),
            "creator": _mark(user_ids == (creator.pk if creator else 0)),
        },
    )


def _mark(members: NDArray[np.bool_]) -> Measure:
    return Measure(members.astype(np.int64), 0)


def _authors(case: Case) -> Iterable[tuple[int, str, int]]:
    """User id, username and likes of each argument, the best first."""
    arguments = Argument.objects.filter(case=case).order_by(*BEST_FIRST)
    return arguments.values_list("user_id", "user__username", "likes").iterator(chunk_size=ROWS_AT_ONCE)


def _voters(case: Case) -> Iterable[tuple[int, str, int]]:
    """User id, username and whether he was right (1 or 0) of each vote, the earliest first."""
    votes = CaseVote.objects.filter(case=case).order_by("voted_at", "pk")
    rows = votes.values_list("user_id", "user__username", "side").iterator(chunk_size=ROWS_AT_ONCE)
    return ((user_id, username, int(side == case.verdict)) for user_id, username, side in rows)


def _columns(rows: Iterable[tuple[int, str, int]]) -> tuple[NDArray[np.int64], list[str], NDArray[np.int64]]:
    ids, names, values = [], [], []
    for user_id, username, value in rows:
        ids.append(user_id)
        names.append(username)
        values.append(value)
    return np.array(ids, dtype=np.int64), names, np.array(values, dtype=np.int64)


def _ensure_placed(case: Case, best: NDArray[np.int64]) -> None:
    """The first three of the ranking are those that were placed when the case was closed."""
    placed = Argument.objects.filter(case=case, top_place__isnull=False).order_by("top_place")
    found = list(placed.values_list("user_id", flat=True))
    ensure(found == best.tolist(), f"{case.period_key} placed the arguments of {found}, its ranking says {best}.")


# ---------------------------------------------------------------------------------------------------------------- which


def _case(period_key: str) -> Case:
    case = _find(period_key)
    ensure(case is not None, f"There is no case for {period_key!r}.")
    return case  # type: ignore[return-value]


def case_id_of(period_key: str) -> int | None:
    """The number of the case that a period key such as `case:7` names, whether it is there or not."""
    kind, _, number = period_key.partition(":")
    if kind != PROGRAMME or not (number.isascii() and number.isdecimal()) or len(number) > 18:
        return None
    return int(number)


def _find(period_key: str) -> Any:
    """The case of a period key, or None."""
    case_id = case_id_of(period_key)
    if case_id is None:
        return None
    case = Case.objects.select_related("created_by").filter(pk=case_id).first()
    return case if case is not None and case.period_key == period_key else None
