"""Fuzz the API by its own schema: no server error, and only documented answers, whoever calls.

    python -m benchmarks.fuzz [--database postgres://user@host/any] [--examples 500] [--seed 1] [--caller user …]

For each caller schemathesis goes through its four phases (examples, coverage, fuzzing, stateful) against a gunicorn
with a database of its own, in which the product's defaults stand, three users own something of every currency, and
there is something at each kind of address. A caller is a machine with one right, a user with a token, a member of staff
with a session, or nobody; each is fuzzed on what is for him, and is to be turned away once from everything else. Ends
with an error when a check failed; the report says how to repeat the request. What is checked stands in `fuzz.toml` and
`fuzz_checks.py`.
"""

from __future__ import annotations

import argparse
import copy
import io
import json
import os
import re
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
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import django

from benchmarks.harness import fresh_database

HERE = Path(__file__).parent
SCRIPTS = Path(sys.executable).parent
USERNAMES = ("alice", "bob", "carol")
PASSWORD = "correct horse battery staple"
UNITS_OWNED = 1_000_000
PATH_PARAMETER = re.compile(r"\{\w+\}")
NO_UUID = "00000000-0000-4000-8000-000000000000"

OF_ALL = frozenset({"leaderboards", "leaderboard", "cases", "case", "arguments"})
OF_USERS = OF_ALL | frozenset({
    "claim", "transfer", "profile", "change_profile", "statement", "pending_rewards",
    "deployments", "create_deployment", "deployment", "delete_deployment",
    "distributions", "distribution", "distribution_rewards", "distribution_proof",
    "own_badges", "own_badge_progress", "own_rewards", "reward_receipt", "monthly_rewards_history",
    "claim_rewards", "submit_case", "vote", "argue", "like_argument", "unlike_argument",
})  # fmt: skip
MONTHLY_JOBS = frozenset({"monthly_rewards_status", "monthly_rewards_jobs"})
OF_STAFF = MONTHLY_JOBS | frozenset({
    "preview_distribution", "approve_distribution", "reject_distribution", "retry_distribution",
    "reverse_distribution", "campaigns", "campaign", "create_campaign", "upload_participants", "run_campaign",
    "distribute_pending_rewards", "audit_log", "reward_metrics",
})  # fmt: skip
# What is theirs, what answers them otherwise than other users, and one thing of everybody's, with a session.
TRIED_BY_STAFF = OF_STAFF | {"change_profile", "distributions", "distribution_rewards", "distribution_proof"}
OF_RIGHTS = {
    "activity:write": frozenset({"record_activity"}),
    "claims:write": frozenset({"claim"}),
    "monthly:run": MONTHLY_JOBS | {"start_monthly_rewards"},
    "rewards:distribute": frozenset({"distribute_pending_rewards"}),
    "read": MONTHLY_JOBS | {"reward_metrics"},
}
CLAIMANTS = {"claims:write", "user"}
NO_CHOICE: Mapping[str, Sequence[str]] = {}


@dataclass(frozen=True)
class Caller:
    """`may`: the operations that are for him; from all others he is turned away. `tries`: those he is fuzzed on."""

    name: str
    may: frozenset[str]
    tries: frozenset[str]
    headers: Mapping[str, str] = field(default_factory=dict)
    known: Mapping[str, Mapping[str, Sequence[Any]]] = field(default_factory=dict)
    """Path parameters that lead somewhere, and values of a body that do, by operation; under "" those of all."""
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
        document = api_document()
        documents = documents_for(callers, document)
        connection.close()
        asked = [each for each in callers if not options.caller or each.name in options.caller]
        outcomes = []
        with server(url, Path(folder) / "server.log") as address:
            let_in = [each for caller in asked for each in not_turned_away(caller, document, address)]
            print("\n".join(let_in) or "Everybody is turned away from what is not for him.", flush=True)
            for outcome in fuzz_each(asked, documents, address, Path(folder), options.examples, options.seed):
                print(outcome if outcome.passed else f"{outcome.text}\n{outcome}", flush=True)
                outcomes.append(outcome)
    if let_in or not all(outcome.passed for outcome in outcomes):
        raise SystemExit("Not every answer was a documented one: see above.")


