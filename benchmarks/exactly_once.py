"""Many clients send each key several times at once: one effect per key, every answer the documented one.

    python -m benchmarks.exactly_once [--database postgres://user@host/any] [--keys 1000] [--clients 32] [--copies 8]

Four ways to repeat oneself, each with that many keys: a claim as it is; a claim under one idempotency key; a claim
under another idempotency key each time; a transfer under one idempotency key. Clients work in groups of `--copies`,
which send the same request at the same moment to a gunicorn with two workers. Ends with an error when a key had another
number of effects than one, when an answer is not a documented one, or when `check_ledger` finds something.
"""

from __future__ import annotations

import argparse
import json
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.claims import CONTEXT, prepare
from benchmarks.claims_http import ask, machine_key, server
from benchmarks.harness import fresh_database

FIRST, AGAIN = "201", "409 already_claimed"
REPLAYED = "201 replayed"


@dataclass(frozen=True)
class Way:
    """How a request is repeated: path, body and idempotency key for (key number, copy), and the answers expected."""

    name: str
    path: str
    body: Callable[[int], dict]
    idempotency_key: Callable[[int, int], str | None]
    rest: str
    """What all answers but the first say."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--database", default="postgres://postgres@127.0.0.1/postgres")
    parser.add_argument("--keys", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--copies", type=int, default=8)
    options = parser.parse_args()
    with fresh_database(options.database, "rewards_benchmark_once") as url:
        prepare(url)
        token = rich_user()
        secret = machine_key()
        problems: list[str] = []
        with server(url) as port:
            for way in ways():
                credential = f"Authorization: Bearer {token}" if "transfers" in way.path else f"x-api-key: {secret}"
                answers = repeat_everything(port, way, credential, options)
                problems += judge(way, answers, options)
        problems += books(options.keys)
        print(
            "\n".join(problems) if problems else "One effect per key; every answer the documented one; books in order."
        )
        if problems:
            raise SystemExit(1)


def ways() -> list[Way]:
    def claim(kind: str) -> Callable[[int], dict]:
        return lambda key: {"user": f"user{key:05d}", "context": {**CONTEXT, "encounter_id": f"{kind}-{key}"}}

    path = "/api/claims/pve_victory"
    return [
        Way("claim as it is", path, claim("plain"), lambda key, copy: None, AGAIN),
        Way("claim, one idempotency key", path, claim("same"), lambda key, copy: f"same-{key}", REPLAYED),
        Way("claim, an idempotency key each", path, claim("each"), lambda key, copy: f"each-{key}-{copy}", AGAIN),
        Way(
            "transfer, one idempotency key", "/api/transfers",
            lambda key: {"to": f"user{key:05d}", "currency": "benchmark", "amount": "1"},
            lambda key, copy: f"transfer-{key}", REPLAYED,
        ),
    ]  # fmt: skip


def rich_user() -> str:
    """The token of a user who can send a unit under each key."""
    from django.db import connection, transaction
    from django.utils import timezone

    from rewards.access.services import create_token
    from rewards.ledger import services as ledger
    from rewards.ledger.models import Currency
    from rewards.parameters.services import set_parameter
    from rewards.users.models import User

    currency = Currency.objects.create(code="benchmark", transferable=True)
    rich = User.objects.create(username="rich", password="!")
    with transaction.atomic():
        ledger.credit(rich, currency, 1_000_000, "rich", "benchmark")
    set_parameter("api.user_requests_per_minute", 1_000_000, actor=None, reason="benchmark")
    _, secret = create_token(rich, days=1, at=timezone.now())
    connection.close()
    return secret


def repeat_everything(port: int, way: Way, credential: str, options: argparse.Namespace) -> dict[int, list[str]]:
    """Key number → what the answers to it were."""
    answers: dict[int, list[str]] = {key: [] for key in range(options.keys)}
    groups = options.clients // options.copies

    def client(keys: range, copy: int, together: threading.Barrier) -> None:
        for key in keys:
            message = request(way, key, copy, credential)
            together.wait()
            answers[key].append(in_words(ask(port, message)))

    threads = []
    for group in range(groups):
        together = threading.Barrier(options.copies)
        keys = range(group, options.keys, groups)
        threads += [threading.Thread(target=client, args=(keys, copy, together)) for copy in range(options.copies)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def request(way: Way, key: int, copy: int, credential: str) -> bytes:
    body = json.dumps(way.body(key)).encode()
    idempotency_key = way.idempotency_key(key, copy)
    head = [
        f"POST {way.path} HTTP/1.1", "Host: 127.0.0.1", "Connection: close", "Content-Type: application/json",
        credential, f"Content-Length: {len(body)}",
    ]  # fmt: skip
    if idempotency_key:
        head.append(f"Idempotency-Key: {idempotency_key}")
    return "\r\n".join([*head, "", ""]).encode() + body


def in_words(answer: bytes) -> str:
    """`201`, `201 replayed`, `409 already_claimed`, …"""
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.split(b" ", 2)[1].decode()
    if status == "201":
        return REPLAYED if b"idempotent-replayed: true" in head.lower() else FIRST
    try:
        return f"{status} {json.loads(body)['code']}"
    except (ValueError, KeyError):
        return f"{status} {body[:80]!r}"


def judge(way: Way, answers: dict[int, list[str]], options: argparse.Namespace) -> list[str]:
    expected = Counter({FIRST: 1, way.rest: options.copies - 1})
    wrong = [f"{way.name}, key {key}: {Counter(each)}" for key, each in answers.items() if Counter(each) != expected]
    total = Counter(each for copies in answers.values() for each in copies)
    print(f"{way.name:<32} {len(answers)} keys: {dict(total)}")
    return wrong[:10]


def books(keys: int) -> list[str]:
    from rewards.claims.models import Claim
    from rewards.ledger.checks import run_checks
    from rewards.ledger.models import Journal

    problems = [finding.promise for finding in run_checks() if not finding.holds]
    for kind in ("plain", "same", "each"):
        made = Claim.objects.filter(claim_key__startswith=f"slime_{kind}-").count()
        if made != keys:
            problems.append(f"{made} claims for {keys} keys ({kind})")
    sent = Journal.objects.filter(kind="transfer").count()
    if sent != keys:
        problems.append(f"{sent} transfers for {keys} keys")
    return problems


if __name__ == "__main__":
    main()
