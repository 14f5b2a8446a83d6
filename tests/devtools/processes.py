"""Who works where."""

from __future__ import annotations

import os
from pathlib import Path


def processes_on(folder: Path) -> list[int]:
    """Processes that work in `folder`, as Linux tells."""
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if Path(os.readlink(link)).is_relative_to(folder):
                found.append(int(link.parts[2]))
        except OSError:  # it has ended, or is not ours to look at
            continue
    return found
