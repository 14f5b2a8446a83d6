"""Fuzz the API by its own schema: no server error, and only documented answers, whoever calls.

    python -m benchmarks.fuzz [--database postgres://user@host/any] [--examples 500] [--seed 1] [--caller user …]

For each caller schemathesis goes through its four phases (examples, coverage, fuzzing, stateful) against a gunicorn
with a database of its own, in which the product's defaults stand and three users own something of every currency. A
caller is a machine with one right, a user with a token, a member of staff with a session, or nobody. Ends with an error
when a check failed; the report says how to repeat the request. What is checked stands in `fuzz.toml` and
`fuzz_checks.py`.
"""

from __future__ import annotations

import argparse
import copy
import io
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import django

from benchmarks.harness import fresh_database

HERE = Path(__file__).parent
SCRIPTS = Path(sys.executable).parent
USERNAMES = ("alice", "bob", "carol")
PASSWORD = "correct horse battery staple"
UNITS_OWNED = 1_000_000

OF_USERS = frozenset({"claim", "transfer", "profile", "change_profile", "statement"})
OF_RIGHTS = {
    "activity:write": frozenset({"record_activity"}),
    "claims:write": frozenset({"claim"}),
    "monthly:run": frozenset(),
    "rewards:distribute": frozenset(),
    "read": frozenset(),
}
CLAIMANTS = {"claims:write", "user"}


@dataclass(frozen=True)
class Caller:
    """`may`: the operations that are for him; from all others he is to be turned away."""

    name: str
    may: frozenset[str]
    headers: Mapping[str, str] = field(default_factory=dict)
    spare_tokens: tuple[str, ...] = ()
    """Of a user: one for each time that he signs out."""


