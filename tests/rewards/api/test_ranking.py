"""/api/ranking/monthly-rewards: a month is started once, its job is told of, and users see their own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import time_machine
from celery import current_app
from django.conf import settings
from django.test import Client

from rewards.access.models import Right
from rewards.api.ranking import JobLineSerializer, JobSerializer, OwnMonthSerializer, StartedJobSerializer
from rewards.common.periods import Month
from rewards.distributions.corrections import take_back
from rewards.distributions.models import Distribution
from rewards.distributions.services import advance
from rewards.monthly import services
from rewards.monthly.models import MonthlyRewardJob, RankingCategory, no_results
from tests.concurrency.racing import at_once
from tests.rewards.monthly.conftest import AFTER, DURING, OCTOBER, category, did, join, run, students

__all__ = ["category", "students"]

pytestmark = pytest.mark.django_db

START = "/api/ranking/monthly-rewards"
LOOKS = (f"{START}/status", f"{START}/jobs")
RUN = Right.MONTHLY_RUN

Send = Callable[..., Any]


@pytest.fixture(autouse=True)
def november() -> Iterator[Any]:
    """October has been over for five minutes."""
    with time_machine.travel(AFTER, tick=False) as clock:
        yield clock


@pytest.fixture(autouse=True)
def pokes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was sent to the broker."""
    sent: list[str] = []
    monkeypatch.setattr(current_app, "send_task", lambda name, **options: sent.append(name))
    return sent


def settled() -> None:
    """Wait for the pokes that are under way."""
    for thread in threading.enumerate():
        if thread.name.startswith("poke "):
            thread.join(60)


@pytest.fixture
def october(category: Any, students: Any, alice: Any, bob: Any) -> RankingCategory:
    """Alice before Bob."""
    join(students, alice, bob)
    did(alice, "tests_completed", "3")
    did(bob, "correct_answers", "4")
    return category()


@pytest.fixture
def runner(as_machine: Any) -> Client:
    return as_machine(RUN)


def start(client: Client, body: Any = None, path: str = START) -> Any:
    if body is None:
        return client.generic("POST", path)
    return client.post(path, data=body, content_type="application/json")


def months(*numbers: int) -> None:
    for number in numbers:
        MonthlyRewardJob.objects.create(year=2026, month=number, results=no_results(), started_at=AFTER)


