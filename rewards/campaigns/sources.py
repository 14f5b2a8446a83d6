"""Where the participants of a campaign come from: an uploaded list, a counter, the holders of a currency, and whatever
an upper app registers. Each gives a snapshot in position order.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from sys import intern
from typing import Any, Protocol

import numpy as np
from django.conf import settings
from django.db.models import BigIntegerField
from django.db.models.functions import Cast

from rewards.activity.checks import is_metric
from rewards.activity.counters import IN_ALL
from rewards.activity.models import QUANTITY_SCALE, Counter
from rewards.allocation.integers import Column, exact_integers
from rewards.allocation.rules import Measure
from rewards.campaigns.errors import CampaignInvalid
from rewards.campaigns.intake import ListLine, stored_lines
from rewards.campaigns.lines import NO_WEIGHT
from rewards.campaigns.models import Campaign
from rewards.common.database import in_batches, in_code_point_order
from rewards.common.periods import Month
from rewards.distributions.programmes import Snapshot
from rewards.distributions.queries import taken_back_from
from rewards.distributions.rows import joined_measure, measure_of
from rewards.ledger.models import Account, Currency

ROWS_AT_ONCE = 10_000
UPLOAD = "upload"
PREVIOUS = "previous"


class ParticipantSource(Protocol):
    """Who takes part, found anew with each run. `options` is what a campaign's `participants` says, `source` included.

    A class that derives from it says all three; the two facts have an answer for who says nothing.
    """

    gives_amounts: bool = False
    """Whether a snapshot has an amount for each row, which the rule `fixed` needs."""
    gives_groups: bool = False

    def check(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options as they are stored. Raises `RewardsError` with what is wrong with them."""
        ...

    def words(self, options: Mapping[str, Any]) -> str:
        """What the options mean, for people: `whoever has points`."""
        ...

    def snapshot(self, options: Mapping[str, Any], currency: Currency, at: datetime) -> Snapshot:
        """The participants in position order at the instant of a run. A pure read."""
        ...


_sources: dict[str, ParticipantSource] = {}


def register_source(name: str, source: ParticipantSource) -> None:
    _sources[name] = source


def registered_sources() -> dict[str, ParticipantSource]:
    return dict(_sources)


def check_participants(participants: object) -> dict[str, Any]:
    """What is stored for these participants. Raises `RewardsError`."""
    if not isinstance(participants, dict) or str(participants.get("source")) not in _sources:
        raise wrong(f'write an object such as {{"source": "upload"}}; the sources are {", ".join(sorted(_sources))}')
    return source_of(participants).check(participants)


def source_of(participants: Mapping[str, Any]) -> ParticipantSource:
    """Raises `CampaignInvalid` when whoever registered it is not installed any more."""
    name = str(participants.get("source", ""))
    if name not in _sources:
        raise wrong(f"no source {name!r} is installed")
    return _sources[name]


def participants_of(campaign: Campaign, at: datetime) -> Snapshot:
    """Who takes part in a run of the campaign at `at`, in position order.

    A correction leaves out those from whom what it corrects was taken back since.
    """
    if campaign.participants.get("source") == UPLOAD:
        left_out = taken_back_from(campaign.corrects) if campaign.corrects else set()
        return ranked((line for line in stored_lines(campaign) if line[1] not in left_out), campaign.currency)
    return source_of(campaign.participants).snapshot(campaign.participants, campaign.currency, at)


def wrong(sentence: str) -> CampaignInvalid:
    """What a source raises for options that it does not understand."""
    return CampaignInvalid({"participants": sentence})


def only_keys(options: Mapping[str, Any], *known: str) -> None:
    """Raises `CampaignInvalid` for a key that means nothing."""
    unknown = sorted(map(str, options.keys() - {"source", *known}))
    if unknown:
        raise wrong(f"{unknown[0]!r} is not known here; known are {', '.join(('source', *known))}")


# ------------------------------------------------------------------------------------------------------- uploaded list


class UploadedList(ParticipantSource):
    """The lines that were uploaded for the campaign; `participants_of` reads them."""

    gives_amounts = True
    gives_groups = True

    def check(self, options: Mapping[str, Any]) -> dict[str, Any]:
        only_keys(options)
        return {"source": UPLOAD}

    def words(self, options: Mapping[str, Any]) -> str:
        return "the uploaded list"

    def snapshot(self, options: Mapping[str, Any], currency: Currency, at: datetime) -> Snapshot:
        raise NotImplementedError("a list belongs to its campaign: ask participants_of")


