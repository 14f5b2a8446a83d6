"""The whole suite, once on SQLite and once on a real PostgreSQL."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from types import FrameType
from xml.etree import ElementTree

from devtools.application import NOBODY_LISTENS
from devtools.children import STOP_SIGNALS, die_with_parent
from devtools.environment import PYTHON, ROOT
from devtools.postgres import temporary_postgres


def run_suite(databases: str, pytest_arguments: list[str]) -> int:
    """Run the tests on `sqlite`, `postgres` or `both`; returns the first exit code that is not 0."""
    for number in STOP_SIGNALS:
        signal.signal(number, _stop_in_order)
    codes, closing_lines = [], []
    with tempfile.TemporaryDirectory(prefix="tests-") as folder:
        for name in ("sqlite", "postgres") if databases == "both" else (databases,):
            report = Path(folder) / f"{name}.xml"
            with _database(name) as url:
                print(f"\nTests on {name}", flush=True)
                codes.append(run_leg(url, report, pytest_arguments))
            closing_lines.append(f"{name:>9}: {closing_line(report)} (exit code {codes[-1]})")
    print("\n" + "\n".join(closing_lines), flush=True)
    return next((code for code in codes if code != 0), 0)


def run_leg(database_url: str, report: Path, pytest_arguments: list[str]) -> int:
    """pytest on one database, in an environment that the shell and `.env` do not reach into; its exit code."""
    environment = os.environ | {"TEST_DATABASE_URL": database_url, "CELERY_BROKER_URL": NOBODY_LISTENS, "DEBUG": "0"}
    command = [str(PYTHON), "-m", "pytest", f"--junitxml={report}", *pytest_arguments]
    tests = subprocess.Popen(command, cwd=ROOT, env=environment, preexec_fn=die_with_parent(signal.SIGINT))
    with _ended_afterwards(tests):
        return tests.wait()


def closing_line(report: Path) -> str:
    """What pytest said last, in words: the first leg's own line is far above by the time the second ends."""
    try:
        suite = ElementTree.parse(report).getroot()[0]
    except (OSError, ElementTree.ParseError):
        return "no report"
    counts = {word: int(suite.get(word, 0)) for word in ("failures", "errors", "skipped")}
    passed = int(suite.get("tests", 0)) - sum(counts.values())
    others = "".join(f", {count} {word}" for word, count in counts.items() if count)
    return f"{passed} passed{others} in {float(suite.get('time', 0)):.1f} s"


def _database(name: str) -> AbstractContextManager[str]:
    """The URL for `tests.settings`; where it is empty they take a SQLite file of their own."""
    if name == "sqlite":
        return nullcontext("")
    given = os.environ.get("TEST_DATABASE_URL")
    return nullcontext(given) if given else temporary_postgres()


def _stop_in_order(number: int, frame: FrameType | None) -> None:
    """Leave through every `finally`, once: a second signal must not cut the first one's cleaning short."""
    for other in STOP_SIGNALS:
        signal.signal(other, signal.SIG_IGN)
    raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)


@contextmanager
def _ended_afterwards(tests: subprocess.Popen[bytes]) -> Iterator[None]:
    """Give pytest the time to drop its databases: a terminal has told it too, anyone else told only us."""
    try:
        yield
    except KeyboardInterrupt:
        with suppress(subprocess.TimeoutExpired):
            tests.wait(timeout=2)
        raise
    finally:
        if tests.poll() is None:
            tests.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                tests.wait(timeout=10)
            tests.kill()
            tests.wait()
