"""Threads and processes that start together, on connections of their own; processes that are killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from threading import Barrier
from typing import Any

from django.db import connection, connections

PATIENCE_SECONDS = 60
_forked = multiprocessing.get_context("fork")


@contextmanager
def threads(count: int) -> Iterator[Callable[..., Future]]:
    """`start(work, …)` runs work in a thread with a connection of its own."""

    def in_thread(work: Callable[..., object], *arguments: object) -> object:
        try:
            return work(*arguments)
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as executor:
        yield lambda work, *arguments: executor.submit(in_thread, work, *arguments)


def at_once(*works: Callable[[], Any]) -> list[Any]:
    """Run each in a thread, all starting at the same moment; what each returned, or the exception it raised."""
    barrier = Barrier(len(works))

    def wait_and_work(work: Callable[[], Any]) -> Any:
        connection.ensure_connection()
        barrier.wait(PATIENCE_SECONDS)
        return work()

    with threads(len(works)) as start:
        futures = [start(wait_and_work, work) for work in works]
    return [future.exception() or future.result() for future in futures]


def in_process(work: Callable[..., object], *arguments: object) -> BaseProcess:
    """Start work in a process of its own, a copy of this one with connections of its own."""
    connections.close_all()  # two processes must not talk over one connection
    process = _forked.Process(target=work, args=arguments, daemon=True)
    process.start()
    return process


def kill(process: BaseProcess) -> None:
    """SIGKILL, and wait until it is gone."""
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join(PATIENCE_SECONDS)


def was_killed(process: BaseProcess) -> bool:
    return process.exitcode == -signal.SIGKILL


def die_at_commit(number: int, *, after: bool) -> None:
    """Let this process kill itself at its commit of that number: right before it, or right after it."""
    commit, left = connection._commit, number

    def commit_or_die() -> None:
        nonlocal left
        left -= 1
        if left == 0 and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        commit()
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    connection._commit = commit_or_die  # type: ignore[method-assign]


def wait_until_somebody_waits(how_many: int = 1) -> None:
    """Until another connection to this database, or so many of them, wait for a lock."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    with connection.cursor() as cursor:
        while time.monotonic() < deadline:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            if cursor.fetchone()[0] >= how_many:
                return
            time.sleep(0.01)
    raise TimeoutError("Nobody ever waited.")


@contextmanager
def _before_each_statement(deed: Callable[[], None]) -> Iterator[None]:
    """Do something before each statement of this process."""

    def before(execute: Any, *arguments: Any) -> Any:
        deed()
        return execute(*arguments)

    with connection.execute_wrapper(before):
        yield


def statements_of(work: Callable[[], object]) -> int:
    """How many statements work takes."""
    count = 0

    def add() -> None:
        nonlocal count
        count += 1

    with _before_each_statement(add):
        work()
    return count


def die_before_statement(number: int, work: Callable[[], object]) -> None:
    """Work, and be gone right before the statement of that number."""

    def die_at_last() -> None:
        nonlocal number
        number -= 1
        if number == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    with _before_each_statement(die_at_last):
        work()
