"""Accrual: what the votes of an hour bring into the two pools, once per hour. With it the hour is closed.

Locks are taken in one order, whoever accrues how many hours: the accrual rows by hour, then the gate of the metric,
then the accounts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import connection, transaction
from django.db.models import BigIntegerField, Count, QuerySet, Sum
from django.db.models.functions import Cast

from rewards.activity.models import QUANTITY_SCALE
from rewards.activity.services import close_stretch
from rewards.common.amounts import MAX_MINOR, InvalidAmount, canonical_decimal
from rewards.common.database import in_batches, sql_instant, table_of
from rewards.common.errors import RewardsError
from rewards.common.periods import ONE_HOUR, Hour
from rewards.ledger.models import ISSUANCE, Currency, Journal
from rewards.ledger.services import Move, post, system_account
from rewards.pools.intake import intake_minor, split
from rewards.pools.models import Accrual, Pool
from rewards.pools.queries import CC_VOTE, both_pools, next_vote_at, rate_before, votes_between

ROWS_PER_STATEMENT = 500


class NoRate(RewardsError):
    """There is no CC rate for this hour. Add one that starts before the hour's end."""

    code = "no_rate"


class HourNotOver(RewardsError):
    """This hour is not over yet."""

    code = "hour_not_over"


class PoolCurrencies(RewardsError):
    """The two pools hold different currencies. Point both at one with `manage.py setup_pools`."""

    code = "pool_currencies"


@dataclass(frozen=True)
class HourFigures:
    """What an hour of votes comes to; the last three in minor units."""

    hour: Hour
    votes: int
    voters: int
    cc_amount: Decimal
    units_per_cc: Decimal
    intake: int
    hourly_amount: int
    daily_amount: int


def accrue_hour(hour: Hour, at: datetime) -> Accrual:
    """Accrue an hour, or return the accrual that stands: once, however often it is called.

    Raises `HourNotOver`, `NoRate`, `NoPools`, `PoolShares`, `PoolCurrencies`; nothing is written then.
    """
    if hour.end > at:
        raise HourNotOver(f"The hour {hour.key} is not over before {hour.end:%H:%M} UTC.")
    accrue(hour.start, hour.end, at)
    return Accrual.objects.get(hour=hour.start)


def accrue(starts_at: datetime, ends_at: datetime, at: datetime) -> int:
    """Accrue every hour from `starts_at` to `ends_at` that is not yet, all or none; returns how many those were.

    Hours without votes cost nothing but their row, and neighbours are closed as one stretch. Raises like
    `accrue_hour`, but takes the caller's word that these hours are over.
    """
    hours = _missing_hours(starts_at, ends_at)
    if not hours:
        return 0
    with transaction.atomic():
        pools = _pools_of_one_currency()
        claimed = _claim(hours, pools[0].currency, at)
        for first, end in _stretches(claimed):
            close_stretch(CC_VOTE, first, end)
            for figures in hours_with_votes(first, end, pools):
                _record(figures, pools)
    return len(claimed)


def hours_with_votes(
    starts_at: datetime, ends_at: datetime, pools: tuple[Pool, Pool] | None = None
) -> Iterator[HourFigures]:
    """The figures of each hour of a stretch that has votes, oldest first. Only reads. Raises `NoRate`, `PoolShares`."""
    pools = pools or _pools_of_one_currency()
    vote = next_vote_at(starts_at, before=ends_at)
    while vote is not None:
        hour = Hour.containing(vote)
        yield hour_figures(hour, votes_between(hour.start, hour.end), *pools)
        vote = next_vote_at(hour.end, before=ends_at)


def hour_figures(hour: Hour, votes: QuerySet[Any], hourly: Pool, daily: Pool) -> HourFigures:
    """What these votes of an hour come to. Raises `NoRate`, `PoolShares`, `InvalidAmount`."""
    totals = votes.aggregate(
        votes=Count("id"),
        voters=Count("user_id", distinct=True),
        quantity=Sum(Cast("quantity", BigIntegerField())),
    )
    rate = rate_before(hour.end)
    if rate is None:
        raise NoRate(f"No CC rate for the hour {hour.key}: add a CC rate that starts before {hour.end:%Y-%m-%d %H:%M}.")
    cc_amount = Decimal(int(totals["quantity"] or 0)).scaleb(-QUANTITY_SCALE)
    intake = intake_minor(cc_amount, rate.units_per_cc, hourly.currency.decimals)
    if intake > MAX_MINOR:
        raise InvalidAmount(f"The votes of {hour.key} bring in more than 64 bits of minor units can hold.")
    hourly_amount, daily_amount = split(intake, hourly.share, daily.share)
    return HourFigures(
        hour, totals["votes"], totals["voters"], cc_amount, rate.units_per_cc, intake, hourly_amount, daily_amount
    )


