"""Whether this process was asked to stop. Long work looks here between two steps.

The answer lives in one byte of memory shared with forked children: a Celery worker learns of a shutdown in its main
process, and its children work on.
"""

from __future__ import annotations

import mmap

_asked = mmap.mmap(-1, 1)


def ask() -> None:
    _asked[0] = 1


def asked() -> bool:
    return _asked[0] == 1


def take_back() -> None:
    """For a process that goes on after a command was stopped: tests, shells."""
    _asked[0] = 0
