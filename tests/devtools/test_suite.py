"""Both legs run, both are reported, and the worse one decides."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from devtools.environment import ROOT

RUN_SUITE = "import sys; from devtools.suite import run_suite; sys.exit(run_suite(sys.argv[1], sys.argv[2:]))"
TESTS = """
import os, time
def test_passes(): assert 1 + 1 == 2
def test_passes_on_sqlite(): assert "postgres" not in os.environ["TEST_DATABASE_URL"]
def test_slow():
    print(os.environ["TEST_DATABASE_URL"], flush=True)
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


def start_suite(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "DJANGO", "TEST"))
    }
    command = [sys.executable, "-c", RUN_SUITE, *arguments, "-p", "no:django", "-p", "no:cacheprovider"]
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)


def test_both_legs_are_reported_and_the_failing_one_decides(checkout: Path) -> None:
    suite = start_suite(checkout, "both", "-k", "passes")
    output, _ = suite.communicate(timeout=60)
    closing_lines = output.strip().splitlines()[-2:]
    assert closing_lines[0].strip().startswith("sqlite: 2 passed in ")
    assert closing_lines[1].strip().startswith("postgres: 1 passed, 1 failures in ")
    assert suite.returncode == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_suite_told_to_stop_takes_its_postgres_along(checkout: Path, number: signal.Signals) -> None:
    suite = start_suite(checkout, "postgres", "-k", "slow", "-s")
    assert suite.stdout is not None
    folder = next(Path(line.partition("host=")[2].strip()) for line in suite.stdout if "host=" in line)
    assert folder.exists()
    suite.send_signal(number)
    suite.communicate(timeout=60)
    assert suite.returncode not in (0, None)
    assert not folder.exists()
