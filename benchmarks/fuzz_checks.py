"""Loaded by schemathesis itself (fuzz.toml): as whom it calls, what it can make up, and a check of its own."""

from __future__ import annotations

import atexit
import json
import os
import random
from collections import Counter, defaultdict
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from zoneinfo import available_timezones

import schemathesis
from hypothesis import strategies
from schemathesis.core.failures import AcceptedNegativeData
from schemathesis.generation.meta import TestPhase
from schemathesis.openapi.checks import RejectedPositiveData

CALLER = json.loads(os.environ["FUZZ_CALLER"])
HEADERS = CALLER["headers"]
SPARE_TOKENS = cycle(CALLER["spare_tokens"])

USERNAMES = ["alice", "bob", "carol"]
KNOWN: dict[str, list[Any]] = {
    **dict.fromkeys(("user", "user_id", "to", "winner", "loser"), USERNAMES),
    "currency": ["coins", "coins", "points"],
    "amount": [1, "0.01", "12.50"],
    "count": [5, 10],
    "enemy_id": ["wolf"],
    "encounter_id": [f"e-{number}" for number in range(100_000)],
    "programme": ["campaign:paid-0", "campaign:draft-0"],
    "period": ["1"],
    "period_key": ["1"],
    "source": ["issuance"],
    "participants": [{"source": "upload"}, {"source": "holders", "currency": "points"}],
    "rule": [{"rule": "equal"}, {"rule": "proportional", "max_share": "0.5"}],
}
A_MONTH = {"month": [12, 12, 13], "year": [2024, 2025]}
KNOWN_OF: dict[str, dict[str, list[Any]]] = {
    "start_monthly_rewards": A_MONTH,
    "monthly_rewards_status": A_MONTH,
    "claim_rewards": {"wallet_address": ["0x52908400098527886E0F7030069857D2E4169EE7"]},
    "leaderboard": {
        "at": ["2026-11-01T00:00:00Z", "2020-02-29T23:59:59+14:00", "1970-01-01T00:00:00-12:00"],
        "month": [f"{datetime.now(UTC):%Y-%m}", "2026-10", "2026-01"],
    },
}
"""By operation: where the same name means something else."""
THERE = CALLER["known"].get("", {})
"""Path parameters that lead somewhere, whatever the operation."""
KNOWN |= dict.fromkeys(("deployment", "deployment_id"), THERE["deployment_id"]) if THERE else {}
# Left out in those cases: hardly anything that is made up would fit what is there.
LEFT_OUT = {
    "approve_distribution": ("digest",),
    "upload_participants": ("user_column", "weight_column", "amount_column", "group_column", "amount_scale"),
}

LISTS = ["user,weight\nalice,2\nbob,1\n", "user,amount,group\nalice,0.50,red\n", "user,weight\nalice,x\n"]

schemathesis.openapi.format("time-zone", strategies.sampled_from(sorted(available_timezones())))

cursors: dict[tuple[str, str], str] = {}
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
    for part in (body, body.get("context"), body.get("against"), case.query):
        choices = KNOWN | KNOWN_OF.get(operation_of(case), {}) | CALLER["known"].get(operation_of(case), {})
        for name in choices.keys() & (part or {}):
            part[name] = random.choice(choices[name])
        for name in LEFT_OUT.get(operation_of(case), ()):
            (part or {}).pop(name, None)
    if operation_of(case) == "upload_participants":
        case.body = random.choice(LISTS)
    if case.meta.phase.name != TestPhase.STATEFUL:  # which goes on with what it has made
        known = THERE | CALLER["known"].get(operation_of(case), {})
        for name in known.keys() & (case.path_parameters or {}):
            case.path_parameters[name] = random.choice(known[name])
    if "claim_key" in body:
        # Left out, it is the one that the context gives; one that is made up fits only where a context gives none.
        del body["claim_key"]
        if random.random() < 1 / 2:
            body["claim_key"] = f"deed-{random.randrange(100_000)}"


def go_on_with_a_page(case: Any) -> None:
    """In every other case that has a cursor: with one that was given out, which nobody can make up."""
    cursor = cursors.get(list_of(case))
    if cursor and "cursor" in (case.query or {}) and random.random() < 0.5:
        case.query["cursor"] = cursor


@schemathesis.hook
def after_call(context: Any, case: Any, response: Any) -> None:
    answers[operation_of(case)][response.status_code] += 1
    if response.status_code == 200 and case.method == "GET" and isinstance(response.json(), dict):
        following = parse_qs(urlsplit(response.json().get("next") or "").query)
        cursors.update({list_of(case): cursor for cursor in following.get("cursor", ())})


def list_of(case: Any) -> tuple[str, str]:
    """What a cursor belongs to."""
    return case.formatted_path, str((case.query or {}).get("currency"))


# ------------------------------------------------------------------------------------------------------------- checks


@schemathesis.hook
def filter_failure(context: Any, failure: Any, case: Any, response: Any) -> bool:
    """False: what the schema cannot say, and no fault."""
    operation_id = operation_of(case)
    if response is not None and response.status_code == 414:
        return False  # gunicorn's: the request did not come through to the product
    if isinstance(failure, AcceptedNegativeData) and operation_id == "record_activity":
        # A bad event does not stop the others: it is told in an answer of 200.
        return not response.json()["rejected"]
    if isinstance(failure, RejectedPositiveData) and response.status_code == 400:
        problem = response.json()
        wrong = {*problem.get("errors", ())}
        if wrong == {"cursor"}:
            return False  # nobody can make up a cursor
        if problem["code"] == "invalid_amount" or (wrong and wrong <= {"amount", "approval_limit"}):
            return False  # how many decimals and digits an amount may have, its currency and the balance say
        if operation_id in ("start_monthly_rewards", "monthly_rewards_status") and wrong in ({"month"}, {"year"}):
            return False  # both or neither
        if wrong == {"programme"} or problem["code"] in ("wrong_columns", "unreadable_file") or "amount_scale" in wrong:
            return False  # which there are, the product or the file says
    return True


@atexit.register
def write_counts() -> None:
    Path(os.environ["FUZZ_ANSWERS"]).write_text(json.dumps(answers))
