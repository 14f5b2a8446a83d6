"""Writing to the ledger. Every function needs an open transaction; the programme that pays opens it.

The order inside is always the same, and it is what makes retries and concurrency safe:

1. the journal's unique key is written (or the journal that has it is returned) before any balance is looked at;
2. the transfers are written;
3. the accounts they touch are locked in ascending id, and their balances moved, in one statement each.

Amounts are whole minor units (int) throughout.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from rewards.common.amounts import MAX_MINOR, InvalidAmount
from rewards.common.database import (
    MANY_ROWS,
    insert_if_absent,
    is_postgresql,
    marks,
    refresh_statistics,
    require_transaction,
    sql_instant,
)
from rewards.common.errors import ensure
from rewards.ledger.errors import (
    AlreadyReversed,
    IdempotencyConflict,
    NotTransferable,
    PayoutsPaused,
    SameAccount,
)
from rewards.ledger.models import (
    BURN,
    DEBT,
    ISSUANCE,
    WITHOUT_FLOOR,
    Account,
    BalanceChange,
    Currency,
    Journal,
    Transfer,
)
from rewards.ledger.posting import (
    NET,
    STORED,
    TRANSFER_COLUMNS,
    WAITED_FOR,
    Held,
    Move,
    note_free_rows,
    require_active,
    settle_rows,
    stored_balance,
    try_free_rows,
    write_posting,
)
from rewards.ledger.queries import currency_named
from rewards.parameters.services import param
from rewards.users.models import User

Owned = tuple[User | str, str]
"""Whose account: (a user, or a system code; the code of a currency)."""

# ------------------------------------------------------------------------------------------------------------ accounts


def system_account(code: str, currency: Currency) -> Account:
    """The account of a system code such as `treasury` or `pool:hourly`, created at zero when it is missing."""
    floor = None if code in WITHOUT_FLOOR else 0
    new = Account(currency=currency, code=code, min_balance=floor)
    return _standing(new) or _created(new, ["code", "currency"], "user_id IS NULL")


def user_account(user: User, currency: Currency, code: str = "") -> Account:
    """The user's own account in a currency (or his account of that code), created at zero when it is missing.

    All have a floor but his debt.
    """
    new = Account(currency=currency, user=user, code=code, min_balance=None if code == DEBT else 0)
    return _standing(new) or _created(new, ["user", "currency", "code"], "user_id IS NOT NULL")


def accounts(wanted: Collection[Owned]) -> dict[Owned, Account]:
    """The accounts of (a user, or a system code) in a currency named by its code, created at zero where missing.

    One query where they all stand; what a posting does not need is read when it is asked for. Raises
    `UnknownCurrency`.
    """
    found, _ = _read_accounts(wanted, hold=False)
    for owner, code in sorted(set(wanted) - found.keys(), key=_order_of_creation):
        if isinstance(owner, User):
            found[owner, code] = user_account(owner, currency_named(code))
        else:
            found[owner, code] = system_account(owner, currency_named(code))
    return found


def hold_accounts(wanted: Collection[Owned]) -> tuple[dict[Owned, Account], Held] | None:
    """Like `accounts`, and locks rows as a posting would: what is held is handed to `post`, a statement less.

    Held are the users' accounts, and of the system accounts without a floor those that nobody has. None where one of
    them does not stand. The caller then goes back to where nothing was locked, and calls `accounts`: whoever creates a
    row must not have locked another that its creator waits for.
    """
    require_transaction()
    found, held = _read_accounts(wanted, hold=is_postgresql())
    return (found, held) if len(found) == len(wanted) else None


def create_missing_accounts(users: QuerySet[Any, Any], currency: Currency, code: str = "") -> int:
    """Create in one statement the accounts (own, or of that code) that users lack in a currency, at zero; how many.

    `users` yields user ids. Whoever is paid gets one anyway: for a crowd of new users it is less work in one go.
    """
    require_transaction()
    sql, parameters = users.query.sql_with_params()
    return _create_missing_accounts(f"({sql})", parameters, currency.pk, code, sql_instant(timezone.now()))


def _create_missing_accounts(rows: str, parameters: Sequence[Any], currency_id: int, code: str, now: Any) -> int:
    ensure(code != DEBT, "What is created here has a floor, and a debt has none.")
    with connection.cursor() as cursor:
        sql = _CREATE_MISSING_ACCOUNTS.format(rows=rows)
        cursor.execute(sql, [currency_id, code, now, *parameters, currency_id, code])
        created = cursor.rowcount
    if created >= MANY_ROWS:
        refresh_statistics(Account)
    return created


def _order_of_creation(wanted: tuple[User | str, str]) -> tuple[int, str, str]:
    """The same for everybody, system accounts first: two who create the same accounts never wait crosswise."""
    owner, currency_code = wanted
    return (owner.pk, "", currency_code) if isinstance(owner, User) else (0, owner, currency_code)


def _read_accounts(wanted: Collection[Owned], hold: bool) -> tuple[dict[Owned, Account], Held]:
    """The accounts that stand, and those of them whose rows this transaction has locked."""
    by_code = {code: currency_named(code) for code in {code for _, code in wanted}}
    currencies = {currency.pk: currency for currency in by_code.values()}
    users = {owner.pk: owner for owner, _ in wanted if isinstance(owner, User)}
    tries = hold and try_free_rows()
    sql, parameters = _statement([(owner, by_code[code].pk) for owner, code in wanted], hold, tries)
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        rows = cursor.fetchall()
    found: dict[Owned, Account] = {}
    held: dict[int, int | None] = {}
    for *values, is_held in rows:
        account = Account.from_db(connection.alias, _ACCOUNT_FIELDS, values)
        account.currency = currencies[account.currency_id]
        found[users[account.user_id] if account.user_id else account.code, account.currency.code] = account
        if is_held:
            held[account.pk] = account.balance if account.has_floor else None
    if tries:
        note_free_rows([account.pk for account in found.values() if not account.has_floor], held)
    return found, held


def _statement(wanted: Collection[tuple[User | str, int]], hold: bool, tries: bool) -> tuple[str, list[Any]]:
    """What reads the accounts of (owner, currency id), users' and the system's, and locks them where that is wanted."""
    own: dict[Any, list[int]] = defaultdict(list)
    system: dict[Any, list[int]] = defaultdict(list)
    for owner, currency_id in wanted:
        if isinstance(owner, User):
            own[owner.pk].append(currency_id)
        else:
            system[owner].append(currency_id)
    parts: list[str] = []
    parameters: list[Any] = []
    if own:
        where, values = _where("user_id", own)
        parts.append((_HOLD if hold else _FIND).format(where=f"({where}) AND code = ''"))
        parameters += values
    if system:
        where, values = _where("code", system)
        parts.append((_HOLD_FREE if tries else _FIND).format(where=f"({where}) AND user_id IS NULL"))
        parameters += values * (2 if tries else 1)
    return " UNION ALL ".join(parts), parameters


def _where(column: str, owners: Mapping[Any, Sequence[int]]) -> tuple[str, list[Any]]:
    """The condition that finds each owner's accounts in his currencies, and its parameters."""
    each = [f"{column} = %s AND currency_id IN {marks(len(currencies), 1)}" for currencies in owners.values()]
    return " OR ".join(each), [value for owner, currencies in owners.items() for value in (owner, *currencies)]