# ---------------------------------------------------------------------------------------------------- what stands there


def prepare(examples: int) -> list[Caller]:
    """Fill the database with the product's defaults, rich users and their things. Returns whoever is to call."""
    from django.core.management import call_command

    from rewards.parameters.services import set_parameter
    from rewards.users.models import User

    call_command("setup_defaults", stdout=io.StringIO())
    set_parameter("api.user_requests_per_minute", 1_000_000, actor=None, reason="A fuzzer is faster than any user.")
    users = [User.objects.create_user(name, password=PASSWORD) for name in USERNAMES]
    for user in users:
        _enrich(user)
    staff = User.objects.create_superuser("staff", password=PASSWORD)
    known = _things_of(users, examples)
    machines = [_machine(right, may) for right, may in OF_RIGHTS.items()]
    public = {name: known[name] for name in OF_ALL & known.keys()}
    nobody = Caller("nobody", OF_ALL | {"sign_in"}, OF_ALL | {"sign_in"}, known=public)
    return [*machines, _user(users[0], examples, known), _staff(staff, known), nobody]


def _things_of(users: Sequence[Any], examples: int) -> dict[str, dict[str, list[Any]]]:
    """Campaigns that are run, wait, have failed and are to be run; deployments; rewards in the queue.

    Returns how their addresses are made: `Caller.known`.
    """
    from django.utils import timezone

    from rewards.deployments.services import create_deployment
    from rewards.ledger.models import Currency
    from rewards.pending.services import queue_reward

    now, coins, many = timezone.now(), Currency.objects.get(code="coins"), 5 + examples // 4
    paid = [_distribution(f"paid-{number}", users, coins) for number in range(many)]
    waiting = [_distribution(f"waiting-{number}", users, coins, approval_limit=0) for number in range(many)]
    failed = [_distribution("failed", users, coins, source="treasury")]
    drafts = [_campaign(f"draft-{number}", users, coins).slug for number in range(many)]
    deployments = [str(create_deployment(users[0], "web", 1, now).pk) for _ in range(2 * many)]
    for number in range(many):
        queue_reward(users[number % len(users)], coins, 100, f"task-{number}", at=now)
    _rank(users)
    rewards = [*users[0].rewards.order_by("pk").values_list("pk", flat=True)]
    return {
        "": {"id": [*paid, *waiting, *failed], "slug": drafts, "deployment_id": deployments},
        "reverse_distribution": {"id": paid},
        "approve_distribution": {"id": waiting},
        "reject_distribution": {"id": waiting},
        "retry_distribution": {"id": failed},
        "reward_receipt": {"id": rewards},
        "leaderboard": {"slug": ["points-all-time", "points-weekly", "points-monthly", "wins"]},
        **_cases(users, many),
    }


def _cases(users: Sequence[Any], many: int) -> dict[str, dict[str, list[Any]]]:
    """Cases that are open: in some another one's argument waits to be liked, in others it is liked already; one that
    waits for moderation; and one that was closed, whose reward is to be claimed on the chain. Returns how their
    addresses are made."""
    from django.utils import timezone

    from rewards.cases.services import argue, like, submit_case, vote

    now, (first, other, *_) = timezone.now(), users
    closed = _closed_case(users, now)
    fresh, argued, liked = ([_open_case(now) for _ in range(many)] for _ in range(3))
    arguments = {}
    for case in argued + liked:
        vote(case.pk, other, "YES", now)
        arguments[case] = argue(case.pk, other, "YES", "It is.", now).pk
    for case in liked:
        vote(case.pk, first, "NO", now)
        like(arguments[case], first, now)
    submitted = submit_case(first, "A promise", "It has become hard.", now)
    for_all = [closed.pk, *(case.pk for case in argued)]
    return {
        "case": {"id": [*for_all, submitted.pk]},
        "arguments": {"id": for_all},
        "vote": {"id": [case.pk for case in fresh]},
        "argue": {"id": [case.pk for case in liked]},
        # Two numbers that belong together: with several cases hardly any would.
        "like_argument": {"id": [argued[0].pk], "argument_id": [arguments[argued[0]]]},
        "unlike_argument": {"id": [liked[0].pk], "argument_id": [arguments[liked[0]]]},
        "claim_rewards": {"reward_ids": [[first.rewards.get(distribution__period_key=closed.period_key).pk]]},
    }


