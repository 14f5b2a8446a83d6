"""Ten coins for Alice, Bob and Carol, to be claimed on the chain."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from rewards.chain.backends.local import LocalChain
from rewards.chain.models import ChainTransaction
from rewards.chain_claims.models import RewardClaim
from rewards.chain_claims.monitor import MonitorResult, monitor_transactions
from rewards.chain_claims.services import claim
from rewards.distributions import queries, services
from rewards.distributions.models import Distribution, Reward
from rewards.ledger import services as ledger
from rewards.ledger.models import CLAIMABLE, Account, Currency
from rewards.users.models import User
from tests.rewards.distributions.conftest import NOON, open_prize, prize
from tests.rewards.promises import broken_promises

__all__ = ["broken_promises", "open_prize", "prize"]

WALLET = "0x52908400098527886E0F7030069857D2E4169EE7"


def after(**passed: float) -> datetime:
    """An instant so long after noon."""
    return NOON + timedelta(**passed)


@pytest.fixture
def pay_on_chain(prize, open_prize, alice: User, bob: User, carol: User) -> Callable[[str], Distribution]:
    """10.00 coins: 3.34 for Alice, 3.33 each for Bob and Carol."""
    prize.scores, prize.prize = {"alice": 30, "bob": 20, "carol": 10}, 1000
    return lambda key: services.advance(open_prize(key, payout="chain").pk)


@pytest.fixture
def payout(pay_on_chain) -> Distribution:
    return pay_on_chain("1")


def reward_of(distribution: Distribution, user: User) -> Reward:
    return distribution.rewards.get(user=user)


def claims(user: User, *rewards: Reward, at: datetime = NOON, wallet: str = WALLET) -> list[RewardClaim]:
    return claim(user, [reward.pk for reward in rewards], wallet, at)


def look(**passed: float) -> MonitorResult:
    """A run of the monitor so long after noon."""
    return monitor_transactions(after(**passed))


def holds(user: User, currency: Currency) -> tuple[int, int]:
    """What is to be claimed by a user, and what is his own."""
    found = {
        code: ledger.balance(account)
        for code in (CLAIMABLE, "")
        if (account := Account.objects.filter(user=user, currency=currency, code=code).first())
    }
    return found.get(CLAIMABLE, 0), found.get("", 0)


def status_of(reward: Reward) -> str:
    return queries.status_of(Reward.objects.select_related("distribution").get(pk=reward.pk))


def mine(tx: ChainTransaction | None, at: datetime) -> None:
    """Somebody hands a signed transaction to the chain again, whatever became of it here."""
    assert tx is not None
    LocalChain().send(bytes(tx.raw), at)


@pytest.fixture
def node_is_deaf(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Nothing that is sent reaches the chain, until the returned function is called."""
    send = LocalChain.send
    monkeypatch.setattr(LocalChain, "send", lambda self, raw, at: None)
    return lambda: monkeypatch.setattr(LocalChain, "send", send)
