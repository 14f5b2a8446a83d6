"""Reading what a language model answered: everything is checked, and nothing of it is quoted in an error."""

from __future__ import annotations

import json
import re
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn

from django.views.decorators.debug import sensitive_variables

from rewards.cases.generator.endpoint import NotAnswered
from rewards.cases.generator.written import WrittenCase
from rewards.cases.models import Side
from rewards.cases.sealing import is_storable
from rewards.common.json_names import each_name_once

FIELDS = ("title", "context", "verdict", "reasoning", "confidence")
LENGTHS = {"title": (10, 200), "context": (200, 4_000), "reasoning": (100, 4_000)}  # characters
ECHO_WORDS = 8  # so many of the prompt's words in a row are an echo of it
DECIMALS = Decimal("0.0001")

_FENCED = re.compile(r"\A```(?:json)?\s*\n(.*)\n```\Z", re.DOTALL)


@sensitive_variables()
def read_answer(answer: bytes, prompt: str) -> WrittenCase:
    """The case in an answer of `/chat/completions`. Raises `NotAnswered`, which names the fault and quotes nothing."""
    content = _content_of(_object(answer, "The answer"))
    fenced = _FENCED.match(content.strip())
    fields = _object((fenced.group(1) if fenced else content).encode("utf-8", "replace"), "What the model wrote")
    if set(fields) != set(FIELDS):
        raise NotAnswered(f"The model is to write {', '.join(FIELDS)}, and nothing else.")
    if fields["verdict"] not in Side.values:
        raise NotAnswered("The verdict that the model wrote is neither YES nor NO.")
    texts = {name: _text(name, fields[name]) for name in LENGTHS}
    for name, text in texts.items():
        if _is_echo(text, prompt):
            raise NotAnswered(f"The model gave back its own instructions as the {name}.")
    return WrittenCase(
        title=texts["title"],
        context=texts["context"],
        verdict=fields["verdict"],
        reasoning=texts["reasoning"],
        confidence=_confidence(fields["confidence"]),
    )


@sensitive_variables()
def _object(data: bytes, what: str) -> dict[str, Any]:
    try:
        value = json.loads(data, parse_float=Decimal, parse_constant=_refuse_constant, object_pairs_hook=each_name_once)
    except (ValueError, RecursionError, InvalidOperation):
        value = None
    if not isinstance(value, dict):
        raise NotAnswered(f"{what} is no JSON object.")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


@sensitive_variables()
def _content_of(answer: dict[str, Any]) -> str:
    try:
        content = answer["choices"][0]["message"]["content"]
    except (KeyError, IndexError, TypeError):
        content = None
    if not isinstance(content, str):
        raise NotAnswered("The answer has no message of the model in it.")
    return content


@sensitive_variables()
def _text(name: str, value: Any) -> str:
    shortest, longest = LENGTHS[name]
    text = value.replace("\r\n", "\n").strip() if isinstance(value, str) else ""
    if not shortest <= len(text) <= longest:
        raise NotAnswered(f"The {name} is to be a text of {shortest:,} to {longest:,} characters.")
    line_ends = "" if name == "title" else "\n"
    if not is_storable(text) or not all(character.isprintable() or character in line_ends for character in text):
        raise NotAnswered(f"The {name} has characters in it that do not print.")
    return text


@sensitive_variables()
def _confidence(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | Decimal) or not 0 <= value <= 1:
        raise NotAnswered("The confidence is to be a number from 0 to 1.")
    return Decimal(value).quantize(DECIMALS)


@sensitive_variables()
def _is_echo(text: str, prompt: str) -> bool:
    """Whether they share a run of words, or a text of fewer words stands in the prompt."""
    said, words = " ".join(_words(prompt)), _words(text)
    runs = (" ".join(words[start : start + ECHO_WORDS]) for start in range(max(1, len(words) - ECHO_WORDS + 1)))
    return any(f" {run} " in f" {said} " for run in runs)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())
