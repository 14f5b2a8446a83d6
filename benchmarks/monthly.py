"""The rewards of a month, ranked and paid, against the floor of the database itself; and a hundred calls at once.

    python -m benchmarks.monthly [--database postgres://user@host/any] [--sizes 100000 1000000] [--repeat 3]

**The job** is everything from the call that starts a month to the job that is completed: the month closed, all members
of a group ranked by two counters and their last scoring event, the shipped tiers, reward rows, digest and its check,
journals, transfers, balances, audit. The floor is that of `benchmarks.payout` for the rows that the job has written:
COPY into tables with the same keys, indexes and constraints, plus one UPDATE of the balances. Both run in turn in one
process, a month after the other, and append to tables that grow alike.

**The calls** are as many POSTs of /api/ranking/monthly-rewards at the same moment, for a month that nobody has started,
to a gunicorn with two workers on that database: seconds of each answer, from connecting to its last byte. Each round
must make one job.

With a SQLite URL only the engine's figure is reported.
"""

from __future__ import annotations

import argparse
import json
import threading
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
from benchmarks.payout import Floor, people, settle_database

SCORE = {"tests_completed": "15", "correct_answers": "1"}
PAID_FROM, CALLED_FROM = 2020, 2000  # years: the calls have months of their own
ROUNDS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--database", default="postgres://postgres@127.0.0.1/postgres")
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--calls", type=int, default=100, help="at once; 0 leaves them out")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.database, options.one, options.repeat, options.calls)))
        return
    for size in options.sizes:
        one = ("--one", size, "--repeat", options.repeat, "--calls", options.calls)
        report(size, run_alone("monthly", options.database, *one), options.calls)


def report(size: int, result: dict, calls: int) -> None:
    engine, floor = result["engine"], result["floor"]
    print(f"{size:,} users; memory {result['memory_mb']:.0f} MB, before the first month {result['idle_mb']:.0f} MB")
    print(f"  the job: {median_and_spread(engine)} s; canary {median_and_spread(result['canary'])} s")
    if floor:
        ratios = [ours / least for ours, least in zip(engine, floor, strict=True)]
        print(f"  the floor: {median_and_spread(floor)} s; ratio {median_and_spread(ratios)}")
    for stage, seconds in result["stages"].items():
        print(f"    {stage}: {median_and_spread(seconds)} s")
    if result["calls"]:
        taken = sorted(result["calls"])
        rounds = f"{calls} calls at once, {len(taken) // calls} times"
        print(f"  {rounds}: p50 {taken[len(taken) // 2]:.3f} s, max {taken[-1]:.3f} s")


def measure(database_url: str, size: int, repeat: int, calls: int) -> dict:
    set_up_django(database_url)
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    people(size)
    create_category()
    floor = None if database_url.startswith("sqlite") else Floor()
    result: dict = {"engine": [], "floor": [], "stages": {}, "canary": [], "calls": [], "idle_mb": peak_memory_mb()}
    for month in range(1, repeat + 1):
        live_through(month)
        result["canary"].append(canary())
        settle_database()
        seconds, stages = pay(month, size)
        result["engine"].append(seconds)
        for stage, each in stages.items():
            result["stages"].setdefault(stage, []).append(each)
        if floor:
            result["floor"].append(floor.run())
    result["memory_mb"] = peak_memory_mb()
    if calls and floor:
        result["calls"] = call_at_once(database_url, calls)
    return result


# ------------------------------------------------------------------------------------------------------------- the job


def create_category() -> None:
    """The students, everybody in their group, paid by the shipped tiers."""
    from django.contrib.auth.models import Group
    from django.db import connection

    from rewards.monthly.models import RankingCategory
    from rewards.monthly.setup import TIERS

    group = Group.objects.create(name="students")
    RankingCategory.objects.create(slug="students", group=group, score=SCORE, tiers=TIERS, currency="gold")
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO rewards_user_groups (user_id, group_id) SELECT id, %s FROM rewards_user ORDER BY id",
            [group.pk],
        )


