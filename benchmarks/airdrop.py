"""Pay a published airdrop by `distribute_file`, against the floor of the database and the bare reading of the file.

    python -m benchmarks.airdrop --data airdrop.csv.gz [--database postgres://user@host/any] [--repeat 3]

The command does everything in a process of its own: reading and checking each line, creating the users, the list, the
snapshot, the rule, reward rows with digest, journals, transfers, balances, audit. It is run on empty databases, where
it creates each user and account, and on databases where they all stand. The floor is that of `benchmarks.payout`: the
same reward and transfer rows by COPY, and one UPDATE of the balances. The bare reading unpacks the file and splits its
lines. All are measured in turn in one run, each time on a new database. With a SQLite URL there is no floor.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import re
import resource
import subprocess
import sys
from pathlib import Path

from benchmarks.harness import canary, median_and_spread, run_alone, set_up_django, timed
from benchmarks.payout import Floor

STAGES = ("read", "users", "list", "freeze", "allocate", "pay")
COMMAND = [
    "--campaign", "airdrop", "--currency", "uni", "--user-column", "account", "--amount-column", "amount_wei",
    "--amount-scale", "1e-18", "--rule", '{"rule": "fixed"}', "--amount", "150000000", "--create-users",
]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="a CSV file with the columns account and amount_wei")
    parser.add_argument("--database", default="postgres://postgres@127.0.0.1/postgres")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--one", choices=["new", "known"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.data.exists():
        print(f"Skipped: there is no file {options.data}.")
    elif options.one:
        print(json.dumps(measure(options.database, options.data, options.one)))
    else:
        found: dict[str, list[dict]] = {"new": [], "known": []}
        for _ in range(options.repeat):
            for users, results in found.items():
                results.append(run_alone("airdrop", options.database, "--data", options.data, "--one", users))
        for users, results in found.items():
            report(users, results)


def report(users: str, results: list[dict]) -> None:
    def column(name: str) -> list[float]:
        return [result[name] for result in results]

    print(f"{results[0]['rows']:,} rows, users {'created' if users == 'new' else 'known'}")
    print(f"  command         {median_and_spread(column('command'))} s")
    if results[0]["floor"]:
        ratios = [each["command"] / (each["floor"] + each["reading"]) for each in results]
        print(f"  floor           {median_and_spread(column('floor'))} s")
        print(f"  bare reading    {median_and_spread(column('reading'))} s")
        print(f"  command / both  {median_and_spread(ratios)}")
    for stage in STAGES:
        print(f"    {stage:<14}{median_and_spread([each['stages'].get(stage, 0.0) for each in results])} s")
    print(f"  peak memory     {max(column('memory_mb')):.0f} MB")
    print(f"  canary          {median_and_spread(column('canary'))} s")


def measure(database_url: str, data: Path, users: str) -> dict:
    set_up_django(database_url)
    from django.core.management import call_command
    from django.db import connection

    from rewards.ledger.models import Currency

    call_command("migrate", verbosity=0, skip_checks=True)
    Currency.objects.create(code="uni", decimals=6)
    if users == "known":
        people(data)
    settle()
    disturbance = canary()
    printed: list[str] = []
    seconds = timed(lambda: printed.append(distribute(data)))
    return {
        "command": seconds,
        "floor": floor_of_same_rows() if connection.vendor == "postgresql" else 0.0,
        "reading": timed(lambda: read(data)),
        "rows": int(re.search(r"^([\d,]+) rows", printed[0], re.MULTILINE)[1].replace(",", "")),
        "stages": {stage: float(each) for stage, each in re.findall(r"(\w+) (\d+\.\d)(?=,|$)", stages_of(printed[0]))},
        "memory_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
        "canary": disturbance,
    }


def floor_of_same_rows() -> float:
    """Made once all accounts stand: a table that grows from nothing is no place to look for what is missing."""
    floor = Floor()
    settle()
    return floor.run()


def distribute(data: Path) -> str:
    """What the command says, run as a shell would."""
    command = [sys.executable, "manage.py", "distribute_file", str(data), *COMMAND]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    if not said.startswith("campaign:airdrop: paid"):
        raise SystemExit(f"The payout did not end as it should: {said}")
    return said


def stages_of(said: str) -> str:
    return next(line for line in said.splitlines() if line.startswith("Seconds: "))


def read(data: Path) -> int:
    with gzip.open(data, "rt", encoding="utf-8", newline="") as file:
        return sum(1 for _ in csv.reader(file))


def people(data: Path) -> None:
    """Everybody in the file, with an account in the currency."""
    from django.db import connection
    from django.utils import timezone

    from rewards.common.database import sql_instant
    from rewards.users.models import NO_PASSWORD, User

    now = timezone.now()
    with gzip.open(data, "rt", encoding="utf-8", newline="") as file:
        names = [row["account"] for row in csv.DictReader(file)]
    for first in range(0, len(names), 50_000):
        some = names[first : first + 50_000]
        users = [User(username=name, password=NO_PASSWORD, date_joined=now) for name in some]
        User.objects.bulk_create(users, batch_size=2_000)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO rewards_account (currency_id, user_id, code, balance, min_balance, created_at) "
            "SELECT currency.id, person.id, '', 0, 0, %s FROM rewards_user person, rewards_currency currency "
            "ORDER BY person.id",
            [sql_instant(now)],
        )


def settle() -> None:
    """Leave neither a due checkpoint nor an uncounted table to the command."""
    from django.db import connection

    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")
            cursor.execute("CHECKPOINT")


if __name__ == "__main__":
    main()
