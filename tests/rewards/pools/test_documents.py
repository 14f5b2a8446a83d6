"""The examples in docs/rules.md are rules; the last three are those of cases and of new pools."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from rewards.allocation.presets import case_rule, daily_rule, hourly_rule
from rewards.allocation.rules import Measure, Participants, allocate

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "rules.md"
EXAMPLES = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)]

PLACES = 40
PARTICIPANTS = Participants(
    Measure(list(range(PLACES, 0, -1)), 0),
    measures={
        "votes": Measure([12] * PLACES, 0),
        "ecc": Measure(list(range(PLACES)), 0),
        **{part["name"]: Measure([1] * PLACES, 0) for part in case_rule()["slices"]},
        "argument": Measure([1] * PLACES, 0),
    },
    amounts=[10] * PLACES,
)


@pytest.mark.parametrize("rule", EXAMPLES, ids=lambda rule: rule["rule"])
def test_each_example_shares_out_an_amount(rule):
    allocation = allocate(rule, 1_000_000, PARTICIPANTS, decimals=2)
    assert int(allocation.amounts.sum()) + allocation.unpaid == 1_000_000
    assert allocation.amounts.sum() > 0


def test_the_document_shows_the_rules_of_cases_and_of_new_pools():
    assert EXAMPLES[-3:] == [case_rule(), hourly_rule(), daily_rule()]
