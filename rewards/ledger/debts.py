"""What recipients lack who have spent what is taken back from them: who stands in for it, and how a debt is repaid.

A reversal mirrors transfers exactly, so whoever is to give back more than he has gets the rest first: `lend` from his
own account `debt`, which goes below zero, or `write_off` from the system account of that name. However many lack
something, it is a handful of statements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from rewards.audit.services import record
from rewards.common.database import marks, require_transaction, sql_instant
from rewards.common.errors import ensure
from rewards.ledger.errors import InsufficientFunds, NothingToRepay
from rewards.ledger.models import DEBT, WRITE_OFF, Account, Currency, Journal, Transfer
from rewards.ledger.posting import TRANSFER_COLUMNS, Move, settle_rows, stored_balance
from rewards.ledger.services import fingerprint, open_journal, post, system_account
from rewards.users.models import User

REFUSE, LEND = "refuse", "lend"
WAYS = (REFUSE, LEND, WRITE_OFF)
NAMED_IN_A_REFUSAL = 3


class Shortfall(NamedTuple):
    """Whoever would go below his floor: what he would give back, what he has, what is missing; minor units."""

    user: str
    amount: int
    balance: int
    missing: int


@dataclass(frozen=True)
class Clawback:
    """What taking transfers back comes to: from how many recipients how much, leaving out what is reversed already.

    `short` of them have spent it, in all `missing_total`; `rows` are those who lack most, not always all of them.
    Minor units.
    """

    recipients: int
    total: int
    already_reversed: int
    short: int
    missing_total: int
    rows: Sequence[Shortfall]


@dataclass(frozen=True)
class Taken:
    """Transfers to users that are to be taken back: those of journals, or only one of them.

    Of many journals a query that yields their ids stands for the list.
    """

    journal_ids: Sequence[int] | QuerySet[Any, Any]
    transfer_id: int | None = None

    def filled(self, sql: str) -> tuple[str, list[Any]]:
        """The statement with its condition, which stands there once, and the parameters of that."""
        if isinstance(self.journal_ids, QuerySet):
            ids, parameters = self.journal_ids.query.sql_with_params()
            where = f"original.journal_id IN ({ids})"
        else:
            parameters = tuple(self.journal_ids) or (0,)  # SQL knows no empty lists
            where = f"original.journal_id IN {marks(len(parameters), 1)}"
        if self.transfer_id is not None:
            where, parameters = f"{where} AND original.id = %s", (*parameters, self.transfer_id)
        return sql.replace("{where}", where), list(parameters)


def clawback(taken: Taken, shown: int = 100) -> Clawback:
    """What taking them back now would come to, with at most so many rows. A pure read."""
    recipients, total, already_reversed = _rows(_TOTALS, taken)[0]
    short, missing = _rows(_SHORT_TOTALS, taken)[0]
    rows = [Shortfall(user, *map(int, amounts)) for user, *amounts in _rows(_SHORTFALLS, taken, shown)]
    return Clawback(recipients, int(total), already_reversed, short, int(missing), rows)


def cover(
    taken: Taken,
    found: Clawback,
    way: str,
    currency: Currency,
    key: str,
    *,
    reason: str,
    actor: User | None,
    source: str,
) -> Journal | None:
    """Give those who lack something what is missing, in one journal under `key`, so that a mirror can follow.

    `found` is what `clawback` says while the caller holds the accounts (`lock_accounts_of`). None where nobody lacks
    anything. Raises `InsufficientFunds` when `way` is `refuse`.
    """
    require_transaction()
    ensure(way in WAYS, f"There is no way {way!r} to cover what is missing.")
    if not found.short:
        return None
    if way == REFUSE:
        raise _refusal(found, currency)
    journal = Journal(
        key=key, kind=way, reason=reason, actor=actor, source=source,
        fingerprint=fingerprint(way, [found.short, found.missing_total]),
    )  # fmt: skip
    ensure(open_journal(journal), f"{key} has covered something already")
    with connection.cursor() as cursor:
        written = _lend(cursor, taken, journal) if way == LEND else _write_off(cursor, taken, journal, currency)
    ensure(written == found.short, f"{key} covers {written} accounts of {found.short}")
    apart = {} if way == LEND else {system_account(WRITE_OFF, currency).pk: -found.missing_total}
    settle_rows(journal, apart)
    return journal


def repay_debt(account: Account, actor: User | None = None, reason: str = "") -> int:
    """Move what a user owes from his own account to his debt, as far as it reaches; returns the minor units.

    Needs a transaction, and writes the audit event `debt_repaid` too. Raises `NothingToRepay`.
    """
    require_transaction()
    debts = Account.objects.filter(user=account.user_id, currency=account.currency_id, code=DEBT)
    debt = debts.select_related("currency").first()
    if debt is None:
        raise NothingToRepay(f"{account} owes nothing.")
    with transaction.atomic():
        own = Account.objects.select_for_update(no_key=True).get(pk=account.pk)  # a debt moves under this lock alone
        amount = min(own.balance - (own.min_balance or 0), -stored_balance(debt.pk))
        if amount <= 0:
            raise NothingToRepay(f"{account} owes nothing, or holds nothing to repay it with.")
        earlier = Transfer.objects.filter(credit_account=debt).count()
        moves = [Move(account, debt, amount)]
        post(f"repay:{debt.pk}:{earlier}", "repayment", moves, reason=reason, actor=actor)
        record(
            "debt_repaid", user=account.user, actor=actor, amount=amount, currency=account.currency, reason=reason,
        )  # fmt: skip
    return amount


# --------------------------------------------------------------------------------------------------------------- steps


def _refusal(found: Clawback, currency: Currency) -> InsufficientFunds:
    """Who lacks most, and how much is missing in all."""
    units, first = currency.to_units, found.rows[0]
    named = [
        f"{each.user} ({currency}) holds {units(each.balance)} and would need {units(each.amount)}"
        for each in found.rows[:NAMED_IN_A_REFUSAL]
    ]
    if found.short > len(named):
        named.append(f"and {found.short - len(named):,} more")
    return InsufficientFunds(
        f"{'; '.join(named)}. In all {units(found.missing_total)} {currency} are missing: lend them or write them off.",
        account=f"{first.user} ({currency})",
        currency=currency.code,
        balance=units(first.balance),
        need=units(first.amount),
        short=found.short,
        missing=units(found.missing_total),
    )


def _rows(sql: str, taken: Taken, *more: Any) -> list[tuple[Any, ...]]:
    statement, parameters = taken.filled(sql)
    with connection.cursor() as cursor:
        cursor.execute(statement, [*parameters, *more])
        return cursor.fetchall()


def _lend(cursor: Any, taken: Taken, journal: Journal) -> int:
    """From each one's debt to his own account; returns how many."""
    create, which = taken.filled(_CREATE_DEBTS)
    cursor.execute(create, [sql_instant(timezone.now()), *which])
    lend, which = taken.filled(_LEND)
    cursor.execute(lend, [journal.pk, sql_instant(journal.created_at), *which])
    return int(cursor.rowcount)


