"""The month's rewards, asked for by many at once and paid by workers that die: one job, everybody paid once."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from http.client import HTTPResponse
from json import loads
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import Group
from django.db import connection
from django.db.models.functions import Now
from django.utils import timezone

from rewards.access.models import Right
from rewards.access.services import create_api_key
from rewards.activity.services import NewEvent, record_events
from rewards.audit.models import AuditEvent
from rewards.common.periods import Month
from rewards.distributions.models import Distribution, DistributionChunk, Reward
from rewards.distributions.queries import verify
from rewards.ledger.models import Account, Currency, Journal, Transfer
from rewards.monthly import services
from rewards.monthly.errors import NotFailed
from rewards.monthly.models import MonthlyRewardJob, RankingCategory
from rewards.monthly.queries import previous_month
from rewards.monthly.setup import TIERS
from rewards.parameters.services import set_parameter
from rewards.users.models import User
from tests.concurrency.conftest import broken_promises
from tests.concurrency.racing import (
    PATIENCE_SECONDS,
    at_once,
    die_before_statement,
    in_process,
    kill,
    statements_of,
    was_killed,
)
from tests.rewards.elsewhere import environment_on_this_database

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]

CLIENTS = 100
SIZES = {"students": 300, "teachers": 40}
START = "/api/ranking/monthly-rewards"
ANSWERS = ("Processing is already underway", "Monthly rewards already processed")

FIRST = Month(2025, 1, settings.REWARDS_TIME_ZONE)

Status = MonthlyRewardJob.Status


@pytest.fixture
def school(coins: Currency) -> Callable[[Month], None]:
    """`school(month)`: 300 students and 40 teachers who did something in it, or nothing; each payout in many chunks."""
    set_parameter("distributions.chunk_rows", 16, actor=None, reason="many chunks")
    for slug, size in SIZES.items():
        group = Group.objects.create(name=slug)
        people = [User(username=f"{slug}-{number:03}", password="!") for number in range(size)]
        group.user_set.add(*User.objects.bulk_create(people))  # type: ignore[attr-defined]
        category = RankingCategory(slug=slug, group=group, score={slug: "1.5"}, tiers=TIERS, active_since=FIRST.start)
        services.save_category(category, None)

    def teach(month: Month) -> None:
        chance = random.Random(month.key)
        events = [
            NewEvent(
                f"{month.key}-{slug}-{number}", f"{slug}-{number:03}", slug, chance.randint(1, 20),
                month.start + timedelta(seconds=chance.randrange(86_400 * 28)),
            )
            for slug, size in SIZES.items()
            for number in range(size - 10)  # the last ten do nothing, and are paid as unplaced
        ]  # fmt: skip
        assert record_events(events, at=month.end).accepted == len(events)

    return teach


def months_of(school: Callable[[Month], None]) -> Iterator[Month]:
    """One month of the school after the other, from January 2025 on."""
    month = FIRST
    while True:
        school(month)
        yield month
        month = month.next()


def due(month: Month) -> datetime:
    return month.end + timedelta(minutes=5)


def job_of(month: Month) -> MonthlyRewardJob:
    return MonthlyRewardJob.objects.get(year=month.year, month=month.month)


def believe_the_worker_dead() -> None:
    """What ten minutes without a heartbeat do."""
    MonthlyRewardJob.objects.exclude(heartbeat_at=None).update(heartbeat_at=Now() - timedelta(minutes=11))


def assert_everybody_is_paid_once(*months: Month) -> None:
    """Each of 340 people for each of the months, by his place in it."""
    jobs = MonthlyRewardJob.objects.filter(status=Status.COMPLETED, worker="", heartbeat_at=None)
    assert jobs.count() == MonthlyRewardJob.objects.count() == len(months)
    paid = Distribution.objects.filter(status="paid")
    wanted = {(f"monthly:{slug}", month.key) for month in months for slug in ("students", "teachers")}
    assert set(paid.values_list("programme", "period_key")) == wanted
    assert paid.count() == Distribution.objects.count()
    assert [difference for each in paid for difference in verify(each)] == []

    rewards = list(Reward.objects.values_list("distribution__programme", "position", "user_id", "amount"))
    assert len(rewards) == 340 * len(months)
    assert all(amount == 100 * prize(position) for _, position, _, amount in rewards)
    places = Counter((programme.removeprefix("monthly:"), position) for programme, position, _, _ in rewards)
    assert places == {(slug, place): len(months) for slug, size in SIZES.items() for place in range(1, size + 1)}
    transfers = Transfer.objects.filter(journal__kind="distribution")
    assert Counter(transfers.values_list("credit_account__user_id", "amount")) == Counter(
        (user, amount) for _, _, user, amount in rewards
    )
    of_users = dict(Account.objects.exclude(user=None).values_list("user_id", "balance"))
    assert sum(of_users.values()) == sum(amount for _, _, _, amount in rewards)
    assert Journal.objects.filter(kind="distribution").count() == DistributionChunk.objects.count()
    for event_type in ("monthly_rewards_started", "monthly_rewards_completed"):
        told = AuditEvent.objects.filter(event_type=event_type).values_list("data", flat=True)
        assert sorted(data["month"] for data in told) == [month.key for month in months]
    assert broken_promises() == []


def prize(place: int) -> int:
    return next(units for last, units in ((1, 1000), (10, 500), (50, 200), (100, 100), (999, 10)) if place <= last)


# -------------------------------------------------------------------------------------------------- workers that die


def work_and_die(at: datetime, statement: int) -> None:
    """Work at what is due, and be gone right before a statement of that number."""
    die_before_statement(statement, lambda: services.run_due(at))


def test_ten_workers_killed_at_random_points_are_each_finished_by_the_next(school):
    chance, months = random.Random(20_261_121), months_of(school)
    undisturbed = next(months)
    points = statements_of(lambda: services.run_due(due(undisturbed)))
    assert points > 100
    lived, reached, held = [undisturbed], [], 0

    for point in sorted(chance.sample(range(2, points), 10)):
        month = next(months)
        process = in_process(work_and_die, due(month), point)
        process.join(PATIENCE_SECONDS)
        assert was_killed(process)
        reached.append(state_of(month))

        if MonthlyRewardJob.objects.filter(status=Status.PROCESSING).exclude(heartbeat_at=None).exists():
            held += 1
            assert services.run_due(due(month)).completed == []  # nobody takes from a worker that may yet be alive
        believe_the_worker_dead()
        assert services.run_due(due(month)).completed == [month.key]
        lived.append(month)

    assert len(set(reached)) >= 5  # they did not all die at the same
    assert held >= 5
    assert_everybody_is_paid_once(*lived)


def state_of(month: Month) -> tuple[Any, ...]:
    """How far a worker came with a month."""
    statuses = Distribution.objects.filter(period_key=month.key).order_by("programme").values_list("status", flat=True)
    return (*statuses, DistributionChunk.objects.filter(distribution__period_key=month.key, journal=None).count())


def test_a_month_at_which_workers_keep_dying_is_paid_once(school):
    """Killed at any moment, also amid a statement; the next takes over at once, with the dead one's still at an end."""
    chance, deaths = random.Random(5), 0
    month = next(months_of(school))
    deadline = time.monotonic() + PATIENCE_SECONDS

    while not MonthlyRewardJob.objects.filter(status=Status.COMPLETED).exists():
        assert time.monotonic() < deadline
        process = in_process(services.run_due, due(month))
        process.join(chance.uniform(0.02, 0.2) * (1 + deaths / 20))
        if process.is_alive():
            kill(process)
        deaths += was_killed(process)
        believe_the_worker_dead()

    assert deaths > 0
    assert_everybody_is_paid_once(month)