def split(account: Account, slots: int) -> None:
    """Keep the balance of a system account in so many parts, so that as many transactions draw from it at once.

    Nothing but waiting changes: the floor holds for the whole, and who draws is refused only when all parts together
    do not hold enough. Only PostgreSQL has anything to gain; elsewhere this does nothing.
    """
    ensure(account.has_floor and account.user_id is None, "Only a system account with a floor is split.")
    require_transaction()
    if not is_postgresql():
        return
    account.slots = Account.objects.select_for_update(no_key=True).get(pk=account.pk).slots
    if account.slots == 0:
        account.slots = slots
        account.save(update_fields=["slots"])
        BalanceChange.objects.bulk_create(
            BalanceChange(account=account, slot=number, amount=0) for number in range(1, slots + 1)
        )


def _standing(new: Account) -> Account | None:
    standing = Account.objects.filter(user=new.user, code=new.code, currency=new.currency).first()
    if standing is not None:
        standing.currency = new.currency  # at hand: nobody needs to fetch it again
    return standing


def _created(new: Account, unique: list[str], where: str) -> Account:
    if insert_if_absent(new, unique=unique, where=where):
        return new
    return Account.objects.select_related("currency").get(user=new.user, code=new.code, currency=new.currency)


# ------------------------------------------------------------------------------------------------------------- posting


