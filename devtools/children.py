"""Processes that live and die with this one, their output under one roof.

Each child leads a session of its own, so that Ctrl-C reaches only the supervisor, which then stops them in
reverse order. On Linux the kernel also ends them when the supervisor is killed and can stop nothing itself.
"""

from __future__ import annotations

import ctypes
import os
import selectors
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from devtools.environment import DevelopmentError

# A terminal that closes stops everything too, unless nohup said otherwise.
_HANG_UP = () if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN else (signal.SIGHUP,)
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, *_HANG_UP)
LAST_LINES = 20
_COLOURS = ("36", "32", "33", "35", "34", "96")
_PR_SET_PDEATHSIG = 1


class StopRequested(Exception):
    """Somebody pressed Ctrl-C or sent a signal to stop."""


def die_with_parent(signal_number: int = signal.SIGTERM) -> Callable[[], None]:
    """What a new process does before it becomes its program: ask the kernel for a signal when its parent ends."""
    parent = os.getpid()
    library = ctypes.CDLL(None) if sys.platform == "linux" else None

    def prepare() -> None:
        if library is not None:
            library.prctl(_PR_SET_PDEATHSIG, signal_number)
            if os.getppid() != parent:  # it ended before the kernel was asked
                os._exit(1)

    return prepare


@dataclass
class Child:
    name: str
    process: subprocess.Popen[bytes]
    output: int
    prefix: str
    unfinished_line: bytes = b""
    last_lines: deque[str] = field(default_factory=lambda: deque(maxlen=LAST_LINES))


class Children:
    """A context that stops, in reverse order, whatever was started in it."""

    def __init__(self, directory: Path, environment: Mapping[str, str], shared_files: Iterable[int] = ()) -> None:
        """`shared_files`: descriptors every child keeps open, such as a lock that must outlive the supervisor."""
        self._directory = directory
        self._environment = dict(environment)
        self._shared_files = tuple(shared_files)
        self._children: list[Child] = []
        self._selector = selectors.DefaultSelector()
        self._stop_requested = False

    def __enter__(self) -> Children:
        self._former_handlers = {number: signal.signal(number, self._request_stop) for number in STOP_SIGNALS}
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()
        self._selector.close()
        for number, handler in self._former_handlers.items():
            signal.signal(number, handler)

    def _request_stop(self, number: int, frame: FrameType | None) -> None:
        self._stop_requested = True

    def start(self, name: str, *command: str | Path) -> Child:
        """Start a program that `watch` expects to run until it is stopped."""
        self._raise_if_asked_to_stop()
        output, child_output = os.pipe()
        process = subprocess.Popen(
            command,
            cwd=self._directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=child_output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=self._shared_files,
            preexec_fn=die_with_parent(),  # safe: the supervisor has one thread
        )
        os.close(child_output)
        os.set_blocking(output, False)
        child = Child(name, process, output, _prefix(name, len(self._children)))
        self._children.append(child)
        self._selector.register(output, selectors.EVENT_READ, child)
        return child

    def run(self, name: str, *command: str | Path) -> Child:
        """Run one step to its end; raises DevelopmentError when it fails."""
        child = self.start(name, *command)
        while child.process.poll() is None:
            self._raise_if_asked_to_stop()
            self._show_output()
        self._finish(child)
        if child.process.returncode != 0:
            raise _ended(child)
        return child

    def watch(self, until: Callable[[], bool] = lambda: False, timeout_seconds: float = float("inf")) -> None:
        """Show output until `until()` holds; raises StopRequested, or DevelopmentError when a child has ended."""
        deadline = time.monotonic() + timeout_seconds
        while not until():
            if time.monotonic() > deadline:
                raise DevelopmentError(f"Not ready within {timeout_seconds:.0f} seconds; the lines above may say why.")
            self._raise_if_asked_to_stop()
            self._show_output()
            ended = next((child for child in self._children if child.process.poll() is not None), None)
            if ended is not None:
                self._finish(ended)
                raise _ended(ended)

    def stop(self, patience_seconds: float = 30) -> None:
        """Stop all, last started first, each with time to finish its work."""
        while self._children:
            child = self._children[-1]
            child.process.terminate()
            deadline = time.monotonic() + patience_seconds
            while child.process.poll() is None and time.monotonic() < deadline:
                self._show_output(wait_seconds=0.05)
            self._finish(child)

    def _raise_if_asked_to_stop(self) -> None:
        if self._stop_requested:
            raise StopRequested

    def _finish(self, child: Child) -> None:
        """Kill what is left of the child's session, show its last output and forget it."""
        with suppress(ProcessLookupError):
            os.killpg(child.process.pid, signal.SIGKILL)
        child.process.wait()
        while self._receive(child):
            pass
        if child.unfinished_line:
            self._show_line(child, child.unfinished_line)
        if child.output in self._selector.get_map():
            self._selector.unregister(child.output)
        os.close(child.output)
        self._children.remove(child)

    def _show_output(self, wait_seconds: float = 0.1) -> None:
        for key, _ in self._selector.select(wait_seconds):
            if not self._receive(key.data):
                self._selector.unregister(key.fd)

    def _receive(self, child: Child) -> bool:
        """Show what the child has written; false when there was nothing to read."""
        try:
            received = os.read(child.output, 65536)
        except BlockingIOError:
            return False
        *lines, child.unfinished_line = (child.unfinished_line + received).split(b"\n")
        for line in lines:
            self._show_line(child, line)
        return received != b""

    def _show_line(self, child: Child, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip()
        child.last_lines.append(text)
        try:
            print(f"{child.prefix}{text}", flush=True)
        except OSError:  # the terminal has gone: go on without one, to the stop
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            self._stop_requested = True


def _prefix(name: str, position: int) -> str:
    if sys.stdout.isatty() and "NO_COLOR" not in os.environ:
        return f"\x1b[{_COLOURS[position % len(_COLOURS)]}m{name:>9} |\x1b[0m "
    return f"{name:>9} | "


def _ended(child: Child) -> DevelopmentError:
    code = child.process.returncode
    how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
    return DevelopmentError(
        "\n    ".join([f"{child.name} {how}" + (":" if child.last_lines else "."), *child.last_lines])
    )
