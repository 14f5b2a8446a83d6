"""The HTTP part of `benchmarks.claims`: a server, and clients that keep it busy."""

from __future__ import annotations

import itertools
import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.claims import CONTEXT, USERS, Compared, settle_database

WORKERS = 2
PATHS = {
    "a bare view": "/bare/pve_victory",
    "a bare view that writes": "/writing/pve_victory",
    "POST /api/claims": "/api/claims/pve_victory",
}


def report_http(url: str, clients: Sequence[int], repeat: int, seconds: float) -> None:
    """Print the rate and the time of an answer at so many clients, for both paths in turn."""
    secret = machine_key()
    numbers = itertools.count(time.time_ns())
    with server(url) as port:
        for count in clients:
            compared, times = Compared(), {name: [] for name in PATHS}
            for _ in range(repeat):
                settle_database()
                rates = {}
                for name, path in PATHS.items():
                    taken = keep_busy(port, path, secret, count, seconds, numbers)
                    rates[name] = len(taken) / seconds
                    times[name] += taken
                compared.add(rates)
            print(f"\nHTTP, {count} clients, {WORKERS} workers")
            for baseline in ("a bare view", "a bare view that writes"):
                print(f"against {baseline}")
                print("\n".join(compared.lines(baseline)))
            for name, taken in times.items():
                print(f"{name:<28} p50 {percentile(taken, 50):.1f} ms  p99 {percentile(taken, 99):.1f} ms")


def machine_key() -> str:
    from django.db import connection

    from rewards.access.models import Right
    from rewards.access.services import create_api_key

    _, secret = create_api_key("benchmark", [Right.CLAIMS_WRITE], by=None)
    connection.close()
    return secret


@contextmanager
def server(url: str) -> Iterator[int]:
    """The port of a gunicorn that serves both paths."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "DATABASE_URL": url,
        "DJANGO_SETTINGS_MODULE": "benchmarks.site.settings",
        "ALLOWED_HOSTS": "127.0.0.1",
        "LOG_LEVEL": "ERROR",
    }
    command = [str(Path(sys.executable).with_name("gunicorn")), "rewards_site.wsgi", "--bind", f"127.0.0.1:{port}"]
    process = subprocess.Popen([*command, "--workers", str(WORKERS), "--log-level", "error"], env=environment)
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait()


def keep_busy(port: int, path: str, secret: str, clients: int, seconds: float, numbers: Iterator[int]) -> list[float]:
    """Seconds of each answer that so many clients got. Every answer must be 201."""
    taken: list[list[float]] = [[] for _ in range(clients)]
    wrong: list[bytes] = []
    ready = threading.Barrier(clients)

    def client(mine: list[float]) -> None:
        ready.wait()
        end = time.perf_counter() + seconds
        while (started := time.perf_counter()) < end:
            answer = ask(port, request(path, secret, next(numbers)))
            mine.append(time.perf_counter() - started)
            if b" 201 " not in answer[:20]:
                wrong.append(answer)
                return

    threads = [threading.Thread(target=client, args=(mine,)) for mine in taken]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong:
        raise SystemExit(f"{path} answered {wrong[0].decode()[:600]}")
    return [each for mine in taken for each in mine]


def request(path: str, secret: str, number: int) -> bytes:
    body = json.dumps(
        {"user": f"user{number % USERS:05d}", "context": {**CONTEXT, "encounter_id": f"http-{number}"}}
    ).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Type: application/json\r\n"
        f"x-api-key: {secret}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def ask(port: int, message: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(message)
        answer = []
        while part := connection.recv(65_536):
            answer.append(part)
    return b"".join(answer)


def percentile(taken: list[float], percent: int) -> float:
    """Milliseconds."""
    return statistics.quantiles(taken, n=100)[percent - 1] * 1000
