"""The whole product on one machine: broker, web, worker, scheduler and living demo data."""

from __future__ import annotations

import http.client
import os
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

from devtools.application import FOLDER_BROKER, application_environment, choose_broker_url, held, running_broker_url
from devtools.children import Child, Children, StopRequested
from devtools.environment import PYTHON, ROOT
from devtools.ports import LOOPBACK, accepts_connections

READY_WITHIN_SECONDS = 120


def run_product(data: Path, port: int, *, demo: bool) -> int:
    """Run until Ctrl-C or SIGTERM and return 0; raises DevelopmentError when a part cannot start or ends."""
    with held(data) as lock:
        broker_url = choose_broker_url(data)
        environment = application_environment(data, broker_url)
        with Children(ROOT, environment, shared_files=[lock]) as children:
            try:
                if environment["CELERY_BROKER_URL"] == broker_url != FOLDER_BROKER:
                    start_broker(children, data, broker_url)
                logins = prepare(children, demo=demo)
                start_product(children, port, demo=demo)
                children.watch(until=lambda: is_healthy(port), timeout_seconds=READY_WITHIN_SECONDS)
                announce(port, logins)
                children.watch()
            except StopRequested:
                print("\nStopping; the worker may finish its task first, for 30 seconds at most.", flush=True)
    print("Stopped.", flush=True)
    return 0


def become_management_command(data: Path, words: list[str]) -> NoReturn:
    """Become a management command in the environment, and on the data, of `run`."""
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    environment = application_environment(data, running_broker_url(data))
    os.execve(PYTHON, [str(PYTHON), str(ROOT / "manage.py"), *words], environment)


def start_broker(children: Children, data: Path, broker_url: str) -> None:
    """Start the embedded broker and wait until it listens."""
    port = urlsplit(broker_url).port or 0
    children.start("broker", PYTHON, "-m", "devtools.broker", data / "valkey", str(port))
    children.watch(until=lambda: accepts_connections(port), timeout_seconds=READY_WITHIN_SECONDS)


def prepare(children: Children, *, demo: bool) -> Child:
    """Bring data and static files up to date; returns the finished step whose lines tell the logins."""
    children.run("prepare", PYTHON, "-m", "devtools.prepare")
    # A hundred paid hours are a hundred lines of log, and what it prints is shown again at the end.
    only = [] if demo else ["--logins-only"]
    return children.run("demo", "env", "LOG_LEVEL=WARNING", PYTHON, "manage.py", "demo_data", *only)


def start_product(children: Children, port: int, *, demo: bool) -> None:
    """Web, worker and scheduler; none of them knows that it runs on a developer's machine."""
    web = ["--bind", f"{LOOPBACK}:{port}", "--workers", "2", "--threads", "4", "--no-control-socket"]
    children.start("web", PYTHON, "-m", "gunicorn", *web, "rewards_site.wsgi:application")
    # In a container everybody is root, and the broker takes JSON from loopback only.
    unwarned = "ignore:You're running the worker with superuser privileges"
    celery = [str(PYTHON), "-W", unwarned, "-m", "celery", "--quiet", "-A", "rewards_site"]
    children.start("worker", *celery, "worker", "-c", "2", "--without-gossip", "--without-mingle")
    scheduler = "django_celery_beat.schedulers:DatabaseScheduler"
    children.start("scheduler", *celery, "beat", "-S", scheduler, "--max-interval", "5")
    if demo:
        children.start("live", PYTHON, "manage.py", "demo_data", "--live")


def is_healthy(port: int) -> bool:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=1)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def announce(port: int, logins: Child) -> None:
    address = f"http://{LOOPBACK}:{port}"
    lines = [
        "The product is running; Ctrl-C stops it.",
        "",
        f"Admin      {address}/admin/",
        f"My page    {address}/me/   (for recipients; /leaderboard/ and /cases/ are open to all)",
        f"API docs   {address}/api/docs/",
    ]
    print("\n" + "".join(f"  {line}\n" for line in [*lines, "", *logins.last_lines]), flush=True)
