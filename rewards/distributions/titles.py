"""What people read instead of the names of programmes and periods."""

from __future__ import annotations

from rewards.distributions.models import Distribution

CAPITALS = {"cc": "CC"}


def programme_title(programme: str) -> str:
    """`monthly:students` as people read it: Monthly: students; `cc_market`: CC market."""
    words = programme.replace(":", ": ").replace("_", " ").replace("-", " ").capitalize().split()
    return " ".join(CAPITALS.get(word.lower(), word) for word in words)


def period_title(distribution: Distribution) -> str:
    """Its period; where that begins with the programme again, what follows: `case:7` of `case` is 7."""
    return distribution.period_key.removeprefix(f"{distribution.programme}:")
