"""Proof of the ledger's promises by set-based queries: each finds offenders, and finds none where all is well.

Other packages append what they link to the ledger to `CHECKS` when the application starts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.db import connection

from rewards.alerts.services import raise_alert, resolve_alert
from rewards.common.database import guarded_models, missing_guards
from rewards.parameters.services import param, set_parameter


@dataclass(frozen=True)
class Check:
    """`find` gives (how many things were looked at, the offenders in words; at most a few are shown)."""

    promise: str
    find: Callable[[], tuple[int, list[str]]]


@dataclass(frozen=True)
class Finding:
    promise: str
    looked_at: int
    offenders: list[str]
    seconds: float

    @property
    def holds(self) -> bool:
        return not self.offenders


def run_checks() -> Iterator[Finding]:
    """Run every check, one after the other, as they come."""
    for check in CHECKS:
        started = time.monotonic()
        looked_at, offenders = check.find()
        yield Finding(check.promise, looked_at, offenders, time.monotonic() - started)


def prove(show: Callable[[Finding], None]) -> dict[str, object]:
    """Run every check, hand each finding to `show` as it comes, and pause payouts when one fails.

    Returns what a job keeps as its result.
    """
    findings = []
    for finding in run_checks():
        show(finding)
        findings.append(finding)
    broken = [finding for finding in findings if not finding.holds]
    if broken:
        sentence = "; ".join(f"{finding.promise}: {finding.offenders[0]}" for finding in broken)
        raise_alert("ledger_check_failed", message=sentence, severity="critical")
        if not param("payouts_paused"):
            set_parameter("payouts_paused", True, actor=None, reason=f"The ledger check failed. {sentence}"[:1000])
    else:
        resolve_alert("ledger_check_failed")
    return {
        "promises": len(findings),
        "broken": len(broken),
        "findings": [
            {"promise": each.promise, "looked_at": each.looked_at, "offenders": each.offenders[:10],
             "seconds": round(each.seconds, 3)}
            for each in findings
        ],
    }  # fmt: skip


def query(sql: str, parameters: Iterable[Any] = ()) -> list[tuple]:
    with connection.cursor() as cursor:
        cursor.execute(sql, list(parameters))
        return cursor.fetchall()


def count(table: str) -> int:
    return int(query(f"SELECT count(*) FROM {table}")[0][0])


def offenders(sql: str, sentence: str) -> list[str]:
    """The first hundred rows of `sql`, each put into `sentence`."""
    return [sentence.format(*row) for row in query(f"{sql} LIMIT 100")]


_STORED = "account.balance + coalesce(change.amount, 0)"
_CHANGES = "(SELECT account_id, sum(amount) AS amount FROM rewards_balancechange GROUP BY account_id)"


def sums_are_zero() -> tuple[int, list[str]]:
    wrong = offenders(
        f"SELECT currency.code, sum({_STORED}) FROM rewards_account account "
        "JOIN rewards_currency currency ON currency.id = account.currency_id "
        f"LEFT JOIN {_CHANGES} change ON change.account_id = account.id "
        f"GROUP BY currency.code HAVING sum({_STORED}) <> 0 ORDER BY currency.code",
        "the accounts in {0} add up to {1} minor units",
    )
    return count("rewards_currency"), wrong


def balances_equal_transfers() -> tuple[int, list[str]]:
    wrong = offenders(
        f"SELECT account.id, {_STORED}, coalesce(credit.amount, 0) - coalesce(debit.amount, 0) "
        "FROM rewards_account account "
        "LEFT JOIN (SELECT credit_account_id AS id, sum(amount) AS amount FROM rewards_transfer GROUP BY 1) credit "
        "ON credit.id = account.id "
        "LEFT JOIN (SELECT debit_account_id AS id, sum(amount) AS amount FROM rewards_transfer GROUP BY 1) debit "
        "ON debit.id = account.id "
        f"LEFT JOIN {_CHANGES} change ON change.account_id = account.id "
        f"WHERE {_STORED} <> coalesce(credit.amount, 0) - coalesce(debit.amount, 0) ORDER BY account.id",
        "account {0} says {1}, its transfers say {2}",
    )
    return count("rewards_account"), wrong


def floors_hold() -> tuple[int, list[str]]:
    wrong = offenders(
        "SELECT id, balance, min_balance FROM rewards_account WHERE balance < min_balance "
        "OR (min_balance IS NULL AND (user_id IS NOT NULL AND code <> 'debt')) ORDER BY id",
        "account {0} holds {1}, its floor is {2}",
    )
    wrong += offenders(
        "SELECT account_id, slot, amount FROM rewards_balancechange WHERE slot IS NOT NULL AND amount < 0 ORDER BY id",
        "slot {1} of account {0} holds {2}",
    )
    return count("rewards_account"), wrong


def keys_are_used_once() -> tuple[int, list[str]]:
    twice = offenders(
        "SELECT key, count(*) FROM rewards_journal GROUP BY key HAVING count(*) > 1 ORDER BY key",
        "the key {0} stands {1} times",
    )
    empty = offenders(
        "SELECT journal.key FROM rewards_journal journal WHERE NOT EXISTS "
        "(SELECT 1 FROM rewards_transfer WHERE journal_id = journal.id) ORDER BY journal.id",
        "the journal {0} has no transfer",
    )
    return count("rewards_journal"), twice + empty


def guards_stand() -> tuple[int, list[str]]:
    return len(list(guarded_models())), [f"the trigger {name} is missing" for name in missing_guards()]


def reversals_mirror() -> tuple[int, list[str]]:
    wrong = offenders(
        "SELECT mirror.id, original.id FROM rewards_transfer mirror "
        "JOIN rewards_transfer original ON original.id = mirror.reverses_id "
        "WHERE original.reverses_id IS NOT NULL OR mirror.amount <> original.amount "
        "OR mirror.currency_id <> original.currency_id OR mirror.debit_account_id <> original.credit_account_id "
        "OR mirror.credit_account_id <> original.debit_account_id ORDER BY mirror.id",
        "transfer {0} does not mirror transfer {1}",
    )
    twice = offenders(
        "SELECT reverses_id, count(*) FROM rewards_transfer WHERE reverses_id IS NOT NULL "
        "GROUP BY reverses_id HAVING count(*) > 1 ORDER BY reverses_id",
        "transfer {0} is reversed {1} times",
    )
    reversals = query("SELECT count(*) FROM rewards_transfer WHERE reverses_id IS NOT NULL")[0][0]
    return int(reversals), wrong + twice


def transfers_are_sound() -> tuple[int, list[str]]:
    wrong = offenders(
        "SELECT transfer.id FROM rewards_transfer transfer "
        "LEFT JOIN rewards_account debit ON debit.id = transfer.debit_account_id "
        "LEFT JOIN rewards_account credit ON credit.id = transfer.credit_account_id "
        "WHERE transfer.amount < 1 OR debit.id = credit.id OR debit.currency_id IS NULL OR credit.currency_id IS NULL "
        "OR debit.currency_id <> transfer.currency_id OR credit.currency_id <> transfer.currency_id "
        "ORDER BY transfer.id",
        "transfer {0} has no sound amount, accounts or currency",
    )
    return count("rewards_transfer"), wrong


def corrections_have_their_transfer() -> tuple[int, list[str]]:
    wrong = offenders(
        "SELECT correction.id, journal.key FROM rewards_correction correction "
        "JOIN rewards_journal journal ON journal.id = correction.journal_id "
        "WHERE 1 <> (SELECT count(*) FROM rewards_transfer WHERE journal_id = journal.id) OR NOT EXISTS ("
        "SELECT 1 FROM rewards_transfer transfer "
        "JOIN rewards_account debit ON debit.id = transfer.debit_account_id "
        "JOIN rewards_account credit ON credit.id = transfer.credit_account_id "
        "WHERE transfer.journal_id = journal.id AND transfer.currency_id = correction.currency_id AND ("
        "(correction.amount = transfer.amount AND credit.user_id = correction.user_id AND credit.code = '' "
        "AND debit.user_id IS NULL AND debit.code = correction.against) OR "
        "(correction.amount = -transfer.amount AND debit.user_id = correction.user_id AND debit.code = '' "
        "AND credit.user_id IS NULL AND credit.code = correction.against))) ORDER BY correction.id",
        "correction {0} is not what the journal {1} has moved",
    )
    wrong += offenders(
        "SELECT journal.key FROM rewards_journal journal WHERE journal.kind = 'correction' AND NOT EXISTS "
        "(SELECT 1 FROM rewards_correction WHERE journal_id = journal.id) ORDER BY journal.id",
        "the journal {0} is a correction of nobody",
    )
    return count("rewards_correction"), wrong


CHECKS: list[Check] = [
    Check("1 each currency sums to zero", sums_are_zero),
    Check("2 balances equal their transfers", balances_equal_transfers),
    Check("3 no account is below its floor", floors_hold),
    Check("4 each key is used once", keys_are_used_once),
    Check("5 journals and transfers are append-only", guards_stand),
    Check("6 reversals mirror, once", reversals_mirror),
    Check("7 amounts are whole, above zero, in one currency", transfers_are_sound),
    Check("each correction is one transfer", corrections_have_their_transfer),
]
