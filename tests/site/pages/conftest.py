"""Prizes for Alice, Bob and Carol, and browsers that are signed in."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from rewards.distributions import services
from rewards.distributions.models import Distribution
from rewards.parameters import services as parameters
from rewards.parameters.services import create_missing_parameters
from rewards.users.models import User
from tests.rewards.distributions.conftest import Prize, open_prize, prize

__all__ = ["open_prize", "prize"]

MOST_QUERIES = 20


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def alices(alice: User) -> Client:
    return signed_in(alice)


@pytest.fixture
def pay(prize: Prize, open_prize: Callable[..., Distribution], alice: User, bob: User, carol: User) -> Callable:
    """`pay("1")`: 10.00 coins, of which Alice gets 3.34, Bob and Carol 3.33 each."""
    prize.scores, prize.prize = {"alice": 30, "bob": 20, "carol": 10}, 1000
    return lambda key, **options: services.advance(open_prize(key, **options).pk)


def queries_of(client: Client, address: str) -> int:
    """How many statements a page takes, once what is kept per process is there. A busy machine may take longer for it
    than that is kept, so it is kept for longer."""
    create_missing_parameters()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parameters, "POLL_SECONDS", 3600.0)
        assert client.get(address).status_code == 200
        with CaptureQueriesContext(connection) as captured:
            client.get(address)
    return len(captured)
