"""The file: canonical JSON, so that the same rules are the same text and a difference is a difference of rules."""

from __future__ import annotations

import json
from typing import Any

from rewards.audit.services import storable_text
from rewards.common.json_names import each_name_once
from rewards.exchange.errors import FileUnreadable, NewerFormat

FORMAT, VERSION = "rewards-rules", 1
LARGEST_BYTES = 5_000_000
DEEPEST = 40

Sections = dict[str, dict[str, Any]]
"""Kind → natural key → facts."""


def to_text(sections: Sections) -> str:
    document = {"format": FORMAT, "version": VERSION, "rules": sections}
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def from_bytes(content: bytes) -> Sections:
    """The rules of a file. Raises `FileUnreadable`, `NewerFormat`."""
    if len(content) > LARGEST_BYTES:
        raise FileUnreadable(f"The file has {len(content):,} bytes; one of rules has at most {LARGEST_BYTES:,}.")
    try:
        document = json.loads(
            content.decode("utf-8-sig"), object_pairs_hook=each_name_once, parse_constant=_no_constant
        )
    except RecursionError as error:
        raise FileUnreadable("The file is nested too deep to be read.") from error
    except ValueError as error:  # also what is not UTF-8
        raise FileUnreadable(f"The file is not JSON in UTF-8: {error}") from error
    return _sections_of(document)


def _sections_of(document: Any) -> Sections:
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise FileUnreadable(f'The file does not say "format": "{FORMAT}": it was not written by export_rules.')
    version = document.get("version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise FileUnreadable('The file does not say its version, such as "version": 1.')
    if version > VERSION:
        raise NewerFormat(
            f"The file has version {version} of the format, this installation reads up to {VERSION}: "
            "bring it up to date first."
        )
    unknown = document.keys() - {"format", "version", "rules"}
    if unknown:
        raise FileUnreadable(f"The file has {', '.join(sorted(unknown))} beside its rules: nothing else is taken.")
    sections = document.get("rules")
    if not isinstance(sections, dict) or not all(isinstance(rules, dict) for rules in sections.values()):
        raise FileUnreadable('"rules" must be an object: kind, then name, then what the rule says.')
    _require_storable(sections, 0)
    return sections


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no number of JSON")


def _require_storable(value: Any, depth: int) -> None:
    """No text that PostgreSQL would refuse, and nothing nested deeper than any rule is."""
    if depth > DEEPEST:
        raise FileUnreadable("The file is nested too deep to be read.")
    if isinstance(value, str) and storable_text(value) != value:
        raise FileUnreadable(f"The text {storable_text(value)[:60]!r} has a character that cannot be stored.")
    if isinstance(value, dict):
        for name, item in value.items():
            _require_storable(name, depth)
            _require_storable(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _require_storable(item, depth + 1)