def post(
    key: str,
    kind: str,
    moves: Sequence[Move],
    *,
    reason: str = "",
    actor: User | None = None,
    source: str = "",
    metadata: dict[str, Any] | None = None,
    savepoint: bool = True,
    held: Held | None = None,
) -> Journal:
    """Post `moves` together under `key`, whole or not at all.

    The same key with the same kind and moves returns the first journal and changes nothing. Afterwards the accounts
    in `moves` that have a floor carry their new `balance`. Raises `IdempotencyConflict` when the key stands for
    something else, `InvalidAmount`, `InactiveCurrency`, and `InsufficientFunds` when an account would go below its
    floor. Without `savepoint` an error takes the caller's whole atomic block back, and two round trips are saved; so
    is one by `held`, which `hold_accounts` returned in this transaction.
    """
    _check_amounts([move.amount for move in moves])
    _check_accounts(moves)
    content = [[move.debit.pk, move.credit.pk, move.amount] for move in moves]
    journal = Journal(
        key=key, kind=kind, reason=reason, actor=actor, source=source, metadata=metadata or {},
        fingerprint=fingerprint(kind, content),
    )  # fmt: skip
    require_transaction()
    with transaction.atomic(savepoint=savepoint):
        if not write_posting(journal, moves, held):
            return _same_journal(journal)
    return journal


def pay_many(
    key: str,
    kind: str,
    debit_account: Account,
    rewards: QuerySet[Any, Any],
    *,
    count: int,
    total: int,
    content: str,
    code: str = "",
    reason: str = "",
    actor: User | None = None,
    source: str = "",
    metadata: dict[str, Any] | None = None,
) -> Journal:
    """Post one transfer to each row of `rewards` in a handful of statements, whatever their number.

    `rewards` yields (user_id, amount), amounts above zero, each user once; `count` and `total` are what the caller
    expects of it and are checked; `content` is a digest of it that tells a retry from a conflict. Paid into are the
    users' own accounts, or those of that `code`; missing ones are created. Raises like `post`.
    """
    _check_amounts([total])
    journal = Journal(
        key=key, kind=kind, reason=reason, actor=actor, source=source, metadata=metadata or {},
        fingerprint=fingerprint(kind, [debit_account.pk, count, total, content, *([code] if code else [])]),
    )  # fmt: skip
    require_transaction()
    with transaction.atomic():
        if not open_journal(journal):
            return _same_journal(journal)
        pay_rows(journal, debit_account, rewards.query.sql_with_params(), count=count, total=total, code=code)
    return journal


