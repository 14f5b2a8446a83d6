"""One step of giving a badge: awards, the bonuses with them, the audit event and the bits, in one transaction."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

from django.db import connection, transaction

from badges import bitmaps
from badges.models import Badge, BadgeAward
from rewards.audit.services import record
from rewards.common.columns import Column, read_columns
from rewards.common.database import MANY_ROWS, expect_many_rows, is_postgresql, sql_instant, table_of
from rewards.common.errors import RewardsError
from rewards.jobs.progress import RunLost
from rewards.ledger import services as ledger
from rewards.ledger.errors import PayoutsPaused
from rewards.ledger.models import ISSUANCE, Account, Currency, Journal
from rewards.ledger.posting import require_active
from rewards.ledger.queries import currency_named
from rewards.parameters.services import param
from rewards.users.models import User

AT_ONCE = 65_536
"""So many users get a badge in one step, at most."""


@dataclass(frozen=True)
class Purse:
    """What bonuses are paid from."""

    currency: Currency
    source: Account

    @classmethod
    def open(cls) -> Purse:
        """Raises `UnknownCurrency`, `InactiveCurrency`."""
        currency = currency_named(param("badges.currency"))
        require_active(currency)
        return cls(currency, ledger.system_account(ISSUANCE, currency))

    def minor(self, bonus: int) -> int:
        """Minor units of a badge's bonus."""
        return self.currency.to_minor(bonus)


def give(badge: Badge, period_key: str, user_ids: Column, at: datetime, *, remembered: bool) -> int | None:
    """Give the badge to those of these users who were not given it before, and pay them the bonus; how many.

    `user_ids` are in ascending order, at most `AT_ONCE`. The unique row of an award comes first, so each is given once
    whoever else gives at the same moment; a user to whom it was given and revoked gets none. `remembered` sets the
    bits. None, and nobody gets anything, when the definition as it was read is not in force any more: read it again.
    Raises `PayoutsPaused`, `UnknownCurrency`, `InactiveCurrency`; nothing is changed then.
    """
    ledger.require_payouts_running()
    purse = Purse.open() if badge.bonus else None
    with transaction.atomic():
        if len(user_ids) >= MANY_ROWS:
            expect_many_rows()
        if not _hold_definition(badge):
            return None
        given = _give_and_pay(badge, period_key, user_ids, at, purse)
        if remembered:
            bitmaps.remember(badge.pk, period_key, user_ids)
    return given


@contextmanager
def noted(refused: dict[str, str], what: str) -> Iterator[None]:
    """A refusal in here is put down, under what could not be given, and holds up nothing else.

    What ends everything is raised: that payouts are paused, that another took the run over, that a rule is broken.
    """
    try:
        yield
    except (PayoutsPaused, RunLost):
        raise
    except RewardsError as error:
        if error.http_status >= 500:
            raise
        refused[what] = error.message


def in_steps(user_ids: Column) -> Iterator[Column]:
    """So many at a time as `give` takes."""
    for first in range(0, len(user_ids), AT_ONCE):
        yield user_ids[first : first + AT_ONCE]


def deactivated_users() -> Column:
    """Their ids, in any order: they get nothing."""
    return read_columns(f"SELECT CAST(id AS bigint) FROM {table_of(User)} WHERE NOT is_active", [], 1)[0]


def user_ids_as_rows(user_ids: Sequence[int]) -> tuple[str, Any]:
    """A FROM item with the column user_id, and its parameter."""
    if is_postgresql():
        # As text: a list written out as ARRAY[…] would be parsed number by number.
        return "(SELECT unnest(%s::bigint[]) AS user_id)", "{" + ",".join(map(str, user_ids)) + "}"
    return "(SELECT value AS user_id FROM json_each(%s))", json.dumps(user_ids)


# --------------------------------------------------------------------------------------------------------------- steps


def _hold_definition(badge: Badge) -> bool:
    """Whether the badge still is as it was read; it stays so until the transaction ends. Others may give it too."""
    fields = ("active", "version", *Badge.CRITERIA)
    share = "FOR SHARE" if is_postgresql() else ""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(fields)} FROM {table_of(Badge)} WHERE id = %s {share}", [badge.pk])
        standing = cursor.fetchone()
    return standing is not None and list(standing) == [getattr(badge, field) for field in fields]


def _give_and_pay(badge: Badge, period_key: str, user_ids: Column, at: datetime, purse: Purse | None) -> int:
    """What is written for nobody is taken back: a journal without a transfer is none."""
    step = transaction.savepoint()
    journal = _open_journal(badge, period_key) if purse else None
    who = user_ids_as_rows(user_ids.tolist())
    given = _insert_awards(badge, period_key, who, at, journal)
    if not given:
        transaction.savepoint_rollback(step)
        return 0
    transaction.savepoint_commit(step)
    amount = purse.minor(badge.bonus) if purse else 0
    if journal is not None and purse is not None:
        rows, parameters = _paid_rows(badge, period_key, who, journal, amount, all_of_them=given == len(user_ids))
        ledger.pay_rows(journal, purse.source, (rows, parameters), count=given, total=given * amount)
    record(
        "badges_awarded", amount=given * amount if purse else None, currency=purse.currency if purse else None,
        data={
            "badge": badge.slug, "version": badge.version, "period": period_key, "awards": given,
            "journal": journal.pk if journal else None,
        },
    )  # fmt: skip
    return given


def _open_journal(badge: Badge, period_key: str) -> Journal:
    """It is opened before anybody knows whom it pays: what makes an award happen once is its own row."""
    key = ":".join(part for part in ("badge", badge.slug, period_key, uuid4().hex) if part)
    journal = Journal(
        key=key, kind="badge", reason=badge.name, source=f"badge:{badge.pk}", fingerprint=ledger.fingerprint(key, []),
        metadata={"badge": badge.slug, "version": badge.version, "period": period_key},
    )  # fmt: skip
    ledger.open_journal(journal)
    return journal


def _insert_awards(badge: Badge, period_key: str, who: tuple[str, Any], at: datetime, journal: Journal | None) -> int:
    rows, parameter = who
    values = [badge.pk, period_key, badge.version, sql_instant(at), journal.pk if journal else None, parameter]
    with connection.cursor() as cursor:
        cursor.execute(_INSERT_AWARDS.format(awards=table_of(BadgeAward), who=rows), values)
        return int(cursor.rowcount)


def _paid_rows(
    badge: Badge, period_key: str, who: tuple[str, Any], journal: Journal, amount: int, *, all_of_them: bool
) -> tuple[str, list[Any]]:
    """A SELECT of (user_id, amount) over the awards of a journal, and its parameters."""
    rows, parameter = who
    if all_of_them:
        return f"SELECT user_id, {amount} AS amount FROM {rows} who", [parameter]
    sql = _PAID_ROWS.format(awards=table_of(BadgeAward), who=rows, amount=amount)
    return sql, [parameter, badge.pk, period_key, journal.pk]


# In the order in which all give: two who give the same never wait for each other crosswise.
_INSERT_AWARDS = """
    INSERT INTO {awards} (badge_id, user_id, period_key, version, awarded_at, journal_id, reason)
    SELECT %s, who.user_id, %s, %s, %s, %s, '' FROM {who} who WHERE true ORDER BY who.user_id
    ON CONFLICT (user_id, badge_id, period_key) DO NOTHING
"""

_PAID_ROWS = """
    SELECT award.user_id, {amount} AS amount FROM {who} who
    JOIN {awards} award ON award.user_id = who.user_id AND award.badge_id = %s AND award.period_key = %s
    WHERE award.journal_id = %s
"""
