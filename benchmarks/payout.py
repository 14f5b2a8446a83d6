"""Freeze, allocate and pay, against the floor of the database itself.

    python -m benchmarks.payout [--database postgres://user@host/any] [--sizes 100000 1000000] [--repeat 3]

The engine does everything a payout does: the ranking, the rule (the hourly pool's five slices), reward rows with
breakdown and salt, the Merkle digest, the check of the digest, journals, transfers, balances, audit. The floor is what
PostgreSQL needs at least for the same rows: COPY of the same reward and transfer rows into tables with the same keys,
indexes and constraints, plus one UPDATE of the balances, in one transaction. Both run in turn in one process run and
append to tables that grow alike. With a SQLite URL only the engine's figure is reported.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from benchmarks.harness import (
    canary,
    median_and_spread,
    peak_memory_mb,
    run_alone,
    set_up_django,
    timed,
)

AMOUNT_MINOR = 987_654_321_00


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--database", default="postgres://postgres@127.0.0.1/postgres")
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.database, options.one, options.repeat)))
        return
    print(f"{'participants':>12}  {'engine s':>22}  {'floor s':>22}  {'ratio':>20}  {'memory MB':>9}  {'canary':>16}")
    for size in options.sizes:
        report(size, run_alone("payout", options.database, "--one", size, "--repeat", options.repeat))


def report(size: int, result: dict) -> None:
    engine, floor = result["engine"], result["floor"]
    ratios = [ours / least for ours, least in zip(engine, floor, strict=False)]
    print(
        f"{size:>12,}  {median_and_spread(engine):>22}  {median_and_spread(floor) if floor else 'none':>22}  "
        f"{median_and_spread(ratios) if ratios else 'none':>20}  {result['memory_mb']:>9.0f}  "
        f"{median_and_spread(result['canary']):>16}"
    )
    for stage, seconds in result["stages"].items():
        print(f"{'':>12}    {stage}: {median_and_spread(seconds)} s")


def measure(database_url: str, size: int, repeat: int) -> dict:
    set_up_django(database_url)
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    people(size)
    idle_mb = peak_memory_mb()
    floor = None if database_url.startswith("sqlite") else Floor()
    result: dict = {"engine": [], "floor": [], "stages": {}, "canary": [], "idle_mb": idle_mb}
    for number in range(repeat):
        result["canary"].append(canary())
        settle_database()
        seconds, stages = pay(f"run{number}")
        result["engine"].append(seconds)
        for stage, each in stages.items():
            result["stages"].setdefault(stage, []).append(each)
        result["memory_mb"] = peak_memory_mb()
        if floor:
            result["floor"].append(floor.run())
    return result


def people(size: int) -> None:
    """`size` users with a counter each and an account in the currency, as after a while of use."""
    from django.db import connection
    from django.utils import timezone

    from rewards.common.database import sql_instant
    from rewards.ledger.models import Currency
    from rewards.users.models import User

    currency = Currency.objects.create(code="gold", decimals=2)
    now = timezone.now()
    for first in range(0, size, 50_000):
        numbers = range(first, min(first + 50_000, size))
        users = [User(username=f"user{number:07d}", password="!", date_joined=now) for number in numbers]
        User.objects.bulk_create(users, batch_size=2_000)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO rewards_account (currency_id, user_id, code, balance, min_balance, created_at) "
            "SELECT %s, id, '', 0, 0, %s FROM rewards_user ORDER BY id",
            [currency.pk, sql_instant(now)],
        )
        cursor.execute(
            "INSERT INTO rewards_counter (user_id, metric, month, quantity) "
            "SELECT id, 'cc_vote', '', ((id * 7919) %% 1000003 + 1) * 1000000 FROM rewards_user ORDER BY id",
            [],
        )


def settle_database() -> None:
    """Leave nothing of the run before to this one: neither a due checkpoint nor dead rows."""
    from django.db import connection

    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        for table in ("rewards_account", "rewards_reward", "rewards_transfer", "rewards_counter", "rewards_user"):
            cursor.execute(f"VACUUM ANALYZE {table}")
        cursor.execute("CHECKPOINT")


def counter_ranking():
    """A programme that ranks everybody by a counter: score, then username."""
    import numpy as np
    from django.db.models import BigIntegerField
    from django.db.models.functions import Cast

    from rewards.activity.models import Counter
    from rewards.allocation.rules import Measure
    from rewards.common.database import in_code_point_order
    from rewards.distributions.programmes import Programme, Snapshot

    class CounterRanking(Programme):
        def amount(self, distribution):
            return AMOUNT_MINOR

        def snapshot(self, distribution):
            ranking = (
                Counter.objects.filter(metric="cc_vote", month="")
                .order_by("-quantity", in_code_point_order("user__username"))
                .values_list("user_id", "user__username", Cast("quantity", BigIntegerField()))
            )
            size = ranking.count()
            ids, scores, names = np.empty(size, np.int64), np.empty(size, np.int64), []
            for row, (user_id, username, micro) in enumerate(ranking.iterator(chunk_size=20_000)):
                ids[row], scores[row] = user_id, micro
                names.append(username)
            return Snapshot(ids, names, Measure(scores, 6))

    return CounterRanking()


def pay(key: str) -> tuple[float, dict[str, float]]:
    """Seconds of one payout to everybody, and of its stages."""
    from django.db import transaction
    from django.utils import timezone

    from rewards.allocation.presets import hourly_rule
    from rewards.distributions import services
    from rewards.distributions.programmes import register
    from rewards.ledger import services as ledger
    from rewards.ledger.models import Currency

    register("benchmark", counter_ranking())
    currency = Currency.objects.get(code="gold")
    with transaction.atomic():
        pool = ledger.system_account("pool:hourly", currency)
        ledger.post(
            f"fund:{key}", "fund", [ledger.Move(ledger.system_account("issuance", currency), pool, AMOUNT_MINOR)]
        )

    def payout() -> None:
        distribution, _ = services.open_distribution(
            "benchmark", key, starts_at=None, ends_at=None, currency=currency, source_account=pool,
            rule=hourly_rule(), at=timezone.now(),
        )  # fmt: skip
        paid = services.advance(distribution.pk)
        if paid.status != "paid" or paid.paid_amount != AMOUNT_MINOR:
            raise SystemExit(f"The payout ended as {paid.status}: {paid.error}")
        stages.update(paid.seconds)

    stages: dict[str, float] = {}
    return timed(payout), stages


class Floor:
    """The same rows by COPY, with the same keys, indexes, constraints, plus one UPDATE of the balances."""

    def __init__(self) -> None:
        from django.db import connection

        self.connection = connection
        self.seen = {"reward": 0, "transfer": 0}
        with connection.cursor() as cursor:
            for table in ("account", "reward", "transfer"):
                cursor.execute(f"CREATE TABLE floor_{table} (LIKE rewards_{table} INCLUDING ALL)")
            cursor.execute("ALTER TABLE floor_account SET (fillfactor = 50)")
            cursor.execute("INSERT INTO floor_account SELECT * FROM rewards_account")
            for table in ("reward", "transfer"):
                self._same_references(cursor, table)

    def _same_references(self, cursor, table: str) -> None:
        cursor.execute(
            "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint "
            "WHERE contype = 'f' AND conrelid = %s::regclass",
            [f"rewards_{table}"],
        )
        for name, definition in cursor.fetchall():
            same = definition.replace("rewards_account", "floor_account").replace("rewards_transfer", "floor_transfer")
            cursor.execute(f"ALTER TABLE floor_{table} ADD CONSTRAINT floor_{name[:50]} {same}")

    def run(self) -> float:
        """Seconds of the rows that the engine wrote since the last call, without the time to fetch them."""
        with tempfile.TemporaryDirectory() as folder, self.connection.cursor() as cursor:
            cursor.execute("ANALYZE rewards_account, floor_account")
            cursor.execute(
                "INSERT INTO floor_account SELECT * FROM rewards_account account "
                "WHERE NOT EXISTS (SELECT 1 FROM floor_account WHERE id = account.id)"
            )
            files = {table: self._fetch(cursor, table, Path(folder) / table) for table in self.seen}
            cursor.execute("VACUUM ANALYZE floor_account, floor_reward, floor_transfer")
            cursor.execute("CHECKPOINT")
            return timed(lambda: self._write(cursor, files))

    def _fetch(self, cursor, table: str, file: Path) -> Path:
        where = f"id > {self.seen[table]}"
        if table == "transfer":
            where += " AND journal_id IN (SELECT id FROM rewards_journal WHERE kind = 'distribution')"
        with file.open("w") as out:
            cursor.cursor.copy_expert(f"COPY (SELECT * FROM rewards_{table} WHERE {where} ORDER BY id) TO STDOUT", out)
        cursor.execute(f"SELECT max(id) FROM rewards_{table}")
        self.first_transfer = self.seen["transfer"]
        self.seen[table] = cursor.fetchone()[0]
        return file

    def _write(self, cursor, files: dict[str, Path]) -> None:
        from django.db import transaction

        with transaction.atomic():
            for table, file in files.items():
                with file.open() as rows:
                    cursor.cursor.copy_expert(f"COPY floor_{table} FROM STDIN", rows, size=1 << 18)
            cursor.execute(
                "UPDATE floor_account SET balance = balance + paid.amount FROM "
                "(SELECT credit_account_id, sum(amount) AS amount FROM floor_transfer WHERE id > %s GROUP BY 1) paid "
                "WHERE floor_account.id = paid.credit_account_id",
                [self.first_transfer],
            )


if __name__ == "__main__":
    main()
