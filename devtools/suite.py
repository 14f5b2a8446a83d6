"""The whole suite on SQLite and on a real PostgreSQL, side by side."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from xml.etree import ElementTree

from devtools.application import NOBODY_LISTENS
from devtools.children import STOP_SIGNALS, die_with_parent
from devtools.environment import PYTHON, ROOT
from devtools.postgres import temporary_postgres

LOOK_SECONDS = 0.5


@dataclass
class Leg:
    """pytest on one database. `kept` is where its output goes while the terminal is another leg's."""

    name: str
    tests: subprocess.Popen[bytes]
    report: Path
    kept: Path | None


def run_suite(databases: str, pytest_arguments: list[str]) -> int:
    """Run the tests on `sqlite`, `postgres` or `both`; returns the first exit code that is not 0.

    The first leg has the terminal; what the second says meanwhile is shown when the first has ended.
    """
    for number in STOP_SIGNALS:
        signal.signal(number, _stop_in_order)
    names = ("sqlite", "postgres") if databases == "both" else (databases,)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tests-")))
        urls = [stack.enter_context(_database(name)) for name in names]
        legs: list[Leg] = []
        for name, url in zip(names, urls, strict=True):
            kept = folder / f"{name}.log" if legs else None
            legs.append(stack.enter_context(_leg(name, url, folder / f"{name}.xml", kept, pytest_arguments)))
        codes = [_shown_to_its_end(leg) for leg in legs]
        lines = [f"{leg.name:>9}: {closing_line(leg.report)} (exit code {leg.tests.returncode})" for leg in legs]
    print("\n" + "\n".join(lines), flush=True)
    return next((code for code in codes if code != 0), 0)


@contextmanager
def _leg(name: str, database_url: str, report: Path, kept: Path | None, pytest_arguments: list[str]) -> Iterator[Leg]:
    """pytest under way, in an environment that the shell and `.env` do not reach into; ended when the block is."""
    environment = os.environ | {"TEST_DATABASE_URL": database_url, "CELERY_BROKER_URL": NOBODY_LISTENS, "DEBUG": "0"}
    colour = ["--color=yes"] if sys.stdout.isatty() else []
    command = [str(PYTHON), "-m", "pytest", f"--junitxml={report}", *colour, *pytest_arguments]
    with kept.open("wb") if kept else nullcontext() as output:
        tests = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL if kept else None,
            stdout=output,
            stderr=subprocess.STDOUT if kept else None,
            preexec_fn=die_with_parent(signal.SIGINT),
        )
    with _ended_afterwards(tests):
        yield Leg(name, tests, report, kept)


def _shown_to_its_end(leg: Leg) -> int:
    """Wait for a leg; returns its exit code. What was kept of its output is shown, and what follows as it comes."""
    print(f"\nTests on {leg.name}", flush=True)
    with leg.kept.open("rb") if leg.kept else nullcontext() as output:
        while output:
            ended = leg.tests.poll() is not None  # asked first, so that its last words are read
            shutil.copyfileobj(output, sys.stdout.buffer)
            sys.stdout.flush()
            if ended:
                break
            with suppress(subprocess.TimeoutExpired):
                leg.tests.wait(timeout=LOOK_SECONDS)
    return leg.tests.wait()


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
