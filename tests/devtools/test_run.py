"""A newcomer runs the product: from a clean checkout to a signed-in administrator, and back to nothing."""

from __future__ import annotations

import http.cookiejar
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools.environment import ROOT
from devtools.ports import free_port
from tests.devtools.processes import processes_on

pytestmark = pytest.mark.once

NOT_IN_A_CLONE = shutil.ignore_patterns(".*", "__pycache__", "staticfiles", "var", "tests", "benchmarks")
# What the settings of the tests have put into the environment would otherwise come before what dev.py sets.
SET_BY_TESTS = ("REWARDS_ENVIRONMENT", "SECRET_KEY", "ALLOWED_HOSTS", "DJANGO_SETTINGS_MODULE", "LOG_LEVEL", "DEBUG")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The product as a clone has it, with the packages of this one and no `.env` of anybody."""
    shutil.copytree(ROOT, tmp_path / "checkout", ignore=NOT_IN_A_CLONE)
    (tmp_path / "checkout" / ".venv").symlink_to(sys.prefix)
    return tmp_path / "checkout"


def dev(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = {
        name: value for name, value in os.environ.items() if not name.endswith("_URL") and name not in SET_BY_TESTS
    }
    command = [sys.executable, "dev.py", *arguments]
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@pytest.fixture
def product(checkout: Path) -> Iterator[tuple[subprocess.Popen[str], int, list[str]]]:
    """The product running on a free port, and what it has said until it was ready."""
    port = free_port()
    process = dev(checkout, "run", "--port", str(port))
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "Login " in line and "The product is running" in "".join(lines):
            break
    yield process, port, lines
    process.kill()
    process.wait()


def sign_in(port: int, username: str, password: str) -> str:
    """The page that an administrator sees after signing in, as text."""
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
    address = f"http://127.0.0.1:{port}/admin/login/?next=/admin/"
    form = browser.open(address).read().decode()
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form)
    assert token is not None
    fields = {"csrfmiddlewaretoken": token[1], "username": username, "password": password}
    request = urllib.request.Request(address, urllib.parse.urlencode(fields).encode(), {"Referer": address})
    return browser.open(request).read().decode()


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc who is still there")
def test_from_a_checkout_to_a_signed_in_administrator_and_back(
    checkout: Path, product: tuple[subprocess.Popen[str], int, list[str]]
) -> None:
    process, port, lines = product
    assert f"http://127.0.0.1:{port}/admin/" in "".join(lines)
    login = re.search(r"Login +(\S+) / (\S+) +\(administrator\)", "".join(lines))
    assert login is not None, "".join(lines)

    page = sign_in(port, *login.groups())
    assert 'name="password"' not in page
    stylesheet = re.search(r'href="(/static/[^"]+\.css)"', page)
    assert stylesheet is not None
    assert urllib.request.urlopen(f"http://127.0.0.1:{port}{stylesheet[1]}").status == 200

    second, _ = dev(checkout, "run", "--port", str(free_port())).communicate(timeout=60)
    assert (
        second
        == f"dev.py: The product already runs on {checkout}/.dev/data: stop it first, or choose another --data.\n"
    )
    beside = dev(
        checkout, "manage", "shell", "-v0", "-c", "from django.conf import settings as s; print(s.CELERY_BROKER_URL)"
    )
    assert beside.communicate(timeout=60)[0].startswith(("redis://127.0.0.1:", "filesystem://"))

    assert len(processes_on(checkout)) > 4
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert output.endswith("Stopped.\n")
    assert process.returncode == 0
    assert processes_on(checkout) == []