def test_a_worker_taken_for_dead_that_wakes_up_finds_its_job_gone(school):
    month = next(months_of(school))
    process = in_process(work_and_sleep_after_commits, due(month), 8)
    wait_until_it_sleeps(process.pid or 0)
    assert job_of(month).status == Status.PROCESSING
    paid_before = Journal.objects.filter(kind="distribution").count()
    believe_the_worker_dead()

    assert services.run_due(due(month)).completed == [month.key]
    assert Journal.objects.filter(kind="distribution").count() > paid_before > 0
    finished = MonthlyRewardJob.objects.values().get()
    os.kill(process.pid or 0, signal.SIGCONT)
    process.join(PATIENCE_SECONDS)

    assert process.exitcode == 0
    assert MonthlyRewardJob.objects.values().get() == finished
    assert_everybody_is_paid_once(month)


def work_and_sleep_after_commits(at: datetime, number: int) -> None:
    """Work at what is due; after so many commits, between two transactions, stop as a machine that is suspended."""
    commit, left = connection._commit, number

    def commit_and_sleep() -> None:
        nonlocal left
        commit()
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGSTOP)

    connection._commit = commit_and_sleep  # type: ignore[method-assign]
    services.run_due(at)


def wait_until_it_sleeps(pid: int) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        assert time.monotonic() < deadline
        time.sleep(0.01)