class TestStart:
    def test_the_month_before_this_one_in_the_products_zone(self, runner: Client, pokes: list[str]) -> None:
        answer = start(runner)

        assert answer.status_code == 200
        job = MonthlyRewardJob.objects.get()
        assert answer.json() == {
            "success": True,
            "message": "Monthly rewards processing started for 10/2026",
            "data": {
                "jobId": job.pk, "month": 10, "year": 2026, "status": "processing",
                "note": "Rewards are being processed in the background",
                "startedAt": AFTER.astimezone(UTC).isoformat().replace("+00:00", "Z"), "completedAt": None,
                "duration": None, "results": no_results(),
            },
        }  # fmt: skip
        assert answer.json()["data"].keys() == StartedJobSerializer().fields.keys()
        assert (job.year, job.month, job.started_by) == (2026, 10, "game")
        settled()
        assert pokes == ["rewards.tasks.monthly_rewards"]

    @pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/Los_Angeles"])
    def test_which_month_is_the_one_before_says_the_zone(self, runner: Client, settings: Any, zone: str) -> None:
        """An hour before midnight UTC November has begun in Tokyo, and an hour after it has not in Los Angeles."""
        settings.REWARDS_TIME_ZONE = ZoneInfo(zone)
        expected = {"Asia/Tokyo": 10, "America/Los_Angeles": 9}[zone]
        hours = {"Asia/Tokyo": -1, "America/Los_Angeles": 1}[zone]
        with time_machine.travel(datetime(2026, 11, 1, tzinfo=UTC) + timedelta(hours=hours), tick=False):
            assert start(runner).json()["data"]["month"] == expected

    @pytest.mark.parametrize(
        ("body", "month"), [("", "10/2026"), ("{}", "10/2026"), ({"month": 12, "year": 2024}, "12/2024")]
    )
    def test_the_body_names_a_month_or_is_empty(self, runner: Client, body: Any, month: str) -> None:
        answer = start(runner, body)

        data = answer.json()["data"]
        assert (answer.status_code, f"{data['month']}/{data['year']}") == (200, month)
        assert start(runner, body, f"{START}/").json()["data"]["jobId"] == data["jobId"]

    @pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain", "application/json"])
    def test_nothing_is_of_any_media_type(self, runner: Client, content_type: str) -> None:
        """As `curl -d ''` sends it."""
        assert runner.generic("POST", START, b"", content_type).status_code == 200

    def test_again_while_it_is_processed(self, runner: Client, pokes: list[str]) -> None:
        first = start(runner).json()["data"]
        settled()

        answer = start(runner)

        settled()
        assert (answer.status_code, answer.json()["success"]) == (200, True)
        assert answer.json()["message"] == "Processing is already underway"
        assert answer.json()["data"] == first | {"note": answer.json()["data"]["note"]}
        assert MonthlyRewardJob.objects.count() == len(pokes) == 1

    def test_again_when_it_is_paid(self, october: Any, runner: Client, pokes: list[str]) -> None:
        job = run()

        answer = start(runner).json()

        assert (answer["success"], answer["message"]) == (True, "Monthly rewards already processed")
        assert answer["data"]["status"] == "completed"
        assert answer["data"]["results"] == job.results
        assert answer["data"]["results"]["totalRewardsAwarded"] == 2
        assert datetime.fromisoformat(answer["data"]["completedAt"]) == job.completed_at
        assert answer["data"]["duration"] == job.duration
        settled()
        assert pokes == []

    def test_again_when_it_has_failed(self, october: Any, runner: Client, pokes: list[str]) -> None:
        RankingCategory.objects.update(currency="gone")
        run()

        answer = start(runner)

        assert answer.status_code == 200
        said = answer.json()
        assert (said["success"], said["message"]) == (False, "Monthly rewards processing failed for 10/2026")
        assert said["data"]["status"] == "failed"
        assert [each["category"] for each in said["data"]["results"]["errors"]] == ["students"]
        assert "retries" in said["data"]["note"]
        settled()
        assert pokes == []
        assert MonthlyRewardJob.objects.get().status == "failed"

    @pytest.mark.parametrize(
        ("body", "code"),
        [
            ({"month": 11, "year": 2026}, "month_not_over"), ({"month": 1, "year": 2027}, "month_not_over"),
            ({"month": 13, "year": 2024}, "no_such_month"), ({"month": 0, "year": 2024}, "no_such_month"),
            ({"month": -1, "year": 2024}, "no_such_month"), ({"month": 12, "year": 0}, "no_such_month"),
            ({"month": 12, "year": 99999}, "no_such_month"), ({"month": 2**62, "year": 2**62}, "no_such_month"),
        ],
    )  # fmt: skip
    def test_a_month_that_is_none_or_is_not_over(self, runner: Client, body: Any, code: str) -> None:
        answer = start(runner, body)

        assert (answer.status_code, answer.json()["code"]) == (422, code)
        assert not MonthlyRewardJob.objects.exists()

    @pytest.mark.parametrize(
        "body",
        [
            {"month": 12}, {"year": 2024}, {"month": "12", "year": 2024}, {"month": 12.0, "year": 2024},
            {"month": None, "year": None}, {"month": 12, "year": 2024, "force": True}, [], "1", '"12/2024"', "{",
        ],
        ids=repr,
    )  # fmt: skip
    def test_what_cannot_be_read(self, runner: Client, body: Any) -> None:
        answer = start(runner, body)

        assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")
        assert not MonthlyRewardJob.objects.exists()

    def test_it_takes_a_key_with_the_right(self, client: Client, as_machine: Any, as_user: Any, staff: Any) -> None:
        assert start(client).status_code == 401
        assert start(Client(headers={"x-api-key": "rwk_wrong"})).status_code == 401
        others = as_machine(*(set(Right) - {RUN}), name="other")
        assert (start(others).status_code, start(others).json()["code"]) == (403, "permission_denied")
        assert start(as_user(staff("otto", "run_monthlyrewardjob"))).status_code == 403
        assert not MonthlyRewardJob.objects.exists()

    def test_a_broker_that_does_not_answer_is_not_waited_for(
        self, runner: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked, answered, done = threading.Event(), threading.Event(), threading.Event()

        def wait(name: str, **options: Any) -> None:
            asked.set()
            answered.wait(60)
            done.set()

        monkeypatch.setattr(current_app, "send_task", wait)
        answer = start(runner)

        assert asked.wait(60)
        assert not done.is_set()
        assert answer.json()["data"]["status"] == "processing"
        answered.set()
        settled()

    @pytest.mark.postgresql
    @pytest.mark.django_db(transaction=True)
    def test_many_at_once_start_one(self, as_machine: Any, pokes: list[str]) -> None:
        clients = [as_machine(RUN, name=f"cron {number}") for number in range(20)]

        answers = [answer.json() for answer in at_once(*[lambda client=client: start(client) for client in clients])]

        settled()
        assert len({answer["data"]["jobId"] for answer in answers}) == MonthlyRewardJob.objects.count() == 1
        assert sum("started" in answer["message"] for answer in answers) == len(pokes) == 1


class TestStatus:
    def test_of_the_newest_month_and_of_one_that_is_named(self, october: Any, runner: Client) -> None:
        job = run()
        months(8)

        answer = runner.get(f"{START}/status").json()

        assert answer == {
            "success": True,
            "message": "Job status retrieved successfully",
            "data": {
                "jobId": job.pk, "month": 10, "year": 2026, "status": "completed",
                "startedAt": answer["data"]["startedAt"], "completedAt": answer["data"]["completedAt"],
                "duration": job.duration, "results": job.results,
            },
        }  # fmt: skip
        assert answer["data"].keys() == JobSerializer().fields.keys()
        assert answer["data"]["results"].keys() == no_results().keys()
        assert runner.get(f"{START}/status/?month=8&year=2026").json()["data"]["month"] == 8

    def test_there_is_none(self, runner: Client) -> None:
        assert runner.get(f"{START}/status").status_code == 404
        months(8)
        for query in ("month=9&year=2026", "month=13&year=2026", "month=1&year=999999", f"month=1&year={2**62}"):
            answer = runner.get(f"{START}/status?{query}")
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found")

    @pytest.mark.parametrize("query", ["month=8", "year=2026", "month=x&year=2026", "month=8&year=2026&limit=1"])
    def test_a_bad_query_is_refused(self, runner: Client, query: str) -> None:
        assert runner.get(f"{START}/status?{query}").status_code == 400


class TestJobs:
    def test_newest_month_first_with_their_totals(self, october: Any, runner: Client) -> None:
        job = run()
        months(8)
        MonthlyRewardJob.objects.filter(month=8).update(
            status="failed", results=no_results() | {"errors": [{"category": "students", "error": "gone"}]}
        )

        answer = runner.get(f"{START}/jobs").json()

        first, second = answer["data"]["jobs"]
        assert answer | {"data": {}} == {"success": True, "message": "Recent jobs retrieved successfully", "data": {}}
        assert answer["data"]["total"] == 2
        assert first.keys() == JobLineSerializer().fields.keys()
        assert (first["jobId"], first["month"], first["totalRewards"], first["totalCoins"]) == (job.pk, 10, 2, 1500)
        assert (first["hasErrors"], first["status"], first["duration"]) == (False, "completed", job.duration)
        assert (second["month"], second["totalRewards"], second["hasErrors"]) == (8, 0, True)

    def test_twelve_of_them_or_as_many_as_asked(self, runner: Client) -> None:
        months(*range(1, 10))
        for month in range(1, 9):
            MonthlyRewardJob.objects.create(year=2025, month=month, results=no_results())

        def listed(query: str = "") -> list[tuple[int, int]]:
            data = runner.get(f"{START}/jobs{query}").json()["data"]
            assert data["total"] == 17
            return [(job["year"], job["month"]) for job in data["jobs"]]

        assert len(listed()) == 12
        assert listed("?limit=2") == [(2026, 9), (2026, 8)]
        assert len(listed("?limit=500")) == 17

    @pytest.mark.parametrize("query", ["limit=0", "limit=501", "limit=x", "month=8&year=2026", "cursor=x"])
    def test_a_bad_query_is_refused(self, runner: Client, query: str) -> None:
        assert runner.get(f"{START}/jobs?{query}").status_code == 400


@pytest.mark.parametrize("path", LOOKS)
def test_staff_and_machines_with_a_right_may_look(
    path: str, client: Client, as_machine: Any, as_user: Any, alice: Any, staff: Any
) -> None:
    months(8)

    assert client.get(path).status_code == 401
    assert as_user(alice).get(path).status_code == 403
    assert as_machine(Right.CLAIMS_WRITE, Right.REWARDS_DISTRIBUTE).get(path).status_code == 403
    assert as_machine(Right.READ, name="reader").get(path).status_code == 200
    assert as_machine(RUN, name="runner").get(path).status_code == 200
    assert as_user(staff("otto")).get(path).status_code == 200


class TestHistory:
    path = f"{START}/history"

    @pytest.fixture
    def two_months(self, october: Any, alice: Any) -> None:
        """September is paid after October."""
        run()
        september = OCTOBER.previous()
        RankingCategory.objects.update(active_since=september.start)
        job, _ = services.start_job(september.year, september.month, by="test", at=AFTER)
        services.run_job(job, AFTER)

    def test_own_ones_newest_month_first(self, two_months: None, as_user: Any, alice: Any, bob: Any) -> None:
        answer = as_user(bob).get(self.path).json()

        october, september = answer["results"]
        assert answer | {"results": []} == {"results": [], "next": None, "previous": None}
        assert october == {
            "month": 10, "year": 2026, "category": "students", "position": 2, "rank": 2, "score": "4",
            "amount": "500.00", "currency": "coins", "tier": "Elite", "badge": "Monthly Elite", "status": "paid",
        }  # fmt: skip
        assert october.keys() == OwnMonthSerializer().fields.keys()
        assert (september["month"], september["score"]) == (9, "0")
        assert [each["tier"] for each in as_user(alice).get(f"{self.path}/").json()["results"]] == ["Champion"] * 2

    def test_page_by_page(self, two_months: None, as_user: Any, alice: Any) -> None:
        first = as_user(alice).get(f"{self.path}?limit=1").json()
        second = as_user(alice).get(first["next"]).json()

        assert [each["month"] for each in first["results"] + second["results"]] == [10, 9]
        assert second["next"] is None

    def test_what_was_taken_back_brings_no_badge(self, october: Any, as_user: Any, alice: Any, staff: Any) -> None:
        run()
        distribution, otto = Distribution.objects.get(), staff("otto", "reverse_distribution")
        take_back(distribution.pk, otto, "by mistake", reward_id=distribution.rewards.get(user=alice).pk)

        (row,) = as_user(alice).get(self.path).json()["results"]
        assert (row["status"], row["tier"], row["badge"]) == ("reversed", "Champion", None)

    def test_what_waits_for_an_approval_is_nobodys_yet(self, category: Any, students: Any, as_user: Any, alice: Any):
        join(students, alice)
        category(approval_limit="1")
        run()

        assert Distribution.objects.get().status == "allocated"
        assert as_user(alice).get(self.path).json()["results"] == []

    def test_other_payouts_are_not_among_them(
        self, october: Any, as_user: Any, alice: Any, make_user: Any, prize: Any, open_prize: Any
    ) -> None:
        run()
        prize.scores, prize.prize = {"alice": 1}, 100
        advance(open_prize().pk)

        assert [each["category"] for each in as_user(alice).get(self.path).json()["results"]] == ["students"]
        assert as_user(make_user("dave")).get(self.path).json()["results"] == []

    @pytest.mark.parametrize("query", ["limit=0", "month=10", "user=bob", "cursor=x"])
    def test_a_bad_query_is_refused(self, as_user: Any, alice: Any, query: str) -> None:
        assert as_user(alice).get(f"{self.path}?{query}").status_code == 400

    def test_it_is_for_users(self, client: Client, as_machine: Any) -> None:
        assert client.get(self.path).status_code == 401
        assert as_machine().get(self.path).status_code == 403


def test_the_month_of_these_tests_is_over() -> None:
    assert Month.containing(AFTER, settings.REWARDS_TIME_ZONE).previous() == OCTOBER
    assert OCTOBER.start < DURING < OCTOBER.end < AFTER
