"""Which ports of this machine are free. Standard library only."""

from __future__ import annotations

import os
import socket

from devtools.environment import DevelopmentError

LOOPBACK = "127.0.0.1"


def refuse_taken_port(port: int) -> None:
    """Raise DevelopmentError when nothing could listen on `port`."""
    try:
        with socket.create_server((LOOPBACK, port)):
            pass
    except (OSError, OverflowError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else "there is no such port"
        raise DevelopmentError(f"Port {port} cannot be used ({reason}): choose another with --port.") from None


def free_port() -> int:
    """A port that nobody listened on a moment ago."""
    with socket.create_server((LOOPBACK, 0)) as server:
        return int(server.getsockname()[1])


def accepts_connections(port: int) -> bool:
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1):
            return True
    except OSError:
        return False