# ---------------------------------------------------------------------------------------------------- side by side


def test_of_runs_at_once_one_works_at_the_month(school):
    month = next(months_of(school))

    results = at_once(*[partial(services.run_due, due(month))] * 6)

    assert [key for result in results for key in result.completed] == [month.key]
    assert [key for result in results for key in result.failed] == []
    assert_everybody_is_paid_once(month)


def test_a_failed_month_that_many_retry_beside_runs_is_paid_once(school, coins):
    month = next(months_of(school))
    RankingCategory.objects.filter(slug="teachers").update(currency="gems")
    assert services.run_due(due(month)).failed == [month.key]
    failed = job_of(month)
    assert (failed.results["totalRewardsAwarded"], len(failed.results["errors"])) == (300, 1)
    RankingCategory.objects.filter(slug="teachers").update(currency=coins.code)

    answers = at_once(
        *[partial(services.retry_job, failed.pk, None, due(month))] * 4,
        *[partial(services.run_due, due(month))] * 4,
    )

    retried, ran = answers[:4], answers[4:]
    assert [type(each) for each in retried].count(MonthlyRewardJob) == 1
    assert [type(each) for each in retried].count(NotFailed) == 3
    assert all(isinstance(each, services.DueResult) for each in ran)
    services.run_due(due(month))  # in case that all of them had looked before the retry
    assert job_of(month).results["totalRewardsAwarded"] == 340
    assert_everybody_is_paid_once(month)


# ------------------------------------------------------------------------------------------------- asked for by many


@contextmanager
def server() -> Iterator[Path]:
    """The socket of a web server on this database, with as many workers and threads as the product has."""
    with tempfile.TemporaryDirectory(prefix="web") as folder:
        path = Path(folder) / "socket"
        environment = environment_on_this_database(ALLOWED_HOSTS="localhost", CELERY_BROKER_URL="memory://")
        words = ["--bind", f"unix:{path}", "--workers", "2", "--threads", "4", "--no-control-socket"]
        command = [sys.executable, "-m", "gunicorn", *words, "--log-level", "error", "rewards_site.wsgi:application"]
        process = subprocess.Popen(command, env=environment)
        try:
            deadline = time.monotonic() + PATIENCE_SECONDS
            while not path.exists():
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
            yield path
        finally:
            process.terminate()
            process.wait(PATIENCE_SECONDS)


def post(path: Path, key: str) -> tuple[int, dict[str, Any]]:
    """Ask for the month before this one: status and body."""
    with socket.socket(socket.AF_UNIX) as to_server:
        to_server.settimeout(PATIENCE_SECONDS)
        to_server.connect(str(path))
        head = f"POST {START} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 2\r\n"
        to_server.sendall(f"{head}Content-Type: application/json\r\nx-api-key: {key}\r\n\r\n{{}}".encode())
        answer = HTTPResponse(to_server)
        answer.begin()
        return answer.status, loads(answer.read())


def test_of_a_hundred_calls_at_once_one_starts_the_month_and_each_is_told_how_it_stands(school):
    month = previous_month(timezone.now())
    RankingCategory.objects.update(active_since=month.start)
    school(month)
    _, key = create_api_key("cron", [Right.MONTHLY_RUN], by=None)
    ready = Barrier(CLIENTS)

    def ask(path: Path) -> tuple[int, dict[str, Any]]:
        ready.wait(PATIENCE_SECONDS)
        return post(path, key)

    with server() as path, ThreadPoolExecutor(CLIENTS) as clients:
        asked = [clients.submit(ask, path) for _ in range(CLIENTS)]
        while not MonthlyRewardJob.objects.exists():
            time.sleep(0.001)
        services.run_due(due(month))  # while some of them are still waiting for their answer
        answers = [each.result() for each in asked]
        later = post(path, key)

    bodies = [body for status, body in answers if status == 200]
    assert len(bodies) == CLIENTS, next(answer for answer in answers if answer[0] != 200)
    job = MonthlyRewardJob.objects.get()
    assert {(body["success"], body["data"]["jobId"]) for body in bodies} == {(True, job.pk)}
    told = Counter(body["message"] for body in bodies)
    assert told.pop(f"Monthly rewards processing started for {month.month}/{month.year}") == 1
    assert set(told) <= set(ANSWERS)
    assert later[1]["message"] == ANSWERS[1]
    assert later[1]["data"]["results"]["totalRewardsAwarded"] == 340
    assert_everybody_is_paid_once(month)
