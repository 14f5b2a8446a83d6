"""What docs/campaigns.md shows can be done as it stands."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from rewards.campaigns.services import Layout
from rewards.campaigns.sources import check_participants, source_of
from tests.rewards.campaigns.conftest import paid, run, upload

DOCUMENT = (Path(__file__).resolve().parents[3] / "docs" / "campaigns.md").read_text()

pytestmark = pytest.mark.django_db


def test_the_list(campaign):
    [lines] = re.findall(r"```list\n(.*?)```", DOCUMENT, re.DOTALL)
    grants = campaign()
    upload(grants, *lines.splitlines(), layout=Layout("user", "weight", "amount", "group"))

    assert list(paid(run(grants))) == ["alice", "bob", "carol, the elder"]


def test_each_source(points):
    shown = [json.loads(text) for text in re.findall(r"^\| `(\{.*?\})` \|", DOCUMENT, re.MULTILINE)]

    assert [each["source"] for each in shown] == ["upload", "counter", "holders"]
    for participants in shown:
        assert check_participants(participants) == participants
        assert source_of(participants).words(participants)


def test_the_rule_of_the_example_is_one(campaign):
    [rule] = re.findall(r"--rule '(\{.*?\})'", DOCUMENT)

    assert campaign(rule=json.loads(rule)).pk
