"""A cache of files that counts: for installations without Redis."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.core.cache.backends.filebased import FileBasedCache
from django.core.files import locks


class CountingFileCache(FileBasedCache):
    """Django's reads a number and writes it back, and what others counted in between is lost. Here a file is locked."""

    def add(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        with self._alone():
            return super().add(key, value, timeout, version)

    def incr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        with self._alone():
            return super().incr(key, delta, version)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Among all threads and processes that share the folder."""
        self._createdir()  # type: ignore[attr-defined]
        with Path(self._dir, "counting.lock").open("ab") as file:  # type: ignore[attr-defined]
            locks.lock(file, locks.LOCK_EX)
            yield
