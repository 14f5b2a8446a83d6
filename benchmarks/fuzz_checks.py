"""Loaded by schemathesis itself (fuzz.toml): as whom it calls, what it can make up, and a check of its own."""

from __future__ import annotations

import atexit
import json
import os
import random
from collections import Counter, defaultdict
from itertools import cycle
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from zoneinfo import available_timezones

import schemathesis
from hypothesis import strategies
from schemathesis.core.failures import AcceptedNegativeData, Failure
from schemathesis.openapi.checks import RejectedPositiveData

CALLER = json.loads(os.environ["FUZZ_CALLER"])
HEADERS = CALLER["headers"]
SPARE_TOKENS = cycle(CALLER["spare_tokens"])

USERNAMES = ["alice", "bob", "carol"]
KNOWN: dict[str, list[Any]] = {
    **dict.fromkeys(("user", "to", "winner", "loser"), USERNAMES),
    "currency": ["coins", "coins", "points"],
    "amount": [1, "0.01", "12.50"],
    "count": [5, 10],
    "enemy_id": ["wolf"],
    "encounter_id": [f"e-{number}" for number in range(100_000)],
}

# An address that is none, a method that an address does not take, a type of answer that there is not.
LOOKED_AT_BEFORE_THE_CALLER = {404, 405, 406}

schemathesis.openapi.format("time-zone", strategies.sampled_from(sorted(available_timezones())))

cursors: dict[str, str] = {}
answers: defaultdict[str, Counter[int]] = defaultdict(Counter)


def operation_of(case: Any) -> str:
    return case.operation.definition.raw["operationId"]


# ------------------------------------------------------------------------------------------------------- as whom, what


@schemathesis.auth(cache_by_key=lambda case, context: case.method)
class Credentials:
    def get(self, case: Any, context: Any) -> dict[str, str]:
        return dict(HEADERS)

    def set(self, case: Any, data: dict[str, str], context: Any) -> None:
        if operation_of(case) == "sign_out" and case.method == "DELETE" and CALLER["spare_tokens"]:
            # With its own token the caller would have none for the rest of the run.
            data = {"Authorization": f"Bearer {next(SPARE_TOKENS)}"}
        case.headers.update(data)


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    # Who signs in is counted by his address.
    case.headers["X-Forwarded-For"] = f"10.{random.randrange(256)}.{random.randrange(256)}.{random.randrange(1, 255)}"
    name_what_is_there(case)
    go_on_with_a_page(case)


def name_what_is_there(case: Any) -> None:
    """In two of three cases that are as they must be: or hardly any would name a user or a currency that there is."""
    if case.meta is None or not case.meta.generation.mode.is_positive or random.random() < 1 / 3:
        return
    body = case.body if isinstance(case.body, dict) else {}
    for part in (body, body.get("context"), case.query):
        for name in KNOWN.keys() & (part or {}):
            part[name] = random.choice(KNOWN[name])
    if "claim_key" in body:
        # Left out, it is the one that the context gives; one that is made up fits only where a context gives none.
        del body["claim_key"]
        if random.random() < 1 / 2:
            body["claim_key"] = f"deed-{random.randrange(100_000)}"


def go_on_with_a_page(case: Any) -> None:
    """In every other case that has a cursor: with one that was given out, which nobody can make up."""
    cursor = cursors.get(str((case.query or {}).get("currency")))
    if cursor and "cursor" in case.query and random.random() < 0.5:
        case.query["cursor"] = cursor


@schemathesis.hook
def after_call(context: Any, case: Any, response: Any) -> None:
    answers[operation_of(case)][response.status_code] += 1
    if operation_of(case) == "statement" and response.status_code == 200:
        following = parse_qs(urlsplit(response.json()["next"] or "").query)
        cursors.update(zip(following.get("currency", ()), following.get("cursor", ()), strict=False))


# ------------------------------------------------------------------------------------------------------------- checks


class NotTurnedAway(Failure):
    """Somebody got further than he may."""


@schemathesis.check
def only_whom_it_is_for(ctx: Any, response: Any, case: Any) -> None:
    """Whoever an operation is not for is turned away before anything else is looked at: a machine with 403."""
    operation_id = operation_of(case)
    operation_id = "claim" if operation_id.startswith("claim_") else operation_id
    if operation_id == "sign_in" or operation_id in CALLER["may"]:
        return
    # Who is nobody is asked who he is. Nobody but a token signs out: other credentials are not looked at there.
    known = HEADERS and operation_id != "sign_out"
    expected = 403 if known else 401
    if response.status_code not in LOOKED_AT_BEFORE_THE_CALLER | {expected}:
        message = f"Expected {expected}, not {response.status_code}: this is not for a caller who may {CALLER['may']}."
        raise NotTurnedAway(operation=case.operation.label, title="Not turned away", message=message)


@schemathesis.hook
def filter_failure(context: Any, failure: Any, case: Any, response: Any) -> bool:
    """False: what the schema cannot say, and no fault."""
    operation_id = operation_of(case)
    if isinstance(failure, AcceptedNegativeData) and operation_id == "record_activity":
        # A bad event does not stop the others: it is told in an answer of 200.
        return not response.json()["rejected"]
    if isinstance(failure, RejectedPositiveData) and response.status_code == 400:
        problem = response.json()
        if operation_id == "statement" and [*problem.get("errors", ())] == ["cursor"]:
            return False  # nobody can make up a cursor: it is signed
        if operation_id == "transfer" and (
            problem["code"] == "invalid_amount" or [*problem.get("errors", ())] == ["amount"]
        ):
            return False  # how many decimals and digits an amount may have, its currency and the balance say
    return True


@atexit.register
def write_counts() -> None:
    Path(os.environ["FUZZ_ANSWERS"]).write_text(json.dumps(answers))
