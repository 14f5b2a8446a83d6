"""The bytes that a distribution's digest commits to: leaf 0 is the header, leaf i the row at position i.

All are canonical JSON; amounts are decimal text in currency units. Standard library only.
"""

from __future__ import annotations

from functools import lru_cache
from json.encoder import encode_basestring  # type: ignore[attr-defined]

from rewards.allocation.canonical import canonical_json, utf16_order


def header_leaf(
    programme: str, period_key: str, currency: str, source: str, amount: str, rule: dict[str, object]
) -> bytes:
    """Leaf 0: what was paid for which period, from where, by which rule. `source` names the account."""
    return canonical_json(
        {
            "programme": programme,
            "period_key": period_key,
            "currency": currency,
            "source": source,
            "amount": amount,
            "rule": rule,
        }
    )


def row_leaf(position: int, user: str, score: str, amount: str, breakdown: dict[str, str], salt: str) -> bytes:
    """Leaf `position`: one participant's place, score and amount.

    The same bytes as `canonical_json` of an object with these keys, some five times faster: a payout has a million
    of them. `breakdown` gives the amount by slice. Raises `TypeError` where text is no text, `ValueError` for lone
    surrogates.
    """
    shares = ",".join([f"{key}{encode_basestring(breakdown[name])}" for name, key in _sorted_keys(tuple(breakdown))])
    # The keys stand in canonical order.
    text = (
        f'{{"amount":{encode_basestring(amount)},"breakdown":{{{shares}}},"position":{position:d},'
        f'"salt":{encode_basestring(salt)},"score":{encode_basestring(score)},"user":{encode_basestring(user)}}}'
    )
    return text.encode()


@lru_cache(maxsize=4096)
def _sorted_keys(names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Each name with its key as written in JSON, in canonical order; few combinations of slices occur."""
    return tuple((name, f"{encode_basestring(name)}:") for name in sorted(names, key=utf16_order))
