"""The cache of files, where there is no Redis."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import time_machine

from rewards.api import throttles
from rewards_site.cache import CountingFileCache


@pytest.fixture
def files(tmp_path: Path) -> CountingFileCache:
    return CountingFileCache(str(tmp_path / "cache"), {})


def test_nothing_that_was_counted_at_once_is_lost(files: CountingFileCache) -> None:
    def count(number: int) -> None:
        files.add("calls", 0)
        files.incr("calls")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(count, range(400)))
    assert files.get("calls") == 400


def test_calls_that_race_do_not_get_past_their_limit(files: CountingFileCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttles, "cache", files)
    with time_machine.travel("2026-11-21T12:00:00Z", tick=False), ThreadPoolExecutor(8) as pool:
        waits = list(pool.map(lambda number: throttles.count_call("alice", 20), range(200)))
    assert waits.count(0) == 20
