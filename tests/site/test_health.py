"""What a load balancer and a Prometheus server see."""

from __future__ import annotations

import socket
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connection
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from rewards.access import services
from rewards.access.services import create_api_key, revoke
from rewards.alerts.services import raise_alert
from rewards.audit.services import record
from rewards.distributions.models import Distribution
from rewards.jobs.models import JobRun, ProcessHeartbeat
from rewards.ledger.models import Account, Currency
from rewards.pools.models import PartnerTransfer
from rewards.users.models import User
from rewards_site.celery import app

pytestmark = pytest.mark.django_db


@pytest.fixture
def processes() -> None:
    for kind in ("worker", "scheduler"):
        ProcessHeartbeat.objects.create(name=f"{kind}@host:1", kind=kind)


@pytest.mark.parametrize("path", ["/healthz", "/healthz/"])
def test_alive_without_a_query(client: Client, path: str, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        answer = client.get(path)

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert "no-store" in answer["Cache-Control"]


@pytest.mark.parametrize("path", ["/readyz", "/readyz/"])
def test_ready_when_all_parts_answer(client: Client, processes: None, path: str) -> None:
    answer = client.get(path)

    assert answer.status_code == 200
    assert {part: facts["ok"] for part, facts in answer.json().items() if part != "status"} == {
        "database": True,
        "broker": True,
        "worker": True,
        "scheduler": True,
    }


def test_processes_are_listed_since_when_and_when_last_heard_of(client: Client) -> None:
    now = timezone.now().replace(microsecond=0)
    for minutes in (50, 10):
        ProcessHeartbeat.objects.create(
            name=f"worker@host:{minutes}",
            kind="worker",
            started_at=now - timedelta(minutes=minutes),
            heartbeat_at=now - timedelta(seconds=minutes / 10),
        )
    ProcessHeartbeat.objects.create(name="worker@host:3", kind="worker", stopped_at=now)

    listed = client.get("/readyz").json()["worker"]["processes"]
    assert [each["since"] for each in listed] == [(now - timedelta(minutes=ago)).isoformat() for ago in (10, 50)]
    assert [each["last_heartbeat"] for each in listed] == [(now - timedelta(seconds=ago)).isoformat() for ago in (1, 5)]


def test_not_ready_without_processes(client: Client) -> None:
    answer = client.get("/readyz")

    assert (answer.status_code, answer.json()["status"]) == (503, "unavailable")
    assert answer.json()["worker"] == answer.json()["scheduler"] == {"ok": False}


def test_not_ready_while_the_scheduler_is_silent(client: Client, processes: None) -> None:
    half_a_minute_ago = timezone.now() - timedelta(seconds=31)
    ProcessHeartbeat.objects.filter(kind="scheduler").update(heartbeat_at=half_a_minute_ago)
    answer = client.get("/readyz")

    assert answer.status_code == 503
    assert answer.json()["worker"]["ok"]
    assert not answer.json()["scheduler"]["ok"]
    assert answer.json()["scheduler"]["last_heard_seconds"] > 30


def test_not_ready_without_a_broker(client: Client, processes: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nobody_listens = f"redis://secret@127.0.0.1:{unused.getsockname()[1]}/0"
    monkeypatch.setitem(app.conf, "broker_url", nobody_listens)
    monkeypatch.setitem(app.conf, "broker_write_url", nobody_listens)
    answer = client.get("/readyz")

    assert (answer.status_code, answer.json()["broker"]) == (503, {"ok": False})
    assert "secret" not in answer.content.decode()


def test_not_ready_without_a_database(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise DatabaseError("could not connect to db.internal.example:5432")

    monkeypatch.setattr(connection, "cursor", refuse)
    answer = client.get("/readyz")

    assert answer.status_code == 503
    assert answer.json()["database"] == answer.json()["worker"] == {"ok": False}
    assert "internal" not in answer.content.decode()


def test_nothing_is_told_about_the_inside(client: Client, processes: None) -> None:
    answer = client.get("/readyz").content.decode()

    for inside in ("host", "Django", "sqlite", "postgres", "redis", "/"):
        assert inside not in answer


def test_only_reading(client: Client) -> None:
    for path in ("/healthz", "/readyz", "/metrics"):
        assert client.post(path).status_code == 405


# ---------------------------------------------------------------------------------------------------------- metrics


def test_metrics_are_for_staff(client: Client, alice: User) -> None:
    assert client.get("/metrics").status_code == 401
    client.force_login(alice)
    assert client.get("/metrics").status_code == 403
    alice.is_staff = True
    alice.save()
    assert client.get("/metrics").status_code == client.get("/metrics/").status_code == 200


def test_metrics_are_for_api_keys_that_may_read(client: Client, db: None) -> None:
    _, reading = create_api_key("prometheus", ["read"], by=None)
    key, writing = create_api_key("game", ["claims:write"], by=None)
    assert client.get("/metrics", headers={"x-api-key": reading}).status_code == 200
    refused = client.get("/metrics", headers={"x-api-key": writing})
    assert (refused.status_code, refused.content) == (403, b"This needs an API key with the right read.\n")
    revoke(key, at=timezone.now(), by=None)
    services._remembered.clear()
    for secret in (writing, "rwk_" + "a" * 43, "", "é", "x" * 10_000):
        refused = client.get("/metrics", headers={"x-api-key": secret})
        assert refused.status_code == 401
        assert "x-api-key" in refused["WWW-Authenticate"]


def test_a_bad_key_is_refused_whoever_is_signed_in(client: Client, alice: User) -> None:
    alice.is_staff = True
    alice.save()
    client.force_login(alice)
    assert client.get("/metrics", headers={"x-api-key": "rwk_unknown"}).status_code == 401


@pytest.fixture
def samples(client: Client, make_user: Any) -> Any:
    """Read /metrics as staff: {(name, label values): value}."""
    client.force_login(make_user("olga", is_staff=True))

    def read() -> dict[tuple[str, ...], float]:
        text = client.get("/metrics").content.decode()
        return {
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    return read


def test_metrics_of_an_empty_database(samples: Any) -> None:
    found = samples()

    assert found[("rewards_open_alerts", "critical")] == 0
    assert found[("rewards_unsealed_audit_events",)] == 0
    assert found[("rewards_payouts_paused",)] == 0


def test_metrics_say_what_the_database_says(samples: Any, points: Currency, alice: User) -> None:
    pool = Account.objects.create(code="pool:daily", currency=points, balance=250)
    Account.objects.create(user=alice, currency=points, balance=99)
    for key, status in (("a", "failed"), ("b", "failed"), ("c", "paid"), ("d", "allocated")):
        Distribution.objects.create(
            programme="pool_daily", period_key=key, currency=points, source_account=pool, status=status
        )
    raise_alert("ledger_check", severity="critical")
    then = timezone.now() - timedelta(minutes=10)
    JobRun.objects.create(job="sweep", status="succeeded", started_at=then, finished_at=then)
    long_ago = timezone.now() - timedelta(days=2)
    JobRun.objects.create(job="sweep", status="failed", started_at=long_ago, finished_at=long_ago)
    record("approved")
    PartnerTransfer.objects.create(partner=alice, time=then, amount=1, currency=points)
    ProcessHeartbeat.objects.create(name="worker@host:1", kind="worker")

    found = samples()

    assert found[("rewards_pool_balance_minor_units", "pool:daily", "points")] == 250
    assert found[("rewards_unfinished_distributions", "pool_daily", "failed")] == 2
    assert found[("rewards_unfinished_distributions", "pool_daily", "allocated")] == 1
    assert ("rewards_unfinished_distributions", "pool_daily", "paid") not in found
    assert found[("rewards_open_alerts", "critical")] == 1
    assert found[("rewards_job_runs_last_day", "sweep", "succeeded")] == 1
    assert ("rewards_job_runs_last_day", "sweep", "failed") not in found
    assert 600 <= found[("rewards_job_newest_run_age_seconds", "sweep", "succeeded")] < 660
    assert found[("rewards_unsealed_audit_events",)] == 1
    assert found[("rewards_unsent_partner_transfers",)] == 1
    assert found[("rewards_process_silence_seconds", "worker")] < 60
    assert not [key for key in found if "alice" in key]