def pay_rows(
    journal: Journal,
    debit_account: Account,
    rows: tuple[str, Sequence[Any]],
    *,
    count: int,
    total: int,
    code: str = "",
) -> None:
    """What `pay_many` does under a journal that the caller has opened in this transaction, because rows of his own name
    it before anybody is paid.

    `rows` is a SELECT of (user_id, amount) and its parameters. Raises like `post`; it does not undo itself then, the
    block in which the journal was opened is taken back whole.
    """
    _check_amounts([total])
    require_transaction()
    require_active(debit_account.currency)
    rows_sql, rows_parameters = f"({rows[0]})", rows[1]
    currency_id, now = debit_account.currency_id, sql_instant(journal.created_at)
    parameters = [journal.pk, debit_account.pk, now, *rows_parameters, code, currency_id]
    with connection.cursor() as cursor:
        cursor.execute(_PAY_ROWS.format(rows=rows_sql), parameters)
        if cursor.rowcount < count:
            _create_missing_accounts(rows_sql, rows_parameters, currency_id, code, now)
            cursor.execute(_PAY_ROWS_NOT_PAID.format(rows=rows_sql), [*parameters, journal.pk])
        cursor.execute("SELECT count(*), sum(amount) FROM rewards_transfer WHERE journal_id = %s", [journal.pk])
        written = cursor.fetchone()
        ensure(tuple(map(int, written)) == (count, total), f"{journal} wrote {written}, not {(count, total)}")
        settle_rows(journal, {debit_account.pk: -total} if debit_account.is_apart(-total) else {})


def credit(
    user: User, currency: Currency, amount: int, key: str, reason: str, *, kind: str = "credit", **about: Any
) -> Journal:
    """Issue `amount` minor units to a user. Raises like `post`."""
    move = Move(system_account(ISSUANCE, currency), user_account(user, currency), amount)
    return post(key, kind, [move], reason=reason, **about)


def debit(
    user: User, currency: Currency, amount: int, key: str, reason: str, *, kind: str = "debit", **about: Any
) -> Journal:
    """Take `amount` minor units from a user and burn them. Raises like `post`."""
    move = Move(user_account(user, currency), system_account(BURN, currency), amount)
    return post(key, kind, [move], reason=reason, **about)


def transfer(
    from_user: User, to_user: User, currency: Currency, amount: int, key: str, reason: str = "", **about: Any
) -> Journal:
    """Send `amount` minor units from one user to another. Raises `NotTransferable`, `SameAccount`, and like `post`."""
    if not currency.transferable:
        raise NotTransferable(f"Users cannot send {currency.code} to each other.")
    move = Move(user_account(from_user, currency), user_account(to_user, currency), amount)
    return post(key, "transfer", [move], reason=reason, **about)


def reverse(
    journal: Journal, reason: str, actor: User | None = None, *, only: Collection[int] | None = None
) -> Journal:
    """Mirror every transfer of `journal` that is not reversed yet, whole or not at all; or `only` those of these ids.

    Raises `AlreadyReversed` when none is left, and `InsufficientFunds` naming the first account that has spent what
    it would give back.
    """
    require_transaction()
    with transaction.atomic():
        Journal.objects.select_for_update(no_key=True).get(pk=journal.pk)
        done = Transfer.objects.filter(reverses__journal=journal).count()
        mirror = Journal(
            key=f"reverse:{journal.pk}:{done}", kind="reversal", reason=reason, actor=actor,
            source=f"journal:{journal.pk}", fingerprint=fingerprint("reversal", [journal.pk, done]),
        )  # fmt: skip
        open_journal(mirror)
        which, ids = ("", []) if only is None else (f"AND original.id IN {marks(len(only), 1)}", list(only))
        if not _mirror(mirror, f"original.journal_id = %s {which}", [journal.pk, *ids]):
            raise AlreadyReversed(f"Nothing of journal {journal.key} is left to reverse.")
    return mirror


