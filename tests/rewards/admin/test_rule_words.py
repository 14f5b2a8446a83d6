"""A rule in words."""

from __future__ import annotations

import pytest

from rewards.admin.common.rule_words import rule_in_words


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"top": 1}, "the first 1 place"),
        ({"top": 10, "at_least": {"votes": "10"}}, "the first 10 places with at least 10 votes"),
        ({"all": True, "at_least": {"votes": "1"}, "min_score": "1"}, "everyone with at least 1 vote and a score of"),
        ({"all": True, "at_least": {"stake": "1"}}, "everyone with at least 1 stake,"),
    ],
)
def test_one_is_told_in_the_singular(members: dict[str, object], words: str) -> None:
    rule = {"rule": "slices", "slices": [{"name": "all", "weight": 1, "members": members, "rule": {"rule": "equal"}}]}

    assert f"all: 100% to {words}" in rule_in_words(rule)[1][0]
