"""Claims in process and over HTTP, against the floor of the database and of the framework.

    python -m benchmarks.claims [--database postgres://user@host/any] [--repeat 7] [--seconds 2]
                                [--only process pool http]

**process**: `claim()` of a recipe with two lines, against a psycopg2 program that writes the same rows (claim, journal,
two transfers, audit event, changes of issuance) and moves the same balances in one transaction, without Django and
without looking at anything. Both in 1, 4 and 16 processes.

**pool**: claims that all draw on one funded account, against claims that each draw on an account of their own, and
against one account that is not split.

**http**: `POST /api/claims/…` under gunicorn with two workers, against bare views of the framework on the same servers:
one reads the same JSON and answers, the other also writes a claim's rows by the psycopg2 program above. 1, 8 and 32
clients, each request a connection of its own.

Alternatives run in turn, again and again; what counts is the median of the ratios taken within one repetition. The
machine's cores are shared by clients, servers and database.
"""

from __future__ import annotations

import argparse
import io
import itertools
import multiprocessing
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from benchmarks.harness import canary, fresh_database, median_and_spread, set_up_django

USERS = 2_000
PROCESSES = (1, 4, 16)
CLIENTS = (1, 8, 32)
CONTEXT = {"enemy_id": "slime", "encounter_id": "meadow"}

