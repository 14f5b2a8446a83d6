"""The context of a claim: bounded plain JSON, of the form that the claim type's JSON Schema describes. No database."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from rewards.claims.errors import ContextRefused

LARGEST_BYTES = 16_384  # as JSON
DEEPEST_NESTING = 20
LARGEST_NUMBER = 10**40
MOST_PROBLEMS = 20
LONGEST_PROBLEM = 200


def plain_context(context: object) -> dict[str, Any]:
    """The context as a dict, if it is a JSON object that every database can keep. Raises `ContextRefused`."""
    if not isinstance(context, Mapping):
        raise ContextRefused('The context must be a JSON object such as {"floor": 5}.')
    plain = dict(context)
    _refuse_what_is_not_plain(plain, depth=1)
    if len(json.dumps(plain)) > LARGEST_BYTES:
        raise ContextRefused(
            f"The context has more than {LARGEST_BYTES} bytes as JSON: send only what the claim needs."
        )
    return plain


def _refuse_what_is_not_plain(value: Any, depth: int) -> None:
    if depth > DEEPEST_NESTING:
        raise ContextRefused(f"The context is nested more than {DEEPEST_NESTING} levels deep.")
    if isinstance(value, str):
        if "\0" in value or (not value.isascii() and _has_lone_surrogates(value)):
            raise ContextRefused("The context holds a character that is not text: NUL, or half of a surrogate pair.")
    elif isinstance(value, dict):
        for name, entry in value.items():
            if not isinstance(name, str):
                raise ContextRefused("The names of a JSON object are texts.")
            _refuse_what_is_not_plain(name, depth)
            _refuse_what_is_not_plain(entry, depth + 1)
    elif isinstance(value, list):
        for entry in value:
            _refuse_what_is_not_plain(entry, depth + 1)
    elif isinstance(value, int | float):
        if not (math.isfinite(value) if isinstance(value, float) else -LARGEST_NUMBER < value < LARGEST_NUMBER):
            raise ContextRefused("A number in the context is too large, or is none.")
    elif value is not None:
        raise ContextRefused(f"A {type(value).__name__} in the context is not JSON: write it as text.")


def _has_lone_surrogates(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


class ContextSchema:
    """A JSON Schema (draft 2020-12), compiled once. No reference is ever fetched."""

    def __init__(self, schema: object) -> None:
        """Raises `ValueError` with a sentence that says what is wrong with the schema."""
        if not isinstance(schema, dict):
            raise ValueError('A JSON Schema is an object such as {"type": "object"}.')
        try:
            Draft202012Validator.check_schema(schema)
            _refuse_foreign_references(schema)
        except SchemaError as error:
            place = ".".join(map(str, error.absolute_path))
            raise ValueError(
                f"This is no JSON Schema: {place}{': ' if place else ''}{_short(error.message)}"
            ) from error
        except RecursionError as error:
            raise ValueError("The schema is nested too deeply.") from error
        properties = schema.get("properties")
        self.names: frozenset[str] | None = frozenset(properties) if properties else None
        self.defaults = {
            name: each["default"]
            for name, each in (properties or {}).items()
            if isinstance(each, dict) and "default" in each
        }
        self._validator = Draft202012Validator(schema, registry=Registry())

    def with_defaults(self, context: Mapping[str, Any]) -> dict[str, Any]:
        return {**self.defaults, **context}

    def problems(self, context: Mapping[str, Any]) -> dict[str, str]:
        """Place in the context → what is wrong there; empty when nothing is."""
        try:
            errors = list(islice(self._validator.iter_errors(context), MOST_PROBLEMS))
        except (RecursionError, Unresolvable):
            return {"context": "The schema of this claim type refers to itself without end."}
        return {place: _short(sentence) for error in errors for place, sentence in _problems_of(error)}


def _refuse_foreign_references(schema: dict[str, Any]) -> None:
    resolver = Registry().resolver_with_root(DRAFT202012.create_resource(schema))
    for reference in _references(schema):
        try:
            resolver.lookup(reference)
        except Unresolvable as error:
            sentence = f"{_short(reference)!r} is not in this schema: only parts of itself can be referred to."
            raise ValueError(sentence) from error


def _references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        for name, value in part.items():
            if name in ("$ref", "$dynamicRef") and isinstance(value, str):
                yield value
            else:
                yield from _references(value)
    elif isinstance(part, list):
        for value in part:
            yield from _references(value)


def _problems_of(error: ValidationError) -> Iterator[tuple[str, str]]:
    path = [str(step) for step in error.absolute_path]
    if error.validator == "required" and isinstance(error.instance, dict):
        for name in error.validator_value:
            if name not in error.instance:
                yield ".".join([*path, name]), "This is missing."
    else:
        yield ".".join(path) or "context", error.message


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_PROBLEM else f"{text[:LONGEST_PROBLEM]}…"
