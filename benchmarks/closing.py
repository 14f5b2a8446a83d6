"""Closing a case: the verdict revealed, its pool shared out, the results counted, against the floor of the database.

    python -m benchmarks.closing [--database postgres://user@host/any] [--sizes 100000] [--repeat 3]

**The closing** is everything until the last voter is paid: the case closed and revealed, the best three of a thousand
arguments placed, voters and authors read, the rule of cases, reward rows, digest and its check, journals, transfers,
balances, audit, and what is left returned to the treasury. **The counters** are what follows in the same run: an event
and two counters for each voter, and for each who was right. The floor is that of `benchmarks.payout` for the rewards
and transfers that were written: COPY into tables with the same keys, indexes and constraints, plus one UPDATE of the
balances. All run in turn in one process, a case after the other, and append to tables that grow alike.

With a SQLite URL there is no floor.
"""

from __future__ import annotations

import argparse
import json

from benchmarks.harness import (
    canary,
    median_and_spread,
    peak_memory_mb,
    run_alone,
    set_up_django,
    timed,
)
from benchmarks.payout import Floor, people, settle_database

ARGUMENTS = 1_000
REWARD_POOL = 10_000_000  # units of two decimals: everybody gets something of it


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--database", default="postgres://postgres@127.0.0.1/postgres")
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.database, options.one, options.repeat)))
        return
    for size in options.sizes:
        report(size, run_alone("closing", options.database, "--one", size, "--repeat", options.repeat))


def report(size: int, result: dict) -> None:
    closing, counters, floor = result["closing"], result["counters"], result["floor"]
    print(f"{size:,} voters; memory {result['memory_mb']:.0f} MB, before the first case {result['idle_mb']:.0f} MB")
    print(f"  closed and paid: {median_and_spread(closing)} s; canary {median_and_spread(result['canary'])} s")
    print(f"  counted: {median_and_spread(counters)} s")
    if floor:
        paid = [ours / least for ours, least in zip(closing, floor, strict=True)]
        both = [(ours + counted) / least for ours, counted, least in zip(closing, counters, floor, strict=True)]
        print(f"  the floor: {median_and_spread(floor)} s")
        print(f"  ratio, paid: {median_and_spread(paid)}; with the counters: {median_and_spread(both)}")
    for stage, seconds in result["stages"].items():
        print(f"    {stage}: {median_and_spread(seconds)} s")


def measure(database_url: str, size: int, repeat: int) -> dict:
    set_up_django(database_url)
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    people(size)
    floor = None if database_url.startswith("sqlite") else Floor()
    result: dict = {"closing": [], "counters": [], "floor": [], "stages": {}, "canary": [], "idle_mb": peak_memory_mb()}
    for number in range(1, repeat + 1):
        case_id = live_through(number)
        result["canary"].append(canary())
        settle_database()
        seconds, counted, stages = close(case_id, size)
        result["closing"].append(seconds - counted)
        result["counters"].append(counted)
        for stage, each in stages.items():
            result["stages"].setdefault(stage, []).append(each)
        result["memory_mb"] = peak_memory_mb()
        if floor:
            result["floor"].append(floor.run())
    return result


def live_through(number: int) -> int:
    """A case in which everybody has voted and a thousand have argued; its id."""
    from datetime import timedelta
    from decimal import Decimal

    from django.db import connection, transaction
    from django.utils import timezone

    from rewards.cases.models import Case, SealedVerdict
    from rewards.cases.sealing import hash_of
    from rewards.chain.models import ChainSender, ChainTransaction
    from rewards.common.database import sql_instant
    from rewards.ledger import services as ledger
    from rewards.ledger.models import Currency

    closes_at = timezone.now() - timedelta(minutes=1)
    opens_at, nonce = closes_at - timedelta(days=1), f"{number:064x}"
    sender, _ = ChainSender.objects.get_or_create(chain="local", address="benchmark")
    verdict_hash = hash_of("YES", "Because.", nonce)
    committed = ChainTransaction.objects.create(
        tx_hash=f"benchmark-{number}", purpose="verdict_commitment", payload_hash=verdict_hash, sender=sender,
        nonce=number, status="confirmed", confirmations=1,
    )  # fmt: skip
    case = Case.objects.create(
        title=f"Case {number}", context="A dilemma.", status="active", verdict_hash=verdict_hash, commitment=committed,
        opens_at=opens_at, closes_at=closes_at, reward_pool=REWARD_POOL,
    )  # fmt: skip
    SealedVerdict.objects.create(case=case, verdict="YES", reasoning="Because.", confidence=Decimal("0.7"), nonce=nonce)
    gold = Currency.objects.get(code="gold")
    with transaction.atomic():
        escrow = ledger.system_account(case.escrow, gold)
        move = ledger.Move(ledger.system_account("issuance", gold), escrow, gold.to_minor(REWARD_POOL))
        ledger.post(f"case-escrow:{case.pk}", "case_escrow", [move])
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO rewards_casevote (case_id, user_id, side, voted_at) "
            "SELECT %s, id, CASE WHEN (id * 7919) %% 10 < 6 THEN 'YES' ELSE 'NO' END, %s FROM rewards_user "
            "ORDER BY (id * 7919) %% 1000003",
            [case.pk, sql_instant(opens_at)],
        )
        cursor.execute(
            "INSERT INTO rewards_argument (case_id, user_id, side, text, likes, created_at) "
            "SELECT %s, id, 'YES', 'So it is.', (id * 31) %% 97, %s FROM rewards_user ORDER BY id LIMIT %s",
            [case.pk, sql_instant(opens_at), ARGUMENTS],
        )
        if connection.vendor == "postgresql":
            cursor.execute("VACUUM ANALYZE rewards_casevote, rewards_argument, rewards_activityevent")
    return case.pk


def close(case_id: int, size: int) -> tuple[float, float, dict[str, float]]:
    """Seconds of the whole run, of the counters in it, and of the stages of its payout."""
    from django.utils import timezone

    from rewards.cases import closing
    from rewards.distributions.models import Distribution

    counted: list[float] = []
    count_results = closing.count_results

    def timed_count(*arguments):
        done: list[bool] = []
        counted.append(timed(lambda: done.append(count_results(*arguments))))
        return done[0]

    closing.count_results = timed_count
    try:
        results = []
        seconds = timed(lambda: results.append(closing.close_cases(timezone.now())))
    finally:
        closing.count_results = count_results
    distribution = Distribution.objects.get(period_key=f"case:{case_id}")
    if results[0].settled != 1 or distribution.recipients != size:
        raise SystemExit(f"The case ended as {results[0].figures()}: {distribution.error}")
    return seconds, counted[0], distribution.seconds


if __name__ == "__main__":
    main()
