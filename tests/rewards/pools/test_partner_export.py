"""Special partners' rewards on their way to the partner's own database: exactly once, whatever its engine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.conf import settings
from django.db import DatabaseError, connections

from rewards.alerts.models import Alert
from rewards.pools import partner_database
from rewards.pools.models import PartnerTransfer
from rewards.pools.services import (
    NoPartnerDatabase,
    NoPartnerKey,
    NoPartnerTable,
    PartnerUnreachable,
    export_partners,
    setup_partner_database,
)
from tests.rewards.pools.conftest import instant

pytestmark = pytest.mark.django_db(databases=["default", "partner"])

AT = instant("2026-03-10T12:00")
DATABASE_NAME = "rewards_partner_test"


def mariadb() -> dict:
    """Settings of a fresh database on a MariaDB or MySQL server, or the reason why there is none."""
    try:
        import pymysql
    except ImportError:
        pytest.skip("PyMySQL is not installed: nothing to reach MariaDB with")
    pymysql.install_as_MySQLdb()
    host, user = os.environ.get("TEST_MARIADB_HOST", "127.0.0.1"), os.environ.get("TEST_MARIADB_USER", "root")
    try:
        server = pymysql.connect(host=host, user=user, password=os.environ.get("TEST_MARIADB_PASSWORD", ""))
    except pymysql.err.OperationalError as error:
        pytest.skip(f"no MariaDB or MySQL to try it on: {error}")
    with server, server.cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {DATABASE_NAME}")
        cursor.execute(f"CREATE DATABASE {DATABASE_NAME}")
    return {"ENGINE": "django.db.backends.mysql", "HOST": host, "USER": user, "NAME": DATABASE_NAME}


def postgresql() -> dict:
    """A second connection to the PostgreSQL of the tests, where they run on one."""
    if connections["default"].vendor != "postgresql":
        pytest.skip("the tests run on SQLite: no PostgreSQL to try it on")
    keys = ("ENGINE", "HOST", "PORT", "USER", "PASSWORD", "NAME", "OPTIONS")
    return {key: connections["default"].settings_dict[key] for key in keys}


def sqlite() -> dict:
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}


@pytest.fixture(params=[sqlite, mariadb, postgresql])
def partner(request, tmp_path) -> Iterator[None]:
    """The partner's database, empty, on each engine that can be reached."""
    with another_partner_database(request.param()):
        yield


@contextmanager
def another_partner_database(database: dict) -> Iterator[None]:
    """Point the alias `partner` somewhere else for a while."""
    usual = {"AUTOCOMMIT": True, "ATOMIC_REQUESTS": False, "TIME_ZONE": None, "OPTIONS": {}, "PASSWORD": ""}
    usual |= {"HOST": "", "PORT": "", "USER": "", "CONN_MAX_AGE": 0, "CONN_HEALTH_CHECKS": False, "TEST": {}}
    before, settings_before = connections["partner"], connections.settings["partner"]
    connections.settings["partner"] = {**usual, **database}
    connections["partner"] = connections.create_connection("partner")
    try:
        yield
    finally:
        if connections["partner"].vendor == "postgresql":
            with connections["partner"].cursor() as cursor:
                cursor.execute("DROP TABLE IF EXISTS cc_hourly")
        connections["partner"].close()
        connections.settings["partner"] = settings_before
        connections["partner"] = before


def transfer(partner, hour: str, amount: int, currency) -> PartnerTransfer:
    return PartnerTransfer.objects.create(partner=partner, time=instant(hour), amount=amount, currency=currency)


def rows() -> list[tuple[str, Decimal, datetime]]:
    with connections["partner"].cursor() as cursor:
        cursor.execute("SELECT partner_id, cc_reward, time FROM cc_hourly ORDER BY time, partner_id")
        return [(partner, Decimal(str(amount)), utc(time)) for partner, amount, time in cursor.fetchall()]


def utc(value: object) -> datetime:
    return datetime.fromisoformat(str(value)).replace(tzinfo=UTC)


def test_rows_get_there_exactly_once_and_exactly(partner, alice, bob, coins):
    assert setup_partner_database()
    assert not setup_partner_database()
    transfer(alice, "2026-03-10T07:00", 1, coins)
    transfer(bob, "2026-03-10T07:00", 9_007_199_254_740_993, coins)
    transfer(alice, "2026-03-10T08:00", 12_50, coins)

    result = export_partners(AT)
    assert (result.sent, result.failed, result.left) == (3, 0, 0)
    assert export_partners(AT).sent == 0

    assert rows() == [
        ("alice", Decimal("0.01"), instant("2026-03-10T07:00")),
        ("bob", Decimal("90071992547409.93"), instant("2026-03-10T07:00")),
        ("alice", Decimal("12.50"), instant("2026-03-10T08:00")),
    ]
    assert set(PartnerTransfer.objects.values_list("sent_at", "attempts", "last_error")) == {(AT, 1, "")}


def test_a_crash_between_the_two_commits_is_harmless(partner, alice, bob, coins):
    """The partner has the rows, ours is not marked: they are sent again."""
    setup_partner_database()
    transfer(alice, "2026-03-10T07:00", 100, coins)
    export_partners(AT)
    PartnerTransfer.objects.update(sent_at=None)
    transfer(bob, "2026-03-10T07:00", 200, coins)

    assert export_partners(AT).sent == 2
    assert [row[:2] for row in rows()] == [("alice", Decimal("1.00")), ("bob", Decimal("2.00"))]


