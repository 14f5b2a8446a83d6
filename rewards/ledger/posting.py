"""How a posting reaches the tables: journal, transfers, balances.

Accounts with a floor are waited for, in ascending id, and locked in one statement. Nobody waits for the others: who
finds the row of an account without a floor busy leaves his change beside it, and who draws from an account that is
split takes a slot that is free. Readers add the rows up in one statement.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from time import monotonic
from typing import Any

from django.db import DataError, IntegrityError, connection
from django.db.models import F
from django.utils import timezone

from rewards.common.amounts import InvalidAmount
from rewards.common.database import (
    has_been_written,
    insert_if_absent,
    insert_if_absent_sql,
    is_postgresql,
    marks,
    sql_instant,
)
from rewards.common.errors import ensure
from rewards.ledger.errors import InactiveCurrency, InsufficientFunds
from rewards.ledger.models import Account, BalanceChange, Currency, Journal

BUSY_SECONDS = 0.1
"""So often at most a process tries to get at the row of an account without a floor that it found busy, and folds in
what others left beside such rows."""

_busy_until = 0.0  # monotonic seconds
_fold_at = 0.0  # monotonic seconds

Held = Mapping[int, int | None]
"""Account id → its balance (None: it has no floor), of rows that this transaction has locked."""


@dataclass(frozen=True)
class Move:
    """`amount` minor units from one account into another."""

    debit: Account
    credit: Account
    amount: int


def write_posting(journal: Journal, moves: Sequence[Move], held: Held | None) -> bool:
    """Write the journal and its transfers and move the balances; False when its key stands already.

    Waits for a concurrent writer of the same key. `held` are rows that the caller has locked: of accounts without a
    floor only these are changed; accounts with a floor that are missing in it are locked here. The accounts in
    `moves` that have a floor carry their new balance afterwards. Raises `InactiveCurrency`, `InsufficientFunds`, and
    `InvalidAmount` for a balance beyond 64 bits.
    """
    changes = _Changes.of(moves)
    journal.created_at = timezone.now()
    with _balances_fit():
        if is_postgresql():
            balances = _post_under_locks(journal, moves, changes, held)
        else:
            balances = _post_alone(journal, moves, changes)
    if balances is None:
        return False
    for move in moves:
        require_active(move.debit.currency)
    for short in sorted(pk for pk in changes.waited_for if pk not in balances):
        _draw(short, changes.net[short])  # raises, unless the account was split after the caller had read it
    for pk, change in sorted(changes.drawn.items()):
        _draw(pk, change)
    for account in (account for move in moves for account in (move.debit, move.credit)):
        account.balance = balances.get(account.pk, account.balance)
    return True


def require_active(currency: Currency) -> None:
    """Raise `InactiveCurrency` for a currency that moves no more."""
    if not currency.active:
        raise InactiveCurrency(f"The currency {currency.code} is not active.")


@dataclass(frozen=True)
class _Changes:
    """What a posting does to accounts: minor units by account, and in which of the three ways."""

    net: dict[int, int]
    waited_for: tuple[int, ...]
    free: tuple[int, ...]
    drawn: dict[int, int]
    floors: dict[int, int]

    @classmethod
    def of(cls, moves: Iterable[Move]) -> _Changes:
        touched: dict[int, Account] = {}
        net: dict[int, int] = defaultdict(int)
        for move in moves:
            touched[move.debit.pk], touched[move.credit.pk] = move.debit, move.credit
            net[move.debit.pk] -= move.amount
            net[move.credit.pk] += move.amount
        free = tuple(pk for pk in net if net[pk] and not touched[pk].has_floor)
        drawn = {pk: net[pk] for pk in net if pk not in free and touched[pk].is_apart(net[pk])}
        waited_for = tuple(pk for pk in net if net[pk] and pk not in drawn and pk not in free)
        floors = {pk: touched[pk].min_balance or 0 for pk in waited_for}
        return cls(dict(net), waited_for, free, drawn, floors)

    def under(self, locked: Held) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """(account id, change) of the rows to change, which hold enough, and of those to write beside a row."""
        enough = [pk for pk in self.waited_for if (locked[pk] or 0) + self.net[pk] >= self.floors[pk]]
        rows = [(pk, self.net[pk]) for pk in (*enough, *self.free) if pk in locked]
        beside = [(pk, self.net[pk]) for pk in self.free if pk not in locked]
        return rows, beside


def _post_under_locks(
    journal: Journal, moves: Sequence[Move], changes: _Changes, held: Held | None
) -> dict[int, int] | None:
    """Account id → its balance now, of those that hold enough; None when the key stands already.

    The rows are locked by a statement before the one that changes them, so that this one sees what the others who
    held them have left. (An UPDATE that locks as it goes may pass over a row that was changed meanwhile.)
    """
    net, beside = changes.under(_lock_rows(changes, held))
    opened, values = insert_if_absent_sql(journal, unique=["key"])
    sql = _POST.format(journal=opened, moves=marks(5, len(moves)))
    if beside:
        sql += _LEAVE_BESIDE.format(changes=marks(2, len(beside)))
    sql += (_MOVE if net else _MOVE_NOTHING).format(changes=marks(2, len(net)))
    with connection.cursor() as cursor:
        cursor.execute(sql, [*values, *_transfer_values(moves, journal.created_at, []), *chain(*beside), *chain(*net)])
        posted = cursor.fetchall()
    if not posted:
        return None
    has_been_written(journal, posted[0][0])
    return {pk: balance for _, pk, balance in posted if pk is not None}


def _lock_rows(changes: _Changes, held: Held | None) -> Held:
    """Lock what is not held yet: waits for rows of accounts with a floor, in ascending id; of those without only the
    ones that nobody has are taken."""
    waited_for = tuple(pk for pk in changes.waited_for if held is None or pk not in held)
    free = changes.free if held is None and try_free_rows() else ()
    if not waited_for and not free:
        return held or {}
    with connection.cursor() as cursor:
        no_account = (0,)  # SQL knows no empty lists
        cursor.execute(_LOCK_ROWS, [waited_for or no_account, free or no_account])
        locked = dict(cursor.fetchall())
    note_free_rows(free, locked)
    return {**(held or {}), **locked}


def try_free_rows() -> bool:
    """Whether this process tries to lock rows of accounts without a floor: not right after it found one busy."""
    return _busy_until < monotonic()


def note_free_rows(tried: Collection[int], locked: Collection[int]) -> None:
    """Remember whether rows of accounts without a floor were busy; fold in now and then what others left beside."""
    global _busy_until, _fold_at
    now = monotonic()
    if any(pk not in locked for pk in tried):
        _busy_until = now + BUSY_SECONDS
    elif tried and _fold_at < now:
        _fold_at = now + BUSY_SECONDS
        with connection.cursor() as cursor:
            cursor.execute(_LEFT_BESIDE, [tuple(tried)])
            for (pk,) in cursor.fetchall():
                cursor.execute(_FOLD_CHANGES, [pk, 0, pk])


def _post_alone(journal: Journal, moves: Sequence[Move], changes: _Changes) -> dict[int, int] | None:
    """The same where one transaction writes at a time: nothing is locked, nothing is left beside a row."""
    if not insert_if_absent(journal, unique=["key"]):
        return None
    transfers = _transfer_values(moves, sql_instant(journal.created_at), [journal.pk])
    net = [(pk, changes.net[pk]) for pk in (*changes.waited_for, *changes.free)]
    with connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO {TRANSFER_COLUMNS} VALUES {marks(6, len(moves))}", transfers)
        if not net:
            return {}
        cursor.execute(_MOVE_ROWS.format(net=marks(2, len(net))), [*chain(*net)])
        return dict(cursor.fetchall())


def _transfer_values(moves: Sequence[Move], now: Any, before: list[Any]) -> list[Any]:
    rows = ([*before, m.debit.pk, m.credit.pk, m.debit.currency_id, m.amount, now] for m in moves)
    return [value for row in rows for value in row]


def settle_rows(journal: Journal, apart: dict[int, int]) -> None:
    """Move the balances by the transfers of a journal of any size, which are written.

    `apart` are the changes that nobody waits for: of accounts without a floor, and draws from accounts with slots.
    Raises like `write_posting`.
    """
    lock = "FOR NO KEY UPDATE OF account" if is_postgresql() else ""
    with connection.cursor() as cursor:
        cursor.execute(_LOCK_ACCOUNTS.format(lock=lock), [journal.pk] * 2)
        locked, short = cursor.fetchone()
        if short:
            cursor.execute(_FIRST_SHORT_ACCOUNT, [journal.pk] * 2)
            raise _insufficient(*cursor.fetchone())
        with _balances_fit():
            cursor.execute(_MOVE_BALANCES, [journal.pk] * 2)
        ensure(cursor.rowcount == locked, f"{journal.key} moved {cursor.rowcount} balances of {locked}")
    with _balances_fit():
        for account_id, change in sorted(apart.items()):
            _change_apart(account_id, change)


NUMBER_OUT_OF_RANGE = "22003"


@contextmanager
def _balances_fit() -> Iterator[None]:
    """A number that the database refuses in here is a balance beyond 64 bits: amounts have been looked at before."""
    try:
        yield
    except (DataError, IntegrityError) as error:
        if is_postgresql() and getattr(error.__cause__, "pgcode", "") != NUMBER_OUT_OF_RANGE:
            raise
        raise InvalidAmount("A balance would not fit 64 bits of minor units.") from error


def _insufficient(account_id: int, change: int) -> InsufficientFunds:
    account = Account.objects.select_related("currency", "user").get(pk=account_id)
    units, need, held = account.currency.to_units, -int(change), stored_balance(account_id)
    return InsufficientFunds(
        f"{account} holds {units(held)} and would need {units(need + (account.min_balance or 0))}.",
        account=str(account),
        currency=account.currency.code,
        balance=units(held),
        need=units(need),
    )


def stored_balance(account_id: int) -> int:
    """Minor units on an account: its row, and what lies beside it."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {STORED} FROM rewards_account account WHERE account.id = %s", [account_id])
        row = cursor.fetchone()
    ensure(row is not None, f"Account {account_id} does not exist.")
    return int(row[0])


