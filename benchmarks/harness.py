"""What the benchmarks share: a database of their own, and medians of ratios taken side by side in one run."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


def set_up_django(database_url: str) -> None:
    """Use the database of that URL, created (and migrated) if it is missing. Its tables are the benchmark's own."""
    os.environ.setdefault("REWARDS_ENVIRONMENT", "development")
    os.environ.setdefault("SECRET_KEY", "benchmarks-only")
    os.environ.setdefault("CELERY_BROKER_URL", "memory://")
    os.environ.setdefault("LOG_LEVEL", "WARNING")
    os.environ["DATABASE_URL"] = database_url
    os.environ["DJANGO_SETTINGS_MODULE"] = "rewards_site.settings"
    import django

    django.setup()


def timed(work: Callable[[], object]) -> float:
    """Seconds that `work` takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def canary() -> float:
    """Seconds of a fixed loop: where it varies, the machine was disturbed and the ratios beside it say less."""
    return timed(lambda: sum(number * number for number in range(2_000_000)))


def median_and_spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f}–{max(values):.2f})"


def peak_memory_mb() -> float:
    """Peak resident memory of this process in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024 if sys.platform != "darwin" else peak / 1024 / 1024


@contextmanager
def fresh_database(server_url: str, name: str) -> Iterator[str]:
    """The URL of an empty PostgreSQL database on that server, dropped at the end."""
    import psycopg2

    server, _, _ = server_url.rpartition("/")
    connection = psycopg2.connect(f"{server}/postgres")
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute(f"DROP DATABASE IF EXISTS {name}")
    cursor.execute(f"CREATE DATABASE {name}")
    try:
        yield f"{server}/{name}"
    finally:
        cursor.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        connection.close()


def run_alone(benchmark: str, database: str, *arguments: object) -> Any:
    """What a benchmark measures and prints as JSON, in a process of its own, so that its memory is its own.

    It gets `arguments`, and `--database` with the URL of an empty database: on that server, or in a file.
    """
    command = [sys.executable, "-m", f"benchmarks.{benchmark}", *map(str, arguments), "--database"]
    with _empty_database(benchmark, database) as url:
        return json.loads(subprocess.run([*command, url], check=True, stdout=subprocess.PIPE).stdout)


@contextmanager
def _empty_database(benchmark: str, database: str) -> Iterator[str]:
    if database.startswith("sqlite"):
        with tempfile.TemporaryDirectory() as folder:
            yield f"sqlite:///{folder}/benchmark.sqlite3"
    else:
        with fresh_database(database, f"rewards_benchmark_{benchmark}") as url:
            yield url
