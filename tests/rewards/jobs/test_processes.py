"""Which processes are alive."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError
from django.utils import timezone

from rewards.jobs import processes
from rewards.jobs.models import ProcessHeartbeat
from rewards.jobs.processes import SCHEDULER, WORKER, delete_gone_processes, heard_of, seconds_of_silence, stopped

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    now = [1_000.0]
    monkeypatch.setattr(processes, "monotonic", lambda: now[0])
    yield now
    processes._heard_at.clear()


def silent_process(kind: str, seconds: float, **fields: Any) -> ProcessHeartbeat:
    then = timezone.now() - timedelta(seconds=seconds)
    return ProcessHeartbeat.objects.create(name=f"{kind}@host:{seconds}", kind=kind, heartbeat_at=then, **fields)


def test_a_process_is_heard_of_from_its_start_to_its_end(clock: list[float]) -> None:
    assert seconds_of_silence(WORKER) is None
    heard_of(WORKER)
    row = ProcessHeartbeat.objects.get()
    clock[0] += 5
    heard_of(WORKER)

    again = ProcessHeartbeat.objects.get()
    assert (again.kind, again.started_at, again.stopped_at) == ("worker", row.started_at, None)
    assert again.heartbeat_at >= row.heartbeat_at
    assert seconds_of_silence(WORKER) < 60
    assert seconds_of_silence(SCHEDULER) is None

    stopped(WORKER)
    assert ProcessHeartbeat.objects.get().stopped_at is not None
    assert seconds_of_silence(WORKER) is None


def test_a_scheduler_that_ticks_often_writes_seldom(clock: list[float], django_assert_num_queries: Any) -> None:
    heard_of(SCHEDULER)
    with django_assert_num_queries(0):
        clock[0] += 3
        heard_of(SCHEDULER)


def test_a_new_process_under_an_old_name_starts_anew(clock: list[float]) -> None:
    heard_of(WORKER)
    stopped(WORKER)
    long_ago = timezone.now() - timedelta(days=3)
    ProcessHeartbeat.objects.update(started_at=long_ago)
    heard_of(WORKER)

    row = ProcessHeartbeat.objects.get()
    assert row.started_at > long_ago
    assert row.stopped_at is None


def test_the_process_heard_of_last_counts() -> None:
    silent_process(WORKER, 500)
    silent_process(WORKER, 50)
    silent_process(WORKER, 5, stopped_at=timezone.now())

    assert 49 < seconds_of_silence(WORKER) < 110


def test_a_database_that_does_not_answer_ends_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise DatabaseError("the server went away")

    with monkeypatch.context() as broken:
        broken.setattr(ProcessHeartbeat.objects, "update_or_create", refuse)
        heard_of(WORKER)
    heard_of(WORKER)

    assert ProcessHeartbeat.objects.count() == 1


def test_processes_gone_for_a_day_are_forgotten() -> None:
    kept = [silent_process(WORKER, 10), silent_process(WORKER, 3_600, stopped_at=timezone.now())]
    silent_process(WORKER, 90_000)
    silent_process(SCHEDULER, 90_001, stopped_at=timezone.now() - timedelta(seconds=90_001))

    assert delete_gone_processes() == 2
    assert set(ProcessHeartbeat.objects.all()) == set(kept)