# ----------------------------------------------------------------------------------- balances that nobody waits for


def _change_apart(account_id: int, change: int) -> None:
    account = Account.objects.filter(pk=account_id)
    if account.filter(min_balance__isnull=False).exists():
        _draw(account_id, change)
    elif not is_postgresql():
        account.update(balance=F("balance") + change)
    elif account.select_for_update(no_key=True, skip_locked=True).exists():
        with connection.cursor() as cursor:
            cursor.execute(_FOLD_CHANGES, [account_id, change, account_id])
    else:
        BalanceChange.objects.create(account_id=account_id, amount=change)


def _draw(account_id: int, change: int) -> None:
    """Draw -`change` minor units from one slot that is free and holds enough, or else from all of them together.

    Raises `InsufficientFunds` when all together do not hold enough, and for an account without slots.
    """
    if not is_postgresql():
        raise _insufficient(account_id, change)
    with connection.cursor() as cursor:
        cursor.execute(_TAKE_A_SLOT, [account_id, -change])
        slot = cursor.fetchone()
        if slot is not None:
            cursor.execute(_DRAW_FROM_SLOT, [change, *slot])
            return
        cursor.execute(_LET_SLOTS_GO + _LOCK_ROW, [account_id])
        row, floor, slots = cursor.fetchone()
        cursor.execute(_LOCK_SLOTS, [account_id])
        left = row + sum(amount for (amount,) in cursor.fetchall()) + change
        if slots == 0 or left < floor:
            raise _insufficient(account_id, change)
        each = (left - floor) // slots
        cursor.execute(_FILL_SLOTS, [each, account_id])
        cursor.execute(_SET_BALANCE, [left - each * slots, account_id])