def reverse_together(
    journals: QuerySet[Any, Any], key: str, reason: str, actor: User | None = None, *, source: str = ""
) -> Journal:
    """Mirror every transfer of these journals that is not reversed yet in one journal under `key`, however many.

    `journals` yields their ids; the caller has locked what they hang on, and their accounts. Raises like `reverse`.
    """
    require_transaction()
    ids, parameters = journals.query.sql_with_params()
    with transaction.atomic():
        mirror = Journal(
            key=key, kind="reversal", reason=reason, actor=actor, source=source,
            fingerprint=fingerprint("reversal", [source]),
        )  # fmt: skip
        ensure(open_journal(mirror), f"{key} has reversed something already")
        if not _mirror(mirror, f"original.journal_id IN ({ids})", parameters):
            raise AlreadyReversed("Nothing of these journals is left to reverse.")
    return mirror


def _mirror(mirror: Journal, where: str, parameters: Sequence[Any]) -> int:
    """Write the mirrors of the transfers found by `where` that are not reversed, and move the balances; how many."""
    with connection.cursor() as cursor:
        cursor.execute(_MIRROR_TRANSFERS.format(where=where), [mirror.pk, sql_instant(mirror.created_at), *parameters])
        mirrored = cursor.rowcount
        if mirrored:
            cursor.execute(_CHANGES_APART, [mirror.pk] * 2)
            settle_rows(mirror, {account_id: int(change) for account_id, change in cursor.fetchall()})
    return mirrored


def lock_accounts_of(journal_ids: Sequence[int], *, only: Collection[int] | None = None) -> None:
    """Lock the accounts that these journals touched (`only`: their transfers of these ids), in ascending id: for who
    reverses several in one transaction, or posts before he reverses.

    A posting locks its own accounts in that order. One posting after another does not, and two transactions that do
    so could wait for each other.
    """
    require_transaction()
    if is_postgresql():
        with connection.cursor() as cursor:
            which, ids = ("", []) if only is None else ("AND id = ANY(%s)", [list(only)])
            cursor.execute(_LOCK_ACCOUNTS_OF.format(which=which), [list(journal_ids), *ids] * 2)


def lock_payment(recipients: Collection[tuple[int, int]], sources: Collection[Account]) -> None:
    """Lock the accounts of these (user id, currency id) and the sources, in ascending id: for who pays them in several
    steps.

    Missing ones are created first, while nothing is locked. A source is locked if a posting would wait for it.
    """
    require_transaction()
    if not is_postgresql():
        return
    user_ids, currency_ids = ([*column] for column in zip(*recipients, strict=True))
    waited_for = [account.pk for account in sources if not account.is_apart(-1)]
    with connection.cursor() as cursor:
        cursor.execute(_CREATE_RECIPIENTS, [sql_instant(timezone.now()), user_ids, currency_ids])
        cursor.execute(_LOCK_PAYMENT, [waited_for, user_ids, currency_ids])


def require_payouts_running() -> None:
    """Raise `PayoutsPaused` while the site-wide switch is set."""
    if param("payouts_paused"):
        raise PayoutsPaused()


# ------------------------------------------------------------------------------------------------------------- reading


def balance(account: Account, at: datetime | None = None) -> int:
    """Minor units on `account` now, or at a past instant (that instant included)."""
    if at is None:
        return stored_balance(account.pk)
    later = [account.pk, sql_instant(at)]
    with connection.cursor() as cursor:
        cursor.execute(_BALANCE_AT, [*later, *later, account.pk])
        row = cursor.fetchone()
    ensure(row is not None, f"Account {account.pk} does not exist.")
    return int(row[0])


@dataclass(frozen=True)
class StatementLine:
    """One transfer as seen from an account: `change` is signed, `balance` is what it left. Minor units."""

    transfer: Transfer
    change: int
    balance: int

    @property
    def cursor(self) -> str:
        """Where the next, older page starts."""
        return f"{self.transfer.pk}:{self.balance - self.change}"


