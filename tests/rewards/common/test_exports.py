"""What a spreadsheet would run as a formula."""

from __future__ import annotations

import pytest

from rewards.common.exports import spreadsheet_safe


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1+1", "＋1", "－1+1", "＠SUM(A1)", "-", "--5",
     '=HYPERLINK("http://example.com")', "-5.5.5", "=", "+5"],
)  # fmt: skip
def test_a_formula_gets_an_apostrophe(text):
    assert spreadsheet_safe(text) == f"'{text}"


@pytest.mark.parametrize("value", ["alice", "5", "-5", "-5.25", "", "a=b", "2026-11-21", 7, -7, None, "'=1"])
def test_numbers_and_harmless_text_stay_as_they_are(value):
    assert spreadsheet_safe(value) == value