def _open_case(now: Any) -> Any:
    from datetime import timedelta

    from rewards.cases.models import Case

    hour = timedelta(hours=1)
    return Case.objects.create(
        title="A dilemma", context="A promise.", status="active", opens_at=now - hour, closes_at=now + 24 * hour
    )


def _closed_case(users: Sequence[Any], now: Any) -> Any:
    """As the jobs make, open and close it; it pays on the chain."""
    from datetime import timedelta

    from rewards.cases.closing import close_cases
    from rewards.cases.commitments import check_verdicts
    from rewards.cases.generating import generate_case
    from rewards.cases.models import Case
    from rewards.cases.services import vote
    from rewards.parameters.services import set_parameter

    written = now - timedelta(hours=30)
    set_parameter("cases.payout", "chain", actor=None, reason="Something to claim.")
    generate_case(written)
    check_verdicts(written + timedelta(minutes=5))
    case = Case.objects.get()
    for user in users:
        vote(case.pk, user, "YES", case.opens_at)
    close_cases(now)
    return case


def _rank(users: Sequence[Any]) -> None:
    """What they did, the badges that it earned, boards, and last month's rewards, paid."""
    from django.contrib.auth.models import Group
    from django.utils import timezone

    from badges.services import check_badges
    from leaderboard.models import Board
    from leaderboard.services import refresh_boards
    from rewards.activity.services import NewEvent, record_events
    from rewards.monthly.queries import previous_month
    from rewards.monthly.services import run_job, start_job

    now = timezone.now()
    month = previous_month(now)
    for number, user in enumerate(users, start=1):
        user.groups.add(Group.objects.get_or_create(name="students")[0])
        did = [("tests_completed", month.start), ("cases_won", month.start), ("cases_won", now)]
        events = [
            NewEvent(f"{user}-{place}", user.username, metric, number, at) for place, (metric, at) in enumerate(did)
        ]
        record_events(events, at=now)
    Board.objects.create(slug="points-monthly", window="monthly", created_at=month.start)
    Board.objects.create(slug="wins", source="metric", metric="cases_won", currency="")
    job, _ = start_job(month.year, month.month, by="fuzz", at=now)
    run_job(job, now)
    check_badges(now)
    refresh_boards(now)


def _campaign(slug: str, users: Sequence[Any], currency: Any, **settings: Any) -> Any:
    """A campaign with a list."""
    from django.utils import timezone

    from rewards.campaigns.services import create_campaign, store_rows

    now = timezone.now()
    campaign = create_campaign(
        slug=slug, currency=currency, amount=1000, rule={"rule": "proportional"}, at=now, **settings
    )
    rows = [(user.pk, str(weight), None, "") for weight, user in enumerate(users, start=1)]
    store_rows(campaign.pk, rows, actor=None, at=now)
    return campaign


def _distribution(slug: str, users: Sequence[Any], currency: Any, **settings: Any) -> int:
    """The id of a campaign's distribution, as far as it gets by itself."""
    from django.utils import timezone

    from rewards.campaigns.services import run
    from rewards.distributions.services import advance

    campaign = _campaign(slug, users, currency, **settings)
    return advance(run(campaign.pk, None, timezone.now()).pk).pk


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
    return Caller(right, may | OF_ALL, may, {"x-api-key": secret})


def _user(user: Any, examples: int, known: Any) -> Caller:
    from rewards.access.services import create_token

    secret, *spare = [create_token(user)[1] for _ in range(examples + 200)]
    may = OF_USERS | {"sign_out"}
    return Caller("user", may, may, {"Authorization": f"Bearer {secret}"}, known, tuple(spare))


