"""Bring the database and the static files up to date, in one process: starting Django is the slow part.

python -m devtools.prepare
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import django
from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command

from devtools.environment import STATE, file_lock


def prepare() -> None:
    call_command("migrate", interactive=False, verbosity=1)
    call_command("setup_defaults")
    with file_lock(STATE / "static.lock"):
        collect_static_files()


def collect_static_files() -> None:
    """Collect, compress and name the static files, unless none has changed since the last time."""
    state = static_files_state()
    stamp = Path(settings.STATIC_ROOT) / ".collected"
    if stamp.exists() and stamp.read_text() == state:
        return
    call_command("collectstatic", interactive=False, verbosity=0)
    stamp.write_text(state)


def static_files_state() -> str:
    """A digest over the path, size and time of every static file there is, and over how they are stored."""
    digest = hashlib.sha256(repr(settings.STORAGES["staticfiles"]).encode())
    for finder in get_finders():
        for path, storage in sorted(finder.list([]), key=lambda found: found[0]):
            status = os.stat(storage.path(path))
            digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "rewards_site.settings")
    django.setup()
    prepare()
