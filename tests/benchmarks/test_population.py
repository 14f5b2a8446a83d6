"""The population that pages are measured on keeps every promise of the ledger."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from urllib.parse import quote

import pytest
from django.db import connection

from benchmarks.harness import fresh_database

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db]

TRANSFERS = 10_000


def server_url() -> str:
    """Of the server that the tests use."""
    settings = connection.settings_dict
    name, host = quote(settings["USER"] or ""), settings["HOST"] or ""
    login = f"{name}:{quote(settings['PASSWORD'])}@" if settings["PASSWORD"] else f"{name}@" if name else ""
    place = f"{quote(host, safe='')}:{settings['PORT']}" if settings["PORT"] else quote(host, safe="")
    return f"postgres://{login}{place}/any"


def test_a_population_is_as_large_as_asked_for_and_every_check_of_the_ledger_holds() -> None:
    with fresh_database(server_url(), f"rewards_test_population_{os.getpid()}") as url:
        command = [sys.executable, "-m", "benchmarks.population", "--transfers", str(TRANSFERS), "--database", url]
        environment = os.environ | {
            "REWARDS_ENVIRONMENT": "development", "SECRET_KEY": "tests-only", "DATABASE_URL": url,
            "DJANGO_SETTINGS_MODULE": "rewards_site.settings", "CELERY_BROKER_URL": "memory://",
        }  # fmt: skip
        made = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
        counts = json.loads(made.splitlines()[-1])
        assert TRANSFERS * 0.98 < counts["rewards_transfer"] < TRANSFERS * 1.02
        assert counts["rewards_user"] > TRANSFERS // 10
        check = [sys.executable, "manage.py", "check_ledger"]
        found = subprocess.run(check, env=environment, capture_output=True, text=True)
        assert found.returncode == 0, found.stdout + found.stderr
        assert "broken 0" in found.stdout