# ---------------------------------------------------------------------------------------------------------------- SQL

STORED = """
    account.balance + coalesce((SELECT sum(amount) FROM rewards_balancechange WHERE account_id = account.id), 0)
"""

TRANSFER_COLUMNS = """
    rewards_transfer (journal_id, debit_account_id, credit_account_id, currency_id, amount, created_at)
"""

_LOCK_ROWS = """
    SELECT id, balance FROM (
        SELECT id, balance FROM rewards_account WHERE id IN %s ORDER BY id FOR NO KEY UPDATE
    ) waited_for
    UNION ALL SELECT id, NULL FROM (
        SELECT id FROM rewards_account WHERE id IN %s ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
    ) free
"""

_LEFT_BESIDE = """
    SELECT DISTINCT account_id FROM rewards_balancechange WHERE account_id IN %s AND slot IS NULL ORDER BY account_id
"""

# Whoever finds the key taken gets no row, and has changed nothing.
_POST = f"""
    WITH journal AS ({{journal}}),
    written AS (
        INSERT INTO {TRANSFER_COLUMNS} SELECT journal.id, move.* FROM journal, (VALUES {{moves}}) move
    )
"""

_LEAVE_BESIDE = """
    , left_beside AS (
        INSERT INTO rewards_balancechange (account_id, amount) SELECT change.* FROM journal, (VALUES {changes}) change
    )
"""