# --------------------------------------------------------------------------------------------------------------- steps


def _pools_of_one_currency() -> tuple[Pool, Pool]:
    pools = both_pools()
    if pools[0].currency_id != pools[1].currency_id:
        raise PoolCurrencies
    return pools


def _missing_hours(starts_at: datetime, ends_at: datetime) -> list[datetime]:
    recorded = set(Accrual.objects.filter(hour__gte=starts_at, hour__lt=ends_at).values_list("hour", flat=True))
    hours, hour = [], Hour(starts_at)
    while hour.start < ends_at:
        if hour.start not in recorded:
            hours.append(hour.start)
        hour = hour.next()
    return hours


def _claim(hours: Sequence[datetime], currency: Currency, at: datetime) -> list[datetime]:
    """Write the row of each hour, empty; those that this call wrote, in order. Waits for whoever is writing one."""
    quote = connection.ops.quote_name
    names, empty = _empty_row(currency, at)
    columns = ", ".join(quote(name) for name in [*names, "hour"])
    row = f"({', '.join(['%s'] * (len(names) + 1))})"
    claimed: list[datetime] = []
    with connection.cursor() as cursor:
        for batch in in_batches(hours, ROWS_PER_STATEMENT):
            cursor.execute(
                f"INSERT INTO {table_of(Accrual)} ({columns}) VALUES {', '.join([row] * len(batch))} "
                f"ON CONFLICT (hour) DO NOTHING RETURNING {quote('id')}",
                [value for hour in batch for value in (*empty, sql_instant(hour))],
            )
            written = [pk for (pk,) in cursor.fetchall()]
            claimed.extend(batch if len(written) == len(batch) else _hours_of(written))
    return claimed


def _empty_row(currency: Currency, at: datetime) -> tuple[list[str], list[Any]]:
    """Columns and values that all claimed rows share."""
    accrual = Accrual(currency=currency, accrued_at=at)
    fields = [field for field in Accrual._meta.concrete_fields if not field.primary_key and field.name != "hour"]
    values = [field.get_db_prep_save(getattr(accrual, field.attname), connection) for field in fields]
    return [str(field.column) for field in fields], values


def _hours_of(accrual_ids: Sequence[int]) -> list[datetime]:
    return list(Accrual.objects.filter(pk__in=accrual_ids).order_by("hour").values_list("hour", flat=True))


def _stretches(hours: Sequence[datetime]) -> Iterator[tuple[datetime, datetime]]:
    """Runs of neighbouring hours as (start, end)."""
    if not hours:
        return
    start = end = hours[0]
    for hour in hours:
        if hour != end:
            yield start, end
            start = hour
        end = hour + ONE_HOUR
    yield start, end


def _record(figures: HourFigures, pools: tuple[Pool, Pool]) -> None:
    Accrual.objects.filter(hour=figures.hour.start).update(
        votes=figures.votes,
        voters=figures.voters,
        cc_amount=figures.cc_amount,
        units_per_cc=figures.units_per_cc,
        intake=figures.intake,
        hourly_amount=figures.hourly_amount,
        daily_amount=figures.daily_amount,
        journal=_post(figures, pools),
    )


def _post(figures: HourFigures, pools: tuple[Pool, Pool]) -> Journal | None:
    """Into each pool from issuance; None where there is nothing to move."""
    if not figures.intake:
        return None
    currency = pools[0].currency
    issuance = system_account(ISSUANCE, currency)
    amounts = zip(pools, (figures.hourly_amount, figures.daily_amount), strict=True)
    moves = [Move(issuance, system_account(pool.account_code, currency), amount) for pool, amount in amounts if amount]
    return post(
        f"accrual:{figures.hour.key}",
        "accrual",
        moves,
        reason=f"Votes of {figures.hour.key}",
        source=f"accrual:{figures.hour.key}",
        metadata={
            "votes": figures.votes,
            "cc_amount": canonical_decimal(figures.cc_amount),
            "units_per_cc": canonical_decimal(figures.units_per_cc),
        },
    )