def ranked(lines: Iterable[ListLine], currency: Currency) -> Snapshot:
    """The snapshot of a list given in code-point order of the usernames.

    Places go by weight, or by amount where the list has no weights, then by username. The score is the weight, or the
    amount in currency units. Amounts are there if each line has one, groups if one has.
    """
    user_ids, amounts, weights = array("q"), array("q"), [measure_of([])]
    usernames: list[str] = []
    groups: list[str] = []
    has_weight = lacks_amount = False
    for block in in_batches(lines, ROWS_AT_ONCE):
        weights.append(measure_of(weight or "0" for _, _, weight, _, _ in block))
        for user_id, username, weight, amount, group in block:
            user_ids.append(user_id)
            usernames.append(username)
            amounts.append(amount or 0)
            groups.append(intern(group))
            has_weight = has_weight or weight != NO_WEIGHT
            lacks_amount = lacks_amount or amount is None
    of_amounts = np.array(amounts, dtype=np.int64)
    scores = joined_measure(weights) if has_weight else Measure(of_amounts, currency.decimals)
    order = _descending(exact_integers(scores.values))
    places = order.tolist()
    return Snapshot(
        user_ids=np.array(user_ids, dtype=np.int64)[order],
        usernames=[usernames[place] for place in places],
        scores=Measure(np.asarray(scores.values)[order], scores.decimals),
        groups=[groups[place] for place in places] if any(groups) else None,
        amounts=None if lacks_amount else of_amounts[order],
    )


def _descending(values: Column) -> np.ndarray:
    """The order of the values from the largest down; equals stay as they are."""
    if values.dtype == object:
        return np.array(sorted(range(len(values)), key=values.__getitem__, reverse=True), dtype=np.int64)
    return np.argsort(-values, kind="stable")


# ------------------------------------------------------------------------------------------------------------- counters


class CounterSource(ParticipantSource):
    """Whoever has a counter of a metric above zero: `{"metric": m, "month": "2026-10" | "" | "previous"}`.

    The month is a local one; empty stands for all time, `previous` for the month before the run.
    """

    def check(self, options: Mapping[str, Any]) -> dict[str, Any]:
        only_keys(options, "metric", "month")
        metric, month = options.get("metric"), options.get("month", IN_ALL)
        if not (isinstance(metric, str) and is_metric(metric)):
            raise wrong('name a metric, such as {"source": "counter", "metric": "tests_completed"}')
        if not isinstance(month, str) or not (month in (IN_ALL, PREVIOUS) or _is_month(month)):
            raise wrong('the month is one such as "2026-10", "previous" for the one before the run, or "" for all time')
        return {"source": "counter", "metric": metric, "month": month}

    def words(self, options: Mapping[str, Any]) -> str:
        when = {IN_ALL: "of all time", PREVIOUS: "in the month before the run"}
        month = options.get("month", IN_ALL)
        return f"whoever has {options['metric']} {when.get(month, f'in {month}')}"

    def snapshot(self, options: Mapping[str, Any], currency: Currency, at: datetime) -> Snapshot:
        month = options.get("month", IN_ALL)
        if month == PREVIOUS:
            month = Month.containing(at, settings.REWARDS_TIME_ZONE).previous().key
        counted = Counter.objects.filter(metric=options["metric"], month=month, quantity__gt=0)
        ordered = counted.order_by("-quantity", in_code_point_order("user__username"))
        rows = ordered.values_list("user_id", "user__username", Cast("quantity", BigIntegerField()))
        return _in_order(rows.iterator(chunk_size=ROWS_AT_ONCE), QUANTITY_SCALE)


def _is_month(text: str) -> bool:
    try:
        return Month.parse(text, settings.REWARDS_TIME_ZONE).key == text
    except ValueError:
        return False


# -------------------------------------------------------------------------------------------------------------- holders


class HolderSource(ParticipantSource):
    """Whoever holds a currency: `{"currency": code}`. The weight is the balance in currency units."""

    def check(self, options: Mapping[str, Any]) -> dict[str, Any]:
        only_keys(options, "currency")
        code = options.get("currency")
        if not isinstance(code, str) or not Currency.objects.filter(code=code).exists():
            raise wrong(f"there is no currency {code!r}")
        return {"source": "holders", "currency": code}

    def words(self, options: Mapping[str, Any]) -> str:
        return f"whoever has {options['currency']}"

    def snapshot(self, options: Mapping[str, Any], currency: Currency, at: datetime) -> Snapshot:
        held = Currency.objects.get(code=options["currency"])
        holders = Account.objects.filter(currency=held, user__isnull=False, code="", balance__gt=0)
        ordered = holders.order_by("-balance", in_code_point_order("user__username"))
        rows = ordered.values_list("user_id", "user__username", "balance")
        return _in_order(rows.iterator(chunk_size=ROWS_AT_ONCE), held.decimals)


def _in_order(rows: Iterator[tuple[int, str, int]], decimals: int) -> Snapshot:
    """The snapshot of (user id, username, scaled score) that come in position order."""
    user_ids, scores = array("q"), array("q")
    usernames: list[str] = []
    for user_id, username, score in rows:
        user_ids.append(user_id)
        usernames.append(username)
        scores.append(int(score))
    return Snapshot(np.array(user_ids, dtype=np.int64), usernames, Measure(np.array(scores, dtype=np.int64), decimals))


register_source(UPLOAD, UploadedList())
register_source("counter", CounterSource())
register_source("holders", HolderSource())
