"""The virtual environment: made once, filled when the requirements change, then left alone.

Standard library only: this runs on the bare interpreter, before anything is installed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VIRTUAL_ENVIRONMENT = ROOT / ".venv"
PYTHON = VIRTUAL_ENVIRONMENT / "bin" / "python"
STATE = ROOT / ".dev"

RUN_REQUIREMENTS = ("requirements.txt", "requirements-embedded.txt")
TEST_REQUIREMENTS = (*RUN_REQUIREMENTS, "requirements-chain.txt", "requirements-dev.txt")
# Wheels that do not exist everywhere; without them the file-system broker takes over.
OPTIONAL_REQUIREMENTS = frozenset({"requirements-embedded.txt"})


class DevelopmentError(Exception):
    """What went wrong and what to do about it, in one sentence for the person at the terminal."""


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Wait for, then hold, the lock named by `path`; the kernel releases it with the process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def inside_virtual_environment() -> bool:
    return PYTHON.exists() and os.path.samefile(sys.prefix, VIRTUAL_ENVIRONMENT)


def ensure_environment(requirements: tuple[str, ...]) -> None:
    """Make `.venv` hold these requirement files; touches neither disk nor network when it already does."""
    if not _outdated(requirements):
        return
    with file_lock(STATE / "venv.lock"):
        # Asked again under the lock: whoever held it before may have done the work.
        if not _outdated(requirements):
            return
        if not _usable():
            _create()
        outdated = _outdated(requirements)
        _install([name for name in outdated if name not in OPTIONAL_REQUIREMENTS])
        for name in OPTIONAL_REQUIREMENTS.intersection(outdated):
            _install_optional(name)


def _outdated(requirements: tuple[str, ...]) -> list[str]:
    return [name for name in requirements if not (PYTHON.exists() and _stamp(name) == _recorded_stamp(name))]


def _stamp(name: str) -> str:
    return hashlib.sha256((ROOT / name).read_bytes()).hexdigest()


def _stamp_path(name: str) -> Path:
    return VIRTUAL_ENVIRONMENT / "stamps" / name


def _recorded_stamp(name: str) -> str | None:
    try:
        return _stamp_path(name).read_text()
    except FileNotFoundError:
        return None


def _usable() -> bool:
    """Whether `.venv` has a Python that starts, is new enough and can be installed into."""
    new_enough = _succeeds(PYTHON, "-c", "import sys; sys.exit(sys.version_info < (3, 11))")
    return new_enough and (_uv() is not None or _succeeds(PYTHON, "-m", "pip", "--version"))


def _create() -> None:
    uv = _uv()
    if uv is None:
        _require_ensurepip()
    print("Making .venv", flush=True)
    maker = [uv, "venv", "--quiet", "--python", sys.executable] if uv else [sys.executable, "-m", "venv"]
    if not _succeeds(*maker, "--clear", VIRTUAL_ENVIRONMENT, quiet=False):
        raise DevelopmentError("The virtual environment .venv could not be made; the reason is in the lines above.")


def _require_ensurepip() -> None:
    try:
        import ensurepip  # noqa: F401  Debian and Ubuntu ship it in a package of its own
        import venv  # noqa: F401
    except ImportError:
        raise DevelopmentError(
            "This Python cannot make virtual environments: install python3-venv (sudo apt install python3-venv) or uv."
        ) from None


def _install(names: list[str]) -> None:
    if names and not _installed(names):
        raise DevelopmentError(f"{' and '.join(names)} could not be installed; the reason is in the lines above.")
    _record(names)


def _install_optional(name: str) -> None:
    if not _installed([name]):
        print(f"{name} has nothing for this machine; going on without it", flush=True)
    # Recorded either way: a warm start asks no index. Removing .venv asks again.
    _record([name])


def _installed(names: list[str]) -> bool:
    print(f"Installing {', '.join(names)} into .venv (only when they change)", flush=True)
    uv = _uv()
    python = str(PYTHON)
    installer = [uv, "pip", "install", "--quiet", "--python", python] if uv else [python, "-m", "pip", "install", "-qq"]
    files = [argument for name in names for argument in ("-r", str(ROOT / name))]
    return _succeeds(*installer, *files, quiet=False)


def _record(names: list[str]) -> None:
    for name in names:
        _stamp_path(name).parent.mkdir(exist_ok=True)
        _stamp_path(name).write_text(_stamp(name))


def _uv() -> str | None:
    return shutil.which("uv")


def _succeeds(*command: str | Path, quiet: bool = True) -> bool:
    output = subprocess.DEVNULL if quiet else None
    try:
        return subprocess.run(command, stdout=output, stderr=output).returncode == 0
    except OSError:  # there is no such program
        return False