# Of rows that are locked.
_MOVE = """
    , moved AS (
        UPDATE rewards_account account SET balance = account.balance + net.change
        FROM journal, (VALUES {changes}) net (account_id, change)
        WHERE account.id = net.account_id RETURNING account.id, account.balance
    )
    SELECT journal.id, moved.id, moved.balance FROM journal LEFT JOIN moved ON true
"""

_MOVE_NOTHING = "SELECT journal.id, NULL, NULL FROM journal"

_MOVE_ROWS = """
    WITH net (account_id, change) AS (VALUES {net})
    UPDATE rewards_account SET balance = rewards_account.balance + net.change FROM net
    WHERE rewards_account.id = net.account_id
      AND (rewards_account.min_balance IS NULL OR rewards_account.balance + net.change >= rewards_account.min_balance)
    RETURNING id, balance
"""

NET = """
    SELECT account_id, sum(amount) AS change FROM (
        SELECT credit_account_id AS account_id, amount FROM rewards_transfer WHERE journal_id = %s
        UNION ALL
        SELECT debit_account_id, -amount FROM rewards_transfer WHERE journal_id = %s
    ) sides GROUP BY account_id
"""

# A debt never moves but with its owner's account, so nobody has its row who has not that one.
WAITED_FOR = """
    (account.user_id IS NOT NULL OR account.min_balance IS NOT NULL AND (account.slots = 0 OR net.change > 0))
"""

_LOCK_ACCOUNTS = f"""
    SELECT count(*), count(CASE WHEN short THEN 1 END) FROM (
        SELECT account.balance + net.change < account.min_balance AS short
        FROM rewards_account account JOIN ({NET}) net ON net.account_id = account.id
        WHERE {WAITED_FOR} ORDER BY account.id {{lock}}
    ) locked
"""

_FIRST_SHORT_ACCOUNT = f"""
    SELECT account.id, net.change FROM rewards_account account JOIN ({NET}) net ON net.account_id = account.id
    WHERE {WAITED_FOR} AND account.balance + net.change < account.min_balance ORDER BY account.id LIMIT 1
"""

_MOVE_BALANCES = f"""
    UPDATE rewards_account AS account SET balance = account.balance + net.change FROM ({NET}) net
    WHERE account.id = net.account_id AND {WAITED_FOR}
"""

_FOLD_CHANGES = """
    WITH folded AS (DELETE FROM rewards_balancechange WHERE account_id = %s RETURNING amount)
    UPDATE rewards_account SET balance = balance + %s + (SELECT coalesce(sum(amount), 0) FROM folded) WHERE id = %s
"""

# In a statement of its own: inside the UPDATE it could be asked twice, and answer with two slots. Behind a savepoint: a
# slot that another emptied while the statement was under way is not returned, but stays locked.
_TAKE_A_SLOT = """
    SAVEPOINT a_slot;
    SELECT id FROM rewards_balancechange WHERE account_id = %s AND slot IS NOT NULL AND amount >= %s
    ORDER BY random() LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
"""

_DRAW_FROM_SLOT = "UPDATE rewards_balancechange SET amount = amount + %s WHERE id = %s; RELEASE SAVEPOINT a_slot"

# Who waits with one in his hands, and who waits for all of them, would wait for each other.
_LET_SLOTS_GO = "ROLLBACK TO SAVEPOINT a_slot; RELEASE SAVEPOINT a_slot; "

_LOCK_ROW = "SELECT balance, min_balance, slots FROM rewards_account WHERE id = %s FOR NO KEY UPDATE"

_LOCK_SLOTS = """
    SELECT amount FROM rewards_balancechange WHERE account_id = %s AND slot IS NOT NULL
    ORDER BY slot FOR NO KEY UPDATE
"""

_FILL_SLOTS = "UPDATE rewards_balancechange SET amount = %s WHERE account_id = %s AND slot IS NOT NULL"

_SET_BALANCE = "UPDATE rewards_account SET balance = %s WHERE id = %s"
