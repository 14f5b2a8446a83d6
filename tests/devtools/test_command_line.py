"""What a newcomer meets first: one clear sentence where something is missing, and nothing half done."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from devtools.environment import ROOT, TEST_REQUIREMENTS

pytestmark = pytest.mark.once


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with dev.py and nothing to install."""
    folder = tmp_path / "checkout"
    shutil.copytree(ROOT / "devtools", folder / "devtools", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "dev.py", folder)
    for name in TEST_REQUIREMENTS:
        (folder / name).touch()
    return folder


def start_dev(folder: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "dev.py", *arguments],
        cwd=folder,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_taken_port_is_one_sentence_and_nothing_is_started(checkout: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        process = start_dev(checkout, "run", "--port", str(port))
        output, errors = process.communicate(timeout=20)
    assert (process.returncode, output) == (1, "")
    assert errors == f"dev.py: Port {port} cannot be used (Address already in use): choose another with --port.\n"
    assert not (checkout / ".venv").exists()
    assert not (checkout / ".dev").exists()


def test_a_python_without_ensurepip_is_one_sentence(checkout: Path, tmp_path: Path) -> None:
    shadow = tmp_path / "shadow"
    shadow.mkdir()
    (shadow / "ensurepip.py").write_text("raise ImportError('in a Debian package of its own')")
    process = start_dev(checkout, "install", PYTHONPATH=str(shadow), PATH="")
    output, errors = process.communicate(timeout=20)
    assert (process.returncode, output) == (1, "")
    assert errors == (
        "dev.py: This Python cannot make virtual environments: "
        "install python3-venv (sudo apt install python3-venv) or uv.\n"
    )
    assert not (checkout / ".venv").exists()


def test_two_at_once_make_one_environment_and_a_later_one_has_nothing_to_do(checkout: Path) -> None:
    both = [start_dev(checkout, "install") for _ in range(2)]
    outputs = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert sorted("Making .venv" in output for output, _ in outputs) == [False, True]

    later = start_dev(checkout, "install", PATH="")
    assert later.communicate(timeout=20) == ("", "")
    assert later.returncode == 0

    (checkout / "requirements.txt").write_text("./nowhere\n")
    changed = start_dev(checkout, "install")
    output, errors = changed.communicate(timeout=120)
    assert output == "Installing requirements.txt into .venv (only when they change)\n"
    assert errors.endswith("dev.py: requirements.txt could not be installed; the reason is in the lines above.\n")
    assert changed.returncode == 1


def test_pictures_without_a_browser_are_one_sentence_and_nothing_is_started(tmp_path: Path) -> None:
    output = tmp_path / "pictures"
    process = start_dev(ROOT, "shots", "--output", str(output), PATH=str(tmp_path))
    said, errors = process.communicate(timeout=60)
    assert (process.returncode, said) == (1, "")
    assert errors == (
        "dev.py: Pictures are taken with Chromium, which is not here: "
        "apt-get install --no-install-recommends chromium\n"
    )
    assert not output.exists()
