"""Files kept between two pages: in a folder that nobody else reads, for an hour at most.

The folder is on the machine that took the file. Where a second machine answers the next page, or the hour is over,
the file is not found, and is asked for again.
"""

from __future__ import annotations

import os
import secrets
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from django.conf import settings

from rewards.common.errors import ensure

KEPT_SECONDS = 3600


def keep(chunks: Iterable[bytes]) -> str:
    """Keep a file; the name by which it is found again. What has been kept for too long is removed."""
    folder = _folder()
    _remove_old(folder)
    name = secrets.token_hex(16)
    with os.fdopen(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        for chunk in chunks:
            file.write(chunk)
    return name


def kept_file(name: str) -> Path | None:
    """The file of that name, if it is still there."""
    path = _folder() / Path(name).name
    return path if path.is_file() else None


def forget_file(name: str) -> None:
    (_folder() / Path(name).name).unlink(missing_ok=True)


def _folder() -> Path:
    """Of this user of the machine alone; one that somebody else has put there is not used."""
    folder = Path(settings.FILE_UPLOAD_TEMP_DIR or tempfile.gettempdir()) / f"rewards-uploads-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    own = status.st_uid == os.getuid() and not status.st_mode & 0o077 and folder.is_dir() and not folder.is_symlink()
    ensure(own, f"{folder} is not a private folder of this user: remove it.")
    return folder


def _remove_old(folder: Path) -> None:
    for path in folder.iterdir():
        try:
            if time.time() - path.stat().st_mtime > KEPT_SECONDS:
                path.unlink()
        except FileNotFoundError:  # somebody was faster
            continue
