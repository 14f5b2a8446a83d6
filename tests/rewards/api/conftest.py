"""Callers of the API: a user by his session, a machine by its key."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.cache import cache
from django.db import transaction
from django.test import Client

from rewards.access.models import Right
from rewards.access.services import create_api_key
from rewards.ledger import services as ledger
from rewards.ledger.models import Currency
from rewards.users.models import User
from tests.rewards.distributions.conftest import open_prize, prize

__all__ = ["open_prize", "prize"]


@pytest.fixture(autouse=True)
def calls_not_counted_yet() -> Iterator[None]:
    """What earlier tests called does not count against the limits of this one."""
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def as_user() -> Callable[[User], Client]:
    def signed_in(user: User) -> Client:
        client = Client(raise_request_exception=False)
        client.force_login(user)
        return client

    return signed_in


@pytest.fixture
def as_machine(db: None) -> Callable[..., Client]:
    def with_key(*rights: Right, name: str = "game") -> Client:
        _, secret = create_api_key(name, rights or [*Right], by=None)
        return Client(raise_request_exception=False, headers={"x-api-key": secret})

    return with_key


@pytest.fixture
def fund() -> Callable[..., None]:
    def give(user: User, currency: Currency, minor: int) -> None:
        with transaction.atomic():
            ledger.credit(user, currency, minor, key=f"welcome:{user.pk}:{currency.pk}", reason="Welcome")

    return give


@pytest.fixture
def balance() -> Callable[[User, Currency], int]:
    def read(user: User, currency: Currency) -> int:
        with transaction.atomic():
            return ledger.balance(ledger.user_account(user, currency))

    return read


@pytest.fixture
def send(as_user: Callable[[User], Client]) -> Callable[..., Any]:
    """POST /api/transfers as a user; `key` None: without the header."""

    def post(
        sender: User, key: str | None = "k-1", raw: bytes | None = None, path: str = "/api/transfers", **body: Any
    ):
        headers = {} if key is None else {"Idempotency-Key": key}
        data = body if raw is None else raw
        return as_user(sender).post(path, data=data, content_type="application/json", headers=headers)

    return post
