"""The files shown in docs/activity.md can be imported as they stand."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from django.core.management import call_command

from tests.rewards.activity.conftest import counters

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "activity.md"

pytestmark = pytest.mark.django_db


def example(kind: str, folder: Path) -> str:
    path = folder / f"{kind}.csv"
    path.write_text(re.search(rf"```{kind}\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)[1])
    return str(path)


def test_the_votes(tmp_path):
    out = io.StringIO()
    call_command("import_votes", example("votes", tmp_path), stdout=out)

    assert "Read 3: accepted 3" in out.getvalue()


def test_the_activity(tmp_path):
    out = io.StringIO()
    call_command("import_activity", example("activity", tmp_path), "--create-users", stdout=out)

    assert "Read 2: accepted 2" in out.getvalue()
    assert counters()["alice", "correct_answers", "2026-03"] == 17