@dataclass(frozen=True)
class Outcome:
    caller: str
    cases: int
    failures: int
    passed: bool
    answers: Mapping[str, Mapping[str, int]]
    """Of each operation by its id: how many answers had which status."""
    seconds: float
    text: str

    def __str__(self) -> str:
        figures = f"{self.cases:>7} cases {self.calls:>7} calls {self.failures:>4} failures {self.seconds:>6.1f} s"
        return f"{self.caller:<20} {figures}"

    @property
    def calls(self) -> int:
        """More than the cases: credentials that are missing or wrong are tried besides."""
        return sum(sum(by_status.values()) for by_status in self.answers.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--database", default="postgres://postgres@127.0.0.1/postgres")
    parser.add_argument("--examples", type=int, default=100, help="cases for each operation and phase (default 100)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--caller", action="append", help="only this one; may be given several times")
    options = parser.parse_args()
    with fresh_database(options.database, "rewards_benchmark_fuzz") as url, tempfile.TemporaryDirectory() as folder:
        os.environ |= settings_for(url)
        django.setup()
        from django.core.management import call_command
        from django.db import connection

        call_command("migrate", verbosity=0)
        callers = prepare(options.examples)
        documents = documents_for(callers)
        connection.close()
        asked = [each for each in callers if not options.caller or each.name in options.caller]
        outcomes = []
        with server(url, Path(folder) / "server.log") as address:
            for outcome in fuzz_each(asked, documents, address, Path(folder), options.examples, options.seed):
                print(outcome if outcome.passed else f"{outcome.text}\n{outcome}", flush=True)
                outcomes.append(outcome)
    if not all(outcome.passed for outcome in outcomes):
        raise SystemExit("Not every answer was a documented one: see above.")


# ---------------------------------------------------------------------------------------------------- what stands there


def prepare(examples: int) -> list[Caller]:
    """Fill the database with the product's defaults and rich users. Returns whoever is to call."""
    from django.core.management import call_command

    from rewards.parameters.services import set_parameter
    from rewards.users.models import User

    call_command("setup_defaults", stdout=io.StringIO())
    set_parameter("api.user_requests_per_minute", 1_000_000, actor=None, reason="A fuzzer is faster than any user.")
    users = [User.objects.create_user(name, password=PASSWORD) for name in USERNAMES]
    for user in users:
        _enrich(user)
    staff = User.objects.create_superuser("staff", password=PASSWORD)
    machines = [_machine(right, may) for right, may in OF_RIGHTS.items()]
    return [*machines, _user(users[0], examples), _staff(staff), Caller("nobody", frozenset())]


def _enrich(user: Any) -> None:
    from django.db import transaction

    from rewards.ledger import services as ledger
    from rewards.ledger.models import Currency

    Currency.objects.filter(code="coins").update(transferable=True)
    with transaction.atomic():
        for currency in Currency.objects.all():
            minor = currency.to_minor(UNITS_OWNED)
            ledger.credit(user, currency, minor, f"fuzz:{user.pk}:{currency.code}", "Something to play with")


def _machine(right: str, may: frozenset[str]) -> Caller:
    from rewards.access.services import create_api_key

    _, secret = create_api_key(right, [right], by=None)
    return Caller(right, may, {"x-api-key": secret})


def _user(user: Any, examples: int) -> Caller:
    from rewards.access.services import create_token

    secret, *spare = [create_token(user)[1] for _ in range(examples + 200)]
    return Caller("user", OF_USERS | {"sign_out"}, {"Authorization": f"Bearer {secret}"}, tuple(spare))


def _staff(user: Any) -> Caller:
    from django.conf import settings
    from django.test import Client

    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    csrf = "c" * 32
    cookies = f"{settings.SESSION_COOKIE_NAME}={client.cookies[settings.SESSION_COOKIE_NAME].value}; csrftoken={csrf}"
    return Caller("staff", OF_USERS, {"Cookie": cookies, "X-CSRFToken": csrf})


def documents_for(callers: Sequence[Caller]) -> dict[str, dict[str, Any]]:
    """The API's schema for each caller: with the claim types for a machine that claims, and for a user with a token."""
    from drf_spectacular.generators import SchemaGenerator

    # Through JSON: it is full of mappings that only look like plain ones.
    document = json.loads(json.dumps(SchemaGenerator().get_schema(request=None, public=True)))
    with_claim_types = _with_claim_types(document)
    return {each.name: with_claim_types if each.name in CLAIMANTS else document for each in callers}


def _with_claim_types(document: dict[str, Any]) -> dict[str, Any]:
    """With a path for each claim type, and the context that it asks for.

    The schema itself can only say that a context is an object; a fuzzer would hardly ever guess one that is taken.
    """
    from rewards.claims.models import ClaimType

    document = copy.deepcopy(document)
    path = "/api/claims/{claim_type}"
    for claim_type in ClaimType.objects.order_by("slug"):
        operation = copy.deepcopy(document["paths"][path]["post"])
        operation["operationId"] = f"claim_{claim_type.slug}"
        operation["parameters"] = [each for each in operation["parameters"] if each["in"] != "path"]
        body = copy.deepcopy(document["components"]["schemas"]["ClaimRequest"])
        body["properties"]["context"] = _of_openapi(claim_type.context_schema)
        operation["requestBody"]["content"] = {"application/json": {"schema": body}}
        document["paths"][path.format(claim_type=claim_type.slug)] = {"post": operation}
    return document


def _of_openapi(schema: Any) -> Any:
    """OpenAPI 3.0 knows no lists of types."""
    if isinstance(schema, list):
        return [_of_openapi(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if isinstance(schema.get("type"), list):
        return {"anyOf": [_of_openapi({**schema, "type": each}) for each in schema["type"]]}
    return {name: _of_openapi(each) for name, each in schema.items()}


def settings_for(database_url: str) -> dict[str, str]:
    """The tests' settings: a password is looked at in no time. As environment variables."""
    return {"DJANGO_SETTINGS_MODULE": "tests.settings", "TEST_DATABASE_URL": database_url}


@contextmanager
def server(database_url: str, log: Path) -> Iterator[str]:
    """The address of a gunicorn that serves the product from this database."""
    port = _free_port()
    # Each call comes from an address of its own (fuzz_checks.py), or signing in would be throttled most of the time.
    environment = {**os.environ, **settings_for(database_url), "NUM_PROXIES": "1"}
    command = [SCRIPTS / "gunicorn", "rewards_site.wsgi", "--bind", f"127.0.0.1:{port}", "--workers", "1"]
    command += ["--threads", "4", "--log-level", "error"]
    with log.open("w") as output:
        process = subprocess.Popen(command, env=environment, cwd=HERE.parent, stderr=output)
    try:
        _wait_for(f"http://127.0.0.1:{port}/healthz")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait_for(url: str, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while True:
        try:
            urlopen(url, timeout=5).close()
            return
        except URLError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


# ------------------------------------------------------------------------------------------------------------- fuzzing


def fuzz_each(
    callers: Sequence[Caller],
    documents: Mapping[str, Mapping[str, Any]],
    address: str,
    folder: Path,
    examples: int,
    seed: int,
) -> Iterator[Outcome]:
    """Two callers at a time: making up the cases takes longer than answering them."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        yield from pool.map(lambda each: fuzz(each, address, documents[each.name], folder, examples, seed), callers)


def fuzz(caller: Caller, address: str, document: Mapping[str, Any], folder: Path, examples: int, seed: int) -> Outcome:
    """Every phase for one caller, with that many cases for each operation and phase."""
    schema, report = folder / f"{caller.name}.schema.json", folder / f"{caller.name}.json"
    schema.write_text(json.dumps(document))
    command = [SCRIPTS / "st", "--no-color", "--config-file", HERE / "fuzz.toml", "run", schema, "--url", address]
    command += ["--max-examples", str(examples), "--seed", str(seed), "--report-json-path", report]
    told = {"may": sorted(caller.may), "headers": dict(caller.headers), "spare_tokens": caller.spare_tokens}
    answers = folder / f"{caller.name}.answers.json"
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    environment |= {"FUZZ_CALLER": json.dumps(told), "FUZZ_ANSWERS": str(answers)}
    started = time.monotonic()
    ran = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - started
    if ran.returncode not in (0, 1) or not report.exists():
        raise RuntimeError(f"schemathesis did not run: {ran.stdout}{ran.stderr}")
    told = json.loads(report.read_text())
    return Outcome(
        caller=caller.name,
        cases=told["test_cases"]["generated"],
        failures=told["test_cases"]["unique_failures"] + len(told["errors"]),
        passed=ran.returncode == 0 and told["complete"],
        answers=json.loads(answers.read_text()),
        seconds=seconds,
        text=ran.stdout + ran.stderr,
    )


if __name__ == "__main__":
    main()
