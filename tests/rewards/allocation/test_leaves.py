"""The bytes that a digest commits to."""

from __future__ import annotations

import pytest

from rewards.allocation.canonical import canonical_json
from rewards.allocation.leaves import header_leaf, row_leaf


def test_alices_row():
    leaf = row_leaf(1, "alice", "12.5", "71.00", {"top10": "50.00", "all": "21.00"}, "5eed")
    assert leaf == (
        b'{"amount":"71.00","breakdown":{"all":"21.00","top10":"50.00"},"position":1,"salt":"5eed","score":"12.5",'
        b'"user":"alice"}'
    )


@pytest.mark.parametrize(
    "user", ['quote"', "back\\slash", "new\nline", "\x00\x1f\x7f", "Zoë", "李", "😀", "\u2028", "</script>"]
)
def test_any_username_is_written_as_canonical_json_writes_it(user):
    breakdown = {user: "1", "\ufb33": "2", "\U0001f600x": "3"}
    row = {"position": 7, "user": user, "score": "3", "amount": "6", "breakdown": breakdown, "salt": "s"}
    assert row_leaf(**row) == canonical_json(row)


def test_a_row_without_a_share():
    row = {"position": 10**6, "user": "bob", "score": "0", "amount": "0", "breakdown": {}, "salt": ""}
    assert row_leaf(**row) == canonical_json(row)


def test_the_header():
    leaf = header_leaf("pool_hourly", "2026-11-21T07", "points", "pool:hourly", "1000", {"rule": "equal"})
    assert leaf == (
        b'{"amount":"1000","currency":"points","period_key":"2026-11-21T07","programme":"pool_hourly",'
        b'"rule":{"rule":"equal"},"source":"pool:hourly"}'
    )


def test_an_amount_that_is_not_text_is_refused():
    with pytest.raises(TypeError):
        row_leaf(1, "alice", "1", 5, {}, "s")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        row_leaf(1, "alice", "1", "5", {"all": 5}, "s")  # type: ignore[dict-item]
    with pytest.raises(ValueError):
        row_leaf("1", "alice", "1", "5", {}, "s")  # type: ignore[arg-type]


def test_a_lone_surrogate_is_refused():
    with pytest.raises(ValueError):
        row_leaf(1, "\ud800", "1", "5", {}, "s")
