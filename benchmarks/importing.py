"""Import a file of votes, against the floor of the database itself.

    python -m benchmarks.importing --data votes.csv.gz [--map partner=customer_id …] [--database URL] [--repeat 5]

The engine does everything an import does: unpacking, parsing and checking each line, creating partners, writing the
votes exactly once by their id, moving the counters. The floor is what PostgreSQL needs at least for the same votes:
COPY of the finished rows into an equal, empty table with the same keys, indexes and constraints. Both run in turn in
one process run. With a SQLite URL only the engine's figure is reported.
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
from pathlib import Path

from benchmarks.harness import canary, fresh_database, median_and_spread, peak_memory_mb, set_up_django, timed

EVENTS = "rewards_activityevent"
COLUMNS = "event_id, user_id, metric, quantity, occurred_at, attributes, counted_month, late, recorded_at"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="a CSV file of votes, as import_votes takes it")
    parser.add_argument("--map", nargs="+", default=[], metavar="COLUMN=NAME", help="handed on to import_votes")
    parser.add_argument("--database", default="postgres://postgres@127.0.0.1/postgres")
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    if not options.data.exists():
        print(f"Skipped: there is no file {options.data}.")
    elif options.database.startswith("sqlite"):
        with tempfile.TemporaryDirectory() as folder:
            measure(f"sqlite:///{folder}/benchmark.sqlite3", options)
    else:
        with fresh_database(options.database, "rewards_benchmark_importing") as url:
            measure(url, options)


def measure(database_url: str, options: argparse.Namespace) -> None:
    set_up_django(database_url)
    from django.core.management import call_command
    from django.db import connection

    call_command("migrate", verbosity=0, skip_checks=True)
    has_floor = connection.vendor == "postgresql"
    engine, floor, canaries = [], [], []
    for _ in range(options.repeat):
        empty_tables()
        canaries.append(canary())
        engine.append(timed(lambda: import_votes(options)))
        if has_floor:
            floor.append(copy_same_rows())
    report(count_votes(), engine, floor, canaries)
    connection.close()


def import_votes(options: argparse.Namespace) -> None:
    from django.core.management import call_command

    call_command("import_votes", str(options.data), map=options.map, stdout=io.StringIO(), skip_checks=True)


def count_votes() -> int:
    from rewards.activity.models import ActivityEvent

    return ActivityEvent.objects.count()


def empty_tables() -> None:
    """As before the first import; and no checkpoint or vacuum of the run before falls into this one."""
    from django.db import connection, transaction

    from rewards.common.database import create_missing_guards, drop_guards

    with connection.cursor() as cursor:
        with transaction.atomic():
            drop_guards()
            for table in (EVENTS, "rewards_counter", "rewards_user"):
                cursor.execute(f"DELETE FROM {table}")
            create_missing_guards()
        settle(cursor)


def settle(cursor) -> None:
    if cursor.db.vendor == "postgresql":
        cursor.execute("VACUUM ANALYZE")
        cursor.execute("CHECKPOINT")


def copy_same_rows() -> float:
    """Seconds of COPY of the votes into a table like theirs."""
    from django.db import connection

    with tempfile.TemporaryFile("w+") as file, connection.cursor() as cursor:
        cursor.cursor.copy_expert(f"COPY (SELECT {COLUMNS} FROM {EVENTS} ORDER BY id) TO STDOUT", file)
        file.seek(0)
        cursor.execute("DROP TABLE IF EXISTS floor_event")
        cursor.execute(f"CREATE TABLE floor_event (LIKE {EVENTS} INCLUDING ALL)")
        cursor.execute("ALTER TABLE floor_event ADD FOREIGN KEY (user_id) REFERENCES rewards_user (id)")
        settle(cursor)
        seconds = timed(lambda: cursor.cursor.copy_expert(f"COPY floor_event ({COLUMNS}) FROM STDIN", file, 1 << 18))
        cursor.execute("DROP TABLE floor_event")
        return seconds


def report(votes: int, engine: list[float], floor: list[float], canaries: list[float]) -> None:
    print(f"votes           {votes:,}")
    print(f"import          {median_and_spread(engine)} s, {votes / statistics.median(engine):,.0f} votes/s")
    if floor:
        ratios = [ours / least for ours, least in zip(engine, floor, strict=True)]
        print(f"COPY alone      {median_and_spread(floor)} s, {votes / statistics.median(floor):,.0f} votes/s")
        print(f"import / COPY   {median_and_spread(ratios)}")
    print(f"peak memory     {peak_memory_mb():.0f} MB")
    print(f"canary          {median_and_spread(canaries)} s")


if __name__ == "__main__":
    main()
