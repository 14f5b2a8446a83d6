"""Programs in processes of their own, on the database of the test."""

from __future__ import annotations

import os

from django.conf import settings
from django.db import connection


def environment_on_this_database(**more: str) -> dict[str, str]:
    """Environment variables for a process that sees what the test has committed."""
    database = connection.settings_dict
    if connection.vendor == "sqlite":
        url = f"sqlite:///{database['NAME']}"
    else:
        login = f"{database['USER']}:{database['PASSWORD']}"
        url = f"postgres://{login}@{database['HOST']}:{database['PORT'] or 5432}/{database['NAME']}"
        if "host" in database["OPTIONS"]:  # a Unix socket
            url = f"postgres://{login}@/{database['NAME']}?host={database['OPTIONS']['host']}"
    return {
        **os.environ,
        "DATABASE_URL": url,
        "DJANGO_SETTINGS_MODULE": "rewards_site.settings",
        "PYTHONPATH": str(settings.BASE_DIR),
        **more,
    }
