"""What anyone can check offline, with nothing but Python."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from rewards.distributions import services

pytestmark = pytest.mark.django_db

ROOT = Path(__file__).resolve().parents[3]


def checked_offline(file: Path) -> subprocess.CompletedProcess[str]:
    """By a Python without any installed package."""
    command = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); "
               "import runpy; sys.argv = ['verify', sys.argv[1]]; "
               "runpy.run_module('rewards.allocation.verify', run_name='__main__')", str(file)]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def paid(prize, open_prize, alice, bob, carol):
    prize.scores, prize.prize = {"alice": 30, "bob": 20, "carol": 20}, 1000
    return services.advance(open_prize().pk)


def test_a_whole_distribution_is_checked_offline(paid, tmp_path):
    file = tmp_path / "out.json.gz"
    call_command("export_distribution", paid.pk, file)
    assert checked_offline(file).returncode == 0
    told = json.loads(gzip.decompress(file.read_bytes()))
    told["rows"][1]["amount"] = "3.34"
    (tmp_path / "forged.json").write_text(json.dumps(told))
    assert checked_offline(tmp_path / "forged.json").returncode == 1


def test_a_recipient_checks_his_own_row(paid, tmp_path):
    file = tmp_path / "bob.json"
    call_command("export_distribution", paid.pk, file, proof="bob")
    assert checked_offline(file).returncode == 0
    forged = json.loads(file.read_text())
    forged["leaf"]["amount"] = "9.99"
    file.write_text(json.dumps(forged))
    assert checked_offline(file).returncode == 1


def test_what_cannot_be_exported_is_said(paid, tmp_path, make_user):
    make_user("dave")
    for arguments, options in [((paid.pk + 1, tmp_path / "x"), {}), ((paid.pk, tmp_path / "x"), {"proof": "dave"}),
                               ((paid.pk, tmp_path / "no" / "x"), {})]:  # fmt: skip
        with pytest.raises(CommandError):
            call_command("export_distribution", *arguments, **options)