def live_through(month: int) -> None:
    """A counter of each metric for everybody, with the event that it counts, spread over the month."""
    from django.db import connection

    from rewards.common.database import sql_instant

    period = month_of(PAID_FROM, month)
    days = [sql_instant(period.start.replace(day=day, hour=9)) for day in range(1, 29)]
    with connection.cursor() as cursor:
        for number, metric in enumerate(SCORE, start=1):
            quantity = f"((id * {7919 * number}) % 97 + 1) * 1000000"
            cursor.execute(
                "INSERT INTO rewards_counter (user_id, metric, month, quantity) "
                f"SELECT id, %s, %s, {quantity.replace('%', '%%')} FROM rewards_user ORDER BY id",
                [metric, period.key],
            )
            for place, day in enumerate(days):
                cursor.execute(
                    "INSERT INTO rewards_activityevent (event_id, user_id, metric, quantity, occurred_at, attributes, "
                    "counted_month, late, recorded_at) "
                    f"SELECT %s || id, id, %s, {quantity.replace('%', '%%')}, %s, '{{}}', %s, false, %s "
                    "FROM rewards_user WHERE (id * 31) %% 28 = %s ORDER BY id",
                    [f"{period.key}-{metric}-", metric, day, period.key, day, place],
                )
        if connection.vendor == "postgresql":
            cursor.execute("VACUUM ANALYZE rewards_activityevent, rewards_counter, rewards_user_groups")


def month_of(first_year: int, number: int):
    """The month of that number, the first of the year being 1."""
    from django.conf import settings

    from rewards.common.periods import Month

    return Month(first_year + (number - 1) // 12, (number - 1) % 12 + 1, settings.REWARDS_TIME_ZONE)


def pay(month: int, size: int) -> tuple[float, dict[str, float]]:
    """Seconds of the job of a month, and of the stages of its payout."""
    from rewards.distributions.models import Distribution
    from rewards.monthly import services

    period = month_of(PAID_FROM, month)

    def work() -> None:
        job, _ = services.start_job(period.year, period.month, by="benchmark", at=period.end)
        services.run_job(job, period.end)
        job.refresh_from_db()
        if job.status != "completed" or job.results["totalRewardsAwarded"] != size:
            raise SystemExit(f"The job ended as {job.status}: {job.error_message}")

    seconds = timed(work)
    return seconds, Distribution.objects.get(programme="monthly:students", period_key=period.key).seconds


# ----------------------------------------------------------------------------------------------------------- the calls


def call_at_once(database_url: str, calls: int) -> list[float]:
    """Seconds of each answer, in several rounds of so many calls."""
    from benchmarks.claims_http import ask, server

    secret = machine_key()
    taken: list[float] = []
    with server(database_url) as port:
        for _ in range(8):  # so that each worker has answered something before it counts
            ask(port, request(secret, month_of(PAID_FROM, 1)))
        for number in range(1, ROUNDS + 1):
            message = request(secret, month_of(CALLED_FROM, number))
            answers = at_once(lambda message=message: ask(port, message), calls)
            check_answers([answer for _, answer in answers])
            taken += [seconds for seconds, _ in answers]
    return taken


def at_once(work: Callable[[], bytes], count: int) -> list[tuple[float, bytes]]:
    """Seconds and answer of each of so many threads that start at the same moment."""
    results: list[tuple[float, bytes]] = []
    ready = threading.Barrier(count)

    def client() -> None:
        ready.wait()
        started = time.perf_counter()
        answer = work()
        results.append((time.perf_counter() - started, answer))

    threads = [threading.Thread(target=client) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def check_answers(answers: list[bytes]) -> None:
    """One has started the month, the others hear that it is under way."""
    wrong = [answer for answer in answers if b" 200 " not in answer[:20]]
    if wrong:
        raise SystemExit(f"A call was answered {wrong[0].decode()[:600]}")
    bodies = [json.loads(answer.partition(b"\r\n\r\n")[2]) for answer in answers]
    started = [body for body in bodies if "started for" in body["message"]]
    if len(started) != 1 or len({body["data"]["jobId"] for body in bodies}) != 1:
        raise SystemExit(f"{len(started)} of {len(bodies)} calls started the month.")


def machine_key() -> str:
    from django.db import connection

    from rewards.access.models import Right
    from rewards.access.services import create_api_key

    _, secret = create_api_key("cron", [Right.MONTHLY_RUN], by=None)
    connection.close()
    return secret


def request(secret: str, period) -> bytes:
    """To start that month."""
    body = json.dumps({"month": period.month, "year": period.year}).encode()
    head = (
        "POST /api/ranking/monthly-rewards HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nx-api-key: {secret}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


if __name__ == "__main__":
    main()
