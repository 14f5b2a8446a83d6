"""What all tests share: fixed people, and a way to clean up append-only tables after tests that commit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
import pytest
from django.contrib.auth.models import Permission
from django.core.cache import cache
from django.db import connection, transaction
from pytest_django import DjangoDbBlocker

from rewards.common import database
from rewards.ledger.models import Currency
from rewards.users.models import User

# A machine that is busy with something else must not fail a law: no example and no search for one is timed.
hypothesis.settings.register_profile("untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("untimed")


@pytest.fixture(scope="session", autouse=True)
def flush_in_spite_of_guards(django_db_setup: None) -> Iterator[None]:
    """TransactionTestCase empties every table, which the append-only triggers refuse: lift them for the flush alone."""
    # On the class: Playwright's tests have a connection of their own.
    operations = type(connection.ops)
    flush = operations.execute_sql_flush

    def flush_without_guards(self: Any, statements: list[str]) -> None:
        # SQLite looks at foreign keys row by row, and the tables come in any order.
        with connection.constraint_checks_disabled(), transaction.atomic():
            database.drop_guards()
            flush(self, statements)
            database.create_missing_guards()

    operations.execute_sql_flush = flush_without_guards  # type: ignore[method-assign]
    yield
    operations.execute_sql_flush = flush  # type: ignore[method-assign]


@pytest.fixture(scope="session", autouse=True)
def never_vacuumed(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> None:
    """A vacuum finds no row of a test that is under way, and PostgreSQL then plans for one row where there are many."""
    if database.is_postgresql():
        with django_db_blocker.unblock(), connection.cursor() as cursor:
            for table in connection.introspection.table_names(cursor):
                cursor.execute(f"ALTER TABLE {connection.ops.quote_name(table)} SET (autovacuum_enabled = false)")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    from django.conf import settings

    if settings.DATABASES["default"]["ENGINE"].endswith("postgresql"):
        names, reason = ("once", "browser"), "says nothing about a database; shown on SQLite"
    else:
        names, reason = ("postgresql",), "row locks and racing processes: only PostgreSQL can show them"
    for item in items:
        if any(map(item.get_closest_marker, names)):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(autouse=True)
def nothing_counted() -> None:
    """The cache outlives the rows of a test, and the next test's users may get their ids."""
    cache.clear()


@pytest.fixture
def points(db: None) -> Currency:
    return Currency.objects.create(code="points", name="Points", decimals=0)


@pytest.fixture
def coins(db: None) -> Currency:
    return Currency.objects.create(code="coins", name="Coins", decimals=2, transferable=True)


@pytest.fixture
def make_user(db: None) -> Callable[..., User]:
    def make(username: str, **fields: Any) -> User:
        return User.objects.create(username=username, password="!", **fields)

    return make


@pytest.fixture
def alice(make_user: Callable[..., User]) -> User:
    return make_user("alice")


@pytest.fixture
def bob(make_user: Callable[..., User]) -> User:
    return make_user("bob")


@pytest.fixture
def carol(make_user: Callable[..., User]) -> User:
    return make_user("carol")


@pytest.fixture
def staff(make_user: Callable[..., User]) -> Callable[..., User]:
    """A staff member with the rights named."""

    def make(name: str, *rights: str) -> User:
        user = make_user(name, is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=rights))
        return User.objects.get(pk=user.pk)

    return make