def statement(account: Account, before: str | None = None, limit: int = 50) -> list[StatementLine]:
    """The account's transfers, newest first, with running balance. `before` is the cursor of the last line seen.

    The running balance is exact for an account with a floor; for one without, transfers that commit while the pages
    are read may shift it by their amounts.
    """
    if before is None:
        newest, running = _newest_and_balance(account)
    else:
        last_seen, _, rest = before.partition(":")
        newest, running = int(last_seen) - 1, int(rest)
    transfers = Transfer.objects.filter(pk__lte=newest).select_related("journal", "debit_account", "credit_account")
    # Two index scans merged here: one condition over both columns would read and sort the whole history.
    sides = [
        transfers.filter(**{side: account}).order_by("-pk")[:limit] for side in ("debit_account", "credit_account")
    ]
    lines = []
    for line in sorted((line for side in sides for line in side), key=lambda line: -line.pk)[:limit]:
        change = line.amount if line.credit_account_id == account.pk else -line.amount
        lines.append(StatementLine(line, change, running))
        running -= change
    return lines


def _newest_and_balance(account: Account) -> tuple[int, int]:
    with connection.cursor() as cursor:
        cursor.execute(_BALANCE_AND_NEWEST, [account.pk] * 3)
        current, *newest = cursor.fetchone()
    return max(newest), int(current)


# ----------------------------------------------------------------------------------------------------------- the steps


def _check_amounts(amounts: Sequence[Any]) -> None:
    if not amounts:
        raise InvalidAmount("A journal needs at least one transfer.")
    for amount in amounts:
        if type(amount) is not int:
            raise InvalidAmount(f"An amount is a whole number of minor units, not a {type(amount).__name__}.")
        if not 0 < amount <= MAX_MINOR:
            raise InvalidAmount("An amount must be above zero and fit 64 bits of minor units.")
    if sum(amounts) > MAX_MINOR:
        raise InvalidAmount("The amounts of this journal together do not fit 64 bits.")


def _check_accounts(moves: Iterable[Move]) -> None:
    for move in moves:
        if move.debit.pk == move.credit.pk:
            raise SameAccount()
        ensure(move.debit.currency_id == move.credit.currency_id, "Both accounts of a transfer hold one currency.")


def fingerprint(kind: str, content: Any) -> str:
    return hashlib.sha256(json.dumps([kind, content]).encode()).hexdigest()


def open_journal(journal: Journal) -> bool:
    """Write the journal; False when its key stands already. Waits for a concurrent writer of the same key."""
    journal.created_at = timezone.now()
    return insert_if_absent(journal, unique=["key"])


def _same_journal(journal: Journal) -> Journal:
    first = Journal.objects.get(key=journal.key)
    if first.fingerprint != journal.fingerprint:
        raise IdempotencyConflict(f"The key {journal.key!r} was used before for something else.", key=journal.key)
    return first


_ACCOUNT_FIELDS = ("id", "currency_id", "user_id", "code", "balance", "min_balance", "slots")

_ROWS = f"SELECT {', '.join(_ACCOUNT_FIELDS)} FROM rewards_account WHERE {{where}}"

_FIND = f"SELECT found.*, false FROM ({_ROWS}) found"

_HOLD = f"SELECT held.*, true FROM ({_ROWS} ORDER BY id FOR NO KEY UPDATE) held"

_HOLD_FREE = f"""
    SELECT found.*, id IN (
        SELECT id FROM rewards_account WHERE {{where}} AND min_balance IS NULL
        ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
    ) FROM ({_ROWS}) found
"""

_LOCK_ACCOUNTS_OF = """
    SELECT count(*) FROM (
        SELECT account.id FROM rewards_account account
        WHERE account.min_balance IS NOT NULL AND account.id IN (
            SELECT credit_account_id FROM rewards_transfer WHERE journal_id = ANY(%s) {which}
            UNION SELECT debit_account_id FROM rewards_transfer WHERE journal_id = ANY(%s) {which}
        ) ORDER BY account.id FOR NO KEY UPDATE OF account
    ) locked
"""

