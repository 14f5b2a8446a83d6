"""What staking positions and running replicas accrue, for `rewards.pending` to list and pay.

A reward's id names the row that earns and the instant from which it is unpaid: it stays the same until it is paid, and
is never given again.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from itertools import chain
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Model, QuerySet

from rewards.common.amounts import InvalidAmount
from rewards.common.database import in_batches, marks, require_transaction, sql_instant, table_of
from rewards.common.errors import ensure
from rewards.deployments.accrual import Rate, exact, staking_per_hour
from rewards.deployments.errors import NotAccrued
from rewards.deployments.models import Replica, StakingPosition
from rewards.ledger.models import Currency
from rewards.ledger.queries import currency_named
from rewards.parameters.services import param
from rewards.pending.accruals import register_accrual
from rewards.pending.models import PendingReward
from rewards.pending.owed import Owed
from rewards.users.models import User

ROWS_AT_ONCE = 1_000
STAMP = r"[0-9]{8}T[0-9]{6}\.[0-9]{6}Z"


@dataclass(frozen=True)
class Earner:
    """A row that earns: for whom, since when it is unpaid, how fast, and in words what for."""

    key: Any
    user: User
    start: datetime
    rate: Rate
    words: str
    deployment_id: UUID | None = None


class Accrual(ABC):
    """What both kinds share: listing what has accrued, locking it, and noting how far it is paid."""

    reward_type: str
    model: type[Model]
    key_pattern: str  # of the primary key, as it stands in a reward's id

    @abstractmethod
    def earning(self, user: User | None = None, deployment: Any = None) -> QuerySet[Any]:
        """The rows that earn, of a user and a deployment (None: of any), joined with what `earners` reads."""

    @abstractmethod
    def earners(self, rows: Iterable[Any], currency: Currency) -> Iterator[Earner]:
        """These rows at the rates of now, paid in `currency`."""

    def claims(self, reward_id: str) -> bool:
        """Whether an id is one that this source gives."""
        return self._pattern().fullmatch(reward_id) is not None

    def pending(self, user: User | None, deployment: Any, at: datetime) -> list[Owed]:
        """What has accrued by `at` and is pending. A pure read. Raises `UnknownCurrency` where it cannot be paid."""
        return self.pending_on(self.earning(user, deployment), at)

    def pending_on(self, rows: QuerySet[Any], at: datetime) -> list[Owed]:
        """The same of some of the rows that earn."""
        found = list(rows.order_by("pk"))
        if not found:
            return []
        currency = currency_named(param("pending.currency"))
        payable = ((earner, earner.rate.payable(earner.start, at)) for earner in self.earners(found, currency))
        return [self._owed(earner, amount, currency) for earner, amount in payable if amount]

    def lock(self, rewards: Sequence[Owed], at: datetime) -> tuple[dict[str, PendingReward], set[str]]:
        """Lock the rows that these rewards accrue on: `AccrualSource.lock` says what comes back.

        Raises `NotAccrued` for a reward of somebody else, in another currency, or of more than has accrued by `at`.
        """
        require_transaction()
        keys = dict(self._keys(rewards))
        if not keys:
            return {}, set()
        currency = currency_named(param("pending.currency"))
        standing = {self._id_of(each): each for each in self.earners(self._locked(keys.values()), currency)}
        asked = {owed.reward_id: owed for owed in rewards}
        live = {
            reward_id: self._row(asked[reward_id], standing[reward_id], currency, at)
            for reward_id in keys
            if reward_id in standing
        }
        return live, keys.keys() - live.keys()

    def settle(self, rewards: Sequence[PendingReward]) -> None:
        """Note on the rows up to where these rewards pay. `lock` made them in this transaction."""
        keys, pk = dict(self._keys(rewards)), self.model._meta.pk
        written = 0
        for some in in_batches(rewards, ROWS_AT_ONCE):
            paid = [(pk.get_db_prep_value(keys[row.reward_id], connection), sql_instant(_until(row))) for row in some]
            with connection.cursor() as cursor:
                cursor.execute(_SETTLE.format(table=table_of(self.model), paid=marks(2, len(paid))), [*chain(*paid)])
                written += cursor.rowcount
        ensure(written == len(rewards), f"{len(rewards) - written} rows that earned {self.reward_type} are gone")

    # ------------------------------------------------------------------------------------------------------- helpers

    def _pattern(self) -> re.Pattern[str]:
        return re.compile(f"{self.reward_type}_({self.key_pattern})_{STAMP}")

    def _keys(self, rewards: Iterable[Owed | PendingReward]) -> Iterator[tuple[str, Any]]:
        """(id of a reward, primary key of the row it names) for those ids that are of this kind."""
        pattern = self._pattern()
        for reward in rewards:
            if found := pattern.fullmatch(reward.reward_id):
                yield reward.reward_id, self.model._meta.pk.to_python(found[1])

    def _locked(self, keys: Iterable[Any]) -> Iterator[Any]:
        """Those of the rows that still earn, locked in ascending order of their keys."""
        for some in in_batches(sorted(set(keys)), ROWS_AT_ONCE):
            yield from self.earning().filter(pk__in=some).order_by("pk").select_for_update(no_key=True, of=("self",))

    def _id_of(self, earner: Earner) -> str:
        start = earner.start.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
        return f"{self.reward_type}_{earner.key}_{start.replace('-', '').replace(':', '')}Z"

    def _owed(self, earner: Earner, amount: int, currency: Currency) -> Owed:
        return Owed(
            reward_id=self._id_of(earner),
            account_id=earner.user.get_username(),
            amount=Decimal(currency.to_units(amount)),
            reason=_reason(earner, earner.rate.paid_until(earner.start, amount)),
            currency=currency.code,
            reward_type=self.reward_type,
            deployment_id=earner.deployment_id,
            created_at=earner.start,
        )

    def _row(self, owed: Owed, earner: Earner, currency: Currency, at: datetime) -> PendingReward:
        """The row of a reward that is owed as given, with the stretch of time that it pays. Raises `NotAccrued`."""
        amount = _minor(owed, currency)
        accrued = earner.rate.accrued(earner.start, at)
        same = owed.account_id == earner.user.get_username() and owed.currency in ("", currency.code)
        if not same or amount > accrued:
            raise NotAccrued(
                f"{owed.reward_id} has accrued {currency.to_units(accrued)} {currency.code} to {earner.user}, "
                f"not {owed.amount} {owed.currency or currency.code} to {owed.account_id}."
            )
        until = earner.rate.paid_until(earner.start, amount)
        return PendingReward(
            reward_id=owed.reward_id, user=earner.user, amount=amount, currency=currency,
            reason=_reason(earner, until), reward_type=self.reward_type, deployment_id=earner.deployment_id,
            queued_at=at, metadata={"from": earner.start.isoformat(), "until": until.isoformat()},
        )  # fmt: skip


class Staking(Accrual):
    """Units set aside earn a yearly rate of what they are."""

    reward_type = "staking"
    model = StakingPosition
    key_pattern = "[1-9][0-9]{0,17}"

    def earning(self, user: User | None = None, deployment: Any = None) -> QuerySet[StakingPosition]:
        if deployment is not None:
            return StakingPosition.objects.none()  # nobody stakes for a deployment
        rows = StakingPosition.objects.filter(unstaked_at=None).select_related("user", "currency")
        return rows if user is None else rows.filter(user=user)

    def earners(self, rows: Iterable[StakingPosition], currency: Currency) -> Iterator[Earner]:
        yearly, threshold = exact(param("pending.staking_apy")), exact(param("pending.staking_threshold"))
        for row in rows:
            staked = Fraction(row.staked, 10**row.currency.decimals)
            yield Earner(
                key=row.pk,
                user=row.user,
                start=row.earns_from,
                rate=Rate(staking_per_hour(staked, yearly), threshold, currency.decimals),
                words=f"{row.currency.to_units(row.staked)} {row.currency.code} staked",
            )


class Runtime(Accrual):
    """Each replica earns by the hour while it runs or is stopping."""

    reward_type = "deployment_runtime"
    model = Replica
    key_pattern = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"

    def earning(self, user: User | None = None, deployment: Any = None) -> QuerySet[Replica]:
        rows = Replica.objects.filter(
            status__in=[Replica.Status.RUNNING, Replica.Status.STOPPING], deployment__deleted_at=None
        ).select_related("deployment__user")
        if user is not None:
            rows = rows.filter(deployment__user=user)
        return rows if deployment is None else rows.filter(deployment=deployment)

    def earners(self, rows: Iterable[Replica], currency: Currency) -> Iterator[Earner]:
        hourly, threshold = exact(param("pending.runtime_per_hour")), exact(param("pending.runtime_threshold"))
        rate = Rate(hourly, threshold, currency.decimals)
        for row in rows:
            yield Earner(
                key=row.pk,
                user=row.deployment.user,
                start=row.earns_from,
                rate=rate,
                words=f"{row.deployment.name} ran on replica {row.pk}",
                deployment_id=row.deployment_id,
            )


STAKING, RUNTIME = Staking(), Runtime()


def register_sources() -> None:
    register_accrual(STAKING)
    register_accrual(RUNTIME)


def _reason(earner: Earner, until: datetime) -> str:
    return f"{earner.words}, {_minutes(earner.start)} to {_minutes(until)} UTC"


def _minutes(instant: datetime) -> str:
    return instant.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ", timespec="minutes")


def _until(row: PendingReward) -> datetime:
    return datetime.fromisoformat(row.metadata["until"])


def _minor(owed: Owed, currency: Currency) -> int:
    try:
        return currency.to_minor(owed.amount)
    except InvalidAmount as error:
        raise NotAccrued(f"{owed.reward_id}: {error.message}") from error


# Columns of VALUES that are given no names are column1, column2 on both databases.
_SETTLE = """
    UPDATE {table} SET rewarded_until = paid.column2 FROM (VALUES {paid}) paid WHERE {table}.id = paid.column1
"""