def _staff(user: Any, known: Any) -> Caller:
    from django.conf import settings
    from django.test import Client

    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    csrf = "c" * 32
    cookies = f"{settings.SESSION_COOKIE_NAME}={client.cookies[settings.SESSION_COOKIE_NAME].value}; csrftoken={csrf}"
    headers = {"Cookie": cookies, "X-CSRFToken": csrf}
    return Caller("staff", OF_USERS | OF_STAFF, TRIED_BY_STAFF, headers, known)


def api_document() -> dict[str, Any]:
    """The API's schema, through JSON: it is full of mappings that only look like plain ones."""
    from drf_spectacular.generators import SchemaGenerator

    document: dict[str, Any] = json.loads(json.dumps(SchemaGenerator().get_schema(request=None, public=True)))
    return document


def documents_for(
    callers: Sequence[Caller], document: Mapping[str, Any], claim_types: Mapping[str, Sequence[str]] = NO_CHOICE
) -> dict[str, dict[str, Any]]:
    """For each caller who tries something the schema of that; for those who claim with the claim types, or some."""
    documents = {each.name: _only(document, each.tries) for each in callers if each.tries}
    for name in CLAIMANTS & documents.keys():
        documents[name] = _with_claim_types(documents[name], claim_types.get(name))
    return documents


def _only(document: Mapping[str, Any], operations: frozenset[str]) -> dict[str, Any]:
    """With the addresses that have one of these operations; all of an address, or it would seem to say too much."""
    paths = {
        path: methods
        for path, methods in document["paths"].items()
        if any(operation["operationId"] in operations for operation in methods.values())
    }
    return {**document, "paths": paths}


def _with_claim_types(document: dict[str, Any], slugs: Sequence[str] | None) -> dict[str, Any]:
    """With a path for each claim type (of these slugs, if there are any), and the context that it asks for.

    The schema itself can only say that a context is an object; a fuzzer would hardly ever guess one that is taken.
    """
    from rewards.claims.models import ClaimType

    document = copy.deepcopy(document)
    path = "/api/claims/{claim_type}"
    found = ClaimType.objects.order_by("slug")
    for claim_type in found if slugs is None else found.filter(slug__in=slugs):
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
        except OSError:  # nobody listens yet, or whoever does is still being started
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


# --------------------------------------------------------------------------------------------------------- turned away


def not_turned_away(caller: Caller, document: Mapping[str, Any], address: str) -> list[str]:
    """Where the caller gets although it is not for him: he is turned away before anything else is looked at."""
    wrong = []
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            name = operation["operationId"]
            if name in caller.may or name == "sign_in":  # which looks at no credentials
                continue
            # Who is nobody is asked who he is. Nobody but a token signs out: other credentials are not looked at there.
            expected = 403 if caller.headers and name != "sign_out" else 401
            somewhere = PATH_PARAMETER.sub(NO_UUID if "deployment_id" in path else "1", path)
            found = _status_of(f"{address}{somewhere}", method, caller.headers)
            if found != expected:
                wrong.append(f"{caller.name}: {method.upper()} {path} answered {found}, not {expected}")
    return wrong


def _status_of(url: str, method: str, headers: Mapping[str, str]) -> int:
    try:
        with urlopen(Request(url, method=method.upper(), headers=dict(headers)), timeout=60) as answer:
            return answer.status
    except HTTPError as refusal:
        with refusal:
            return refusal.code


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
    fuzzed = [caller for caller in callers if caller.name in documents]
    with ThreadPoolExecutor(max_workers=2) as pool:
        yield from pool.map(lambda each: fuzz(each, address, documents[each.name], folder, examples, seed), fuzzed)


def fuzz(caller: Caller, address: str, document: Mapping[str, Any], folder: Path, examples: int, seed: int) -> Outcome:
    """Every phase for one caller, with that many cases for each operation and phase."""
    schema, report = folder / f"{caller.name}.schema.json", folder / f"{caller.name}.json"
    schema.write_text(json.dumps(document))
    command = [SCRIPTS / "st", "--no-color", "--config-file", HERE / "fuzz.toml", "run", schema, "--url", address]
    command += ["--max-examples", str(examples), "--seed", str(seed), "--report-json-path", report]
    told = {"headers": dict(caller.headers), "spare_tokens": caller.spare_tokens, "known": caller.known}
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