Work = Callable[[], Callable[[int], object]]
"""Makes, in the process that runs it, what does one claim; the argument is a number that no other claim has."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--database", default="postgres://postgres@127.0.0.1/postgres")
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--only", nargs="+", choices=["process", "pool", "http"], default=["process", "pool", "http"])
    options = parser.parse_args()
    with fresh_database(options.database, "rewards_benchmark_claims") as url:
        prepare(url)
        if "process" in options.only:
            report_processes(url, options.repeat, options.seconds)
        if "pool" in options.only:
            report_pool(options.repeat, options.seconds)
        if "http" in options.only:
            from benchmarks.claims_http import report_http

            report_http(url, CLIENTS, options.repeat, options.seconds)
        prove()


# ---------------------------------------------------------------------------------------------------------- the ground


def prepare(url: str) -> None:
    """Tables, recipes, and users who have claimed before, so that their accounts stand."""
    set_up_django(url)
    from django.core.management import call_command
    from django.db import connection

    call_command("migrate", verbosity=0)
    call_command("setup_defaults", verbosity=0, stdout=io.StringIO())
    from rewards.ledger.models import Account, Currency
    from rewards.users.models import User

    users = User.objects.bulk_create(User(username=f"user{number:05d}", password="!") for number in range(USERS))
    for code in ("lumees", "xp"):
        currency = Currency.objects.get(code=code)
        Account.objects.bulk_create(Account(currency=currency, user=user) for user in users)
    claim_once(users[0], 0)
    print(f"pve_victory takes {queries_of(users[0])} queries, BEGIN and COMMIT included.")
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    connection.close()


def claim_once(user: Any, number: int, claim_type: str = "pve_victory") -> object:
    from rewards.claims.services import claim

    return claim(user, claim_type, None, {**CONTEXT, "encounter_id": f"meadow-{number}"})


def queries_of(user: Any) -> int:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as queries:
        claim_once(user, 1)
    return len(queries)


def prove() -> None:
    from rewards.ledger.checks import run_checks

    broken = [finding.promise for finding in run_checks() if not finding.holds]
    print("check_ledger: " + (", ".join(broken) if broken else "every promise holds"))


# ------------------------------------------------------------------------------------------------------------- running


def claims_a_second(work: Work, processes: int, seconds: float) -> float:
    """Claims a second that so many processes make together, each as fast as it can."""
    return sum(each for each, _ in run_in_processes([work] * processes, seconds)) / seconds


def run_in_processes(works: list[Work], seconds: float) -> list[tuple[int, list[float]]]:
    """(claims made, seconds of each) by process. The clock starts when all of them are ready."""
    forked = multiprocessing.get_context("fork")
    ready, answers = forked.Barrier(len(works)), forked.Queue()
    # Far apart, and not by a multiple of the number of users: processes do not meet at the same users in step.
    first_numbers = itertools.count(time.time_ns(), 1_000_000 + USERS // 16 + 1)
    processes = [
        forked.Process(target=_keep_working, args=(work, seconds, next(first_numbers), ready, answers))
        for work in works
    ]
    for process in processes:
        process.start()
    results = [answers.get() for _ in processes]
    for process in processes:
        process.join()
    return results


def _keep_working(work: Work, seconds: float, number: int, ready: Any, answers: Any) -> None:
    do = work()
    do(number)
    ready.wait()
    end, taken = time.perf_counter() + seconds, []
    while (started := time.perf_counter()) < end:
        number += 1
        do(number)
        taken.append(time.perf_counter() - started)
    answers.put((len(taken), taken))


@dataclass
class Compared:
    """Rates of the alternatives, repetition by repetition."""

    rates: dict[str, list[float]] = field(default_factory=dict)
    canaries: list[float] = field(default_factory=list)

    def add(self, measurements: dict[str, float]) -> None:
        self.canaries.append(canary())
        for name, rate in measurements.items():
            self.rates.setdefault(name, []).append(rate)

    def lines(self, baseline: str) -> Iterator[str]:
        for name, rates in self.rates.items():
            ratios = [rate / base for rate, base in zip(rates, self.rates[baseline], strict=True)]
            yield f"{name:<28} {median_and_spread(rates):>28}/s  ratio {median_and_spread(ratios)}"
        yield f"{'canary':<28} {median_and_spread(self.canaries):>28} s"


def settle_database() -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE rewards_account, rewards_balancechange, rewards_claim")
        cursor.execute("CHECKPOINT")
    connection.close()


# ---------------------------------------------------------------------------------------------------------- in process


def report_processes(url: str, repeat: int, seconds: float) -> None:
    for processes in PROCESSES:
        compared = Compared()
        for _ in range(repeat):
            settle_database()
            compared.add(
                {
                    "psycopg2 alone": claims_a_second(lambda: raw_claims(url), processes, seconds),
                    "claim()": claims_a_second(engine_claims, processes, seconds),
                }
            )
        print(f"\n{processes} processes")
        print("\n".join(compared.lines("psycopg2 alone")))


def engine_claims() -> Callable[[int], object]:
    from django.db import connection

    from rewards.users.models import User

    connection.close()
    users = list(User.objects.filter(username__startswith="user"))
    return lambda number: claim_once(users[number % USERS], number)


def raw_claims(url: str) -> Callable[[int], object]:
    """What `claim()` leaves behind, written by hand: six statements in one transaction."""
    import json

    import psycopg2

    connection = psycopg2.connect(url)
    cursor = connection.cursor()
    cursor.execute("SELECT id FROM rewards_claimtype WHERE slug = 'pve_victory'")
    (claim_type,) = cursor.fetchone()
    cursor.execute("SELECT code, id FROM rewards_currency WHERE code IN ('lumees', 'xp')")
    currencies = dict(cursor.fetchall())
    cursor.execute(
        "SELECT currency_id, id FROM rewards_account WHERE code = 'issuance' AND currency_id IN %s",
        [tuple(currencies.values())],
    )
    issuance = dict(cursor.fetchall())
    cursor.execute(
        "SELECT account.user_id, account.currency_id, account.id FROM rewards_account account "
        "JOIN rewards_user person ON person.id = account.user_id WHERE person.username LIKE 'user%%' "
        "AND currency_id IN %s",
        [tuple(currencies.values())],
    )
    wallets: dict[int, dict[int, int]] = {}
    for user_id, currency_id, account in cursor.fetchall():
        wallets.setdefault(user_id, {})[currency_id] = account
    people = [user_id for user_id, accounts in wallets.items() if len(accounts) == len(currencies)]
    connection.commit()
    amounts = {currencies["lumees"]: 100, currencies["xp"]: 50}
    result = json.dumps({"credits": [], "debits": [], "balances": {}})

    claim_ids: list[int] = []

    def next_claim_id() -> int:
        """A thousand at a time: asking for each would be a statement more."""
        if not claim_ids:
            cursor.execute("SELECT nextval('rewards_claim_id_seq') FROM generate_series(1, 1000)")
            claim_ids.extend(each for (each,) in cursor.fetchall())
        return claim_ids.pop()

    def one(number: int) -> None:
        user, claim_id = people[number % len(people)], next_claim_id()
        cursor.execute(
            "INSERT INTO rewards_journal (key, kind, reason, source, fingerprint, created_at, metadata) "
            "VALUES (%s, 'claim', 'PvE victory', '', '', now(), '{}') RETURNING id",
            [f"claim:{claim_id}"],
        )
        (journal,) = cursor.fetchone()
        cursor.execute(
            "INSERT INTO rewards_claim (id, user_id, claim_type_id, claim_key, is_global, context, result, journal_id, "
            "claimed_at) VALUES (%s, %s, %s, %s, false, %s, %s, %s, now()) ON CONFLICT DO NOTHING RETURNING id",
            [claim_id, user, claim_type, f"raw-{number}", json.dumps(CONTEXT), result, journal],
        )
        cursor.fetchone()
        transfers = [
            value
            for currency, amount in amounts.items()
            for value in (journal, issuance[currency], wallets[user][currency], currency, amount)
        ]
        cursor.execute(
            "INSERT INTO rewards_transfer (journal_id, debit_account_id, credit_account_id, currency_id, amount, "
            "created_at) VALUES (%s, %s, %s, %s, %s, now()), (%s, %s, %s, %s, %s, now())",
            transfers,
        )
        changes = [value for currency, amount in amounts.items() for value in (wallets[user][currency], amount)]
        cursor.execute(
            "UPDATE rewards_account account SET balance = balance + change FROM (VALUES (%s, %s), (%s, %s)) "
            "net (id, change) WHERE account.id = net.id",
            changes,
        )
        cursor.execute(
            "INSERT INTO rewards_balancechange (account_id, amount) VALUES (%s, %s), (%s, %s)",
            [value for currency, amount in amounts.items() for value in (issuance[currency], -amount)],
        )
        cursor.execute(
            "INSERT INTO rewards_auditevent (event_id, event_type, user_id, reward_id, reason, success, error_message, "
            "data, timestamp) VALUES (gen_random_uuid(), 'raw', %s, '', 'pve_victory', true, '', %s, now())",
            [user, result],
        )
        connection.commit()

    return one


# ------------------------------------------------------------------------------------------------------ one funded pool


def report_pool(repeat: int, seconds: float) -> None:
    processes = max(PROCESSES)
    fund_accounts(processes)
    own = [lambda account=account: pool_claims(f"own_{account}") for account in range(processes)]
    compared = Compared()
    for _ in range(repeat):
        settle_database()
        compared.add(
            {
                "an account each": sum(made for made, _ in run_in_processes(own, seconds)) / seconds,
                "one account, in slots": claims_a_second(lambda: pool_claims("one"), processes, seconds),
                "one account, not split": claims_a_second(lambda: pool_claims("single"), processes, seconds),
            }
        )
    print(f"\nOne funded pool, {processes} processes")
    print("\n".join(compared.lines("an account each")))


def fund_accounts(accounts: int) -> None:
    from django.core.management import call_command
    from django.db import connection, transaction

    from rewards.claims.models import ClaimType, Line
    from rewards.ledger import services as ledger
    from rewards.ledger.models import Currency

    lumees = Currency.objects.get(code="lumees")
    for name in ["one", "single", *(f"own_{account}" for account in range(accounts))]:
        with transaction.atomic():
            ledger.system_account(f"bench:{name}", lumees)
        call_command(
            "fund", f"bench:{name}", "1000000000", currency="lumees", key=name, reason="benchmark",
            stdout=io.StringIO(),
        )  # fmt: skip
        claim_type = ClaimType.objects.create(slug=f"bench_{name}", funded_by=f"bench:{name}")
        Line.objects.create(claim_type=claim_type, currency="lumees", amount="1")
    connection.close()


def pool_claims(name: str) -> Callable[[int], object]:
    from django.db import connection

    from rewards.claims import services
    from rewards.users.models import User

    connection.close()
    users = list(User.objects.filter(username__startswith="user"))
    if name == "single":
        services._split_sources = lambda *arguments: None  # it stays one row that all wait for
    return lambda number: services.claim(users[number % USERS], f"bench_{name}", str(number), {})


if __name__ == "__main__":
    main()