def _write_off(cursor: Any, taken: Taken, journal: Journal, currency: Currency) -> int:
    """From the system account to each one's own; returns how many."""
    sql, which = taken.filled(_WRITE_OFF)
    account = system_account(WRITE_OFF, currency)
    cursor.execute(sql, [journal.pk, account.pk, sql_instant(journal.created_at), *which])
    return int(cursor.rowcount)


_IS_REVERSED = "EXISTS (SELECT 1 FROM rewards_transfer reversal WHERE reversal.reverses_id = original.id)"

_TOTALS = f"""
    SELECT count(CASE WHEN NOT reversed THEN 1 END), coalesce(sum(CASE WHEN NOT reversed THEN amount END), 0),
        count(CASE WHEN reversed THEN 1 END)
    FROM (
        SELECT original.amount, {_IS_REVERSED} AS reversed FROM rewards_transfer original
        WHERE {{where}} AND original.reverses_id IS NULL
    ) taken
"""

_SHORT = f"""
    SELECT account.id, account.user_id, account.currency_id, account.balance, taken.amount,
        taken.amount - account.balance + account.min_balance AS missing
    FROM (
        SELECT original.credit_account_id AS account_id, sum(original.amount) AS amount FROM rewards_transfer original
        WHERE {{where}} AND original.reverses_id IS NULL AND NOT {_IS_REVERSED}
        GROUP BY original.credit_account_id
    ) taken JOIN rewards_account account ON account.id = taken.account_id
    WHERE account.user_id IS NOT NULL AND account.balance - taken.amount < account.min_balance
"""

_SHORT_TOTALS = f"SELECT count(*), coalesce(sum(missing), 0) FROM ({_SHORT}) short"

_SHORTFALLS = f"""
    SELECT owner.username, short.amount, short.balance, short.missing
    FROM ({_SHORT}) short JOIN rewards_user owner ON owner.id = short.user_id
    ORDER BY short.missing DESC, short.id LIMIT %s
"""

_CREATE_DEBTS = f"""
    INSERT INTO rewards_account (currency_id, user_id, code, balance, min_balance, created_at)
    SELECT short.currency_id, short.user_id, '{DEBT}', 0, NULL, %s FROM ({_SHORT}) short
    WHERE true ORDER BY short.user_id ON CONFLICT DO NOTHING
"""

_LEND = f"""
    INSERT INTO {TRANSFER_COLUMNS}
    SELECT %s, debt.id, short.id, short.currency_id, short.missing, %s
    FROM ({_SHORT}) short JOIN rewards_account debt
      ON debt.user_id = short.user_id AND debt.currency_id = short.currency_id AND debt.code = '{DEBT}'
    ORDER BY short.id
"""

_WRITE_OFF = f"""
    INSERT INTO {TRANSFER_COLUMNS}
    SELECT %s, %s, short.id, short.currency_id, short.missing, %s FROM ({_SHORT}) short ORDER BY short.id
"""