def test_names_that_differ_in_case_or_accent_are_different_partners(partner, make_user, coins):
    setup_partner_database()
    for name in ("Zoe", "zoe", "Zoé"):
        transfer(make_user(name), "2026-03-10T07:00", 100, coins)

    assert export_partners(AT).sent == 3
    assert {row[0] for row in rows()} == {"Zoe", "zoe", "Zoé"}


def test_a_row_that_stands_with_another_amount_is_not_taken_for_sent(partner, alice, bob, coins):
    setup_partner_database()
    transfer(alice, "2026-03-10T07:00", 100, coins)
    export_partners(AT)
    PartnerTransfer.objects.update(sent_at=None, amount=150)
    transfer(bob, "2026-03-10T07:00", 200, coins)

    result = export_partners(AT)

    assert (result.sent, result.failed, result.left) == (1, 1, 1)
    unsent = PartnerTransfer.objects.get(sent_at=None)
    assert (unsent.partner, unsent.attempts) == (alice, 2)
    assert "for this partner and hour, not 1.50" in unsent.last_error
    assert Alert.objects.get(resolved_at=None).code == "partner_export_failed"


def test_nothing_is_sent_without_the_table_or_without_its_key(partner, alice, coins):
    transfer(alice, "2026-03-10T07:00", 100, coins)
    with pytest.raises(NoPartnerTable):
        export_partners(AT)
    with connections["partner"].cursor() as cursor:
        cursor.execute("CREATE TABLE cc_hourly (partner_id VARCHAR(150), cc_reward VARCHAR(40), time VARCHAR(40))")

    with pytest.raises(NoPartnerKey):
        export_partners(AT)
    with pytest.raises(NoPartnerKey):
        setup_partner_database()

    assert rows() == []
    kept = PartnerTransfer.objects.get()
    assert (kept.sent_at, kept.attempts) == (None, 2)
    assert "primary key" in kept.last_error


def test_one_row_that_the_partner_refuses_holds_up_nobody(alice, bob, make_user, coins):
    with another_partner_database(sqlite()):
        setup_partner_database()
        with connections["partner"].cursor() as cursor:
            cursor.execute(
                "CREATE TRIGGER no_bob BEFORE INSERT ON cc_hourly WHEN NEW.partner_id = 'bob' "
                "BEGIN SELECT RAISE(ABORT, 'bob is on leave'); END"
            )
        for user in (alice, bob, make_user("dave")):
            transfer(user, "2026-03-10T07:00", 100, coins)

        result = export_partners(AT)
        assert (result.sent, result.failed, result.left) == (2, 1, 1)
        assert "bob is on leave" in PartnerTransfer.objects.get(sent_at=None).last_error

        with connections["partner"].cursor() as cursor:
            cursor.execute("DROP TRIGGER no_bob")
        assert export_partners(AT).sent == 1
        assert not Alert.objects.filter(resolved_at=None).exists()


def test_a_partner_database_that_is_down_keeps_every_row(alice, coins, tmp_path):
    transfer(alice, "2026-03-10T07:00", 100, coins)
    with another_partner_database({**sqlite(), "NAME": str(tmp_path / "no such folder" / "partner.sqlite3")}):
        with pytest.raises(PartnerUnreachable, match="cannot be reached; all rows are kept"):
            export_partners(AT)
        with pytest.raises(PartnerUnreachable):
            setup_partner_database()

    kept = PartnerTransfer.objects.get()
    assert (kept.sent_at, kept.attempts) == (None, 1)
    assert Alert.objects.get(resolved_at=None).subject == "cc_hourly"


def test_rows_that_the_table_does_not_keep_are_not_taken_for_sent(alice, bob, coins, monkeypatch):
    with another_partner_database(sqlite()):
        setup_partner_database()
        transfer(alice, "2026-03-10T07:00", 100, coins)
        transfer(bob, "2026-03-10T08:00", 100, coins)
        monkeypatch.setattr(partner_database, "ROWS_AT_ONCE", 1)
        with connections["partner"].cursor() as cursor:
            cursor.execute("CREATE TRIGGER gone AFTER INSERT ON cc_hourly BEGIN DELETE FROM cc_hourly; END")
        result = export_partners(AT)

        assert (result.sent, result.failed) == (0, 2)
        assert result.last_error == "The partner's table did not keep this row."
        assert PartnerTransfer.objects.filter(sent_at=None).count() == 2


def test_without_a_partner_database_there_is_nothing_to_do_until_there_are_rows(alice, coins, monkeypatch):
    monkeypatch.delitem(settings.DATABASES, "partner")
    assert export_partners(AT).left == 0

    transfer(alice, "2026-03-10T07:00", 100, coins)
    with pytest.raises(NoPartnerDatabase, match="PARTNER_DATABASE_URL"):
        export_partners(AT)


def test_the_key_is_what_keeps_a_second_row_out(alice, coins):
    with another_partner_database(sqlite()):
        setup_partner_database()
        transfer(alice, "2026-03-10T07:00", 100, coins)
        export_partners(AT)
        with pytest.raises(DatabaseError), connections["partner"].cursor() as cursor:
            cursor.execute("INSERT INTO cc_hourly VALUES ('alice', '1.00', '2026-03-10 07:00:00')")
