"""The supervisor's promise: whatever it started has ended when it has, however it ended itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from devtools.children import Children
from devtools.environment import ROOT, DevelopmentError

pytestmark = pytest.mark.once

SLEEPER = "import time; time.sleep(60)"
STUBBORN_WITH_CHILD = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
time.sleep(60)
"""
TELLS_ITS_END = """
import signal, sys, time
def end(number, frame):
    open("ends", "a").write(sys.argv[1] + " ")
    sys.exit()
signal.signal(signal.SIGTERM, end)
print("ready", flush=True)
time.sleep(60)
"""
SUPERVISOR = """
import os, sys
from pathlib import Path
from devtools.children import Children, StopRequested
try:
    with Children(Path.cwd(), os.environ) as children:
        pids = [children.start(name, sys.executable, "-c", "import time; time.sleep(60)").process.pid for name in "ab"]
        print("pids", *pids, flush=True)
        children.watch()
except StopRequested:
    print("stopped", flush=True)
"""


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie that waits for somebody else to reap it does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not happen within 20 seconds"
        time.sleep(0.02)


def start_supervisor() -> tuple[subprocess.Popen[str], list[int]]:
    supervisor = subprocess.Popen([sys.executable, "-c", SUPERVISOR], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert supervisor.stdout is not None
    return supervisor, [int(word) for word in supervisor.stdout.readline().split()[1:]]


def test_children_are_stopped_last_started_first(tmp_path: Path) -> None:
    with Children(tmp_path, os.environ) as children:
        started = [children.start(name, sys.executable, "-c", TELLS_ITS_END, name) for name in ("first", "second")]
        children.watch(until=lambda: all("ready" in child.last_lines for child in started), timeout_seconds=20)
    assert (tmp_path / "ends").read_text().split() == ["second", "first"]


def test_a_stubborn_child_is_killed_with_its_own_children(tmp_path: Path) -> None:
    with Children(tmp_path, os.environ) as children:
        stubborn = children.start("stubborn", sys.executable, "-c", STUBBORN_WITH_CHILD)
        children.watch(until=lambda: bool(stubborn.last_lines), timeout_seconds=20)
        grandchild = int(stubborn.last_lines[0])
        assert is_alive(grandchild)
        children.stop(patience_seconds=0.1)
    assert stubborn.process.returncode == -signal.SIGKILL
    wait_until(lambda: not is_alive(grandchild))


def test_a_child_that_dies_ends_the_watch_and_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Children(tmp_path, os.environ) as children:
        sleeper = children.start("web", sys.executable, "-c", SLEEPER)
        children.start("worker", sys.executable, "-c", "print('out of luck'); raise SystemExit(3)")
        with pytest.raises(DevelopmentError) as caught:
            children.watch()
    assert str(caught.value) == "worker ended with code 3:\n    out of luck"
    assert sleeper.process.returncode == -signal.SIGTERM
    assert "   worker | out of luck\n" in capsys.readouterr().out


def test_a_step_that_fails_is_an_error_and_one_that_succeeds_is_forgotten(tmp_path: Path) -> None:
    with Children(tmp_path, os.environ) as children:
        step = children.run("step", sys.executable, "-c", "print('done', end='')")
        assert list(step.last_lines) == ["done"]
        with pytest.raises(DevelopmentError, match="step ended with code 1"):
            children.run("step", sys.executable, "-c", "raise SystemExit(1)")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_supervisor_told_to_stop_leaves_nothing(number: signal.Signals) -> None:
    supervisor, pids = start_supervisor()
    supervisor.send_signal(number)
    output, _ = supervisor.communicate(timeout=20)
    assert (supervisor.returncode, output) == (0, "stopped\n")
    assert not any(is_alive(pid) for pid in pids)


@pytest.mark.skipif(sys.platform != "linux", reason="other kernels do not tell a child that its parent ended")
def test_a_supervisor_that_is_killed_leaves_nothing() -> None:
    supervisor, pids = start_supervisor()
    supervisor.kill()
    supervisor.communicate(timeout=20)
    wait_until(lambda: not any(is_alive(pid) for pid in pids))