# In the order in which all create accounts.
_CREATE_RECIPIENTS = """
    INSERT INTO rewards_account (currency_id, user_id, code, balance, min_balance, created_at)
    SELECT currency.id, recipient.user_id, '', 0, 0, %s
    FROM unnest(%s, %s) AS recipient (user_id, currency_id)
    JOIN rewards_currency currency ON currency.id = recipient.currency_id
    WHERE NOT EXISTS (
        SELECT 1 FROM rewards_account account
        WHERE account.user_id = recipient.user_id AND account.currency_id = currency.id AND account.code = ''
    ) ORDER BY recipient.user_id, currency.code ON CONFLICT DO NOTHING
"""

_LOCK_PAYMENT = """
    SELECT count(*) FROM (
        SELECT account.id FROM rewards_account account
        WHERE account.id = ANY(%s) OR account.id IN (
            SELECT own.id FROM unnest(%s, %s) AS recipient (user_id, currency_id)
            JOIN rewards_account own
                ON own.user_id = recipient.user_id AND own.currency_id = recipient.currency_id AND own.code = ''
        ) ORDER BY account.id FOR NO KEY UPDATE OF account
    ) locked
"""

_CHANGES_APART = f"""
    SELECT account.id, net.change FROM rewards_account account JOIN ({NET}) net ON net.account_id = account.id
    WHERE NOT ({WAITED_FOR}) ORDER BY account.id
"""

_CREATE_MISSING_ACCOUNTS = """
    INSERT INTO rewards_account (currency_id, user_id, code, balance, min_balance, created_at)
    SELECT %s, reward.user_id, %s, 0, 0, %s FROM {rows} reward
    WHERE NOT EXISTS (
        SELECT 1 FROM rewards_account account
        WHERE account.user_id = reward.user_id AND account.currency_id = %s AND account.code = %s
    ) ORDER BY reward.user_id ON CONFLICT (user_id, currency_id, code) WHERE user_id IS NOT NULL DO NOTHING
"""

_PAY_ROWS_OF = f"""
    INSERT INTO {TRANSFER_COLUMNS} SELECT %s, %s, account.id, account.currency_id, reward.amount, %s
    FROM {{rows}} reward JOIN rewards_account account ON account.user_id = reward.user_id AND account.code = %s
    WHERE account.currency_id = %s
"""

_PAY_ROWS = f"{_PAY_ROWS_OF} ORDER BY account.id"

_PAY_ROWS_NOT_PAID = f"""
    {_PAY_ROWS_OF} AND NOT EXISTS (
        SELECT 1 FROM rewards_transfer paid WHERE paid.credit_account_id = account.id AND paid.journal_id = %s
    ) ORDER BY account.id
"""

_MIRROR_TRANSFERS = """
    INSERT INTO rewards_transfer
        (journal_id, debit_account_id, credit_account_id, currency_id, amount, created_at, reverses_id)
    SELECT %s, original.credit_account_id, original.debit_account_id, original.currency_id, original.amount, %s,
        original.id
    FROM rewards_transfer original
    WHERE {where} AND original.reverses_id IS NULL
      AND NOT EXISTS (SELECT 1 FROM rewards_transfer reversal WHERE reversal.reverses_id = original.id)
    ORDER BY original.id
"""

_BALANCE_AT = f"""
    SELECT {STORED}
        - coalesce((SELECT sum(amount) FROM rewards_transfer WHERE credit_account_id = %s AND created_at > %s), 0)
        + coalesce((SELECT sum(amount) FROM rewards_transfer WHERE debit_account_id = %s AND created_at > %s), 0)
    FROM rewards_account account WHERE account.id = %s
"""

_BALANCE_AND_NEWEST = f"""
    SELECT {STORED},
        coalesce((SELECT max(id) FROM rewards_transfer WHERE debit_account_id = %s), 0),
        coalesce((SELECT max(id) FROM rewards_transfer WHERE credit_account_id = %s), 0)
    FROM rewards_account account WHERE account.id = %s
"""
