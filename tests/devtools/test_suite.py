"""Both legs run side by side, both are reported, and the worse one decides."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from devtools.environment import ROOT
from tests.devtools.processes import processes_on

pytestmark = pytest.mark.once

RUN_SUITE = "import sys; from devtools.suite import run_suite; sys.exit(run_suite(sys.argv[1], sys.argv[2:]))"
TESTS = """
import os, time
from pathlib import Path
URL = os.environ["TEST_DATABASE_URL"]
def say_that_this_leg_runs():
    unfinished = Path("unfinished" + ("postgres" if URL else "sqlite"))
    unfinished.write_text(URL)
    unfinished.rename(("postgres" if URL else "sqlite") + ".url")
def test_passes_when_the_other_leg_runs_too():
    say_that_this_leg_runs()
    deadline = time.monotonic() + 30
    while len(list(Path.cwd().glob("*.url"))) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
def test_passes_on_sqlite(): assert URL == ""
def test_goes_on():
    say_that_this_leg_runs()
    time.sleep(60)
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository of three tests, with the packages of this one."""
    folder = tmp_path / "checkout"
    shutil.copytree(ROOT / "devtools", folder / "devtools", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / "test_three.py").write_text(TESTS)
    return folder


def start_suite(folder: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    environment |= {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "DJANGO", "TEST"))
    }
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # what it takes seconds to load, none of the three tests needs
    command = [sys.executable, "-c", RUN_SUITE, *arguments, "-p", "no:cacheprovider"]
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)


def test_both_legs_run_at_once_are_reported_one_after_the_other_and_the_failing_one_decides(checkout: Path) -> None:
    suite = start_suite(checkout, "both", "-k", "passes", TEST_DATABASE_URL="postgres://given")
    output, _ = suite.communicate(timeout=60)
    assert suite.returncode == 1
    sqlite, postgres = output.split("Tests on sqlite")[1].split("Tests on postgres")
    assert "2 passed, 1 deselected" in sqlite
    assert "test_passes_on_sqlite" in postgres
    assert "1 failed, 1 passed, 1 deselected" in postgres
    closing_lines = output.strip().splitlines()[-2:]
    assert closing_lines[0].strip().startswith("sqlite: 2 passed in ")
    assert closing_lines[1].strip().startswith("postgres: 1 passed, 1 failures in ")


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc who is still there")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_suite_told_to_stop_takes_both_legs_and_its_postgres_along(checkout: Path, number: signal.Signals) -> None:
    suite = start_suite(checkout, "both", "-k", "goes_on")
    deadline = time.monotonic() + 60
    while len(list(checkout.glob("*.url"))) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    folder = Path((checkout / "postgres.url").read_text().partition("host=")[2])
    assert folder.exists()
    suite.send_signal(number)
    suite.communicate(timeout=60)
    assert suite.returncode not in (0, None)
    assert not folder.exists()
    assert processes_on(checkout) == []
