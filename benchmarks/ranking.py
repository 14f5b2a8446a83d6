"""Refreshing a board, and finding a user's rank, against the floor of the database itself.

    python -m benchmarks.ranking [--database postgres://user@host/any] [--sizes 100000 1000000] [--repeat 7]

**Refresh**: everything that `refresh_board` does (reading, ranking, writing blocks and entries, putting the former ones
out of the way), against the bare `SELECT rank()` over the same rows, of which none leaves the server and which leaves
nobody out: a board of a metric over the counters, and a board of points over a transfer for each user and one more for
every tenth. In turn, median of the paired ratios.

**Look-up**: `user_rank` of a random user from the last refresh, and `board_page` with the first 100 and those around,
against `User.objects.get(pk=…)` of a random user through the same stack, in turn.

With a SQLite URL only the engine's own figures are reported.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable

from benchmarks.harness import (
    canary,
    median_and_spread,
    peak_memory_mb,
    run_alone,
    set_up_django,
    timed,
)

LOOK_UPS = 3_000
PAGES = 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--database", default="postgres://postgres@127.0.0.1/postgres")
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.database, options.one, options.repeat)))
        return
    for size in options.sizes:
        report(size, run_alone("ranking", options.database, "--one", size, "--repeat", options.repeat))


def report(size: int, result: dict) -> None:
    print(f"{size:,} users; peak memory {result['memory_mb']:.0f} MB; canary {median_and_spread(result['canary'])} s")
    for name, times in result["refresh"].items():
        print(f"  refresh {name:<7} {median_and_spread(times['engine'])} s", end="")
        if times["floor"]:
            ratios = [ours / least for ours, least in zip(times["engine"], times["floor"], strict=True)]
            print(f"; bare rank() {median_and_spread(times['floor'])} s; ratio {median_and_spread(ratios)}", end="")
        print()
    found = {name: (quantile(times, 50), quantile(times, 99)) for name, times in result["look_up"].items()}
    p50, p99 = found["get"]
    for name, (half, nearly_all) in found.items():
        print(f"  {name:<13} p50 {half:.3f} ms ({half / p50:.2f} × get)  p99 {nearly_all:.3f} ms "
              f"({nearly_all / p99:.2f} × get)")  # fmt: skip


def quantile(times: list[float], percent: int) -> float:
    return statistics.quantiles(times, n=100)[percent - 1]


def measure(database_url: str, size: int, repeat: int) -> dict:
    set_up_django(database_url)
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    people(size)
    boards = create_boards()
    refresh: dict = {name: {"engine": [], "floor": []} for name in boards}
    result: dict = {"refresh": refresh, "canary": []}
    for _ in range(repeat):
        result["canary"].append(canary())
        settle_database()
        for name, board in boards.items():
            refresh[name]["engine"].append(timed(lambda board=board: refreshed(board, size)))
            if not database_url.startswith("sqlite"):
                refresh[name]["floor"].append(timed(lambda name=name: bare_rank(name, size)))
    result["memory_mb"] = peak_memory_mb()
    settle_database()
    result["look_up"] = look_ups(boards["metric"], size)
    return result


def people(size: int) -> None:
    """`size` users, each with a counter and an account that was credited; every tenth twice, every hundredth gone."""
    from django.db import connection
    from django.utils import timezone

    from rewards.common.database import sql_instant
    from rewards.ledger.models import Currency
    from rewards.ledger.services import system_account
    from rewards.users.models import User

    currency = Currency.objects.create(code="points")
    now = timezone.now()
    for first in range(0, size, 50_000):
        numbers = range(first, min(first + 50_000, size))
        users = [User(username=f"user{n:07d}", password="!", date_joined=now, is_active=n % 100 > 0) for n in numbers]
        User.objects.bulk_create(users, batch_size=2_000)
    from django.db import transaction

    with transaction.atomic(), connection.cursor() as cursor:
        issuance = system_account("issuance", currency)
        at = sql_instant(now)
        cursor.execute(
            "INSERT INTO rewards_account (currency_id, user_id, code, balance, min_balance, created_at) "
            "SELECT %s, id, '', 0, 0, %s FROM rewards_user ORDER BY id",
            [currency.pk, at],
        )
        cursor.execute(
            "INSERT INTO rewards_counter (user_id, metric, month, quantity) "
            "SELECT id, 'tests', '', ((id * 7919) %% 1000003 + 1) * 1000000 FROM rewards_user ORDER BY id",
            [],
        )
        cursor.execute(
            "INSERT INTO rewards_journal (key, kind, reason, source, fingerprint, created_at, metadata) "
            "VALUES ('benchmark', 'benchmark', '', '', '', %s, '{}')",
            [at],
        )
        for every in (1, 10):
            cursor.execute(
                "INSERT INTO rewards_transfer "
                "(journal_id, debit_account_id, credit_account_id, currency_id, amount, created_at) "
                "SELECT (SELECT max(id) FROM rewards_journal), %s, id, currency_id, (id * 7919) %% 1000003 + 1, %s "
                "FROM rewards_account WHERE code = '' AND id %% %s = 0 ORDER BY id",
                [issuance.pk, at, every],
            )


def create_boards() -> dict:
    from leaderboard.models import Board

    return {
        "metric": Board.objects.create(slug="metric", source="metric", currency="", metric="tests"),
        "points": Board.objects.create(slug="points"),
    }


def settle_database() -> None:
    """Leave nothing of the round before to this one: neither a due checkpoint nor dead rows."""
    from django.db import connection

    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
        cursor.execute("CHECKPOINT")


def refreshed(board, size: int) -> None:
    from django.utils import timezone

    from leaderboard.services import refresh_board

    found = refresh_board(board, timezone.now())
    if found is None or found.users != size - len(range(0, size, 100)):
        raise SystemExit(f"The refresh found {found and found.users} users.")


def bare_rank(name: str, size: int) -> None:
    """Rank everybody by the same rows, with the same settings, and let nothing out of the server but a sum."""
    from django.db import connection, transaction

    from rewards.common.database import expect_many_rows

    sql, parameters = bare_source(name)
    with transaction.atomic(), connection.cursor() as cursor:
        expect_many_rows()
        cursor.execute(
            f"SELECT count(*), sum(place), max(user_id) FROM "
            f"(SELECT user_id, rank() OVER (ORDER BY points DESC) AS place FROM ({sql}) AS points) AS ranked",
            parameters,
        )
        if cursor.fetchone()[0] != size:
            raise SystemExit("The bare rank() found others.")


def bare_source(name: str) -> tuple[str, tuple]:
    """Who has how many points, with no thought of instants and of who is deactivated."""
    from django.db.models import F, Sum

    from rewards.ledger.models import Currency
    from rewards.ledger.queries import earnings

    if name == "metric":
        return "SELECT user_id, quantity AS points FROM rewards_counter WHERE metric = 'tests' AND month = ''", ()
    earned = earnings(Currency.objects.get(code="points")).values(user_id=F("credit_account__user_id"))
    return earned.annotate(points=Sum("amount")).query.sql_with_params()


def look_ups(board, size: int) -> dict[str, list[float]]:
    """Milliseconds of each look-up of a random user, by what was looked up; in turn."""
    from django.utils import timezone

    from leaderboard.queries import board_page, user_rank
    from leaderboard.services import refresh_board
    from rewards.users.models import User

    refresh_board(board, timezone.now())
    least, chance = User.objects.order_by("pk").values_list("pk", flat=True)[0], random.Random(7)
    users = [User(pk=least + chance.randrange(size)) for _ in range(LOOK_UPS)]
    works: dict[str, Callable[[User], object]] = {
        "get": lambda user: User.objects.get(pk=user.pk),
        "user_rank": lambda user: user_rank(user, board),
    }
    taken: dict[str, list[float]] = {name: [] for name in (*works, "page, around")}
    for user in users:
        for name, work in works.items():
            taken[name].append(milliseconds(work, user))
    for user in users[:PAGES]:
        page = milliseconds(lambda user: board_page(board, timezone.now(), user=user, around=True), user)
        taken["page, around"].append(page)
    return taken


def milliseconds(work: Callable, user: object) -> float:
    started = time.perf_counter()
    work(user)
    return (time.perf_counter() - started) * 1_000


if __name__ == "__main__":
    main()
