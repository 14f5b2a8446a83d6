"""The same in a terminal."""

from __future__ import annotations

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from badges.models import Badge


def run(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def test_rules_are_written_edited_looked_at_and_taken(tmp_path) -> None:
    file = tmp_path / "rules.json"
    assert "written to" in run("export_rules", "--output", str(file))
    assert run("export_rules") == file.read_text()
    document = json.loads(file.read_text())
    document["rules"]["badges"]["first_win"]["bonus"] = 60
    file.write_text(json.dumps(document))

    shown = run("import_rules", str(file), "--dry-run")
    assert "Change badges first_win" in shown
    assert '-  "bonus": 50' in shown
    assert '+  "bonus": 60' in shown
    assert "0 to create, 1 to change" in shown
    assert Badge.objects.get(slug="first_win").bonus == 50

    with pytest.raises(CommandError, match="--reason"):
        run("import_rules", str(file))
    run("import_rules", str(file), "--reason", "As agreed")
    badge = Badge.objects.get(slug="first_win")
    assert badge.bonus == 60
    assert badge.history.first().history_change_reason == "As agreed"
    assert "0 created, 0 changed" in run("import_rules", str(file), "--reason", "Again")


def test_refusals_end_the_command_with_each_of_them_shown(tmp_path) -> None:
    file = tmp_path / "rules.json"
    rules = {"badges": {"first_win": {"threshold": 0}}, "boards": {"b": {"source": "luck"}}}
    file.write_text(json.dumps({"format": "rewards-rules", "version": 1, "rules": rules}))
    for option in (["--dry-run"], ["--reason", "Try"]):
        out = StringIO()
        with pytest.raises(CommandError, match="2 rules are refused"):
            call_command("import_rules", str(file), *option, stdout=out)
        assert "Refused badges first_win:" in out.getvalue()
        assert "Refused boards b:" in out.getvalue()
    with pytest.raises(CommandError, match="cannot be read"):
        run("import_rules", str(tmp_path / "nothing.json"), "--dry-run")
